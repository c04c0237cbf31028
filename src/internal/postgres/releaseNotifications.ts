import * as Effect from "effect/Effect"
import type { WaitForRelease } from "./elections.js"

/** Wakes those who wait for a lease when it is announced that the lease was given up. */
export const make = (): { readonly wait: WaitForRelease; readonly released: (clientId: string) => void } => {
  const waiting = new Map<string, Set<() => void>>()
  return {
    wait: (clientId, atMostMillis) =>
      Effect.async<void>((resume) => {
        const wake = () => resume(Effect.void)
        const others = waiting.get(clientId)
        if (others === undefined) waiting.set(clientId, new Set([wake]))
        else others.add(wake)
        return Effect.sync(() => leave(clientId, wake))
      }).pipe(Effect.timeoutOption(atMostMillis), Effect.asVoid),
    released: (clientId) => {
      const wakes = waiting.get(clientId) ?? []
      waiting.delete(clientId)
      for (const wake of wakes) wake()
    }
  }

  function leave(clientId: string, wake: () => void): void {
    const wakes = waiting.get(clientId)
    wakes?.delete(wake)
    if (wakes?.size === 0) waiting.delete(clientId)
  }
}
