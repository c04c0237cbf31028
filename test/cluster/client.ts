/** Nodes in processes of their own, as a test sees them. */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { build } from "esbuild"
import { fork } from "node:child_process"
import { rename } from "node:fs/promises"
import { join } from "node:path"
import * as Bundle from "../../scripts/bundle.js"
import type { Command, Input, Message, Output, Question } from "./protocol.js"

/** The node said why it cannot start, and ended. */
export class NodeNotStarted extends Schema.TaggedError<NodeNotStarted>()("NodeNotStarted", {
  node: Schema.String,
  error: Schema.String,
  message: Schema.String,
  exitCode: Schema.NullOr(Schema.Number)
}) {}

/** The process ended before it had answered. */
export class NodeDied extends Schema.TaggedError<NodeDied>()("NodeDied", {
  node: Schema.String,
  exit: Schema.String,
  /** The end of what it had printed. */
  printed: Schema.String
}) {
  override get message(): string {
    return `Node ${this.node} ended (${this.exit}). ${this.printed}`
  }
}

/** The process lives, and does not answer. */
export class NodeSilent extends Schema.TaggedError<NodeSilent>()("NodeSilent", {
  node: Schema.String,
  command: Schema.String
}) {
  override get message(): string {
    return `Node ${this.node} does not answer to "${this.command}".`
  }
}

export interface Options {
  readonly name: string
  /** The folder of the package whose node this is. Defaults to this package. */
  readonly checkout?: string
  readonly database: Redacted.Redacted
  readonly origin: { readonly port: number; readonly ca: string }
  /** The hosts of an attacker. With them, the node has the limits of the fetcher by default. Defaults to none. */
  readonly attackers?: { readonly port: number; readonly ca: string }
  /** The cache of the node. Defaults to `tiered`. */
  readonly cache?: "tiered" | "plain"
  readonly notifications?: boolean
  readonly admission?: "open" | "approve"
  readonly maxBytes?: number
  /** The bound of the memory of a node whose tables have version 1. It counted documents. */
  readonly maxEntries?: number
  readonly maxTableBytes?: number
  readonly maxConnections?: number
  /** The timeout of one statement. Defaults to 2 seconds. */
  readonly cacheTimeout?: Duration.DurationInput
  readonly fetchTimeout?: Duration.DurationInput
  readonly minimumLifetime?: Duration.DurationInput
  /** The profile of its validator. Defaults to none. */
  readonly profile?: "mcp"
  /** How far its time of day is ahead of that of the machine. */
  readonly clockOffset?: { readonly millis: number }
}

export interface Node {
  readonly name: string
  /** Sends a command and waits for the result, at most for `patience`. Defaults to 30 seconds. */
  readonly ask: <C extends Command>(
    command: C,
    input: Input<C>,
    patience?: Duration.DurationInput
  ) => Effect.Effect<Output<C>, NodeDied | NodeSilent>
  /** Ends the process on the spot, and waits until it is gone. */
  readonly kill: Effect.Effect<void>
  /** Lets the process end by itself, and answers with its exit code. */
  readonly quit: Effect.Effect<number | null>
}

/** Makes one file of a node's program, inside the checkout so that it finds the packages that it does not contain. */
const bundle = async (checkout: string): Promise<string> => {
  const program = join(checkout, ".cache/cluster/node.js")
  // Test files that run at the same time write the same, and no node may read half of it.
  const whole = `${program}.${process.pid}`
  await build({
    ...Bundle.settings,
    absWorkingDir: checkout,
    entryPoints: ["test/cluster/node.ts"],
    outfile: whole,
    // The first import of the program is for its side effect.
    ignoreAnnotations: true
  })
  await rename(whole, program)
  return program
}

const bundles = new Map<string, Promise<string>>()

/** Returns the file of a node's program, which is bundled once. */
const programOf = (checkout: string): Promise<string> => {
  const program = bundles.get(checkout) ?? bundle(checkout)
  bundles.set(checkout, program)
  return program
}

const environment = (options: Options): Record<string, string> => {
  const duration = (input: Duration.DurationInput | undefined) =>
    input === undefined ? undefined : `${Duration.toMillis(input)} millis`
  const settings = {
    NODE_NAME: options.name,
    DATABASE_URL: Redacted.value(options.database),
    // A run of the tests through a pooler sets it for all nodes.
    POOLER: process.env["POOLER"],
    ORIGIN_PORT: options.origin.port,
    ORIGIN_CA: options.origin.ca,
    ATTACKERS_PORT: options.attackers?.port,
    ATTACKERS_CA: options.attackers?.ca,
    CACHE: options.cache,
    NOTIFICATIONS: options.notifications,
    ADMISSION: options.admission,
    MAX_BYTES: options.maxBytes,
    MAX_ENTRIES: options.maxEntries,
    MAX_TABLE_BYTES: options.maxTableBytes,
    MAX_CONNECTIONS: options.maxConnections,
    CACHE_TIMEOUT: duration(options.cacheTimeout),
    FETCH_TIMEOUT: duration(options.fetchTimeout),
    MINIMUM_LIFETIME: duration(options.minimumLifetime),
    PROFILE: options.profile,
    CLOCK_OFFSET_MILLIS: options.clockOffset?.millis
  }
  return Object.fromEntries(
    Object.entries(settings).flatMap(([key, value]) => value === undefined ? [] : [[key, String(value)]])
  )
}

const start = (options: Options): Effect.Effect<Node & { readonly started: Effect.Effect<void, NodeNotStarted> }> => {
  const { checkout = Bundle.settings.absWorkingDir, name } = options
  return Effect.map(Effect.promise(() => programOf(checkout)), (program) => {
    const child = fork(program, {
      cwd: checkout,
      // Of the test runner's own environment nothing but what a process needs to run.
      env: {
        PATH: process.env["PATH"],
        HOME: process.env["HOME"],
        TMPDIR: process.env["TMPDIR"],
        ...environment(options)
      },
      execArgv: ["--expose-gc"],
      silent: true
    })
    let printed = ""
    const print = (chunk: Buffer) => {
      printed = (printed + chunk.toString()).slice(-4000)
    }
    child.stdout?.on("data", print)
    child.stderr?.on("data", print)

    const exited = Deferred.unsafeMake<string>(FiberId.none)
    const started = Deferred.unsafeMake<void, NodeNotStarted>(FiberId.none)
    const pending = new Map<number, (result: Effect.Effect<Output<Command>, NodeDied>) => void>()
    let asked = 0
    let refusal: Extract<Message, { _tag: "NotStarted" }> | undefined
    const died = () => new NodeDied({ node: name, exit: String(child.signalCode ?? child.exitCode), printed })
    const notStarted = (error: string, message: string) =>
      new NodeNotStarted({ node: name, error, message, exitCode: child.exitCode })

    child.on("message", (message: Message) => {
      switch (message._tag) {
        case "Ready":
          return Deferred.unsafeDone(started, Effect.void)
        case "NotStarted":
          refusal = message
          return
        case "Answer":
          pending.get(message.id)?.(Effect.succeed(message.output))
          pending.delete(message.id)
      }
    })
    child.on("exit", () => {
      Deferred.unsafeDone(exited, Effect.succeed(String(child.signalCode ?? child.exitCode)))
      Deferred.unsafeDone(started, notStarted(refusal?.error ?? "Exit", refusal?.message ?? printed))
      for (const resume of pending.values()) resume(died())
    })
    // An IPC channel that breaks is followed by the exit.
    child.on("error", () => {})

    const ask: Node["ask"] = <C extends Command>(
      command: C,
      input: Input<C>,
      patience: Duration.DurationInput = "30 seconds"
    ) =>
      Effect.async<Output<C>, NodeDied>((resume) => {
        if (!child.connected) return resume(died())
        const id = asked++
        // The answer to a question has the form that its command says.
        pending.set(id, resume as (result: Effect.Effect<Output<Command>, NodeDied>) => void)
        const question: Question<C> = { id, command, input }
        child.send(question)
        return Effect.sync(() => pending.delete(id))
      }).pipe(
        Effect.timeoutFail({ duration: patience, onTimeout: () => new NodeSilent({ node: name, command }) })
      )

    return {
      name,
      ask,
      kill: Effect.zipRight(Effect.sync(() => child.kill("SIGKILL")), Deferred.await(exited)),
      quit: Effect.zipRight(
        Effect.sync(() => {
          if (child.connected) child.disconnect()
        }),
        Deferred.await(exited)
      ).pipe(Effect.map(() => child.exitCode)),
      started: Deferred.await(started)
    }
  })
}

/** A node that is ready to be asked. It is killed when the scope closes. */
export const spawn = (options: Options): Effect.Effect<Node, NodeNotStarted, Scope.Scope> =>
  Effect.acquireRelease(start(options), ({ kill }) => kill).pipe(
    Effect.tap(({ started }) => started)
  )
