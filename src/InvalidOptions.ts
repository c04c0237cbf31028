/**
 * The error for options that a layer or constructor cannot use.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * Some options are invalid. `issues` holds every invalid option, what it must be, and what was given; the layer does not
 * build. Every module of this package with options fails with this error and no other.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidOptions extends Schema.TaggedError<InvalidOptions>("effect-cimd/InvalidOptions")(
  "InvalidOptions",
  {
    /** The module whose options are invalid, such as `Fetcher`. */
    module: Schema.String,
    issues: Schema.Array(Schema.String)
  }
) {
  override get message(): string {
    return `Invalid ${this.module} options: ${this.issues.join("; ")}`
  }
}
