/**
 * Documents a second: this library's validator beside those of @better-auth/cimd and @atproto/oauth-types.
 *
 * Each does the same work on the same bytes in the same process: judge the client id, decode, parse, judge the document.
 * The peers stop at the first fault; this library goes on. They are installed in `differential`, apart from everything
 * else: run `npm ci` there first.
 */
import { ClientId, Validator } from "effect-cimd"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { pathToFileURL } from "node:url"
import type { Row } from "./row.js"
import { atLeast, median, print } from "./row.js"

interface Subject {
  readonly name: string
  /** Whether the document is accepted. */
  readonly judge: (clientId: string, body: Uint8Array) => boolean
}

const rounds = 31
const repeats = 40

const corpus: ReadonlyArray<{ readonly url: string; readonly doc: object }> = JSON.parse(
  readFileSync(new URL("../examples/documents.json", import.meta.url), "utf8")
)
const documents = corpus.map(({ doc, url }) => ({ url, body: new TextEncoder().encode(JSON.stringify(doc)) }))

const ours = (): Subject => {
  const validator = Validator.make()
  return {
    name: "effect-cimd",
    judge: (clientId, body) =>
      ClientId.is(clientId) && Effect.runSyncExit(validator.validate(clientId, body))._tag === "Success"
  }
}

const peer = (name: string) =>
  import(new URL(`../differential/${name}.js`, import.meta.url).href).catch((cause) => {
    throw new Error("The peers are not installed. Run: npm ci --prefix differential --ignore-scripts", { cause })
  })

const peers = async (): Promise<ReadonlyArray<Subject>> => [
  { name: "@better-auth/cimd", judge: (await peer("betterAuth")).judge },
  { name: "@atproto/oauth-types", judge: (await peer("atproto")).judge }
]

/** Nanoseconds for one document. */
const measure = (subject: Subject): number => {
  const start = process.hrtime.bigint()
  for (let i = 0; i < repeats; i++) {
    for (const { body, url } of documents) {
      subject.judge(url, body)
    }
  }
  return Number(process.hrtime.bigint() - start) / (repeats * documents.length)
}

/** The median over rounds in which all take turns, so that a busy machine slows all of them. */
export const validate = async (): Promise<ReadonlyArray<Row>> => {
  const subjects = [ours(), ...(await peers())]
  const times = subjects.map((): Array<number> => [])
  for (let round = -5; round < rounds; round++) {
    for (const [index, subject] of subjects.entries()) {
      const time = measure(subject)
      if (round >= 0) {
        times[index]?.push(time)
      }
    }
  }
  const own = times[0] ?? []
  return subjects.slice(1).map((subject, index) => {
    const theirs = times[index + 1] ?? []
    const ratio = median(theirs.map((time, round) => time / (own[round] ?? Number.NaN)))
    const perSecond = (times: ReadonlyArray<number>) => Math.round(1e9 / median(times))
    const accepted = documents.filter(({ body, url }) => subject.judge(url, body)).length
    return atLeast(
      `documents a second judged, beside ${subject.name}`,
      ratio,
      1,
      `${perSecond(own)} against ${perSecond(theirs)} (which accepts ${accepted} of ${documents.length})`
    )
  })
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) print(await validate())
