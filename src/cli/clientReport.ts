/** All that is stored of a client, in the two forms of a result. */
import type { ClientState, Standing, StoredDocument } from "../ClientRegistry.js"
import type { DocumentRow } from "../internal/postgres/documentRow.js"
import type * as Output from "./output.js"
import * as Registry from "./registry.js"

/** The row of the cache, if there is one, and what the registry knows. */
export interface Stored {
  readonly row: DocumentRow | undefined
  readonly client: ClientState
}

const admissionOf = ({ admission }: ClientState) => {
  switch (admission._tag) {
    case "Blocked":
      return "blocked"
    case "Pinned":
      return "pinned"
    case "Admitted":
      return "approved"
    case "Unapproved":
      return admission.rejection === undefined ? "undecided" : "rejected"
  }
}

const meanings = {
  blocked: "every server refuses it",
  pinned: "servers serve the pinned document",
  approved: "every server admits it",
  undecided: "servers admit it, except with admission: \"approve\"",
  rejected: "servers with admission: \"approve\" refuse it"
}

const documentToJson = ({ digest, text }: StoredDocument) => ({ digest, document: JSON.parse(text) })

const rowToJson = ({ document, expiresAt, fetchedAt, keptUntil, ...row }: DocumentRow) => ({
  ...row,
  fetchedAt: Registry.toIso(fetchedAt),
  expiresAt: Registry.toIso(expiresAt),
  keptUntil: Registry.toIso(keptUntil),
  document: document === undefined ? null : JSON.parse(document)
})

const standingToJson = (standing: Standing) => ({
  decision: standing.decision,
  subject: standing.subject,
  by: standing.by,
  at: Registry.toIso(standing.at),
  reason: standing.reason,
  ...(standing.decision === "pinned" ? documentToJson(standing.document) : {})
})

const toJson = ({ client, row }: Stored) => ({
  clientId: client.clientId,
  cached: row === undefined ? null : rowToJson(row),
  admission: admissionOf(client),
  decisions: client.decisions.map(standingToJson),
  request: client.request === undefined ? null : Registry.requestToJson(client.request),
  consented: client.consented === undefined ? null : {
    at: Registry.toIso(client.consented.at),
    usedAt: Registry.toIso(client.usedAt),
    ...documentToJson(client.consented.document)
  },
  accepted: client.accepted === undefined ? null : {
    fetchedAt: Registry.toIso(client.accepted.fetchedAt),
    expiresAt: Registry.toIso(client.accepted.expiresAt),
    ...documentToJson(client.accepted.document)
  },
  changed: client.changed ?? null,
  changedMembers: client.changedMembers,
  withdrawals: client.withdrawals.map(({ firstAt, latestAt, ruleset }) => ({
    ruleset: ruleset ?? null,
    firstAt: Registry.toIso(firstAt),
    latestAt: Registry.toIso(latestAt)
  })),
  evictedAt: Registry.toIso(client.evictedAt)
})

const members = (text: string): ReadonlyArray<string> =>
  Object.entries(JSON.parse(text)).map(([member, value]) => `  ${member}: ${JSON.stringify(value)}`)

const rowToLines = ({ document, ruleset, ...row }: DocumentRow): ReadonlyArray<string> => {
  const { expiresAt, fetchedAt, keptUntil } = rowToJson({ document, ruleset, ...row })
  return [
    `cached: ${row.state}, fetched ${fetchedAt}, expires ${expiresAt}, kept until ${keptUntil}, under rule set ${ruleset}`,
    ...(row.withdrawn ? ["  not served after its expiry"] : []),
    ...(row.withdrawnFor.length === 0 ? [] : [`  withdrawn for ${row.withdrawnFor.join(", ")}`]),
    ...(document === undefined ? [] : members(document))
  ]
}

const standingToLines = (standing: Standing): ReadonlyArray<string> => [
  `decision: ${standing.decision} ${standing.subject}, ${
    Registry.toIso(standing.at)
  }, by ${standing.by}: ${standing.reason}`,
  ...(standing.decision === "pinned" ? members(standing.document.text) : [])
]

const toLines = (stored: Stored): ReadonlyArray<string> => {
  const { client, row } = stored
  const { accepted, changed, changedMembers, consented, decisions, evictedAt, request, usedAt, withdrawals } = client
  const admission = admissionOf(client)
  return [
    ...(row === undefined ? ["cached: nothing"] : rowToLines(row)),
    `admission: ${admission}, ${meanings[admission]}`,
    ...decisions.flatMap(standingToLines),
    ...(request === undefined ? [] : [`request: ${Registry.requestToLine(request)}`]),
    ...(consented === undefined ? ["consented: no"] : [
      `consented: ${Registry.toIso(consented.at)}, last used ${
        Registry.toIso(usedAt)
      }, SHA-256 ${consented.document.digest}`,
      ...members(consented.document.text)
    ]),
    ...(accepted === undefined ? [] : [
      `last accepted: fetched ${Registry.toIso(accepted.fetchedAt)}, expires ${Registry.toIso(accepted.expiresAt)}, ` +
      `SHA-256 ${accepted.document.digest}`,
      ...(accepted.document.digest === consented?.document.digest ? [] : members(accepted.document.text))
    ]),
    ...(changed === undefined ? [] : [
      `changed since the consent: ${[changed, ...changedMembers].join(", ")}`
    ]),
    ...withdrawals.map(({ firstAt, latestAt, ruleset }) =>
      `withdrawn: ${ruleset === undefined ? "gone" : `invalid under rule set ${ruleset}`}, first ${
        Registry.toIso(firstAt)
      }, latest ${Registry.toIso(latestAt)}`
    ),
    ...(evictedAt === undefined ? [] : [`evicted: ${Registry.toIso(evictedAt)}`])
  ]
}

const isStored = ({ client: { consented, decisions, evictedAt, request }, row }: Stored): boolean =>
  decisions.length > 0 || [consented, evictedAt, request, row].some((each) => each !== undefined)

/** Returns no if nothing is stored. */
export const toResult = (stored: Stored): Output.Result => ({
  verdict: isStored(stored) ? "yes" : "no",
  json: toJson(stored),
  lines: isStored(stored) ? toLines(stored) : [`Nothing is stored of ${stored.client.clientId}.`]
})
