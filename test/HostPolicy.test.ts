import { assert, describe, it } from "@effect/vitest"
import * as ClientId from "effect-cimd/ClientId"
import * as HostPolicy from "effect-cimd/HostPolicy"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"

const clientOn = (host: string): ClientId.ClientId => {
  const input = `https://${host.includes(":") ? `[${host}]` : host}/client.json`
  // The most permissive grammar, so that the policy receives every host that it can ever receive.
  if (ClientId.is(input, { loopback: true, addressLiterals: true })) {
    return input
  }
  // A cast, for hosts that the grammar refuses: the policy must refuse them on its own.
  return input as ClientId.ClientId
}

const service = (options: HostPolicy.Options) => Effect.provide(HostPolicy.HostPolicy, HostPolicy.layer(options))

/** Returns why the host is refused; `undefined` if it is permitted. */
const reasonAgainst = (options: HostPolicy.Options, host: string) =>
  Effect.flatMap(
    service(options),
    ({ check }) =>
      Effect.match(check(clientOn(host)), { onFailure: ({ reason }) => reason, onSuccess: () => undefined })
  )

const assertPermits = (options: HostPolicy.Options, ...hosts: ReadonlyArray<string>) =>
  Effect.forEach(
    hosts,
    (host) =>
      Effect.map(reasonAgainst(options, host), (reason) => assert.isUndefined(reason, `${host} is refused: ${reason}`))
  )

const assertRefuses = (options: HostPolicy.Options, ...hosts: ReadonlyArray<string>) =>
  Effect.forEach(
    hosts,
    (host) => Effect.map(reasonAgainst(options, host), (reason) => assert.isDefined(reason, `${host} is permitted`))
  )

const development = { issuer: "http://localhost:8080" }

/** Runs an effect and returns its log entries. */
const logged = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const entries: Array<{ readonly level: string; readonly message: string; readonly issuer: unknown }> = []
    const logger = Logger.make(({ annotations, logLevel, message }) => {
      entries.push({
        level: logLevel.label,
        message: String(message),
        issuer: HashMap.unsafeGet(annotations, "issuer")
      })
    })
    return Effect.provide(effect, [Logger.replace(Logger.defaultLogger, logger), Logger.minimumLogLevel(LogLevel.All)])
      .pipe(Effect.as(entries))
  })

describe("the lists", () => {
  it.effect("ADR-07: without any list, every name is permitted", () =>
    assertPermits({}, "app.example", "a.b.c.example", "xn--bcher-kva.example", "h1.x1", "app.localhost"))

  it.effect("ADR-07: an allow list permits what is on it, and nothing else", () =>
    Effect.gen(function*() {
      const options = { allow: ["app.example", "*.tenants.example"] }
      yield* assertPermits(options, "app.example", "a.tenants.example", "b.a.tenants.example")
      yield* assertRefuses(options, "tenants.example", "xtenants.example", "a.app.example", "other.example")
      assert.strictEqual(yield* reasonAgainst(options, "other.example"), "it is not on the allow list")
    }))

  it.effect("ADR-07: an empty allow list permits nothing", () => assertRefuses({ allow: [] }, "app.example"))

  it.effect("ADR-07: a block list refuses what is on it, and nothing else", () =>
    Effect.gen(function*() {
      const options = { block: ["app.example", "*.tenants.example", "*.zip"] }
      yield* assertRefuses(options, "app.example", "a.tenants.example", "b.a.tenants.example", "a.zip", "a.b.zip")
      yield* assertPermits(
        options,
        "tenants.example",
        "xtenants.example",
        "a.app.example",
        "other.example",
        "zip.example"
      )
      assert.strictEqual(yield* reasonAgainst(options, "app.example"), "it is on the block list")
    }))

  it.effect("ADR-07: a host on both lists is refused, by name or by pattern", () =>
    Effect.gen(function*() {
      yield* assertRefuses({ allow: ["app.example"], block: ["app.example"] }, "app.example")
      yield* assertRefuses({ allow: ["a.app.example"], block: ["*.app.example"] }, "a.app.example")
      yield* assertRefuses({ allow: ["*.app.example"], block: ["a.app.example"] }, "a.app.example")
      yield* assertPermits({ allow: ["*.app.example"], block: ["a.app.example"] }, "b.app.example")
    }))

  it.effect("ADR-07: patterns of different depths work together", () =>
    Effect.gen(function*() {
      const options = { allow: ["*.example", "*.a.b.c.d.test"] }
      yield* assertPermits(options, "a.example", "a.b.example", "x.a.b.c.d.test", "y.x.a.b.c.d.test")
      yield* assertRefuses(options, "a.b.c.d.test", "x.b.c.d.test", "a.test")
    }))

  it.effect("ADR-07: matching agrees with a simple reference for any name and any patterns", () => {
    const label = fc.constantFrom("a", "b", "c", "ab")
    const name = fc.array(label, { minLength: 2, maxLength: 5 }).map((labels) => labels.join("."))
    const pattern = fc.oneof(name, name.map((name) => `*.${name}`))
    const matches = (host: string) => (pattern: string) =>
      pattern.startsWith("*.") ? host.endsWith(pattern.slice(1)) : host === pattern
    const patterns = fc.array(pattern, { maxLength: 4 })
    return Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(name, patterns, patterns, (host, allow, block) =>
          Effect.runPromise(Effect.map(reasonAgainst({ allow, block }, host), (reason) => {
            assert.strictEqual(reason === undefined, allow.some(matches(host)) && !block.some(matches(host)))
          })))
      )
    )
  })

  it.effect("ADR-07: a hundred thousand patterns do not slow matching down", () =>
    Effect.gen(function*() {
      const hosts = Array.from({ length: 100_000 }, (_, index) => `h${index}.example`)
      const { check } = yield* service({ block: [...hosts, ...hosts.map((host) => `*.${host}`)] })
      yield* Effect.flip(check(clientOn("h99999.example")))
      yield* Effect.flip(check(clientOn("x.h99999.example")))
      yield* check(clientOn("h100000.example"))
    }))

  it.effect("ADR-07: the error's message has the host, and its oauthError does not", () =>
    Effect.gen(function*() {
      const { check } = yield* service({ block: ["app.example"] })
      const error = yield* Effect.flip(check(clientOn("app.example")))
      assert.strictEqual(error._tag, "HostRefused")
      assert.strictEqual(error.host, "app.example")
      assert.strictEqual(error.clientId, "https://app.example/client.json")
      assert.include(error.message, "app.example")
      assert.strictEqual(error.oauthError.error, "invalid_client")
      assert.notInclude(error.oauthError.error_description, "app.example")
    }))

  it.effect("ADR-07: the port is ignored", () =>
    Effect.gen(function*() {
      const { check } = yield* service({ block: ["app.example"] })
      const id = yield* ClientId.parse("https://app.example:8443/client.json")
      assert.strictEqual((yield* Effect.flip(check(id))).host, "app.example")
    }))
})

describe("addresses", () => {
  const literals = ["93.184.216.34", "2606:4700:4700::1111"]

  it.effect("URL-10: addresses are refused unless the policy permits them", () =>
    Effect.gen(function*() {
      yield* assertRefuses({}, ...literals)
      yield* assertPermits({ addressLiterals: true }, ...literals)
      assert.isFalse((yield* service({})).addressLiterals)
      assert.isTrue((yield* service({ addressLiterals: true })).addressLiterals)
    }))

  it.effect("ADR-03: addresses that are not public are always refused", () =>
    Effect.gen(function*() {
      const inner = [
        "10.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "0.0.0.0",
        "::",
        "fe80::1",
        "fd00::1",
        "::ffff:808:808"
      ]
      yield* assertRefuses({}, ...inner)
      yield* assertRefuses({ addressLiterals: true }, ...inner)
      yield* assertRefuses({ addressLiterals: true, development }, ...inner)
      assert.include(yield* reasonAgainst({ addressLiterals: true }, "10.0.0.1"), "RFC 1918")
    }))

  it.effect("ADR-07: addresses can be on a list, without brackets", () =>
    Effect.gen(function*() {
      yield* assertPermits({ addressLiterals: true, allow: literals }, ...literals)
      yield* assertRefuses({ addressLiterals: true, allow: literals }, "93.184.216.35", "app.example")
      yield* assertRefuses({ addressLiterals: true, block: literals }, ...literals)
      yield* assertPermits({ addressLiterals: true, block: literals }, "93.184.216.35")
    }))
})

describe("development mode", () => {
  const loopback = ["localhost", "127.0.0.1", "127.1.2.3", "::1"]

  it.effect("ADR-06: loopback is refused without it, whatever else is permitted", () =>
    Effect.gen(function*() {
      yield* assertRefuses({}, ...loopback)
      yield* assertRefuses({ addressLiterals: true }, ...loopback)
      assert.isFalse((yield* service({ addressLiterals: true })).loopback)
    }))

  it.effect("ADR-06: permits localhost, loopback addresses and public names, and nothing else", () =>
    Effect.gen(function*() {
      yield* assertPermits({ development }, ...loopback, "app.example")
      yield* assertRefuses({ development }, "93.184.216.34", "10.0.0.1", "169.254.169.254", "0.0.0.0", "::")
      assert.isTrue((yield* service({ development })).loopback)
    }))

  it.effect("ADR-07: the lists apply to loopback hosts too", () =>
    Effect.gen(function*() {
      yield* assertRefuses({ development, allow: ["app.example"] }, "localhost", "127.0.0.1")
      yield* assertPermits({ development, allow: ["localhost", "127.0.0.1", "::1"] }, "localhost", "127.0.0.1", "::1")
      yield* assertRefuses({ development, block: ["localhost"] }, "localhost")
    }))

  it.effect("ADR-06: logs one warning when it builds, and none later", () =>
    Effect.gen(function*() {
      const entries = yield* logged(
        Effect.gen(function*() {
          const { check } = yield* service({ development })
          yield* check(clientOn("localhost"))
          yield* check(clientOn("127.0.0.1"))
        })
      )
      assert.deepStrictEqual(entries.map(({ issuer, level }) => ({ issuer, level })), [
        { issuer: "http://localhost:8080", level: "WARN" }
      ])
      assert.include(entries[0]?.message, "Development mode")
    }))

  it.effect("ADR-06: nothing is logged without development mode", () =>
    Effect.map(logged(service({ allow: ["app.example"] })), (entries) => assert.deepStrictEqual(entries, [])))

  const issuers = [
    "http://localhost",
    "http://localhost:8080",
    "https://localhost:8443/realms/a",
    "http://127.0.0.1:8080",
    "http://127.9.9.9",
    "http://[::1]:8080"
  ]
  for (const issuer of issuers) {
    it.effect(`ADR-06: builds with the issuer ${issuer}`, () => assertPermits({ development: { issuer } }, "localhost"))
  }

  const otherIssuers = [
    "https://as.example",
    "https://localhost.example",
    "https://127.0.0.1.example",
    "https://127.0.0.1@as.example",
    "http://10.0.0.1",
    "http://192.168.1.10:8080",
    "http://0.0.0.0:8080",
    "http://[::]:8080",
    "http://[::ffff:127.0.0.1]",
    "https://93.184.216.34",
    "ftp://localhost",
    "localhost:8080",
    "127.0.0.1",
    "",
    "urn:as"
  ]
  for (const issuer of otherIssuers) {
    it.effect(`ADR-06: does not build with the issuer "${issuer}"`, () =>
      Effect.map(Effect.flip(service({ development: { issuer } })), (error) => {
        assert.strictEqual(error._tag, "InvalidOptions")
        assert.include(error.message, `"${issuer}"`)
      }))
  }

  it.effect("ADR-06: no warning is logged when it does not build", () =>
    Effect.map(
      logged(Effect.exit(service({ development: { issuer: "https://as.example" } }))),
      (entries) => assert.deepStrictEqual(entries, [])
    ))
})

describe("invalid options", () => {
  const malformed: ReadonlyArray<readonly [pattern: string, advice: string]> = [
    ["App.example", "write app.example, because"],
    ["*.App.example", "write app.example, because"],
    ["bücher.example", "xn--bcher-kva.example"],
    ["*.bücher.example", "xn--bcher-kva.example"],
    ["https://app.example", "without scheme"],
    ["app.example:443", "without scheme"],
    ["app.example/client.json", "without scheme"],
    ["user@app.example", "without scheme"],
    [" app.example", "without scheme"],
    ["[::1]", "without scheme"],
    ["app.example.", "dot at the end"],
    ["*", "omit `allow`"],
    ["*.", "neither a host name nor an address"],
    ["*app.example", "`*`"],
    ["a.*.example", "`*`"],
    ["*.*.example", "`*`"],
    ["app.*", "`*`"],
    ["*.127.0.0.1", "an address has no names below it"],
    ["*.::1", "an address has no names below it"],
    ["*.1", "write 0.0.0.1, because"],
    ["127.1", "127.0.0.1"],
    ["2130706433", "127.0.0.1"],
    ["0x7f.0.0.1", "127.0.0.1"],
    ["0:0:0:0:0:0:0:1", "::1"],
    ["2606:4700:4700:0::1111", "2606:4700:4700::1111"],
    ["", "neither a host name nor an address"],
    [".", "dot at the end"],
    ["a..example", "neither a host name nor an address"],
    [".example", "neither a host name nor an address"],
    ["-a.example", "neither a host name nor an address"],
    ["a-.example", "neither a host name nor an address"],
    ["a%2eexample", "write a.example, because"],
    [`${"a".repeat(64)}.example`, "neither a host name nor an address"],
    [`${"a.".repeat(125)}example`, "neither a host name nor an address"]
  ]
  for (const [pattern, advice] of malformed) {
    it.effect(`ADR-07: "${pattern.slice(0, 30)}" is not a pattern, and the error says what to write`, () =>
      Effect.gen(function*() {
        for (const list of ["allow", "block"] as const) {
          const error = yield* Effect.flip(service({ [list]: ["good.example", pattern] }))
          assert.strictEqual(error._tag, "InvalidOptions")
          assert.include(error.message, `\`${list}\` contains ${JSON.stringify(pattern)}: `)
          assert.include(error.message, advice)
        }
      }))
  }

  it.effect("ADR-07: allowing a host that is never permitted is an error, and blocking it is not", () =>
    Effect.gen(function*() {
      const message = (options: HostPolicy.Options) =>
        Effect.map(Effect.flip(service(options)), ({ message }) => message)
      assert.include(yield* message({ allow: ["93.184.216.34"] }), "set `addressLiterals` to true")
      assert.include(yield* message({ allow: ["localhost"] }), "only `development` permits")
      assert.include(yield* message({ allow: ["127.0.0.1"], addressLiterals: true }), "only `development` permits")
      assert.include(yield* message({ allow: ["10.0.0.1"], addressLiterals: true, development }), "never permitted")
      yield* assertPermits({ block: ["93.184.216.34", "localhost", "127.0.0.1", "10.0.0.1"] }, "app.example")
    }))

  it.effect("ADR-07: well-formed patterns build", () =>
    assertPermits({
      block: [
        "a.example",
        "*.a.example",
        "*.zip",
        "xn--bcher-kva.example",
        "_dmarc.a.example",
        "a--b.example",
        "1.a1",
        "::1"
      ]
    }, "app.example"))
})

describe("layers", () => {
  it.effect("ADR-07: layerPublic permits every name and no address", () =>
    Effect.gen(function*() {
      const policy = yield* HostPolicy.HostPolicy
      yield* policy.check(clientOn("app.example"))
      yield* Effect.flip(policy.check(clientOn("localhost")))
      yield* Effect.flip(policy.check(clientOn("93.184.216.34")))
      assert.isFalse(policy.loopback)
      assert.isFalse(policy.addressLiterals)
    }).pipe(Effect.provide(HostPolicy.layerPublic)))

  const withConfig = (entries: ReadonlyArray<readonly [string, string]>) =>
    Layer.setConfigProvider(ConfigProvider.fromMap(new Map(entries)))

  const configured = HostPolicy.layerConfig({
    allow: Config.array(Config.string(), "ALLOW"),
    block: Config.array(Config.string(), "BLOCK").pipe(Config.withDefault([])),
    development: { issuer: Config.string("ISSUER") }
  })

  it.effect("ADR-07: layerConfig reads the options", () =>
    Effect.gen(function*() {
      const { check, loopback } = yield* HostPolicy.HostPolicy
      yield* check(clientOn("app.example"))
      yield* check(clientOn("localhost"))
      yield* Effect.flip(check(clientOn("other.example")))
      assert.isTrue(loopback)
    }).pipe(
      Effect.provide(configured),
      Effect.provide(withConfig([["ALLOW", "app.example, localhost"], ["ISSUER", "http://localhost"]]))
    ))

  it.effect("ADR-07: layerConfig fails if an option is missing or invalid", () =>
    Effect.gen(function*() {
      const build = (entries: ReadonlyArray<readonly [string, string]>) =>
        Effect.flip(HostPolicy.HostPolicy.pipe(Effect.provide(configured), Effect.provide(withConfig(entries))))
      assert.strictEqual((yield* build([["ALLOW", "app.example"]]))._tag, "ConfigError")
      const issuer = ["ISSUER", "http://localhost"] as const
      assert.strictEqual((yield* build([["ALLOW", "App.example"], issuer]))._tag, "InvalidOptions")
    }))
})

/** The ports of the Fetch standard, a second time, so that one that the code loses fails the test. */
const bad = (
  "1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 123 135 137 " +
  "139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 990 993 995 1719 1720 " +
  "1723 2049 3659 4045 4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080"
).split(" ").map(Number)

describe("ADR-08: ports", () => {
  const check = (options: HostPolicy.Options, url: string) =>
    Effect.flatMap(service(options), (policy) =>
      ClientId.parse(url, { loopback: true, addressLiterals: true }).pipe(
        Effect.orDie,
        Effect.flatMap((clientId) => Effect.either(policy.check(clientId))),
        Effect.map((result) => result._tag === "Left" ? result.left.reason : undefined)
      ))

  it.effect("ADR-08: refuses the bad ports of the Fetch standard and no other", () =>
    Effect.gen(function*() {
      const policy = yield* service({})
      for (let port = 1; port <= 65_535; port++) {
        const clientId = `https://app.example:${port}/c`
        if (!ClientId.is(clientId)) throw new Error(clientId)
        const refused = policy.check(clientId) !== Effect.void
        if (refused !== bad.includes(port)) assert.fail(`${port} is ${refused ? "refused" : "permitted"}`)
      }
    }))

  it.effect("ADR-08: says why, also for addresses and in development mode", () =>
    Effect.gen(function*() {
      for (
        const [options, url] of [
          [{}, "https://app.example:25/c"],
          [{ allow: ["app.example"] }, "https://app.example:25/c"],
          [{ addressLiterals: true }, "https://93.184.215.14:25/c"],
          [{ addressLiterals: true }, "https://[2606:2800:21f::1]:25/c"],
          [{ development }, "https://localhost:25/c"]
        ] as const
      ) {
        assert.strictEqual(yield* check(options, url), "port 25 belongs to another protocol than HTTPS", url)
      }
    }))

  it.effect("ADR-08: the option ports narrows the ports", () =>
    Effect.gen(function*() {
      const options = { ports: [443, 8443] }
      for (const suffix of ["", ":443", ":8443"]) {
        assert.isUndefined(yield* check(options, `https://app.example${suffix}/c`), suffix)
      }
      assert.strictEqual(
        yield* check(options, "https://app.example:8444/c"),
        "port 8444 is not one of the permitted ports"
      )
      assert.isDefined(yield* check({ ports: [] }, "https://app.example/c"))
      assert.isUndefined(yield* check({}, "https://app.example:8444/c"))
    }))

  it.effect.each([0, 65_536, 1.5, Number.NaN, 25])(
    "ADR-08: the option ports must not contain %s",
    (port) =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(service({ ports: [443, port] }))
        assert.strictEqual(error.issues.length, 1)
        assert.include(error.issues[0], `\`ports\` contains ${port}`)
      })
  )
})

/** Builds with invalid options, and returns the issues. */
const issuesOf = (options: HostPolicy.Options) =>
  Effect.map(Effect.flip(service(options)), ({ _tag, issues, module }) => {
    assert.strictEqual(_tag, "InvalidOptions")
    assert.strictEqual(module, "HostPolicy")
    return issues
  })

describe("ADR-09: blocked addresses", () => {
  it.effect("ADR-09: an address in a blocked range is refused as the host of a client, and its neighbor is not", () =>
    Effect.gen(function*() {
      const options = { addressLiterals: true, blockAddresses: ["93.184.216.0/24", "2606:4700::/32", "9.9.9.9"] }
      yield* assertRefuses(options, "93.184.216.0", "93.184.216.255", "9.9.9.9", "2606:4700::1", "64:ff9b::5db8:d822")
      yield* assertPermits(options, "93.184.215.255", "93.184.217.0", "9.9.9.8", "2606:4701::1", "64:ff9b::5db8:d722")
      assert.include(yield* reasonAgainst(options, "93.184.216.34"), "93.184.216.0/24")
      yield* assertPermits(options, "app.example")
    }))

  it.effect("ADR-09: wins over loopback in development mode", () =>
    Effect.gen(function*() {
      yield* assertRefuses({ development, blockAddresses: ["127.0.0.2"] }, "127.0.0.2")
      yield* assertPermits({ development, blockAddresses: ["127.0.0.2"] }, "127.0.0.1", "localhost")
    }))

  it.effect("ADR-09: an invalid range fails the layer, and the error names all of them", () =>
    Effect.gen(function*() {
      const issues = yield* issuesOf({ blockAddresses: ["10.0.0.1/8", "203.0.113.7", "app.example", "::ffff:9.9.9.9"] })
      assert.strictEqual(issues.length, 3)
      assert.include(
        issues[0],
        "`blockAddresses` contains \"10.0.0.1/8\": the network of this prefix length is 10.0.0.0/8"
      )
      assert.include(issues[1], "\"app.example\"")
      assert.include(issues[2], "9.9.9.9")
      // A cast, because a JavaScript caller may pass anything.
      const text = "10.0.0.0/8" as unknown as ReadonlyArray<string>
      assert.include((yield* issuesOf({ blockAddresses: text }))[0], "must be an array")
    }))
})

describe("ADR-10: permitted addresses", () => {
  const permitAddresses = { "clients.corp.example": ["10.1.0.0/16", "fd12:3456::/32"] }

  it.effect("ADR-10: opens the ranges for the host, and for no other", () =>
    Effect.gen(function*() {
      const { permitsPrivateAddress } = yield* service({ permitAddresses })
      for (const address of ["10.1.0.0", "10.1.255.255", "fd12:3456::1"]) {
        assert.isTrue(permitsPrivateAddress("clients.corp.example", address), address)
        for (const host of ["corp.example", "a.clients.corp.example", "other.example"]) {
          assert.isFalse(permitsPrivateAddress(host, address), host)
        }
      }
      for (const address of ["10.0.255.255", "10.2.0.0", "fd12:3457::1"]) {
        assert.isFalse(permitsPrivateAddress("clients.corp.example", address), address)
      }
    }))

  it.effect("ADR-10: opens no address as the host of a client", () =>
    assertRefuses({ permitAddresses, addressLiterals: true }, "10.1.0.5", "fd12:3456::1"))

  it.effect("ADR-10: logs one warning with the hosts and ranges when it builds", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        seen.push(`${logLevel.label} ${String(message)}`)
      })
      yield* Effect.provide(
        service({ permitAddresses: { ...permitAddresses, "b.example": ["192.168.0.1"] } }),
        Logger.replace(Logger.defaultLogger, logger)
      )
      assert.strictEqual(seen.length, 1)
      assert.include(seen[0], "WARN")
      assert.include(seen[0], "clients.corp.example (10.1.0.0/16, fd12:3456::/32), b.example (192.168.0.1)")
      yield* Effect.provide(service({ permitAddresses: {} }), Logger.replace(Logger.defaultLogger, logger))
      assert.strictEqual(seen.length, 1)
    }))

  const keys: ReadonlyArray<readonly [key: string, advice: string]> = [
    ["Clients.corp.example", "write clients.corp.example"],
    ["clients.corp.example.", "remove the dot"],
    ["bücher.example", "write xn--bcher-kva.example"],
    ["*.corp.example", "write each host"],
    ["*", "omit"],
    ["10.1.0.5", "write the name of a host"],
    ["fd12::1", "write the name of a host"],
    ["localhost", "only `development`"],
    ["app.localhost", "only `development`"],
    ["intranet", "two labels"],
    ["https://clients.corp.example", "without scheme"],
    ["clients.corp.example:8443", "without scheme"],
    ["", "neither a host name nor an address"]
  ]
  for (const [key, advice] of keys) {
    it.effect(`ADR-10: "${key}" is not a key, and the error says what to write`, () =>
      Effect.map(issuesOf({ permitAddresses: { [key]: ["10.0.0.0/8"] } }), (issues) => {
        assert.strictEqual(issues.length, 1)
        assert.include(issues[0], advice)
      }))
  }

  it.effect("ADR-10: an internationalized host is opened in its xn-- form", () =>
    Effect.gen(function*() {
      const { permitsPrivateAddress } = yield* service({ permitAddresses: { "xn--bcher-kva.example": ["10.0.0.0/8"] } })
      assert.isTrue(permitsPrivateAddress("xn--bcher-kva.example", "10.1.1.1"))
    }))

  it.effect("ADR-10: ranges that can never be opened fail the layer, and the error names all of them", () =>
    Effect.gen(function*() {
      const never = ["127.0.0.0/8", "169.254.169.254", "168.63.129.16", "fd00:ec2::254", "0.0.0.0/0", "::ffff:10.0.0.1"]
      const issues = yield* issuesOf({
        permitAddresses: { "a.example": [...never, "10.0.0.0/8"], "b.example": [], "c.example": ["10.0.0.1/8"] }
      })
      assert.strictEqual(issues.length, never.length + 2)
      for (const range of never) assert.isTrue(issues.some((issue) => issue.includes(range)), range)
    }))
})

describe("ADR-11: the server's own issuer", () => {
  const check = (options: HostPolicy.Options, url: string) =>
    Effect.flatMap(service(options), (policy) =>
      ClientId.parse(url, { loopback: true, addressLiterals: true }).pipe(
        Effect.orDie,
        Effect.flatMap((clientId) => Effect.either(policy.check(clientId))),
        Effect.map((result) => result._tag === "Left" ? result.left.reason : undefined)
      ))

  for (
    const issuer of [
      "https://as.example",
      "https://AS.Example",
      "https://as.example.",
      "https://as.example:443",
      "https://as.example:8443/realms/a",
      "https://as.example/"
    ]
  ) {
    it.effect(`ADR-11: ${issuer} refuses its host on every port, and no other host`, () =>
      Effect.gen(function*() {
        for (const port of ["", ":443", ":8443", ":9443"]) {
          const reason = yield* check({ issuer }, `https://as.example${port}/client.json`)
          assert.strictEqual(reason, "it is the host of this authorization server")
        }
        for (const host of ["example.com", "a.as.example", "as.example.com", "xas.example"]) {
          assert.isUndefined(yield* check({ issuer }, `https://${host}/client.json`), host)
        }
      }))
  }

  it.effect("ADR-11: an internationalized issuer and an address as its host are read as client ids spell them", () =>
    Effect.gen(function*() {
      const options = {
        addressLiterals: true,
        issuer: ["https://bücher.example", "https://93.184.216.34", "https://[2606:4700:0::1]"]
      }
      for (const host of ["xn--bcher-kva.example", "93.184.216.34", "[2606:4700::1]"]) {
        assert.isDefined(yield* check(options, `https://${host}/client.json`), host)
      }
      assert.isUndefined(yield* check(options, "https://93.184.216.35/client.json"))
    }))

  it.effect("ADR-11: in development mode only the origins are refused", () =>
    Effect.gen(function*() {
      const options = { development: { issuer: "https://localhost:8443/a" }, issuer: "https://127.0.0.1:9443" }
      for (const origin of ["localhost:8443", "127.0.0.1:9443"]) {
        const reason = yield* check(options, `https://${origin}/client.json`)
        assert.strictEqual(reason, "it is the origin of this authorization server")
      }
      for (const origin of ["localhost", "localhost:8444", "127.0.0.1", "127.0.0.1:8444", "[::1]:8444"]) {
        assert.isUndefined(yield* check(options, `https://${origin}/client.json`), origin)
      }
      assert.isDefined(yield* check({ development: { issuer: "https://[::1]" } }, "https://[::1]:443/c"))
      assert.isUndefined(yield* check({ development: { issuer: "http://[::1]" } }, "https://[::1]/c"))
    }))

  it.effect("ADR-11: the error is a HostRefused that names the host and says why", () =>
    Effect.gen(function*() {
      const { check } = yield* service({ issuer: "https://as.example" })
      const error = yield* Effect.flip(check(clientOn("as.example")))
      assert.strictEqual(error._tag, "HostRefused")
      assert.strictEqual(
        error.message,
        "The host policy does not permit clients on as.example: it is the host of this authorization server."
      )
      assert.strictEqual(error.oauthError.error, "invalid_client")
    }))

  it.effect("ADR-11: an issuer that is not an https URL fails the layer, and so does allowing its host", () =>
    Effect.gen(function*() {
      for (
        const issuer of [
          "as.example",
          "http://as.example",
          "",
          "ftp://as.example",
          "https://user@as.example",
          "https://as.example?a",
          "https://as.example#a"
        ]
      ) {
        const issues = yield* issuesOf({ issuer: ["https://good.example", issuer] })
        assert.strictEqual(issues.length, 1)
        assert.include(issues[0], JSON.stringify(issuer))
      }
      const issues = yield* issuesOf({ issuer: "https://as.example", allow: ["as.example"] })
      assert.include(issues[0], "the host of `issuer`")
      yield* assertPermits({ issuer: [] }, "as.example")
      yield* assertPermits({ issuer: "http://localhost:8080", development }, "as.example")
    }))
})

describe("layerConfig of all options", () => {
  it.effect("ADR-09, ADR-10, ADR-11: reads ranges, permitted hosts and the issuer", () =>
    Effect.gen(function*() {
      const policy = yield* HostPolicy.HostPolicy
      assert.isDefined(policy.reasonAgainstAddress("93.184.216.34"))
      assert.isTrue(policy.permitsPrivateAddress("clients.corp.example", "10.1.2.3"))
      assert.isDefined(policy.reasonAgainstFetch("as.example", 443))
    }).pipe(
      Effect.provide(HostPolicy.layerConfig({
        blockAddresses: Config.array(Config.string(), "BLOCK"),
        permitAddresses: { "clients.corp.example": Config.array(Config.string(), "CORP") },
        issuer: Config.string("ISSUER")
      })),
      Effect.provide(Layer.setConfigProvider(ConfigProvider.fromMap(
        new Map([["BLOCK", "93.184.216.0/24,2001:db8::/32"], ["CORP", "10.1.0.0/16"], ["ISSUER", "https://as.example"]])
      )))
    ))

  it.effect("ADR-10: a table of hosts can be one Config", () =>
    Effect.gen(function*() {
      const policy = yield* HostPolicy.HostPolicy
      assert.isTrue(policy.permitsPrivateAddress("b.example", "192.168.0.9"))
    }).pipe(
      Effect.provide(HostPolicy.layerConfig({
        permitAddresses: Config.succeed({ "b.example": ["192.168.0.0/24"] }),
        issuer: Config.succeed(["https://as.example", "https://as2.example"])
      }))
    ))
})
