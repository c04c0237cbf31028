/**
 * The error for options that a layer or constructor cannot use.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * Some options of a layer or constructor are invalid. `issues` names every invalid option, what it must be, and its
 * value. Every module of this package reports invalid options with this error.
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
