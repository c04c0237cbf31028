import * as fc from "effect/FastCheck"

const slice = 10_000

/**
 * Asserts a property in slices, and lets the event loop turn between them. A worker that computes for a minute without
 * reading the answers of the runner is reported to hang.
 */
export const assertInSlices = async <Values>(property: fc.IProperty<Values>, runs: number): Promise<void> => {
  for (let done = 0; done < runs; done += slice) {
    fc.assert(property, { numRuns: Math.min(slice, runs - done) })
    await new Promise((resolve) => setImmediate(resolve))
  }
}
