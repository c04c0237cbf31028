/** The network of a node under attack: names have public addresses, and each address stands for one on loopback. */
import { Dialer } from "effect-cimd"
import { NameLookupTest } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Socket } from "node:net"
import type { Place } from "./world.js"
import { addressOf, loopbackOf } from "./world.js"

export interface Places {
  readonly origins: Place
  readonly attackers: Place
}

/** `onClose` receives the number of bytes that were read from each connection. */
export const layer = (
  { attackers, origins }: { readonly [P in keyof Places]: Pick<Place, "port"> },
  onClose: (party: keyof Places, bytesRead: number) => void = () => {}
) =>
  Layer.merge(
    NameLookupTest.layer((host) => Effect.succeed([addressOf(host)])),
    Layer.effect(
      Dialer.Dialer,
      Effect.map(Dialer.Dialer, ({ dial }) => ({
        dial: (dialed: string) => {
          const { address, party } = loopbackOf(dialed)
          return Effect.tap(dial(address, party === "attackers" ? attackers.port : origins.port), (socket) => {
            socket.once("close", () => {
              if (socket instanceof Socket) onClose(party, socket.bytesRead)
            })
          })
        }
      }))
    ).pipe(Layer.provide(Dialer.layer))
  )
