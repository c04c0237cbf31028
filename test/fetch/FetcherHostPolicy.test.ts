import { it } from "@effect/vitest"
import { Dialer, Fetcher, HostPolicy } from "effect-cimd"
import { DialerTest, NameLookupTest, Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { describe, expect } from "vitest"
import { numberOf, spellingsOf, textOf } from "../fixtures/addresses.js"
import { clientId } from "../support/clientId.js"
import { listening } from "../support/listening.js"

const host = "clients.corp.example"
const url = `https://${host}/client.json`
const otherUrl = "https://app.example/client.json"

const quiet = Logger.replace(Logger.defaultLogger, Logger.none)

/** What comes of a fetch by a policy, with every name at these addresses and an origin behind all addresses. */
const fetched = (options: HostPolicy.Options, addresses: ReadonlyArray<string>, target = url) =>
  Effect.gen(function*() {
    const origin = yield* Origin.Origin
    yield* origin.document(target, { client_id: target })
    return yield* Effect.gen(function*() {
      const { fetch } = yield* Fetcher.Fetcher
      const result = yield* Effect.merge(fetch(clientId(target)))
      const dialed = (yield* (yield* DialerTest.DialerTest).dialed).map(({ address }) => address)
      return { result, dialed }
    }).pipe(Effect.provide(
      Fetcher.layerWithoutDependencies({ ca: origin.ca, timeout: "2 seconds" }).pipe(
        Layer.provideMerge(DialerTest.layerWith(() => origin.port)),
        Layer.provide([
          NameLookupTest.layer(() => Effect.succeed(addresses)),
          Layer.provide(HostPolicy.layer(options), quiet)
        ])
      )
    ))
  })

const live = (name: string, test: Effect.Effect<void, unknown, Origin.Origin>) =>
  it.live(name, () => Effect.provide(test, Origin.layer))

describe("ADR-09: blocked addresses", () => {
  const options = { blockAddresses: ["93.184.215.0/24", "2606:2800::/32", "9.9.9.9"] }

  live(
    "ADR-09: a name with an address in a blocked range is not dialed",
    Effect.gen(function*() {
      for (
        const addresses of [
          ["93.184.215.14"],
          ["9.9.9.9"],
          ["8.8.8.8", "93.184.215.255"],
          ["2606:2800::1"],
          ["2606:2800:0:0:0:0:0:1"],
          ["64:ff9b::5db8:d70e"],
          ["64:ff9b::93.184.215.14"],
          ["::ffff:93.184.215.14"],
          ["2002:5db8:d70e::1"]
        ]
      ) {
        const { dialed, result } = yield* fetched(options, addresses)
        expect(result, addresses.join()).toMatchObject({ _tag: "AddressBlocked" })
        expect(dialed).toEqual([])
      }
      const { result } = yield* fetched(options, ["93.184.215.14"])
      expect(result).toMatchObject({ reason: "in 93.184.215.0/24, which the host policy blocks" })
    })
  )

  live(
    "ADR-09: addresses beside a blocked range are dialed",
    Effect.gen(function*() {
      for (const address of ["93.184.214.255", "93.184.216.0", "9.9.9.8", "2606:2801::1", "64:ff9b::808:808"]) {
        const { dialed, result } = yield* fetched(options, [address])
        expect(result).toMatchObject({ address })
        expect(dialed).toEqual([address])
      }
    })
  )

  live(
    "ADR-09: an address as the host of a client id is refused by the fetcher too",
    Effect.gen(function*() {
      const { dialed, result } = yield* fetched(
        { ...options, addressLiterals: true },
        [],
        "https://93.184.215.14/client.json"
      )
      expect(result).toMatchObject({ _tag: "AddressBlocked" })
      expect(dialed).toEqual([])
    })
  )

  it.scopedLive("ADR-09, ADR-10: a proxy gets no connection for a blocked address, and one for an opened address", () =>
    Effect.gen(function*() {
      const { port, reached } = yield* listening((socket) => {
        socket.end("HTTP/1.1 403 Forbidden\r\n\r\n")
      })
      const through = (addresses: ReadonlyArray<string>, policy: HostPolicy.Options) =>
        Effect.flatMap(Fetcher.Fetcher, ({ fetch }) => Effect.flip(fetch(clientId(url)))).pipe(
          Effect.provide(
            Fetcher.layerWithoutDependencies().pipe(Layer.provide([
              NameLookupTest.layer({ [host]: addresses }),
              Dialer.layerHttpProxy({ host: "127.0.0.1", port }),
              Layer.provide(HostPolicy.layer(policy), quiet)
            ]))
          )
        )
      expect((yield* through(["93.184.215.14"], options))._tag).toBe("AddressBlocked")
      expect((yield* through(["10.1.0.5"], {}))._tag).toBe("AddressBlocked")
      expect(reached()).toBe(0)
      const opened = yield* through(["10.1.0.5"], { permitAddresses: { [host]: ["10.1.0.0/16"] } })
      expect(opened).toMatchObject({
        _tag: "ConnectFailed",
        attempts: [{ address: "10.1.0.5", code: "PROXY_REFUSED" }]
      })
      expect(reached()).toBe(1)
    }))
})

describe("ADR-10: private addresses of named hosts", () => {
  const permitAddresses = { [host]: ["10.1.0.0/16", "100.64.0.0/10", "fd00::/8"] }

  live(
    "ADR-10: are dialed for the host, and for no other",
    Effect.gen(function*() {
      for (const address of ["10.1.0.5", "100.64.1.1", "fd12::1"]) {
        const { dialed, result } = yield* fetched({ permitAddresses }, [address])
        expect(result).toMatchObject({ address })
        expect(dialed).toEqual([address])
        const other = yield* fetched({ permitAddresses }, [address], otherUrl)
        expect(other.result).toMatchObject({ _tag: "AddressBlocked" })
        expect(other.dialed).toEqual([])
      }
    })
  )

  live(
    "ADR-10: the host may have public addresses beside them, but no other private address",
    Effect.gen(function*() {
      expect((yield* fetched({ permitAddresses }, ["10.1.0.5", "93.184.215.14"])).result).toMatchObject({
        address: "10.1.0.5"
      })
      const { dialed, result } = yield* fetched({ permitAddresses }, ["10.1.0.5", "10.2.0.5"])
      expect(result).toMatchObject({ _tag: "AddressBlocked", address: "10.2.0.5" })
      expect(dialed).toEqual([])
    })
  )

  const never = [
    "100.100.100.200",
    "100.96.0.96",
    "fd00:ec2::254",
    "FD00:0EC2:0:0:0:0:0:0254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "fd00:100::100:200",
    "fd00:a9fe:a9fe::1",
    "fd00:42::42",
    "fd00::5efe:127.0.0.1",
    "127.0.0.1",
    "::1",
    "::",
    "0.0.0.0",
    "169.254.169.254",
    "fe80::1",
    "224.0.0.1",
    "ff02::1",
    "168.63.129.16",
    "::ffff:10.1.0.5",
    "64:ff9b::10.1.0.5",
    "64:ff9b::169.254.169.254",
    "::ffff:169.254.169.254",
    "::10.1.0.5",
    "2002:a01:5::1"
  ]
  live(
    "ADR-10: addresses that can never be opened are not dialed, whatever the ranges contain",
    Effect.gen(function*() {
      for (const address of never) {
        const { dialed, result } = yield* fetched({ permitAddresses }, ["10.1.0.5", address])
        expect(result, address).toMatchObject({ _tag: "AddressBlocked" })
        expect(dialed, address).toEqual([])
      }
    })
  )

  live(
    "ADR-10: a policy of another kind, which opens everything, opens private addresses only",
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      const open = Layer.provide(
        Layer.effect(
          HostPolicy.HostPolicy,
          Effect.map(HostPolicy.HostPolicy, (policy) => ({ ...policy, permitsPrivateAddress: () => true }))
        ),
        HostPolicy.layerPublic
      )
      for (const address of never) {
        const { dialed, error } = yield* Effect.gen(function*() {
          const { fetch } = yield* Fetcher.Fetcher
          const error = yield* Effect.flip(fetch(clientId(url)))
          return { error, dialed: yield* (yield* DialerTest.DialerTest).dialed }
        }).pipe(Effect.provide(
          Fetcher.layerWithoutDependencies().pipe(
            Layer.provideMerge(DialerTest.layerWith(() => origin.port)),
            Layer.provide([NameLookupTest.layer(() => Effect.succeed([address])), open])
          )
        ))
        expect(error._tag, address).toBe("AddressBlocked")
        expect(dialed).toEqual([])
      }
    })
  )

  live(
    "ADR-09, ADR-10: a blocked range wins over an opened one",
    Effect.gen(function*() {
      const options = { permitAddresses, blockAddresses: ["10.1.2.0/24"] }
      expect((yield* fetched(options, ["10.1.2.3"])).result).toMatchObject({ _tag: "AddressBlocked" })
      expect((yield* fetched(options, ["10.1.3.3"])).result).toMatchObject({ address: "10.1.3.3" })
    })
  )

  live(
    "ADR-10: a client id with a private address as its host is not dialed",
    Effect.gen(function*() {
      const { dialed, result } = yield* fetched(
        { permitAddresses, addressLiterals: true },
        [],
        "https://10.1.0.5/client.json"
      )
      expect(result).toMatchObject({ _tag: "AddressBlocked" })
      expect(dialed).toEqual([])
    })
  )
})

describe("ADR-09: any address in a blocked range", () => {
  live(
    "ADR-09: is not dialed in any of its spellings and forms",
    Effect.gen(function*() {
      const forms: ReadonlyArray<(ipv4: bigint) => ReadonlyArray<string>> = [
        (a) => [textOf(a, "ipv4")],
        ...["64:ff9b::", "::ffff:0:0", "::", "::ffff:0:0:0", "64:ff9b:1::", "2606:4700:4700:1:0:5efe:0:0"].map(
          (prefix) => (a: bigint) => spellingsOf(numberOf(prefix) | a, "ipv6")
        ),
        (a) => spellingsOf(numberOf("2002::1") | (a << 80n), "ipv6")
      ]
      const context = yield* Effect.context<Origin.Origin>()
      const property = fc.asyncProperty(
        fc.bigUint({ max: 0xffff_ffffn }),
        fc.integer({ min: 8, max: 32 }),
        fc.constantFrom(...forms),
        async (number, prefix, form) => {
          const bits = BigInt(32 - prefix)
          const range = `${textOf((number >> bits) << bits, "ipv4")}/${prefix}`
          for (const spelling of form(number)) {
            const { dialed, result } = await Effect.runPromise(
              Effect.provide(fetched({ blockAddresses: [range] }, [spelling]), context)
            )
            expect(result, spelling).toMatchObject({ _tag: "AddressBlocked" })
            expect(dialed).toEqual([])
          }
        }
      )
      yield* Effect.promise(() => fc.assert(property, { numRuns: 50 }))
    })
  )
})
