/**
 * What the server knows of its clients: which ones its users let in, what their documents said then, and what its operator
 * decided about them (rules REG-01 to REG-16).
 *
 * A cache may forget anything at any time, and strangers fill it too. The registry keeps what must outlive that: a client
 * with grants is recalled while its origin is down, and a decision stays until the operator changes it. Only clients that
 * a user consented to and decisions of the operator take room in it.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Instant } from "./Cache.js"
import type { ClientId } from "./ClientId.js"
import type { AcceptedDocument } from "./ClientMetadata.js"
import { meaningOf } from "./internal/errorMeaning.js"
import * as metrics from "./internal/metrics.js"
import * as OptionReader from "./internal/optionReader.js"
import * as Reading from "./internal/registry/clientReading.js"
import * as Record from "./internal/registry/clientRecord.js"
import * as DecisionCalls from "./internal/registry/decisionCalls.js"
import type * as DecisionIndex from "./internal/registry/decisionIndex.js"
import * as Decisions from "./internal/registry/decisionOptions.js"
import * as Stored from "./internal/registry/documentRecord.js"
import { FairTable } from "./internal/registry/fairTable.js"
import * as RegistryOptions from "./internal/registry/options.js"
import { StandingDecisions } from "./internal/registry/standingDecisions.js"
import type * as DocumentChange from "./internal/rules/documentChange.js"
import { siteOf } from "./internal/rules/site.js"
import { quote } from "./internal/rules/text.js"
import * as Lifetime from "./internal/storedLifetime.js"
import type { InvalidOptions } from "./InvalidOptions.js"
import * as Issue from "./Issue.js"
import type { OAuthError } from "./OAuthError.js"

/**
 * A document as the registry keeps it: its text in canonical form (RFC 8785), and the SHA-256 of that text in
 * hexadecimal. Its reader validates it again, so it is not yet an accepted document.
 *
 * @since 0.1.0
 * @category models
 */
export interface StoredDocument extends Stored.StoredDocument {}

/**
 * How a document differs from the one that the user consented to (REG-06).
 *
 * - `none`: not at all, or only in the order of what has no order.
 * - `display`: only in members that are shown to people, such as `client_name` and `logo_uri`.
 * - `security`: in any other member, such as `redirect_uris`, `jwks_uri` and members that nobody registered.
 *
 * @since 0.1.0
 * @category models
 */
export type Change = DocumentChange.Change

/**
 * A document that was shown to a user, such as a `Resolution` of the resolver.
 *
 * @since 0.1.0
 * @category models
 */
export interface Shown {
  readonly document: AcceptedDocument
  /** When its fetch started. `undefined` for a document that was not fetched, such as a pinned one. */
  readonly fetchedAt: Instant | undefined
  /** Milliseconds from the start of its fetch to its expiry. Without it, the document counts as expired. */
  readonly lifetimeMillis?: number | undefined
}

/**
 * The last accepted document of a confirmed client.
 *
 * @since 0.1.0
 * @category models
 */
export interface Recalled {
  readonly document: StoredDocument
  /** Whether it was fetched from the client's origin, or pinned by the operator. */
  readonly source: "origin" | "pin"
  /** When its fetch started, or when it was pinned. */
  readonly fetchedAt: Instant
  /** Whether its lifetime has ended. A pinned document has no lifetime. */
  readonly expired: boolean
  /** How it differs from what the user consented to. */
  readonly changed: Change
}

/**
 * Who makes a decision, and why (REG-13).
 *
 * @since 0.1.0
 * @category models
 */
export interface DecisionOptions extends Decisions.DecisionOptions {}

/**
 * A block, approval or pin that is in force. `subject` is the client id, or the pattern as `host/path/`.
 *
 * @since 0.1.0
 * @category models
 */
export type Standing = DecisionIndex.Standing

/**
 * What the operator's decisions say about a client. A block comes before everything, a pin before an approval (REG-10).
 *
 * @since 0.1.0
 * @category models
 */
export type Admission = DecisionIndex.Admission

/**
 * An entry of the audit: one decision (REG-13).
 *
 * @since 0.1.0
 * @category models
 */
export interface AuditEntry {
  readonly decision:
    | "block"
    | "unblock"
    | "allow"
    | "disallow"
    | "approve"
    | "reject"
    | "pin"
    | "unpin"
    | "evict"
  /** The client id, or the pattern as `host/path/`. */
  readonly subject: string
  readonly by: string
  readonly at: Instant
  readonly reason: string
  /** The digest of a pinned document. */
  readonly digest: string | undefined
}

/**
 * What happened: a decision of the operator, or the refusal of a client.
 *
 * @since 0.1.0
 * @category models
 */
export type Event =
  | { readonly _tag: "Decided"; readonly entry: AuditEntry }
  | {
    readonly _tag: "Refused"
    readonly clientId: string
    /** The tag of the error, such as `ClientBlocked`. */
    readonly error: string
    readonly at: Instant
  }

/**
 * A request for an approval (REG-12).
 *
 * @since 0.1.0
 * @category models
 */
export interface ApprovalRequest {
  readonly clientId: ClientId
  /** The first user to ask. */
  readonly by: string
  readonly at: Instant
}

/**
 * All that the registry knows of a client.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClientState {
  readonly clientId: ClientId
  readonly admission: Admission
  /** The decisions that name the client, or whose pattern matches it. */
  readonly decisions: ReadonlyArray<Standing>
  readonly request: ApprovalRequest | undefined
  /** What the user consented to last, and when. `undefined` if the client is not confirmed. */
  readonly consented: { readonly document: StoredDocument; readonly at: Instant } | undefined
  readonly usedAt: Instant | undefined
  /** The document of the last good fetch. */
  readonly accepted:
    | { readonly document: StoredDocument; readonly fetchedAt: Instant; readonly expiresAt: Instant }
    | undefined
  /** How the last accepted document differs from what the user consented to, and in which members. */
  readonly changed: Change | undefined
  readonly changedMembers: ReadonlyArray<string>
  /** The first and the latest fetch that found the document gone (without a rule set) or invalid (under a rule set). */
  readonly withdrawals: ReadonlyArray<{
    readonly ruleset: string | undefined
    readonly firstAt: Instant
    readonly latestAt: Instant
  }>
  readonly evictedAt: Instant | undefined
}

/**
 * The operator blocked the client.
 *
 * @since 0.1.0
 * @category errors
 */
export class ClientBlocked extends Schema.TaggedError<ClientBlocked>("effect-cimd/ClientRegistry/ClientBlocked")(
  "ClientBlocked",
  { clientId: Schema.String, subject: Schema.String, by: Schema.String, reason: Schema.String }
) {
  override get message(): string {
    return `The client ${quote(this.clientId)} is blocked by a decision on ${quote(this.subject)} of ${
      quote(this.by)
    }: ` +
      quote(this.reason)
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

/**
 * Only approved clients are admitted, and this one is not (REG-12). `rejected` tells whether the operator rejected it.
 *
 * @since 0.1.0
 * @category errors
 */
export class ClientUnapproved
  extends Schema.TaggedError<ClientUnapproved>("effect-cimd/ClientRegistry/ClientUnapproved")(
    "ClientUnapproved",
    { clientId: Schema.String, rejected: Schema.Boolean }
  )
{
  override get message(): string {
    return this.rejected
      ? `The operator rejected the client ${quote(this.clientId)}.`
      : `The client ${quote(this.clientId)} is not approved. For a signed-in user, call \`requestApproval\`.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

/**
 * The client has no document that can be recalled (REG-05).
 *
 * - `unconfirmed`: no user consented to it, or it was not used for too long. At the authorization endpoint, `resolve` it.
 * - `tooOld`: the last good fetch is too long ago, or was before an eviction.
 * - `withdrawn`: two fetches found its document gone or invalid.
 * - `blocked`: the operator blocked it.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotRecalled extends Schema.TaggedError<NotRecalled>("effect-cimd/ClientRegistry/NotRecalled")(
  "NotRecalled",
  { clientId: Schema.String, reason: Schema.Literal("unconfirmed", "tooOld", "withdrawn", "blocked") }
) {
  override get message(): string {
    return `The client ${quote(this.clientId)} cannot be recalled: ${reasons[this.reason]}.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

const reasons = {
  unconfirmed: "no user has consented to it, or it was not used for too long",
  tooOld: "its document was not fetched for too long, or not since its eviction",
  withdrawn: "its origin no longer has a valid document",
  blocked: "the operator blocked it"
}

const descriptions = {
  admission: "read the decisions",
  confirm: "record a consent",
  isConfirmed: "read whether a client is confirmed",
  forget: "forget a client",
  recordFetch: "record a fetch",
  withdraw: "record a withdrawal",
  recall: "recall a client",
  decide: "record a decision",
  requestApproval: "record a request for an approval",
  requests: "read the requests for an approval",
  show: "show a client",
  audit: "read the audit",
  sweep: "sweep"
}

/**
 * A call of the registry failed at run time, such as by a timeout. Nothing is lost, and a later call may succeed.
 *
 * @since 0.1.0
 * @category errors
 */
export class RegistryError extends Schema.TaggedError<RegistryError>("effect-cimd/ClientRegistry/RegistryError")(
  "RegistryError",
  {
    operation: Schema.Literal(
      "admission",
      "confirm",
      "isConfirmed",
      "forget",
      "recordFetch",
      "withdraw",
      "recall",
      "decide",
      "requestApproval",
      "requests",
      "show",
      "audit",
      "sweep"
    ),
    cause: Schema.Defect
  }
) {
  override get message(): string {
    return `The client registry could not ${descriptions[this.operation]}; see the cause, and check the database.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

/**
 * A decision or request cannot be recorded. `issues` holds every issue. Only an operator can cause it, so it has no
 * `oauthError`.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidDecision extends Schema.TaggedError<InvalidDecision>("effect-cimd/ClientRegistry/InvalidDecision")(
  "InvalidDecision",
  { issues: Schema.Array(Issue.Issue) }
) {
  override get message(): string {
    return `The decision cannot be recorded:${this.issues.map((issue) => `\n- ${Issue.format(issue)}`).join("")}`
  }
}

/**
 * What a sweep deleted (REG-04, REG-13).
 *
 * @since 0.1.0
 * @category models
 */
export interface Swept {
  /** Clients that no longer count as confirmed, and old evictions. */
  readonly clients: number
  readonly audit: number
}

/**
 * Keeps the clients that users consented to, and the decisions of the operator.
 *
 * Wherever a method takes a subject, it is a client id, or a pattern for many clients: `app.example` and `*.app.example` for
 * all clients of the hosts, `app.example/team/` for those below a path. The path ends with `/` (REG-11).
 *
 * @since 0.1.0
 * @category tags
 */
export class ClientRegistry extends Context.Tag("effect-cimd/ClientRegistry")<ClientRegistry, {
  /**
   * Returns what the decisions say about a client, if this node knows it without waiting. `undefined` says nothing about
   * the client.
   */
  readonly peekAdmission: (clientId: ClientId) => Admission | undefined
  /** Returns what the decisions say about a client. */
  readonly admission: (clientId: ClientId) => Effect.Effect<Admission, RegistryError>

  /**
   * Records that a user consented to a client whose document was shown. The document is kept until the next `confirm`,
   * whatever its cache headers say (REG-01, REG-03).
   */
  readonly confirm: (shown: Shown) => Effect.Effect<void, RegistryError>
  /** Notes that the client was used, so that it stays confirmed. Call it after each issued token. Never fails (REG-04). */
  readonly used: (clientId: ClientId) => Effect.Effect<void>
  /** Returns whether a client is confirmed: a user consented to it, and it was used since (REG-04). */
  readonly isConfirmed: (clientId: ClientId) => Effect.Effect<boolean, RegistryError>
  /** Ends the confirmation of a client. Its blocks, approvals and pins stay. */
  readonly forget: (clientId: ClientId) => Effect.Effect<void, RegistryError>
  /** Returns the last accepted document of a confirmed client for a node of a rule set. Never fetches (REG-05). */
  readonly recall: (clientId: ClientId, ruleset: string) => Effect.Effect<Recalled, NotRecalled | RegistryError>

  /**
   * Records a good fetch of a confirmed client, unless one that started later is recorded or the client was evicted since.
   * Writes nothing for any other client. Call it after each good fetch (REG-02).
   */
  readonly recordFetch: (
    document: AcceptedDocument,
    options: { readonly fetchedAt: Instant; readonly timeToLive: Duration.DurationInput }
  ) => Effect.Effect<void, RegistryError>
  /**
   * Records a fetch that found the document of a confirmed client gone, or with a `ruleset`, invalid under that rule set.
   * A second one at least a minute later ends `recall`, until a good fetch (REG-07).
   */
  readonly withdraw: (
    clientId: ClientId,
    options: { readonly fetchedAt: Instant; readonly ruleset?: string | undefined }
  ) => Effect.Effect<void, RegistryError>

  /** Refuses all clients of a subject, at once (REG-10). */
  readonly block: (subject: string, options: DecisionOptions) => Effect.Effect<void, InvalidDecision | RegistryError>
  /** Ends a block. Returns whether there was one on exactly this subject. */
  readonly unblock: (
    subject: string,
    options: DecisionOptions
  ) => Effect.Effect<boolean, InvalidDecision | RegistryError>
  /** Admits all clients of a subject that are not blocked. For a client id, it is the same as `approve`. */
  readonly allow: (subject: string, options: DecisionOptions) => Effect.Effect<void, InvalidDecision | RegistryError>
  /** Ends an approval or rejection. Returns whether there was one on exactly this subject. */
  readonly disallow: (
    subject: string,
    options: DecisionOptions
  ) => Effect.Effect<boolean, InvalidDecision | RegistryError>
  /** Admits a client that is not blocked, and ends its request. */
  readonly approve: (
    clientId: ClientId,
    options: DecisionOptions
  ) => Effect.Effect<void, InvalidDecision | RegistryError>
  /** Refuses an approval, also if a pattern allows the client, and ends its request. Blocks nothing in mode `"open"`. */
  readonly reject: (
    clientId: ClientId,
    options: DecisionOptions
  ) => Effect.Effect<void, InvalidDecision | RegistryError>
  /**
   * Provides the document of a client, which is then served without a fetch. Evicting the client does not unpin it
   * (REG-09).
   */
  readonly pin: (
    document: AcceptedDocument,
    options: DecisionOptions
  ) => Effect.Effect<void, InvalidDecision | RegistryError>
  /** Ends a pin. Returns whether there was one. */
  readonly unpin: (
    clientId: ClientId,
    options: DecisionOptions
  ) => Effect.Effect<boolean, InvalidDecision | RegistryError>
  /**
   * Forgets the last accepted document of a client: `recall` waits for a fetch that starts later. The client stays
   * confirmed. Call it before `Cache.evict` (REG-08).
   */
  readonly evict: (clientId: ClientId, options: DecisionOptions) => Effect.Effect<void, InvalidDecision | RegistryError>

  /**
   * Records that a signed-in user asks for the approval of a client. Returns `"decided"`, and records nothing, if the
   * client is admitted, blocked or rejected already (REG-12).
   */
  readonly requestApproval: (
    clientId: ClientId,
    options: { readonly by: string }
  ) => Effect.Effect<"recorded" | "decided", InvalidDecision | RegistryError>
  /** The open requests for an approval, the oldest first. */
  readonly requests: Effect.Effect<ReadonlyArray<ApprovalRequest>, RegistryError>

  /** Returns all that the registry knows of a client. Writes nothing. */
  readonly show: (clientId: ClientId) => Effect.Effect<ClientState, RegistryError>
  /** Returns the decisions, the latest first. `limit` defaults to `100`. */
  readonly audit: (options?: {
    readonly subject?: string | undefined
    readonly limit?: number | undefined
  }) => Effect.Effect<ReadonlyArray<AuditEntry>, RegistryError>
  /**
   * Each decision and each refusal, from the moment of the subscription. A subscriber that is slower than 1024 events
   * loses the oldest ones, so nobody waits for it.
   */
  readonly events: Stream.Stream<Event>
  /** Publishes the refusal of a client to `events`. `error` is the tag of the error. */
  readonly refused: (clientId: string, error: string) => Effect.Effect<void>
  /** Deletes clients that no longer count as confirmed, and the audit that is older than its age. */
  readonly sweep: Effect.Effect<Swept, RegistryError>
}>() {}

/**
 * Options of every registry.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends RegistryOptions.RegistryOptions {}

/**
 * Options of the registry in memory.
 *
 * @since 0.1.0
 * @category models
 */
export interface MemoryOptions extends Options {
  /**
   * Maximum number of confirmed clients. When there are more, the site with the most clients loses the one that was used
   * least recently (REG-15). Defaults to `100_000`.
   */
  readonly maxClients?: number | undefined
}

/**
 * Returns the digest of a document as `confirm` keeps it. Keep it with the consent page: if the document has another one
 * when the user's answer arrives, show the page again.
 *
 * @since 0.1.0
 * @category getters
 */
export const digest = (document: AcceptedDocument): string => Stored.store(document).digest

const maxAudit = 10_000

const makeMemory = (
  options: MemoryOptions = {}
): Effect.Effect<ClientRegistry["Type"], InvalidOptions, Scope.Scope> =>
  Effect.gen(function*() {
    const clock = yield* Effect.clock
    const settings = yield* OptionReader.read("ClientRegistry", (reader) => ({
      ...RegistryOptions.read(reader, options),
      maxClients: reader.whole("maxClients", options.maxClients, 100_000)
    }))
    const events = yield* Effect.acquireRelease(PubSub.sliding<Event>(RegistryOptions.maxEvents), PubSub.shutdown)
    const now = (): Instant => clock.unsafeCurrentTimeNanos() / 1000n

    const decisions = new StandingDecisions(settings.admission)
    const requests = new FairTable<ApprovalRequest>(RegistryOptions.requestBounds, siteOf)
    const clients = new FairTable<Record.ClientRecord>(
      { total: settings.maxClients, perSite: settings.maxClients },
      siteOf
    )
    let audit: ReadonlyArray<AuditEntry> = []

    const recordOf = (clientId: string): Record.ClientRecord =>
      Record.at(clients.get(clientId) ?? Record.empty, now(), settings.forgetAfter)

    /** Stores a changed record. A client that was neither confirmed nor evicted takes no room. */
    const keep = (clientId: string, record: Record.ClientRecord): void => {
      if (Record.isEmpty(record, now())) clients.delete(clientId)
      else clients.set(clientId, record)
    }

    /** A clock that is ahead must not keep the later fetches of other nodes from being recorded, nor a document for longer. */
    const started = (fetchedAt: Instant): Instant => fetchedAt < now() ? fetchedAt : now()

    const append = (entry: AuditEntry): Effect.Effect<void> => {
      audit = [...audit.slice(1 - maxAudit), entry]
      metrics.decisionsOf(entry.decision).unsafeUpdate(1, [])
      return Effect.asVoid(PubSub.publish(events, { _tag: "Decided", entry }))
    }

    const decided = ({ by = "this process", reason }: DecisionOptions): DecisionIndex.Decided => ({
      by,
      at: now(),
      reason
    })

    const calls = DecisionCalls.make<InvalidDecision, InvalidDecision>((issues) => new InvalidDecision({ issues }), {
      enforce: (decision, slot, subject, options, puts) =>
        Effect.suspend(() => {
          const made = { subject, ...decided(options) }
          const issues = decisions.issuesOf({ ...made, ...puts })
          if (issues.length > 0) return new InvalidDecision({ issues })
          decisions.set({ ...made, ...puts }, slot)
          requests.delete(subject)
          return append({ decision, ...made, digest: puts.decision === "pinned" ? puts.document.digest : undefined })
        }),
      end: (decision, slot, subject, options) =>
        Effect.suspend(() =>
          decisions.delete(slot, subject)
            ? Effect.as(append({ decision, subject, ...decided(options), digest: undefined }), true)
            : Effect.succeed(false)
        ),
      evict: (clientId, options) =>
        Effect.suspend(() => {
          const made = decided(options)
          keep(clientId, Record.evict(recordOf(clientId), made.at))
          return append({ decision: "evict", subject: clientId, ...made, digest: undefined })
        })
    })

    const isUndecided = (clientId: string): boolean => Reading.isUndecided(decisions.index.admission(clientId))

    return ClientRegistry.of({
      peekAdmission: (clientId) => decisions.index.admission(clientId),
      admission: (clientId) => Effect.sync(() => decisions.index.admission(clientId)),

      confirm: ({ document, fetchedAt, lifetimeMillis = 0 }) =>
        Effect.sync(() => {
          const { clientId } = document
          const stored = Stored.store(document)
          const lifetime = BigInt(Lifetime.toMillis(lifetimeMillis)) * 1000n
          const fetched = fetchedAt === undefined
            ? undefined
            : { document: stored, fetchedAt: started(fetchedAt), expiresAt: started(fetchedAt) + lifetime }
          clients.renew(clientId, Record.confirm(recordOf(clientId), stored, fetched, now()))
        }),
      used: (clientId) =>
        Effect.sync(() => {
          const record = recordOf(clientId)
          if (record.consent !== undefined) clients.renew(clientId, Record.use(record, now()))
        }),
      isConfirmed: (clientId) => Effect.sync(() => recordOf(clientId).consent !== undefined),
      forget: (clientId) => Effect.sync(() => keep(clientId, Record.forget(recordOf(clientId)))),
      recall: (clientId, ruleset) =>
        Effect.suspend(() => {
          const recalled = Reading.recall(recordOf(clientId), decisions.index.admission(clientId), ruleset, {
            now: now(),
            recallFor: settings.recallFor
          })
          return typeof recalled === "string"
            ? new NotRecalled({ clientId, reason: recalled })
            : Effect.succeed(recalled)
        }),

      recordFetch: (document, { fetchedAt, timeToLive }) =>
        Effect.sync(() => {
          const record = recordOf(document.clientId)
          // Checked first, because most fetches are of clients that nobody confirmed.
          if (record.consent === undefined) return
          const expiresAt = now() + BigInt(Lifetime.toMillis(timeToLive)) * 1000n
          keep(
            document.clientId,
            Record.recordFetch(record, { document: Stored.store(document), fetchedAt: started(fetchedAt), expiresAt })
          )
        }),
      withdraw: (clientId, { fetchedAt, ruleset }) =>
        Effect.sync(() => keep(clientId, Record.withdraw(recordOf(clientId), started(fetchedAt), ruleset))),

      ...calls,

      requestApproval: (clientId, { by }) =>
        Effect.suspend(() => {
          const issues = Decisions.issuesOf({ by, reason: "request" })
          if (issues.length > 0) return new InvalidDecision({ issues })
          if (!isUndecided(clientId)) return Effect.succeed("decided" as const)
          if (requests.get(clientId) === undefined) requests.set(clientId, { clientId, by, at: now() })
          return Effect.succeed("recorded" as const)
        }),
      requests: Effect.sync(() =>
        requests.entries().flatMap(([clientId, request]) => isUndecided(clientId) ? [request] : [])
      ),

      show: (clientId) =>
        Effect.sync(() =>
          Reading.show(clientId, recordOf(clientId), {
            admission: decisions.index.admission(clientId),
            decisions: decisions.index.matching(clientId),
            request: requests.get(clientId)
          })
        ),
      audit: ({ limit = 100, subject } = {}) =>
        Effect.sync(() => {
          const about = subject === undefined ? audit : audit.filter((entry) => entry.subject === subject)
          return about.slice(-Math.max(1, Math.trunc(limit) || 1)).reverse()
        }),
      events: Stream.fromPubSub(events),
      refused: (clientId, error) =>
        Effect.asVoid(Effect.suspend(() => PubSub.publish(events, { _tag: "Refused", clientId, error, at: now() }))),
      sweep: Effect.sync(() => {
        const lapsed = clients.entries().filter(([clientId]) => Record.isEmpty(recordOf(clientId), now()))
        for (const [clientId] of lapsed) clients.delete(clientId)
        const confirmed = clients.entries().filter(([, record]) => record.consent !== undefined).length
        metrics.confirmedClients.unsafeUpdate(confirmed, [])
        metrics.evictedClients.unsafeUpdate(clients.size - confirmed, [])
        const before = audit.length
        const oldest = now() - settings.auditFor
        audit = audit.filter(({ at }) => at >= oldest)
        return { clients: lapsed.length, audit: before - audit.length }
      })
    })
  })

/**
 * The registry of one process, in memory: for tests, and for a server with one node whose clients may be confirmed again
 * after a restart. It is neither shared nor durable.
 *
 * @example
 * ```ts
 * import { ClientRegistry } from "effect-cimd"
 * import * as Effect from "effect/Effect"
 *
 * const program = Effect.gen(function*() {
 *   const registry = yield* ClientRegistry.ClientRegistry
 *   yield* registry.block("*.abuse.example", { by: "alice", reason: "phishing, ticket 42" })
 *   yield* registry.block("pages.example/mallory/", { by: "alice", reason: "phishing, ticket 43" })
 * }).pipe(Effect.provide(ClientRegistry.layerMemory()))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory = (options?: MemoryOptions): Layer.Layer<ClientRegistry, InvalidOptions> =>
  Layer.scoped(ClientRegistry, makeMemory(options))

/**
 * {@link layerMemory} with its options read from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemoryConfig = (
  options: Config.Config.Wrap<MemoryOptions>
): Layer.Layer<ClientRegistry, InvalidOptions | ConfigError.ConfigError> =>
  Layer.scoped(ClientRegistry, Effect.flatMap(Config.unwrap(options), makeMemory))
