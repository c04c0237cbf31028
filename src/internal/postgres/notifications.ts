import * as Reactivity from "@effect/experimental/Reactivity"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as metrics from "../metrics.js"
import * as SilentSocket from "./socketTimeout.js"

/** What is announced. */
export interface Handlers {
  /** Whether to heed what this node itself has announced. */
  readonly heedsOwn: () => boolean
  /** A client's document was put or evicted. */
  readonly changed: (clientId: string) => void
  /** All clients were evicted, or announcements may have been missed: nothing remembered can be trusted. */
  readonly allChanged: () => void
  /** The lease on a client's fetch was given up. */
  readonly released: (clientId: string) => void
}

export interface Announcements {
  /** Until when, by the clock's nanoseconds, everything that was announced has surely been heard. */
  readonly heardUntil: () => bigint
}

const beatMillis = 250
// With the time a notification takes this stays below the second in which every node must have heard of a change.
const trustNanos = 900_000_000n
const silence = Duration.seconds(2)

const reconnect = Schedule.exponential("100 millis", 2).pipe(
  Schedule.union(Schedule.spaced("5 seconds")),
  Schedule.jittered,
  Schedule.resetAfter("30 seconds")
)

/**
 * Listens to the channel on which the nodes announce their writes, for as long as the scope is open.
 *
 * `PgClient.listen` says nothing when its connection dies. So the node notifies itself on a channel of its own, over the
 * same connection: an echo proves that whatever was committed before it was sent has been heard. Without echoes nothing
 * is trusted, and the connection is made anew. The client is one of its own (two connections): listeners on a shared one
 * lose their channel when another listener leaves, and the echo must not wait for a free connection of a busy pool.
 */
export const make = (
  client: PgClient.PgClient,
  options: { readonly channel: string; readonly nodeId: string; readonly handlers: Handlers }
): Effect.Effect<Announcements, never, Scope.Scope> =>
  Effect.gen(function*() {
    const clock = yield* Effect.clock
    const { channel, handlers, nodeId } = options
    const ownChannel = `${channel}_${nodeId}`
    let heardUntil = 0n

    const onAnnouncement = (payload: string) => {
      const [kind, sender, clientId] = payload.split(" ", 3)
      if (sender === nodeId && !handlers.heedsOwn()) return
      if (kind === "changed" && clientId !== undefined) handlers.changed(clientId)
      if (kind === "released" && clientId !== undefined) handlers.released(clientId)
      if (kind === "all") handlers.allChanged()
    }

    const session = Effect.gen(function*() {
      const own = yield* PgClient.make({
        ...client.config,
        // The end of a session waits for answers on its connections, so they must not outlive their silence.
        stream: SilentSocket.within(silence, client.config.stream),
        maxConnections: 1,
        minConnections: 0
      })
      const sentAt = new Map<string, bigint>()
      let beats = 0
      let lastEcho = clock.unsafeCurrentTimeNanos()
      let hearsAll = false

      const beat = (on: string) =>
        Effect.suspend(() => {
          const beat = `beat ${nodeId} ${beats++}`
          sentAt.set(beat, clock.unsafeCurrentTimeNanos())
          return own`SELECT pg_notify(${on}, ${beat})`
        })

      const onEcho = (payload: string) => {
        const sent = sentAt.get(payload)
        if (sent === undefined) return
        sentAt.delete(payload)
        lastEcho = clock.unsafeCurrentTimeNanos()
        if (!hearsAll) return
        heardUntil = sent + trustNanos
        metrics.listening.unsafeUpdate(1, [])
      }

      const listenAll = own.listen(channel).pipe(Stream.runForEach((payload) =>
        Effect.sync(() => {
          if (!payload.startsWith("beat ")) return onAnnouncement(payload)
          // Our own greeting, heard on the shared channel: from here on nothing is missed.
          if (!hearsAll && sentAt.has(payload)) {
            handlers.allChanged()
            hearsAll = true
            onEcho(payload)
          }
        })
      ))
      const listenOwn = own.listen(ownChannel).pipe(
        Stream.runForEach((payload) => Effect.sync(() => onEcho(payload)))
      )
      const beating = Effect.forever(
        Effect.suspend(() => beat(hearsAll ? ownChannel : channel)).pipe(
          Effect.disconnect,
          Effect.timeoutOption(silence),
          Effect.zipRight(Effect.sleep(beatMillis))
        )
      )
      const silent = Effect.suspend(() => {
        const now = clock.unsafeCurrentTimeNanos()
        if (now >= heardUntil) metrics.listening.unsafeUpdate(0, [])
        return now - lastEcho > Duration.unsafeToNanos(silence) ? Effect.fail("no echo" as const) : Effect.void
      }).pipe(Effect.delay(beatMillis), Effect.forever)

      // None of them ends but by failing, and one that fails ends the session.
      yield* Effect.all([listenAll, listenOwn, beating, silent], { concurrency: "unbounded", discard: true }).pipe(
        // At once: to close a connection that is dead takes its time.
        Effect.onExit(() =>
          Effect.sync(() => {
            heardUntil = 0n
            metrics.listening.unsafeUpdate(0, [])
          })
        )
      )
    }).pipe(Effect.scoped, Effect.provide(Reactivity.layer))

    yield* session.pipe(
      Effect.tapErrorCause((cause) =>
        Effect.logWarning("Announcements of the client metadata cache are not heard", cause)
      ),
      Effect.retry(reconnect),
      Effect.forkScoped
    )
    return { heardUntil: () => heardUntil }
  })
