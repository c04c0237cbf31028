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
import type { Seal } from "./notificationSeal.js"
import { connectionConfig } from "./pool.js"
import * as SocketTimeout from "./socketTimeout.js"
import { isQueueFull, type Statements } from "./sqlFragments.js"

/** What runs for each kind of notification. */
export interface Handlers {
  /** Whether the node also handles the notifications that it sent itself. */
  readonly handlesOwn: () => boolean
  /** A client's document was put or evicted. */
  readonly changed: (clientId: string) => void
  /** The generation was raised, or notifications may have been missed: nothing remembered can be trusted. */
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

/** A heartbeat on its way. */
interface Heartbeat {
  readonly sentAt: bigint
  /** Whether its notification has arrived. */
  received: boolean
  /** Whether the generation that it read has been compared. */
  compared: boolean
}

/**
 * Listens on the channel on which the nodes notify their writes, for as long as the scope is open.
 *
 * A LISTEN connection that dies reports nothing. So the node sends heartbeats to a channel of its own, over the same
 * connection. Each one also reads the generation, which counts the changes that no notification reports: `evictAll`, and
 * every write that meets a full queue. Memory is trusted for a time that is counted from the moment at which a heartbeat
 * was sent. That time is granted after two things, in either order:
 *
 * 1. Its notification has arrived. Postgres delivers notifications in the order of their commits, so everything that was
 *    notified before the heartbeat was sent has arrived as well.
 * 2. Its result has arrived. The snapshot of the statement is taken after it was sent, so it shows every generation that
 *    was committed before. If the generation differs from the last one, memory is cleared before it is trusted.
 *
 * Let a change be acknowledged at some moment. These are the orders in which a heartbeat can meet it:
 *
 * - The heartbeat was sent after that moment. Either its notification follows that of the change, or it reads the raised
 *   generation. Memory forgets the change before it is trusted again.
 * - The heartbeat was sent before that moment, and misses the change: it took its snapshot before the change was
 *   committed, even if it was committed itself after the change. The trust that it grants ends less than a second after
 *   it was sent, so less than a second after the change was acknowledged. The next heartbeat was sent after the change.
 * - The heartbeat is lost, or is late. It grants no more trust than if it had come in time, or none.
 * - The queue is full. No heartbeat can be sent, so nothing is trusted, and an entry is served only for `disconnectedTtl`
 *   after its read. The generation is still read, so a change also ends that time. If the queue drains at once, the next
 *   heartbeat reads a generation that the change has raised, since the change and its generation are one statement.
 * - A read overlaps with the change. It began before memory is cleared, so its result is not remembered.
 * - The connection is replaced. Notifications from before LISTEN may be missed, so memory is cleared then. The last
 *   generation is remembered from one connection to the next.
 *
 * The connection does not belong to the pool. A heartbeat must not wait for a free one, and `PgClient.listen` has two faults:
 * an interruption while it connects leaks the connection, and one listener that ends stops others on its channel.
 */
export const make = (
  config: PgClientConfig,
  { sql, state }: Statements,
  options: { readonly channel: string; readonly nodeId: string; readonly seal: Seal; readonly handlers: Handlers }
): Effect.Effect<Notifications, never, Scope.Scope> =>
  Effect.gen(function*() {
    const clock = yield* Effect.clock
    const { channel, handlers, nodeId, seal } = options
    const ownChannel = `${channel}_${nodeId}`
    let connectedUntil = 0n
    let generation: string | undefined

    // A node with the key of other tables can read no notification.
    const ofState =
      sql`generation::text AS generation FROM ${state} WHERE sha256(notification_key) = decode(${seal.fingerprint}, 'hex')`
    const [heartbeatText] = sql`SELECT pg_notify(${ownChannel}, ${""}), ${ofState}`.compile()
    // The queue of a server on which no notification can be sent is shortened only by this function.
    const [generationText] = sql`SELECT pg_notification_queue_usage() AS usage, ${ofState}`.compile()

    const onNotification = (text: string) => {
      const [kind, sender, clientId] = text.split(" ", 3)
      if (clientId === undefined || (sender === nodeId && !handlers.handlesOwn())) return
      if (kind === "changed") handlers.changed(clientId)
      if (kind === "released") handlers.released(clientId)
    }

    const compareGeneration = (rows: ReadonlyArray<{ readonly generation: string }>): Effect.Effect<void, SqlError> =>
      Effect.suspend(() => {
        const [row] = rows
        if (row === undefined) return Effect.fail(failed(new Error("the tables were replaced; start this node again")))
        if (row.generation !== generation) handlers.allChanged()
        generation = row.generation
        return Effect.void
      })

    const session = Effect.gen(function*() {
      const client = yield* connect(config)
      const heartbeats = new Map<string, Heartbeat>()
      let count = 0
      let isFull = false
      let lastSign = clock.unsafeCurrentTimeNanos()

      const advance = (text: string, part: "received" | "compared") => {
        const heartbeat = heartbeats.get(text)
        if (heartbeat === undefined) return
        heartbeat[part] = true
        if (!heartbeat.received || !heartbeat.compared) return
        heartbeats.delete(text)
        isFull = false
        lastSign = clock.unsafeCurrentTimeNanos()
        connectedUntil = heartbeat.sentAt + trustNanos
        metrics.listening.unsafeUpdate(1, [])
      }

      client.on("notification", ({ channel, payload = "" }) => {
        const text = seal.open(channel, payload)
        if (text === undefined) metrics.foreignNotifications.unsafeUpdate(1, [])
        else if (channel === ownChannel) advance(text, "received")
        else onNotification(text)
      })
      yield* query(client, `LISTEN ${pg.escapeIdentifier(channel)}; LISTEN ${pg.escapeIdentifier(ownChannel)}`)
      // From here on no notification is missed; those before may have been.
      handlers.allChanged()

      const withoutHeartbeat = (text: string) =>
        Effect.gen(function*() {
          heartbeats.delete(text)
          if (!isFull) {
            yield* Effect.logWarning(
              "The NOTIFY queue of the Postgres server is full, so memory tiers are not used. " +
                "A session that listens has not ended its transaction; see pg_stat_activity."
            )
          }
          isFull = true
          yield* compareGeneration(yield* query(client, generationText, [seal.fingerprint]))
          // The connection works, and another one would meet the same queue.
          lastSign = clock.unsafeCurrentTimeNanos()
        })
      const beat = Effect.suspend(() => {
        const text = `heartbeat ${nodeId} ${count++}`
        heartbeats.set(text, { sentAt: clock.unsafeCurrentTimeNanos(), received: false, compared: false })
        return query(client, heartbeatText, [ownChannel, seal.close(ownChannel, text), seal.fingerprint]).pipe(
          Effect.flatMap(compareGeneration),
          Effect.zipRight(Effect.sync(() => advance(text, "compared"))),
          Effect.catchIf(isQueueFull, () => withoutHeartbeat(text))
        )
      })
      const watch = Effect.suspend(() => {
        const now = clock.unsafeCurrentTimeNanos()
        if (now >= connectedUntil) metrics.listening.unsafeUpdate(0, [])
        return now - lastSign > Duration.unsafeToNanos(heartbeatTimeout)
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

const query = (client: pg.Client, text: string, values?: Array<string>) =>
  Effect.tryPromise({
    try: () => client.query<{ readonly generation: string }>(text, values).then(({ rows }) => rows),
    catch: failed
  }).pipe(Effect.tap(failIfLost(client)))

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
