/** What the demonstration asks its nodes, and what they answer. */
import type * as Duration from "effect/Duration"

export type Question =
  | { readonly ask: "resolve"; readonly clientId: string }
  | { readonly ask: "sweep" }

export interface Answer {
  readonly source?: string
  readonly clientName?: string | undefined
  readonly swept?: number
  readonly refused?: string
  readonly message?: string
  readonly oauthError?: string
  readonly duration?: Duration.Duration
}

/** The one name that has a private address. */
export const privateHost = "intranet.example"
