/**
 * Resolves a client identifier to its accepted document: from the cache while it is fresh, otherwise from the client's
 * origin. Recalls the last accepted document of a confirmed client without a fetch.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { CacheError, Entry, Instant } from "./Cache.js"
import { Cache } from "./Cache.js"
import type { InvalidClientId } from "./ClientId.js"
import * as ClientId from "./ClientId.js"
import type { AcceptedDocument } from "./ClientMetadata.js"
import type { Change, RegistryError, Standing } from "./ClientRegistry.js"
import { ClientBlocked, ClientRegistry, ClientUnapproved, NotRecalled } from "./ClientRegistry.js"
import type { FetchError, Known, Response } from "./Fetcher.js"
import { Fetcher } from "./Fetcher.js"
import * as Freshness from "./Freshness.js"
import type { HostRefused } from "./HostPolicy.js"
import { HostPolicy } from "./HostPolicy.js"
import * as AttemptLimit from "./internal/attemptLimit.js"
import * as metrics from "./internal/metrics.js"
import * as OptionReader from "./internal/optionReader.js"
import { maxLengthAllowed } from "./internal/rules/clientIdGrammar.js"
import { excerpt } from "./internal/rules/text.js"
import { SharedDocuments } from "./internal/sharedDocuments.js"
import * as SharedFailure from "./internal/sharedFailure.js"
import * as SingleFlight from "./internal/singleFlight.js"
import * as Spans from "./internal/spans.js"
import * as StaleIfError from "./internal/staleIfError.js"
import * as ValidateOnce from "./internal/validateOnce.js"
import type { InvalidOptions } from "./InvalidOptions.js"
import type { InvalidDocument, UnauthorizedClient } from "./Validator.js"
import { Validator } from "./Validator.js"

/**
 * A client's document and its source. `ClientRegistry.confirm` takes it as it is.
 *
 * @since 0.1.0
 * @category models
 */
export interface Resolution {
  readonly document: AcceptedDocument
  /** A tier of the cache, the client's origin, or a pin of the operator. */
  readonly source: "memory" | "postgres" | "origin" | "pin"
  /** When its fetch started, by the cache's clock. `undefined` for a pinned document, which is not fetched. */
  readonly fetchedAt: Instant | undefined
  /** Milliseconds from the start of its fetch to its expiry. `undefined` for a pinned document, which does not expire. */
  readonly lifetimeMillis: number | undefined
  /**
   * Whether the document has expired and is returned only because its origin failed. `false` unless the cache keeps
   * expired documents (its option `staleIfError`).
   */
  readonly stale: boolean
}

/**
 * The last accepted document of a confirmed client (REG-05).
 *
 * @since 0.1.0
 * @category models
 */
export interface Recalled {
  readonly document: AcceptedDocument
  /** The client's origin, or a pin of the operator. */
  readonly source: "origin" | "pin"
  /** When its fetch started, or when it was pinned. */
  readonly fetchedAt: Instant
  /** Whether its lifetime has ended. A refresh in the background has then been started, at most one in a minute. */
  readonly expired: boolean
  /** How it differs from what the user consented to (REG-06). */
  readonly changed: Change
}

/** The errors of a client that is not admitted. */
type AdmissionError = ClientBlocked | HostRefused | ClientUnapproved | RegistryError

/**
 * Every error of `resolve` and `refresh`. Each has a `message` for the operator and an `oauthError` for the OAuth client.
 *
 * @since 0.1.0
 * @category errors
 */
export type ResolveError =
  | InvalidClientId
  | AdmissionError
  | CacheError
  | FetchError
  | InvalidDocument
  | UnauthorizedClient

/**
 * Every error of `recall`. A blocked client is `NotRecalled`.
 *
 * @since 0.1.0
 * @category errors
 */
export type RecallError =
  | InvalidClientId
  | HostRefused
  | ClientUnapproved
  | RegistryError
  | NotRecalled
  | InvalidDocument
  | UnauthorizedClient

/**
 * The options of the resolver. Each has a default.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The bounds of a document's time to live. Each defaults to its value in `Freshness.defaultPolicy`. */
  readonly freshness?: Partial<Freshness.Policy> | undefined
  /** Maximum length of a client identifier in characters, 2048 at most (URL-09). Defaults to `2048`. */
  readonly maxClientIdLength?: number | undefined
  /**
   * The last part of a document's lifetime, as a fraction from 0 to 0.5, in which a hit also starts a fetch in the
   * background. Callers of a popular client then never wait for its origin. A document is never returned past its
   * expiry. Defaults to `0`, which is off.
   */
  readonly refreshAhead?: number | undefined
  /**
   * How long after its fetch a document that must not be stored, such as one with `no-store`, may serve further calls for its
   * client on this node, up to 10 seconds. It is kept in memory only, and not served after an eviction (CAC-19). Defaults to
   * `0`, so that each call fetches it again.
   */
  readonly shareFor?: Duration.DurationInput | undefined
}

/**
 * For whom a client is resolved.
 *
 * @since 0.1.0
 * @category models
 */
export interface ResolveOptions {
  /**
   * Who caused the call, such as the IP address of the HTTP request. Take it from the connection, or from the header of a
   * proxy that you trust. A header that the client chooses would let it evade its share, or use up that of others.
   *
   * If the call starts a fetch, the requester pays for it: its share of the limits becomes smaller. Callers that join the
   * fetch, and those served from the cache, pay nothing. Without a requester, no such share applies.
   */
  readonly requester?: string | undefined
}

/**
 * Resolves client identifiers to accepted documents.
 *
 * Every method first applies the operator's decisions and the host policy: a blocked client, a refused host, a pinned
 * document, an approval that is missing (REG-10).
 *
 * @since 0.1.0
 * @category tags
 */
export class Resolver extends Context.Tag("effect-cimd/Resolver")<Resolver, {
  /**
   * Returns the accepted document of a client: from the cache while it is fresh, otherwise from the client's origin.
   * Concurrent callers of one client share one lookup and one fetch, and its failure (FET-14). A pinned document is
   * returned without a fetch (REG-09).
   */
  readonly resolve: (clientId: string, options?: ResolveOptions) => Effect.Effect<Resolution, ResolveError>
  /**
   * Fetches the document again, whatever the cache holds, and stores the result. The fetch starts after the call: a
   * fetch in progress is waited for, and concurrent callers share the next one. If the fetch fails, no expired document is
   * returned in its place.
   */
  readonly refresh: (clientId: string, options?: ResolveOptions) => Effect.Effect<Resolution, ResolveError>
  /**
   * Returns the last accepted document of a confirmed client, without waiting for its origin or for the cache: at the token
   * endpoint, for example. If the document has expired or is too old, a refresh starts in the background, at most one per
   * client and minute on this node (REG-05).
   */
  readonly recall: (clientId: string) => Effect.Effect<Recalled, RecallError>
}>() {}

/** The operator's decision to provide a client's document. */
type Pin = Extract<Standing, { readonly decision: "pinned" }>

/** The result of a fetch, and whether the cache would still return it. */
interface Fetched {
  readonly resolution: Resolution
  readonly current: boolean
}

/** Maximum number of fetches for one call, if an eviction invalidates each of them. */
const maxAttempts = 3

// A lifetime starts when its fetch starts. With a greater part, each fetch would start as soon as the last one has ended.
const maxAhead = 0.5

const maxShareMillis = 10_000

/** Maximum number of clients whose attempt to fetch ahead of expiry is remembered. */
const maxTriedAhead = 10_000

/**
 * Refreshes in the background that `recall` starts. Only recalls of clients that users confirmed are counted, so strangers
 * cannot fill the table.
 */
const refreshBounds: AttemptLimit.Bounds = { interval: 60_000_000_000n, maxKeys: 10_000 }

type Services = Cache | Fetcher | Validator | HostPolicy | ClientRegistry

const settle = (options: Options) =>
  OptionReader.read("Resolver", ({ millis, report }) => {
    const { maxClientIdLength = maxLengthAllowed, refreshAhead = 0 } = options
    if (!(refreshAhead >= 0 && refreshAhead <= maxAhead)) {
      report(`\`refreshAhead\` must be a fraction of the lifetime between 0 and ${maxAhead}, but is ${refreshAhead}`)
    }
    if (!(Number.isInteger(maxClientIdLength) && maxClientIdLength >= 1 && maxClientIdLength <= maxLengthAllowed)) {
      report(`\`maxClientIdLength\` must be an integer between 1 and ${maxLengthAllowed}, but is ${maxClientIdLength}`)
    }
    const shareMillis = millis("shareFor", options.shareFor, 0, { least: 0, most: maxShareMillis })
    return { maxClientIdLength, refreshAhead, shareMillis }
  })

/** Returns whether an entry's fetch ahead of expiry is the first one, so that a failing origin is not tried at each hit. */
const makeFirstTry = () => {
  const tried = new Map<string, Instant>()
  return ({ document: { clientId }, fetchedAt }: Entry): boolean => {
    if (tried.get(clientId) === fetchedAt) return false
    tried.set(clientId, fetchedAt)
    for (const oldest of tried.keys()) {
      if (tried.size <= maxTriedAhead) break
      tried.delete(oldest)
    }
    return true
  }
}

const fromEntry = (entry: Entry): Resolution => {
  const stale = entry.remainingMillis <= 0
  const hits = entry.tier === "memory" ? metrics.memoryHits : metrics.postgresHits
  ;(stale ? metrics.staleHits : hits).unsafeUpdate(1, [])
  const { document, fetchedAt, lifetimeMillis, tier } = entry
  return { document, source: tier, fetchedAt, lifetimeMillis, stale }
}

/** Awaits a write that keeps a record of a fetch. Its failure is logged, because the document itself is known. */
const recorded = (
  write: Effect.Effect<void, CacheError | RegistryError>,
  whatFailed: string
): Effect.Effect<void> => Effect.catchAll(write, (error) => Effect.logWarning(whatFailed, Cause.fail(error)))

/** Replaces the failure of a read that only the limits depend on. */
const unlessFailed = <A>(read: Effect.Effect<A, CacheError | RegistryError>, otherwise: A): Effect.Effect<A> =>
  Effect.catchAll(read, (error) =>
    Effect.as(
      Effect.logDebug("Could not read what is known of a client, so its fetch has the least share", Cause.fail(error)),
      otherwise
    ))

const make = (
  options: Options = {}
): Effect.Effect<Resolver["Type"], InvalidOptions, Services | Scope.Scope> =>
  Effect.gen(function*() {
    const cache = yield* Cache
    const fetcher = yield* Fetcher
    const validator = yield* Validator
    const hostPolicy = yield* HostPolicy
    const registry = yield* ClientRegistry
    const scope = yield* Effect.scope

    const { maxClientIdLength, refreshAhead, shareMillis } = yield* settle(options)
    const shareNanos = BigInt(Math.trunc(shareMillis * 1_000_000))
    const sharedDocuments = shareNanos === 0n ? undefined : new SharedDocuments<Resolution>()
    const freshness = yield* Freshness.makePolicy(options.freshness)
    const grammar: ClientId.Options = {
      maxLength: maxClientIdLength,
      loopback: hostPolicy.loopback,
      addressLiterals: hostPolicy.addressLiterals
    }

    const validateStored = yield* ValidateOnce.make(validator)

    /** Returns what is known of a client. If a service fails here, the client has the share of an unknown one. */
    const knownOf = (clientId: ClientId.ClientId): Effect.Effect<Known> =>
      Effect.zipWith(
        unlessFailed(registry.isConfirmed(clientId), false),
        unlessFailed(cache.knows(clientId), "nothing"),
        (isConfirmed, known): Known => isConfirmed ? "confirmed" : known,
        { concurrent: true }
      )

    /**
     * Acquires the permit of one fetch. It is returned as soon as the fetch has ended, because what follows may wait for
     * the database.
     */
    const permitOf = (
      clientId: ClientId.ClientId,
      requester: string | undefined
    ): Effect.Effect<Effect.Effect<Response, FetchError>, FetchError, Scope.Scope> =>
      Effect.gen(function*() {
        const known = yield* knownOf(clientId)
        const scope = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
        const { fetch } = yield* Scope.extend(fetcher.permit(clientId, { known, requester }), scope)
        return Effect.ensuring(fetch, Scope.close(scope, Exit.void))
      })

    /** Shares the result of a fetch, or ends the sharing of earlier ones. */
    const share = (clientId: ClientId.ClientId, fetchedAt: Instant, shared: Resolution | undefined) =>
      Effect.map(Clock.currentTimeNanos, (now) => {
        sharedDocuments?.set(clientId, { shared, fetchedAt, sharedUntil: now + shareNanos })
      })

    /** Fetches with a permit, validates and stores the document. */
    const fetch = (
      clientId: ClientId.ClientId,
      permitted: Effect.Effect<Response, FetchError>,
      fetchedAt: Instant
    ) =>
      Effect.gen(function*() {
        const response = yield* permitted
        const document = yield* validator.validate(clientId, response.body)
        const residentTime = (yield* Clock.currentTimeMillis) - response.receivedAt
        const storable = Freshness.timeToLive(response.freshness, freshness, residentTime)
        const current = yield* Option.match(storable, {
          onNone: () => cache.supersede(clientId, fetchedAt),
          onSome: (timeToLive) =>
            cache.put(document, { fetchedAt, timeToLive, mustRevalidate: response.freshness.mustRevalidate })
        })
        const timeToLive = Option.getOrElse(storable, () => Duration.zero)
        yield* recorded(
          registry.recordFetch(document, { fetchedAt, timeToLive }),
          "Could not record a fetch in the client registry"
        )
        metrics.origins.unsafeUpdate(1, [])
        const lifetimeMillis = Duration.toMillis(timeToLive)
        const resolution: Resolution = { document, source: "origin", fetchedAt, lifetimeMillis, stale: false }
        yield* share(clientId, fetchedAt, current && Option.isNone(storable) ? resolution : undefined)
        return { resolution, current } satisfies Fetched
      })

    /**
     * Fetches. A verdict on the client withdraws the stored document; any other failure does not (FET-16). A document
     * that these rules refuse may be accepted by those of other nodes, so it withdraws nothing for them (CAC-11, REG-07).
     */
    const fetchOrWithdraw = (
      clientId: ClientId.ClientId,
      permitted: Effect.Effect<Response, FetchError>,
      fetchedAt: Instant
    ) =>
      Effect.tapError(fetch(clientId, permitted, fetchedAt), (error) => {
        if (!(SharedFailure.isFailure(error) && StaleIfError.withdraws(error))) return Effect.void
        const withdrawal = {
          fetchedAt,
          ruleset: SharedFailure.isRefusedDocument(error) ? validator.ruleset : undefined
        }
        return Effect.all([
          share(clientId, fetchedAt, undefined),
          recorded(cache.withdraw(clientId, withdrawal), "Could not mark a stored document as withdrawn"),
          recorded(registry.withdraw(clientId, withdrawal), "Could not record a withdrawal in the client registry")
        ], { discard: true })
      })

    /**
     * Fetches, unless another node does: then waits for its document or failure. Returns `undefined` for a failure that
     * this node cannot read, since another version or another rule set wrote it.
     */
    const fetchOnce = (
      clientId: ClientId.ClientId,
      minRemaining: number,
      requester: string | undefined
    ): Effect.Effect<Fetched | undefined, ResolveError, Scope.Scope> =>
      Effect.gen(function*() {
        const permit = permitOf(clientId, requester)
        const election = yield* cache.elect(clientId, validator, { minRemaining, permit })
        switch (election._tag) {
          case "Found":
            return { resolution: fromEntry(election.entry), current: true }
          case "Failed": {
            const failure = SharedFailure.decode(election.failure, validator.ruleset)
            return failure === undefined ? undefined : yield* failure
          }
          case "Elected":
            return yield* Effect.tapError(fetchOrWithdraw(clientId, election.permit, election.fetchedAt), (error) =>
              SharedFailure.isFailure(error) && StaleIfError.isShared(error)
                ? election.fail(SharedFailure.encode(error, validator.ruleset))
                : Effect.void)
        }
      })

    /**
     * Fetches until the cache would return the result. A caller may have come long after the eviction that invalidated a
     * fetch, so it receives a newer document. A client that is evicted all the time gets the result of the last attempt.
     */
    const untilCurrent = <E>(
      attempt: Effect.Effect<Fetched | undefined, E, Scope.Scope>
    ): Effect.Effect<Resolution, E> =>
      Effect.gen(function*() {
        let attempts = 0
        while (true) {
          const fetched = yield* Effect.scoped(attempt)
          if (fetched === undefined) {
            continue
          }
          attempts++
          if (fetched.current || attempts === maxAttempts) {
            return fetched.resolution
          }
        }
      })

    const fetchShared = (clientId: ClientId.ClientId, minRemaining: number, requester?: string) =>
      untilCurrent(fetchOnce(clientId, minRemaining, requester))

    /**
     * Returns the shared document of a client, if there is one. The fetch that found it is recorded again, because the cache
     * then tells whether an eviction or a later fetch of any node has made it out of date.
     */
    const findShared = (clientId: ClientId.ClientId): Effect.Effect<Resolution | undefined, CacheError> =>
      Effect.flatMap(Clock.currentTimeNanos, (now) => {
        const found = sharedDocuments?.get(clientId, now)
        return found === undefined
          ? Effect.succeed(undefined)
          : Effect.map(cache.supersede(clientId, found.fetchedAt), (current) => current ? found.shared : undefined)
      })

    const orStale = (clientId: ClientId.ClientId) => (error: ResolveError): Effect.Effect<Resolution, ResolveError> =>
      SharedFailure.isFailure(error) && StaleIfError.permitsStale(error)
        ? Effect.flatMap(
          cache.stale(clientId, validator),
          Option.match({
            onNone: () => Effect.fail(error),
            onSome: (entry) => Effect.succeed(fromEntry(entry))
          })
        )
        : Effect.fail(error)

    const resolving = yield* SingleFlight.make<Resolution, ResolveError>()
    const refreshing = yield* SingleFlight.make<Resolution, ResolveError>()
    const refreshingAhead = yield* SingleFlight.make<Resolution, ResolveError>()

    const isFirstTry = makeFirstTry()
    const hit = (entry: Entry): Effect.Effect<Resolution> => {
      const threshold = entry.lifetimeMillis * refreshAhead
      const { clientId } = entry.document
      if (entry.remainingMillis >= threshold || !isFirstTry(entry)) return Effect.succeed(fromEntry(entry))
      return refreshingAhead.join(
        clientId,
        // Without a requester: one whose share is used up could otherwise keep popular documents from being refreshed.
        fetchShared(clientId, threshold).pipe(Spans.ofClient("cimd.refreshAhead", clientId))
      ).pipe(
        Effect.catchAllCause((cause) => Effect.logDebug("Could not refresh a document ahead of its expiry", cause)),
        Effect.forkIn(scope),
        Effect.as(fromEntry(entry))
      )
    }

    /**
     * Joins a run of the work, or starts one. If the limits refused a run that a caller started for another requester, a
     * caller with a share of its own tries once more (FET-31).
     */
    const sharing = (
      join: (work: Effect.Effect<Resolution, ResolveError>) => Effect.Effect<Resolution, ResolveError>,
      work: Effect.Effect<Resolution, ResolveError>,
      requester: string | undefined
    ): Effect.Effect<Resolution, ResolveError> =>
      requester === undefined ? join(work) : Effect.suspend(() => {
        let isStarter = false
        const own = Effect.suspend(() => {
          isStarter = true
          return work
        })
        // A pause of the client concerns every requester.
        return Effect.catchTag(
          join(own),
          "Throttled",
          (error) => isStarter || error.reason === "failed" ? error : join(own)
        )
      })

    const missed = (
      clientId: ClientId.ClientId,
      requester: string | undefined
    ): Effect.Effect<Resolution, ResolveError> => {
      metrics.misses.unsafeUpdate(1, [])
      return Effect.flatMap(findShared(clientId), (shared) => {
        if (shared === undefined) return Effect.catchAll(fetchShared(clientId, 0, requester), orStale(clientId))
        metrics.coalesced.unsafeUpdate(1, [])
        return Effect.succeed(shared)
      })
    }

    // The shared run reads the cache, so a caller that comes just after a fetch finds what it stored.
    const resolveShared = (clientId: ClientId.ClientId, requester?: string) =>
      sharing(
        (work) => resolving.join(clientId, work),
        cache.get(clientId, validator).pipe(
          Effect.flatMap(Option.match({
            onNone: () => missed(clientId, requester),
            onSome: hit
          })),
          Spans.ofClient("cimd.resolve", clientId)
        ),
        requester
      )

    /** The permit comes first, because a fetch starts at the instant that is read after it. */
    const fetchAgain = (clientId: ClientId.ClientId, requester: string | undefined) =>
      Effect.flatMap(
        permitOf(clientId, requester),
        (permitted) => Effect.flatMap(cache.now, (fetchedAt) => fetchOrWithdraw(clientId, permitted, fetchedAt))
      )

    // A fetch in progress may return an older document than the caller knows of, so it is not joined.
    const refreshShared = (clientId: ClientId.ClientId, requester: string | undefined) =>
      Effect.suspend(() => {
        sharedDocuments?.delete(clientId)
        return sharing(
          (work) => refreshing.joinNext(clientId, work),
          untilCurrent(fetchAgain(clientId, requester)).pipe(Spans.ofClient("cimd.refresh", clientId)),
          requester
        )
      })

    const admissionOf = (clientId: ClientId.ClientId) => {
      const known = registry.peekAdmission(clientId)
      return known === undefined ? registry.admission(clientId) : Effect.succeed(known)
    }

    /** Applies the decisions and the host policy in their order (REG-10). Returns the pin, if the client has one. */
    const admit = (clientId: ClientId.ClientId): Effect.Effect<Pin | undefined, AdmissionError> =>
      Effect.flatMap(admissionOf(clientId), (admission): Effect.Effect<Pin | undefined, AdmissionError> => {
        if (admission._tag === "Blocked") {
          const { by, reason, subject } = admission.block
          return new ClientBlocked({ clientId, subject, by, reason })
        }
        return Effect.flatMap(hostPolicy.check(clientId), (): Effect.Effect<Pin | undefined, ClientUnapproved> => {
          switch (admission._tag) {
            case "Admitted":
              return Effect.succeed(undefined)
            case "Pinned":
              return Effect.succeed(admission.pin)
            case "Unapproved":
              return new ClientUnapproved({ clientId, rejected: admission.rejection !== undefined })
          }
        })
      })

    const fromPin = (clientId: ClientId.ClientId, pin: Pin): Effect.Effect<Resolution, ResolveError> =>
      Effect.map(validateStored(clientId, pin.document), (document) => {
        metrics.pins.unsafeUpdate(1, [])
        return { document, source: "pin", fetchedAt: undefined, lifetimeMillis: undefined, stale: false }
      })

    /** Publishes what the operator may act on. What may pass by itself, such as an outage, is in the metrics only. */
    const publish = (input: string, error: ResolveError | RecallError) =>
      error.oauthError.error === "temporarily_unavailable"
        ? Effect.void
        : registry.refused(excerpt(input, maxLengthAllowed), error._tag)

    const report = (input: string) => (error: ResolveError) => {
      metrics.refusalsOf(error._tag).unsafeUpdate(1, [])
      return publish(input, error)
    }

    const parse = (input: string) => ClientId.parse(input, grammar)

    const unlessPinned = (
      clientId: ClientId.ClientId,
      otherwise: Effect.Effect<Resolution, ResolveError>
    ): Effect.Effect<Resolution, ResolveError> =>
      Effect.flatMap(admit(clientId), (pin) => pin === undefined ? otherwise : fromPin(clientId, pin))

    const admitted = (
      input: string,
      next: (clientId: ClientId.ClientId) => Effect.Effect<Resolution, ResolveError>
    ): Effect.Effect<Resolution, ResolveError> =>
      parse(input).pipe(
        Effect.flatMap((clientId) =>
          unlessPinned(
            clientId,
            // A fetch takes seconds, and a decision made in that time applies to its result.
            Effect.flatMap(next(clientId), (resolution) => unlessPinned(clientId, Effect.succeed(resolution)))
          )
        ),
        Effect.tapError(report(input))
      )

    const mayRefresh = AttemptLimit.make(refreshBounds)

    /**
     * Refreshes what was recalled: in the registry if the cache has a fresh document, otherwise from the origin. It takes the
     * same way as `resolve`, so the same limits apply.
     */
    const refreshRecalled = (clientId: ClientId.ClientId) =>
      Effect.flatMap(
        cache.get(clientId, validator),
        Option.match({
          onNone: () => Effect.asVoid(resolveShared(clientId)),
          // A node that could not record its fetch, or another program, stored it.
          onSome: ({ document, fetchedAt, remainingMillis }) =>
            registry.recordFetch(document, { fetchedAt, timeToLive: remainingMillis })
        })
      ).pipe(Spans.ofClient("cimd.refreshRecalled", clientId))

    const refreshLater = (clientId: ClientId.ClientId): Effect.Effect<void> =>
      Effect.flatMap(Clock.currentTimeNanos, (now) =>
        mayRefresh(clientId, now)
          ? refreshRecalled(clientId).pipe(
            Effect.catchAllCause((cause) => Effect.logDebug("Could not refresh a recalled document", cause)),
            Effect.forkIn(scope),
            Effect.asVoid
          )
          : Effect.void)

    const recall = (clientId: ClientId.ClientId): Effect.Effect<Recalled, RecallError> =>
      admit(clientId).pipe(
        Effect.catchTag("ClientBlocked", () => new NotRecalled({ clientId, reason: "blocked" })),
        Effect.zipRight(registry.recall(clientId, validator.ruleset)),
        Effect.tap(({ expired }) => expired ? refreshLater(clientId) : Effect.void),
        // Only a good fetch helps a client that is too old, and nobody else may start one.
        Effect.tapError((error) =>
          error._tag === "NotRecalled" && error.reason === "tooOld" ? refreshLater(clientId) : Effect.void
        ),
        Effect.flatMap(({ document: stored, ...recalled }) =>
          Effect.map(validateStored(clientId, stored), (document) => ({ document, ...recalled }))
        )
      )

    return Resolver.of({
      resolve: (input, options) =>
        Effect.suspend(() => {
          const entry = cache.peek(input, validator.ruleset)
          // The common case is decided here. Every other one, such as a block or a pin, goes through all steps.
          if (entry === undefined || registry.peekAdmission(entry.document.clientId)?._tag !== "Admitted") {
            return admitted(input, (clientId) => resolveShared(clientId, options?.requester))
          }
          // A string in the memory tier has passed the grammar. The host policy may have changed since.
          const checked = hostPolicy.check(entry.document.clientId)
          // A check that succeeds at once saves a memory hit one step of its fiber.
          return checked === Effect.void
            ? hit(entry)
            : Effect.zipRight(Effect.tapError(checked, report(input)), Effect.suspend(() => hit(entry)))
        }),
      refresh: (input, options) => admitted(input, (clientId) => refreshShared(clientId, options?.requester)),
      recall: (input) =>
        Effect.flatMap(parse(input), recall).pipe(
          Effect.tap(({ expired, source }) =>
            Effect.sync(() => metrics.recallsOf(expired ? "expired" : source).unsafeUpdate(1, []))
          ),
          Effect.tapError((error) => {
            metrics.recallsOf(error._tag === "NotRecalled" ? error.reason : error._tag).unsafeUpdate(1, [])
            return publish(input, error)
          })
        )
    })
  })

/**
 * The resolver over the services that do the work.
 *
 * @example
 * ```ts
 * import { Cache, ClientRegistry, Fetcher, HostPolicy, Resolver, Validator } from "effect-cimd"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 *
 * const Live = Resolver.layer({ refreshAhead: 0.1 }).pipe(
 *   Layer.provide([Fetcher.layer(), Validator.layer(), Cache.layerMemory(), ClientRegistry.layerMemory()]),
 *   Layer.provide(HostPolicy.layerPublic)
 * )
 *
 * const clientName = Effect.gen(function*() {
 *   const resolver = yield* Resolver.Resolver
 *   const { document } = yield* resolver.resolve("https://app.example/client.json")
 *   return document.metadata.client_name
 * }).pipe(Effect.provide(Live))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<Resolver, InvalidOptions, Services> =>
  Layer.scoped(Resolver, make(options))

/**
 * {@link layer} with its options read from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<Resolver, InvalidOptions | ConfigError.ConfigError, Services> =>
  Layer.scoped(Resolver, Effect.flatMap(Config.unwrap(options), make))
