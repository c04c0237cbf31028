import { assert, describe, it } from "@effect/vitest"
import * as ClientId from "effect-cimd/ClientId"
import { isIP } from "node:net"
import shouldNotPass from "ssrfcheck/tests/data/should-not-pass.js"
import shouldPass from "ssrfcheck/tests/data/should-pass.js"
import publicAddresses from "ssrfcheck/tests/data/valid-ips-list.js"
import * as Address from "../src/internal/address.js"

/** The host that a URL parser makes of a payload, as a resolver or a socket would be handed it. */
const hostOf = (payload: string): string | undefined => {
  const url = [payload, `https://${payload}`].find((text) => URL.canParse(text) && new URL(text).hostname !== "")
  return url === undefined ? undefined : new URL(url).hostname.replace(/^\[(.*)\]$/, "$1")
}

/** A payload as the client identifier that comes nearest to it, so that its scheme is not what it fails by. */
const asClientId = (payload: string): string =>
  `https://${payload.replace(/^[a-z0-9]*:?\/+/i, "").replace(/\/$/, "")}/client.json`

/** What ssrfcheck lets pass and this library does not: all carry a public IPv4 address in a form that is refused. */
const refusedForms = [
  "http://[::ffff:8.8.8.8]/",
  "http://[::ffff:808:808]/",
  "http://[::ffff:0:808:808]/",
  "http://[64:ff9b:1::8.8.8.8]/",
  "http://[64:ff9b:1::808:808]/",
  "http://[::8.8.8.8]/"
]

describe("the payloads of ssrfcheck", () => {
  it("ADR-05: hold what this test thinks they hold", () => {
    assert.isAbove(shouldNotPass.length, 150)
    assert.isAbove(shouldPass.length, 50)
    assert.isAbove(publicAddresses.length, 50)
  })

  it.each(publicAddresses)("ADR-03: %s is public", (address) => {
    assert.strictEqual(Address.judge(address).kind, "public")
  })

  it.each([...shouldNotPass])("ADR-03: %s names no public address", (payload) => {
    assert.notStrictEqual(Address.judge(payload).kind, "public")
    const host = hostOf(payload)
    if (host !== undefined) {
      assert.notStrictEqual(Address.judge(host).kind, "public", host)
    }
  })

  it.each([...shouldNotPass])("URL-10: %s makes no client identifier with a host that is an address", (payload) => {
    for (const candidate of [payload, asClientId(payload)]) {
      if (ClientId.is(candidate)) {
        assert.strictEqual(isIP(ClientId.host(candidate)), 0, candidate)
        assert.notStrictEqual(ClientId.host(candidate), "localhost")
      }
    }
  })

  it("ADR-04: what passes there and not here carries an IPv4 address", () => {
    const refused = shouldPass.filter((payload) => {
      const host = hostOf(payload)
      return host !== undefined && isIP(host) !== 0 && Address.judge(host).kind !== "public"
    })
    assert.deepStrictEqual(refused, refusedForms)
  })
})
