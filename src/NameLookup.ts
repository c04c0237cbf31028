/**
 * Name lookup: from a host name to its addresses.
 *
 * A service of its own, so that a test can answer what an attacker would.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { lookup } from "node:dns"

/**
 * A name could not be looked up.
 *
 * @since 0.1.0
 * @category errors
 */
export class NameLookupError extends Schema.TaggedError<NameLookupError>("effect-cimd/NameLookup/NameLookupError")(
  "NameLookupError",
  { host: Schema.String, cause: Schema.Defect }
) {
  override get message(): string {
    return `The name ${this.host} could not be looked up: ${
      this.cause instanceof Error ? this.cause.message : String(this.cause)
    }.`
  }
}

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

const maxPending = 32

const make = (): Context.Tag.Service<NameLookup> => {
  let pending = 0
  return {
    lookup: (host) =>
      Effect.async((resume) => {
        const failed = (cause: Error) => resume(Effect.fail(new NameLookupError({ host, cause })))
        if (pending >= maxPending) {
          return failed(new Error(`${pending} earlier lookups have not been answered by the system's resolver`))
        }
        pending++
        // No signal is taken: the call cannot be cancelled, and counts until it returns even if nobody waits for it.
        lookup(host, { all: true, verbatim: true }, (error, answers) => {
          pending--
          if (error === null) {
            resume(Effect.succeed(answers.map(({ address }) => address)))
          } else {
            failed(error)
          }
        })
      })
  }
}

/**
 * The operating system's resolver (`getaddrinfo`), as every other program on the machine uses it: with its hosts file,
 * its order of addresses, its caches.
 *
 * Such a lookup cannot be cancelled. One whose caller has gone is left to end by itself; while 32 have not been answered
 * further ones fail at once, so that a resolver that hangs does not pile up work. They run on libuv's thread pool, of
 * which libuv gives them half at most: raise `UV_THREADPOOL_SIZE` if more than two should run at the same time.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<NameLookup> = Layer.sync(NameLookup, make)
