import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Dialer } from "../../Dialer.js"
import { DialError } from "../../Dialer.js"
import { networkOf } from "../addressNetwork.js"

/** The code of a dial that the share of its address stopped. */
export const addressBusy = "CIMD_ADDRESS_BUSY"

/**
 * Bounds the concurrent fetches from one address, over all sites (FET-23). It applies to sites without an accepted
 * document only, because the customers of a hosting service have their addresses in common.
 */
export interface AddressShare {
  /** Returns a dialer for one fetch, whose dialed addresses count until the scope closes. */
  readonly dialer: (dial: Dialer["Type"]["dial"]) => Effect.Effect<Dialer["Type"]["dial"], never, Scope.Scope>
}

export const make = (maxFetches: number): AddressShare => {
  const fetches = new Map<string, number>()

  const take = (network: string): boolean => {
    const count = fetches.get(network) ?? 0
    if (count < maxFetches) fetches.set(network, count + 1)
    return count < maxFetches
  }

  const giveBack = (network: string): void => {
    const count = fetches.get(network) ?? 0
    if (count > 1) fetches.set(network, count - 1)
    else fetches.delete(network)
  }

  return {
    dialer: (dial) =>
      Effect.map(
        Effect.acquireRelease(
          Effect.sync(() => new Set<string>()),
          (taken) => Effect.sync(() => taken.forEach(giveBack))
        ),
        (taken) => (address, port) =>
          Effect.suspend(() => {
            const network = networkOf(address)
            if (!taken.has(network)) {
              if (!take(network)) return new DialError({ address, port, cause: cause() })
              taken.add(network)
            }
            return dial(address, port)
          })
      )
  }
}

const cause = () => Object.assign(new Error("The address is busy with other fetches"), { code: addressBusy })
