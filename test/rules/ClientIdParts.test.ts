import { ClientId } from "effect-cimd"
import * as fc from "effect/FastCheck"
import { describe, expect, it } from "vitest"
import { parts } from "../../src/internal/rules/clientIdParts.js"
import { clientId } from "../support/clientId.js"

describe("clientIdParts", () => {
  it("splits an IPv6 literal with a port", () => {
    const target = "https://[2001:db8::1]:8443/c?u=https://other.example:1/@"
    if (!ClientId.is(target, { addressLiterals: true })) throw new Error("Not a client identifier")
    expect(parts(target)).toEqual({
      host: "2001:db8::1",
      bracketedHost: "[2001:db8::1]",
      port: 8443,
      origin: "https://[2001:db8::1]:8443",
      hostField: "[2001:db8::1]:8443",
      requestTarget: "/c?u=https://other.example:1/@"
    })
  })

  it("omits port 443 from the origin and the Host field", () => {
    for (const target of ["https://app.example/", "https://app.example:443/"]) {
      expect(parts(clientId(target))).toEqual({
        host: "app.example",
        bracketedHost: "app.example",
        port: 443,
        origin: "https://app.example",
        hostField: "app.example",
        requestTarget: "/"
      })
    }
  })

  it("agrees with the URL parser on every client identifier", () => {
    const texts = fc.tuple(
      fc.domain(),
      fc.option(fc.integer({ min: 1, max: 65_535 }), { nil: undefined }),
      fc.webPath(),
      fc.option(fc.webQueryParameters(), { nil: undefined })
    ).map(([domain, port, path, query]) =>
      `https://${domain}${port === undefined ? "" : `:${port}`}${path}${query === undefined ? "" : `?${query}`}`
    )
    let compared = 0
    fc.assert(fc.property(texts, (text) => {
      if (!ClientId.is(text)) return
      compared++
      const url = new URL(text)
      expect(parts(text)).toEqual({
        host: url.hostname,
        bracketedHost: url.hostname,
        port: url.port === "" ? 443 : Number(url.port),
        origin: url.origin,
        hostField: url.host,
        // The serialized URL, because `search` is empty for a "?" without a query.
        requestTarget: url.href.slice(url.origin.length)
      })
    }))
    expect(compared).toBeGreaterThan(0)
  })
})
