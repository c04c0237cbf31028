import type { PgClientConfig } from "@effect/sql-pg/PgClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import pg from "pg"
import * as metrics from "../metrics.js"
import { lostBy, PrimaryClient } from "./connection.js"
import { connectionConfig } from "./pool.js"
import * as SocketTimeout from "./socketTimeout.js"

/** What runs for each kind of notification. */
export interface Handlers {
  /** Whether the node also handles the notifications that it sent itself. */
  readonly handlesOwn: () => boolean
  /** A client's document was put or evicted. */
  readonly changed: (clientId: string) => void
  /** All clients were evicted, or notifications may have been missed: nothing remembered can be trusted. */
  readonly allChanged: () => void
  /** The lease on a client was released. */
  readonly released: (clientId: string) => void
}

export interface Notifications {
  /** Until when, in nanoseconds of the clock, every notification has certainly been received. */
  readonly connectedUntil: () => bigint
}

const heartbeatMillis = 250
// Together with the delay of a notification, this stays below the second in which every node must learn of a change.
const trustNanos = 900_000_000n
const heartbeatTimeout = Duration.seconds(2)

const reconnect = Schedule.exponential("100 millis", 2).pipe(
  Schedule.union(Schedule.spaced("5 seconds")),
  Schedule.jittered,
  Schedule.resetAfter("30 seconds")
)

/**
 * Listens on the channel on which the nodes notify their writes, for as long as the scope is open.
 *
 * A LISTEN connection that dies reports nothing. So the node sends heartbeats to a channel of its own, over the same
 * connection. Postgres delivers notifications in the order of their commits, so a heartbeat that arrives proves that
 * everything committed before it has arrived. Without heartbeats nothing is trusted, and the connection is replaced.
 *
 * The connection does not belong to the pool. A heartbeat must not wait for a free one, and `PgClient.listen` has two faults:
 * an interruption while it connects leaks the connection, and one listener that ends stops others on its channel.
 */
export const make = (
  config: PgClientConfig,
  options: { readonly channel: string; readonly nodeId: string; readonly handlers: Handlers }
): Effect.Effect<Notifications, never, Scope.Scope> =>
  Effect.gen(function*() {
    const clock = yield* Effect.clock
    const { channel, handlers, nodeId } = options
    const ownChannel = `${channel}_${nodeId}`
    let connectedUntil = 0n

    const onNotification = (payload: string) => {
      const [kind, sender, clientId] = payload.split(" ", 3)
      if (sender === nodeId && !handlers.handlesOwn()) return
      if (kind === "changed" && clientId !== undefined) handlers.changed(clientId)
      if (kind === "released" && clientId !== undefined) handlers.released(clientId)
      if (kind === "all") handlers.allChanged()
    }

    const session = Effect.gen(function*() {
      const client = yield* connect(config)
      const sentAt = new Map<string, bigint>()
      let heartbeats = 0
      let lastHeartbeat = clock.unsafeCurrentTimeNanos()

      const onHeartbeat = (payload: string) => {
        const sent = sentAt.get(payload)
        if (sent === undefined) return
        sentAt.delete(payload)
        lastHeartbeat = clock.unsafeCurrentTimeNanos()
        connectedUntil = sent + trustNanos
        metrics.listening.unsafeUpdate(1, [])
      }

      client.on("notification", ({ channel, payload = "" }) => {
        if (channel === ownChannel) onHeartbeat(payload)
        else onNotification(payload)
      })
      yield* query(client, `LISTEN ${pg.escapeIdentifier(channel)}; LISTEN ${pg.escapeIdentifier(ownChannel)}`)
      // From here on no notification is missed; those before may have been.
      handlers.allChanged()

      const beat = Effect.suspend(() => {
        const heartbeat = `heartbeat ${heartbeats++}`
        sentAt.set(heartbeat, clock.unsafeCurrentTimeNanos())
        return query(client, "SELECT pg_notify($1, $2)", [ownChannel, heartbeat])
      })
      const watch = Effect.suspend(() => {
        const now = clock.unsafeCurrentTimeNanos()
        if (now >= connectedUntil) metrics.listening.unsafeUpdate(0, [])
        return now - lastHeartbeat > Duration.unsafeToNanos(heartbeatTimeout)
          ? Effect.fail(failed(new Error(`no heartbeat for ${Duration.format(heartbeatTimeout)}`)))
          : Effect.void
      })
      const lost = Effect.async<never, SqlError>((resume) => {
        const onError = (cause: Error) => resume(Effect.fail(failed(cause)))
        client.once("error", onError)
        return Effect.sync(() => client.off("error", onError))
      })

      // Each of them only ends by failing, and the first failure ends the session.
      yield* Effect.all([
        Effect.forever(Effect.zipRight(beat, Effect.sleep(heartbeatMillis))),
        Effect.forever(Effect.delay(watch, heartbeatMillis)),
        lost
      ], { concurrency: "unbounded", discard: true }).pipe(
        // Before the connection is closed, because that takes time if the connection is dead.
        Effect.onExit(() =>
          Effect.sync(() => {
            connectedUntil = 0n
            metrics.listening.unsafeUpdate(0, [])
          })
        )
      )
    })

    yield* Effect.scoped(session).pipe(
      Effect.tapErrorCause((cause) =>
        Effect.logWarning("Lost the LISTEN connection of the client metadata cache; reconnecting", cause)
      ),
      Effect.retry(reconnect),
      Effect.forkScoped
    )
    return { connectedUntil: () => connectedUntil }
  })

const failed = (cause: unknown) => new SqlError({ cause, message: "Failed to listen" })

// A server that turned read-only delivers nothing of what is written on the new primary.
const failIfLost = (client: pg.Client) =>
  Effect.suspend(() => {
    const lost = lostBy(client)
    return lost === undefined ? Effect.void : Effect.fail(failed(lost))
  })

const query = (client: pg.Client, text: string, values?: Array<unknown>) =>
  Effect.tryPromise({ try: () => client.query(text, values), catch: failed }).pipe(Effect.tap(failIfLost(client)))

/** A connection that is closed with the scope, also while it is being opened. */
const connect = (config: PgClientConfig): Effect.Effect<pg.Client, SqlError, Scope.Scope> => {
  const makeStream = config.stream ?? SocketTimeout.make(heartbeatTimeout)
  let stream: Duplex | undefined
  let isConnected = false
  return Effect.acquireRelease(
    Effect.sync(() => {
      const client = new PrimaryClient({ ...connectionConfig(config), stream: () => stream = makeStream() })
      // Without a listener, an error of the connection would end the process.
      return client.on("error", () => {})
    }),
    (client) =>
      // Only a server that has accepted the connection can say goodbye.
      Effect.promise(() => isConnected ? client.end() : Promise.resolve()).pipe(
        Effect.interruptible,
        Effect.timeoutOption("1 second"),
        Effect.ensuring(Effect.sync(() => stream?.destroy()))
      )
  ).pipe(
    Effect.tap((client) =>
      Effect.tryPromise({ try: () => client.connect(), catch: failed }).pipe(
        Effect.timeoutFail({
          duration: config.connectTimeout ?? "5 seconds",
          onTimeout: () => failed(new Error("timed out"))
        })
      )
    ),
    Effect.tap(() =>
      Effect.sync(() => {
        isConnected = true
      })
    )
  )
}
