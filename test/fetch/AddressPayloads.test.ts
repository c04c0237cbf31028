import { assert, describe, it } from "@effect/vitest"
import { Fetcher, HostPolicy } from "effect-cimd"
import * as ClientId from "effect-cimd/ClientId"
import { DialerTest, NameLookupTest } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { isIP } from "node:net"
import shouldNotPass from "ssrfcheck/tests/data/should-not-pass.js"
import shouldPass from "ssrfcheck/tests/data/should-pass.js"
import publicAddresses from "ssrfcheck/tests/data/valid-ips-list.js"
import * as Address from "../../src/internal/addressRules.js"

/** The host that a URL parser reads from a payload, as a resolver or a socket would receive it. */
const hostOf = (payload: string): string | undefined => {
  const url = [payload, `https://${payload}`].find((text) => URL.canParse(text) && new URL(text).hostname !== "")
  return url === undefined ? undefined : new URL(url).hostname.replace(/^\[(.*)\]$/, "$1")
}

/** The client identifier nearest to a payload, so that it does not fail because of its scheme. */
const asClientId = (payload: string): string =>
  `https://${payload.replace(/^[a-z0-9]*:?\/+/i, "").replace(/\/$/, "")}/client.json`

/**
 * The payloads that ssrfcheck accepts and this library does not. Each carries a public IPv4 address in an excluded
 * form.
 */
const refusedForms = [
  "http://[::ffff:8.8.8.8]/",
  "http://[::ffff:808:808]/",
  "http://[::ffff:0:808:808]/",
  "http://[64:ff9b:1::8.8.8.8]/",
  "http://[64:ff9b:1::808:808]/",
  "http://[::8.8.8.8]/"
]

describe("Payloads of ssrfcheck", () => {
  it("ADR-05: have the shape that this test expects", () => {
    assert.isAbove(shouldNotPass.length, 150)
    assert.isAbove(shouldPass.length, 50)
    assert.isAbove(publicAddresses.length, 50)
  })

  it.each(publicAddresses)("ADR-03: %s is public", (address) => {
    assert.strictEqual(Address.classify(address).kind, "public")
  })

  it("ADR-05: nine in ten have a host, and most of those are addresses", () => {
    const hosts = shouldNotPass.map(hostOf).filter((host) => host !== undefined)
    assert.isAbove(hosts.length, shouldNotPass.length * 0.9)
    assert.isAbove(new Set(hosts.filter((host) => isIP(host) !== 0)).size, 70)
  })

  it.each([...shouldNotPass])("ADR-03: %s names no public address", (payload) => {
    assert.notStrictEqual(Address.classify(payload).kind, "public")
    const host = hostOf(payload)
    if (host !== undefined) {
      assert.notStrictEqual(Address.classify(host).kind, "public", host)
    }
  })

  const clientIds = [...new Set(shouldNotPass.flatMap((payload) => [payload, asClientId(payload)]))]
    .filter((candidate) => ClientId.is(candidate))

  it("URL-10: two are client identifiers, and neither has a host that is an address or localhost", () => {
    assert.deepStrictEqual(clientIds.map(ClientId.host), ["foo.bar", "foo.bar"])
  })

  it.each(clientIds)(
    "ADR-01, FET-13: %s, a name that leads to loopback, is not dialed",
    (clientId) =>
      Effect.runPromise(
        Effect.gen(function*() {
          const { fetch } = yield* Fetcher.Fetcher
          const error = yield* Effect.flip(fetch(clientId))
          assert.deepInclude(error, { _tag: "AddressBlocked", address: "127.0.0.1" })
          assert.deepStrictEqual(yield* (yield* DialerTest.DialerTest).dialed, [])
        }).pipe(Effect.provide(
          Fetcher.layerWithoutDependencies().pipe(
            Layer.provideMerge(DialerTest.layerWith(() => undefined)),
            Layer.provide([NameLookupTest.layer(() => Effect.succeed(["127.0.0.1"])), HostPolicy.layerPublic])
          )
        ))
      )
  )

  it("ADR-04: those that pass only in ssrfcheck carry an IPv4 address", () => {
    const refused = shouldPass.filter((payload) => {
      const host = hostOf(payload)
      return host !== undefined && isIP(host) !== 0 && Address.classify(host).kind !== "public"
    })
    assert.deepStrictEqual(refused, refusedForms)
  })
})
