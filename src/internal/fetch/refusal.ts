/** The limit that stopped a fetch. Its values are tags of a metric, so they are few and fixed. */
export type Scope = "site" | "domain" | "requester" | "address" | "queue" | "node" | "client"

/**
 * A limit of this node stopped a fetch. The limiter counts it and turns it into `Throttled`, which does not name the limit,
 * because that depends on what other clients do.
 */
export class Refusal {
  readonly _tag = "Refusal"
  constructor(
    readonly scope: Scope,
    readonly reason: "failed" | "rate" | "busy",
    readonly retryAfterMillis: number,
    readonly details: {
      /** Whether the failure behind a back-off permits a stale document. */
      readonly originFault?: boolean
      /** The code of an error of this machine. */
      readonly code?: string
    } = {}
  ) {}
}

/** Every place or turn of a scope is in use. How long that lasts is unknown. */
export const busy = (scope: Scope, code?: string): Refusal =>
  new Refusal(scope, "busy", 1000, code === undefined ? {} : { code })
