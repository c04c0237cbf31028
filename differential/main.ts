/**
 * Compares this library's validation with that of other authorization servers, for published and generated client
 * identifiers and documents. An entry of `explanations.ts` must explain every disagreement, and every entry must explain
 * at least one. A new disagreement or a stale entry exits with code 1.
 *
 * The other servers are installed only in this folder: run `npm ci` in it first.
 */
import { ClientId, Issue, Validator } from "effect-cimd"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Case } from "./cases.js"
import { clientIds, documents } from "./cases.js"
import type { Explanation } from "./explanations.js"
import { explanations } from "./explanations.js"

interface Peer {
  readonly name: string
  /** Returns why the peer refuses the input; `undefined` if it accepts it. */
  readonly issueOf: (clientId: string, body: Uint8Array) => string | undefined | Promise<string | undefined>
}

const peers: ReadonlyArray<Peer> = await Promise.all(
  ["oidcProvider", "betterAuth"].map((name) => import(new URL(`./${name}.js`, import.meta.url).href))
)

const validator = Validator.make()

/** Returns every error that this library finds in a case. */
const errorsOf = ({ body, clientId }: Case): ReadonlyArray<Issue.Issue> => {
  if (!ClientId.is(clientId)) {
    return ClientId.issues(clientId).filter(Issue.isError)
  }
  const exit = Effect.runSyncExit(validator.validate(clientId, body))
  if (Exit.isSuccess(exit)) {
    return []
  }
  const error = Cause.failureOption(exit.cause)
  if (error._tag === "Some" && error.value instanceof Validator.InvalidDocument) {
    return error.value.issues.filter(Issue.isError)
  }
  // The document is valid but no authentication method is usable, which counts as refused.
  return [{ rule: "DOC-22", severity: "error", path: "", message: Cause.pretty(exit.cause), source: "" }]
}

const hits = new Map<Explanation, number>(explanations.map((explanation) => [explanation, 0]))

const hit = (candidates: ReadonlyArray<Explanation>): boolean => {
  for (const explanation of candidates) {
    hits.set(explanation, (hits.get(explanation) ?? 0) + 1)
  }
  return candidates.length > 0
}

/** Returns the parts of a disagreement that no entry explains. */
const unexplained = (
  peer: Peer,
  errors: ReadonlyArray<Issue.Issue>,
  peerIssue: string | undefined
): ReadonlyArray<string> => {
  const own = explanations.filter((explanation) => explanation.peer === peer.name)
  if (errors.length === 0) {
    return hit(own.filter((entry) => "theyRefuse" in entry && entry.theyRefuse.test(peerIssue ?? "")))
      ? []
      : [`${peerIssue}`]
  }
  // The peer accepts input that breaks all of these rules, so it must not enforce any of them.
  return errors
    .filter((issue) =>
      !hit(own.filter((entry) =>
        "weRefuse" in entry &&
        entry.weRefuse === issue.rule &&
        (entry.path?.test(issue.path) ?? true) &&
        (entry.message?.test(issue.message) ?? true)
      ))
    )
    .map(Issue.format)
}

let failures = 0
const cases = [...clientIds, ...documents]
for (const peer of peers) {
  let agreed = 0
  let disagreed = 0
  for (const one of cases) {
    const errors = errorsOf(one)
    const peerIssue = await peer.issueOf(one.clientId, one.body)
    if ((errors.length === 0) === (peerIssue === undefined)) {
      agreed++
      continue
    }
    disagreed++
    const reasons = unexplained(peer, errors, peerIssue)
    if (reasons.length > 0 && ++failures <= 40) {
      console.log(
        `${peer.name} ${errors.length === 0 ? "refuses" : "accepts"}, unexplained: ${one.name}\n  ${one.clientId}\n  ` +
          `${new TextDecoder().decode(one.body).slice(0, 400)}\n  ${reasons.join("\n  ")}`
      )
    }
  }
  console.log(`${peer.name}: ${cases.length} cases, ${agreed} agreed, ${disagreed} disagreed`)
}

for (const [explanation, count] of hits) {
  const side = "weRefuse" in explanation
    ? `accepts against ${[explanation.weRefuse, explanation.path, explanation.message].filter(Boolean).join(" ")}`
    : `refuses ${explanation.theyRefuse}`
  console.log(`${count === 0 ? "STALE " : ""}${explanation.peer} ${side}, ${count} times: ${explanation.why}`)
  failures += count === 0 ? 1 : 0
}

console.log(failures === 0 ? "every disagreement is explained" : `${failures} unexplained or stale`)
process.exitCode = failures === 0 ? 0 : 1
