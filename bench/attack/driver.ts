/** Starts the processes of an attack, sends requests at a rate, and counts the answers. */
import type { ChildProcess } from "node:child_process"
import { fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import type { Places } from "../../test/support/attack/network.js"
import type { Place } from "../../test/support/attack/world.js"
import { median } from "../row.js"
import type { Command, Outcome, Setup, Status } from "./server.js"

/** A process that has said that it is ready. It ends with the work that uses it. */
const withProcess = async <A>(
  file: URL,
  input: unknown,
  use: (child: ChildProcess, first: never) => Promise<A>
): Promise<A> => {
  const child = fork(fileURLToPath(file), [JSON.stringify(input)], {
    execArgv: ["--expose-gc", "--import", "tsx"],
    stdio: ["ignore", "ignore", "inherit", "ipc"]
  })
  // A channel that breaks is followed by the exit.
  child.on("error", () => {})
  const ended = new Promise<never>((_, reject) => {
    child.once("exit", (code, signal) => reject(new Error(`${file.pathname} ended with ${code ?? signal}`)))
  })
  // It ends after the race, too.
  ended.catch(() => {})
  try {
    const [first] = await Promise.race([once(child, "message"), ended])
    return await Promise.race([use(child, first as never), ended])
  } finally {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL")
      await once(child, "exit")
    }
  }
}

/** The processes of the attacker's hosts and of the honest origins. */
export const withPlaces = <A>(use: (places: Places) => Promise<A>): Promise<A> =>
  withProcess(
    new URL("../../test/support/attack/hosts.ts", import.meta.url),
    {},
    (_, attackers: Place) =>
      withProcess(new URL("./origins.ts", import.meta.url), {}, (_, origins: Place) => use({ attackers, origins }))
  )

export interface Server {
  readonly resolve: (clientId: string) => Promise<Outcome>
  readonly confirm: (clientId: string) => Promise<Outcome>
  readonly status: () => Promise<Status>
  /** The status after a collection of garbage. */
  readonly collected: () => Promise<Status>
}

/** A server under attack. */
export const withServer = <A>(setup: Setup, use: (server: Server) => Promise<A>): Promise<A> =>
  withProcess(new URL("./server.ts", import.meta.url), setup, (child) => {
    const pending = new Map<number, (result: never) => void>()
    let asked = 0
    child.on("message", ({ id, result }: { readonly id: number; readonly result: never }) => {
      pending.get(id)?.(result)
      pending.delete(id)
    })
    const ask = <R>(command: Command): Promise<R> =>
      new Promise((resolve) => {
        const id = asked++
        pending.set(id, resolve)
        child.send({ id, command })
      })
    return use({
      resolve: (clientId) => ask({ _tag: "Resolve", clientId }),
      confirm: (clientId) => ask({ _tag: "Confirm", clientId }),
      status: () => ask({ _tag: "Status" }),
      collected: () => ask({ _tag: "Collect" })
    })
  })

export const seconds = (count: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, count * 1000))

/** What came of some requests. */
export class Tally {
  readonly outcomes = new Map<string, number>()
  /** Times of the answers; a request that was not answered took without end. */
  readonly millis: Array<number> = []

  async of(request: Promise<Outcome>): Promise<void> {
    const start = performance.now()
    const { outcome } = await request
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1)
    this.millis.push(outcome === "answered" ? performance.now() - start : Number.POSITIVE_INFINITY)
  }

  add(other: Tally): void {
    for (const [outcome, count] of other.outcomes) {
      this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + count)
    }
    this.millis.push(...other.millis)
  }

  get answered(): number {
    return this.outcomes.get("answered") ?? 0
  }

  get asked(): number {
    return this.millis.length
  }

  /** How many the limits of the server refused. */
  get throttled(): number {
    return [...this.outcomes].reduce((sum, [outcome, count]) => sum + (outcome.startsWith("Throttled ") ? count : 0), 0)
  }

  get share(): number {
    return this.answered / this.millis.length
  }

  get median(): number {
    return median(this.millis)
  }

  /** How many were answered, and what came of the others. */
  get text(): string {
    const others = [...this.outcomes].filter(([outcome]) => outcome !== "answered").sort(([, a], [, b]) => b - a)
    const failed = others.map(([outcome, count]) => `${count} ${outcome}`).join(", ")
    return `${this.answered} of ${this.millis.length}${failed === "" ? "" : ` (${failed})`}`
  }
}

/** Starts so many requests at a rate, whether the ones before were answered or not, and waits for all of them. */
export const atRate = async (perSecond: number, count: number, request: (index: number) => Promise<void>) => {
  const start = performance.now()
  const all: Array<Promise<void>> = []
  for (let index = 0; index < count; index++) {
    const wait = start + index * 1000 / perSecond - performance.now()
    if (wait > 0) await seconds(wait / 1000)
    all.push(request(index))
  }
  await Promise.all(all)
}

/** Makes so many requests, a few at a time. */
export const inTurn = async (concurrency: number, count: number, request: (index: number) => Promise<unknown>) => {
  let next = 0
  const worker = async () => {
    while (next < count) await request(next++)
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
}
