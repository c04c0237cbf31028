/** Sets this process's time of day off, before anything else is loaded that could have read it. */
const offset = Number(process.env["CLOCK_OFFSET_MILLIS"] ?? "0")

if (offset !== 0) {
  const RealDate = Date
  globalThis.Date = class extends RealDate {
    constructor(...given: ReadonlyArray<number>) {
      if (given.length === 0) super(RealDate.now() + offset)
      // All forms of the constructor with arguments say themselves what time they mean.
      else super(...given as [number])
    }
    static override now() {
      return RealDate.now() + offset
    }
  } as DateConstructor
}
