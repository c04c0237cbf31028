/**
 * Which hosts may be clients (URL-10, ADR-06, ADR-07).
 *
 * The policy is asked before cache and network: a refused host costs nothing, and a changed policy counts at once.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { ClientId } from "./ClientId.js"
import type { OAuthError } from "./OAuthError.js"
import { invalidClient } from "./OAuthError.js"

/**
 * The host policy refuses the client's host.
 *
 * @since 0.1.0
 * @category errors
 */
export class HostRefused extends Schema.TaggedError<HostRefused>("effect-cimd/HostPolicy/HostRefused")(
  "HostRefused",
  { clientId: Schema.String, host: Schema.String, reason: Schema.String }
) {
  override get message(): string {
    return `The host ${this.host} may not be a client of this server: ${this.reason}.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return invalidClient
  }
}

/**
 * @since 0.1.0
 * @category tags
 */
export class HostPolicy extends Context.Tag("effect-cimd/HostPolicy")<HostPolicy, {
  /** Succeeds if the client's host may be a client. Asked on every resolve, before the cache. */
  readonly check: (clientId: ClientId) => Effect.Effect<void, HostRefused>
  /** Whether `localhost` and loopback addresses are permitted: development only. */
  readonly loopback: boolean
  /** Whether a client identifier may name a public address instead of a host name. */
  readonly addressLiterals: boolean
}>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The only hosts that may be clients, in lower case: `app.example`, or `*.app.example` for every name below it (and
   * not itself). All hosts, if absent.
   */
  readonly allow?: ReadonlyArray<string> | undefined
  /** Hosts that may not be clients, written as in `allow`. A host in both is refused. */
  readonly block?: ReadonlyArray<string> | undefined
  /** Permit client identifiers that name a public address. Off unless told. */
  readonly addressLiterals?: boolean | undefined
  /**
   * Development mode: permit `localhost` and loopback addresses, and nothing else that is not public. It needs the
   * issuer of this authorization server, and the layer does not build unless that is on a loopback host too (CIMD 8.6).
   */
  readonly development?: { readonly issuer: string } | undefined
}

/**
 * The options cannot be kept.
 *
 * @since 0.1.0
 * @category errors
 */
export class HostPolicyInvalid extends Schema.TaggedError<HostPolicyInvalid>("effect-cimd/HostPolicy/HostPolicyInvalid")(
  "HostPolicyInvalid",
  { message: Schema.String }
) {}

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: (options: Options) => Layer.Layer<HostPolicy, HostPolicyInvalid> = () => null as never

/**
 * Every public host may be a client.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerPublic: Layer.Layer<HostPolicy> = null as never
