/**
 * A dialer that connects to a loopback port for every address, and records what was dialed.
 *
 * With it, a test can give names public addresses, which the fetcher checks like those of strangers, and still reach a
 * server of its own.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Dialer from "../Dialer.js"
import { Origin } from "./Origin.js"

/**
 * An address and port that was dialed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Dialed {
  readonly address: string
  readonly port: number
}

/**
 * The record of a double of the dialer.
 *
 * @since 0.1.0
 * @category tags
 */
export class DialerTest extends Context.Tag("effect-cimd/testing/DialerTest")<DialerTest, {
  /** Returns everything that was dialed so far, in order. */
  readonly dialed: Effect.Effect<ReadonlyArray<Dialed>>
}>() {}

/**
 * Connects to the loopback port that `route` returns for an address and port. `undefined` is a refused connection.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWith = (
  route: (address: string, port: number) => number | undefined
): Layer.Layer<Dialer.Dialer | DialerTest> =>
  Layer.effectContext(
    Effect.map(Dialer.Dialer, ({ dial }) => {
      const dialed: Array<Dialed> = []
      return Context.make(DialerTest, { dialed: Effect.sync(() => [...dialed]) }).pipe(
        Context.add(Dialer.Dialer, {
          dial: (address, port) =>
            Effect.suspend(() => {
              dialed.push({ address, port })
              const loopback = route(address, port)
              return loopback === undefined ? refused(address, port) : dial("127.0.0.1", loopback)
            })
        })
      )
    })
  ).pipe(Layer.provide(Dialer.layer))

const refused = (address: string, port: number) =>
  new Dialer.DialError({
    address,
    port,
    cause: Object.assign(new Error("The connection was refused"), { code: "ECONNREFUSED" })
  })

/**
 * Connects to the {@link Origin} for every address.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Dialer.Dialer | DialerTest, never, Origin> = Layer.unwrapEffect(
  Effect.map(Origin, ({ port }) => layerWith(() => port))
)
