import { assert, describe, it } from "@effect/vitest"
import type { ClientId } from "effect-cimd/ClientId"
import * as HostPolicy from "effect-cimd/HostPolicy"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"

// A cast, so that the policy is asked about hosts that the grammar of a production server keeps from it.
const clientOn = (host: string) => `https://${host}/client.json` as ClientId

const allows = (options: HostPolicy.Options, host: string) =>
  Effect.flatMap(HostPolicy.HostPolicy, (policy) => policy.check(clientOn(host))).pipe(
    Effect.isSuccess,
    Effect.provide(HostPolicy.layer(options))
  )

describe("HostPolicy", () => {
  it.effect("ADR-07: a wildcard is every name below, and not itself", () =>
    Effect.gen(function*() {
      const options = { allow: ["*.app.example"] }
      assert.isTrue(yield* allows(options, "a.app.example"))
      assert.isTrue(yield* allows(options, "b.a.app.example"))
      assert.isFalse(yield* allows(options, "app.example"))
      assert.isFalse(yield* allows(options, "xapp.example"))
    }))

  it.effect("ADR-07: a host that is allowed and blocked is refused", () =>
    Effect.gen(function*() {
      assert.isFalse(yield* allows({ allow: ["app.example"], block: ["app.example"] }, "app.example"))
    }))

  it.effect("ADR-06: development mode wants an issuer on a loopback host", () =>
    Effect.gen(function*() {
      const result = yield* Effect.either(allows({ development: { issuer: "https://as.example" } }, "localhost"))
      assert.isTrue(Either.isLeft(result))
      assert.isTrue(yield* allows({ development: { issuer: "http://localhost:8080" } }, "localhost"))
    }))
})
