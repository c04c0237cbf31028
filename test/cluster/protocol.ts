/** What a test asks a node in a process of its own, and what the node answers. All of it travels as JSON. */

/** A moment on the clock that all processes of one machine share, in milliseconds. It never jumps. */
export type Moment = number

export const moment = (): Moment => Number(process.hrtime.bigint()) / 1e6

/** The answers that some callers got. */
export interface Tally {
  /** By where the answer came from; a stale one counts as `stale`. */
  readonly sources: Readonly<Record<string, number>>
  /** By the `client_name` of the document. */
  readonly versions: Readonly<Record<string, number>>
  /** By the tag of the error. */
  readonly errors: Readonly<Record<string, number>>
  /** By the reason of `Throttled`. */
  readonly throttled: Readonly<Record<string, number>>
  /** What was behind the first error of the cache. */
  readonly cause?: string
  readonly slowestMillis: number
}

/** How a write ended: the tag of its error if it failed, and when. */
export interface Written {
  readonly error: string | null
  readonly doneAt: Moment
}

/** What a node saw of a document that another one replaced. */
export interface Seen {
  /** When the last call began that was answered with the old version; absent if none was. */
  readonly lastOldAt: Moment | null
  /** When the first answer came that was not the old version; absent if there was none in time. */
  readonly newAt: Moment | null
  /** What that answer was. */
  readonly version: string | null
}

/** A call of the registry. */
export type Decision =
  | "approve"
  | "reject"
  | "block"
  | "unblock"
  | "pin"
  | "unpin"
  | "confirm"
  | "forget"
  | "evict"

/** How a node answers for a client: with the version of its document, or with a reason. */
export interface Answers {
  readonly resolve: string
  readonly recall: string
}

/** Each command: what it takes, and what comes back. */
export interface Commands {
  /** So many callers at once ask for one client, at the moment if one is given. */
  readonly resolve: (input: { clientId: string; callers: number; at?: Moment }) => Tally
  /** Callers go on asking for one client after the other, until the time is over. */
  readonly load: (input: { clientIds: ReadonlyArray<string>; callers: number; forMillis: number }) => Tally
  readonly refresh: (input: { clientId: string }) => Tally & { readonly doneAt: Moment }
  /** What the memory of the node holds. */
  readonly peek: (input: { clientId: string }) => { readonly version: string | null }
  readonly get: (input: { clientId: string }) => { readonly version: string | null; readonly error: string | null }
  /** An instant of `now`. Defaults to the present. */
  readonly put: (
    input: { clientId: string; version: string; fetchedAt?: string; lifetimeMillis?: number; at?: Moment }
  ) => Written & { readonly stored: boolean }
  readonly evict: (input: { clientId: string }) => Written
  readonly evictAll: (input: object) => Written
  /** Decides in the registry, and evicts from the cache as well. `version` is that of a pinned document. */
  readonly decide: (input: { clientId: string; decision: Decision; version?: string }) => Written
  readonly answers: (input: { clientId: string }) => Answers
  /** Asks until neither answer is the old one. */
  readonly watchAnswers: (
    input: { clientId: string; old: Partial<Answers>; withinMillis: number }
  ) => { readonly lastOldAt: Moment | null; readonly answers: Answers | null }
  /** The cache's instant, as text. */
  readonly now: (input: object) => { readonly instant: string }
  /** Asks until the node answers with this version from its memory. */
  readonly hold: (input: { clientId: string; version: string; withinMillis: number }) => { readonly held: boolean }
  /** Asks until the node answers with something else than the old version. */
  readonly watch: (input: { clientId: string; old: string; withinMillis: number }) => Seen
  /** Takes every connection of the pool, and keeps them for a time. */
  readonly exhaust: (input: { forMillis: number }) => { readonly taken: number }
  readonly sweep: (
    input: object
  ) => { readonly documents: number; readonly leases: number; readonly error: string | null }
  readonly status: (input: object) => {
    readonly heapUsed: number
    readonly listening: boolean
    /** What the node takes for the time of day. */
    readonly wallClock: number
  }
}

export type Command = keyof Commands
export type Input<C extends Command> = Parameters<Commands[C]>[0]
export type Output<C extends Command> = ReturnType<Commands[C]>

export interface Question<C extends Command = Command> {
  readonly id: number
  readonly command: C
  readonly input: Input<C>
}

export type Message =
  | { readonly _tag: "Ready" }
  | { readonly _tag: "NotStarted"; readonly error: string; readonly message: string }
  | { readonly _tag: "Answer"; readonly id: number; readonly output: Output<Command> }
