import { describe, expect, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as ClientRecord from "../../src/internal/registry/clientRecord.js"
import { assertInSlices } from "../support/properties.js"

const numRuns = Number(process.env["PROPERTY_RUNS"] ?? 1000)

const minute = 60_000_000n
const document = (name: string) => ({ text: JSON.stringify({ client_name: name }), digest: name })
const confirmed = ClientRecord.confirm(ClientRecord.empty, document("consented"), undefined, 1n)

type Step =
  | { readonly name: "fetch"; readonly at: bigint }
  | { readonly name: "find"; readonly at: bigint; readonly ruleset: string | undefined }

const apply = (record: ClientRecord.ClientRecord, step: Step): ClientRecord.ClientRecord =>
  step.name === "fetch"
    ? ClientRecord.recordFetch(record, { document: document(`${step.at}`), fetchedAt: step.at, expiresAt: step.at })
    : ClientRecord.withdraw(record, step.at, step.ruleset)

const instant = fc.bigInt({ min: 1n, max: 12n }).map((minutes) => minutes * minute)
const fetch = fc.record({ name: fc.constant("fetch" as const), at: instant })
const find = fc.record({
  name: fc.constant("find" as const),
  at: instant,
  ruleset: fc.constantFrom(undefined, "a", "b")
})

describe("ClientRecord", () => {
  it("REG-02, REG-08: fetches and an eviction leave the same document in every order of arrival (property)", () => {
    const arrivals = fc.uniqueArray(fetch, { selector: ({ at }) => at, minLength: 1, maxLength: 6 })
    return assertInSlices(
      fc.property(arrivals, fc.nat(6), instant, (fetches, position, evictedAt) => {
        const record = [
          ...fetches.slice(0, position),
          undefined,
          ...fetches.slice(position)
        ].reduce(
          (record, step) => step === undefined ? ClientRecord.evict(record, evictedAt) : apply(record, step),
          confirmed
        )
        // The eviction happens at its instant, so no fetch that starts later has arrived before it.
        fc.pre(fetches.slice(0, position).every(({ at }) => at <= evictedAt))
        const latest = fetches.map(({ at }) => at).filter((at) => at > evictedAt).sort((a, b) => a < b ? 1 : -1)[0]
        expect(record.accepted?.fetchedAt).toBe(latest)
        expect(record.consent).toBe(confirmed.consent)
      }),
      numRuns
    )
  })

  it("REG-07: a withdrawal needs two finds a minute apart after the last good fetch, in any order (property)", () => {
    return assertInSlices(
      fc.property(fc.array(fc.oneof(fetch, find), { maxLength: 8 }), (steps) => {
        const record = steps.reduce(apply, confirmed)
        const good = steps.reduce((at, step) => step.name === "fetch" && step.at > at ? step.at : at, 0n)
        for (const ruleset of ["a", "b"]) {
          const apart = ([undefined, ruleset] as const).some((of) => {
            const finds = steps.flatMap((step) =>
              step.name === "find" && step.ruleset === of && step.at >= good ? [step.at] : []
            )
            return finds.some((one) => finds.some((other) => other - one >= minute))
          })
          // It may be delayed by a good fetch that arrives late, and is never hastened.
          if (ClientRecord.isWithdrawn(record, ruleset)) expect(apart).toBe(true)
          const inOrder = [...steps].sort((a, b) => a.at < b.at ? -1 : a.at > b.at ? 1 : a.name === "fetch" ? -1 : 1)
          expect(ClientRecord.isWithdrawn(inOrder.reduce(apply, confirmed), ruleset)).toBe(apart)
        }
      }),
      numRuns
    )
  })

  it("REG-07: withdrawals of at most 4 rule sets are kept, the latest ones", () => {
    const record = ["a", "b", "c", "d", "e"].reduce(
      (record, ruleset) => ClientRecord.withdraw(record, minute, ruleset),
      confirmed
    )
    expect(record.withdrawals.map(({ ruleset }) => ruleset)).toEqual(["b", "c", "d", "e"])
  })

  it("REG-04: a record without consent changes by an eviction only, and is empty a day later", () => {
    const stranger = ClientRecord.empty
    expect(apply(stranger, { name: "fetch", at: minute })).toBe(stranger)
    expect(apply(stranger, { name: "find", at: minute, ruleset: undefined })).toBe(stranger)
    expect(ClientRecord.use(stranger, minute)).toBe(stranger)
    expect(ClientRecord.isEmpty(stranger, 1440n * minute)).toBe(true)
    const evicted = ClientRecord.evict(stranger, minute)
    expect(ClientRecord.isEmpty(evicted, 1440n * minute)).toBe(false)
    expect(ClientRecord.isEmpty(evicted, 1441n * minute)).toBe(true)
  })
})
