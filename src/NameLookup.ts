/**
 * Name lookup: from a host name to its addresses.
 *
 * A service of its own, so that a test can answer what an attacker would.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

/**
 * A name could not be looked up.
 *
 * @since 0.1.0
 * @category errors
 */
export class NameLookupError extends Schema.TaggedError<NameLookupError>("effect-cimd/NameLookup/NameLookupError")(
  "NameLookupError",
  { host: Schema.String, cause: Schema.Defect }
) {}

/**
 * @since 0.1.0
 * @category tags
 */
export class NameLookup extends Context.Tag("effect-cimd/NameLookup")<NameLookup, {
  /**
   * Every address of a host name, A and AAAA, in the order they should be tried. An empty answer is a host without
   * addresses. The strings are judged by the fetcher, so an implementation need not filter them.
   */
  readonly lookup: (host: string) => Effect.Effect<ReadonlyArray<string>, NameLookupError>
}>() {}

/**
 * The operating system's resolver, as every other program on the machine uses it.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<NameLookup> = null as never
