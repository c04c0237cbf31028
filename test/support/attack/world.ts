/** The names and addresses of an attack. Each host has an address of its own, and all of them are on loopback. */

/**
 * What a host of the attacker does.
 *
 * - `hang`: takes the request and never answers.
 * - `slow-tls`: costs as much time or work of TLS as it can.
 * - `tickets`: sends session tickets of TLS 1.3 without end.
 * - `missing`: has none of the documents.
 * - `large`: has every document. Each fills the limit of the body and says that it may be kept for a day.
 */
export const kinds = ["hang", "slow-tls", "tickets", "missing", "large"] as const
export type Kind = typeof kinds[number]

/** Where a process of the load listens, and the authority of its certificates. */
export interface Place {
  readonly port: number
  readonly ca: string
}

/** The connections to all hosts of the attacker. */
export interface Connections {
  readonly open: number
}

/** Hosts of one kind. An attacker of many sites has one host in each. */
export const hostCount = { one: 250, many: 1000 }

/** A client on a host of the attacker's only site, which has a wildcard name. */
export const ofOneSite = (kind: Kind, request: number): string =>
  `https://h${request % hostCount.one}.${kind}.example.net/${request}`

/** A client on one of the attacker's many sites. */
export const ofManySites = (kind: Kind, request: number): string => {
  const index = request % hostCount.many
  return `https://h${index}.${kind}.site${index}.example/${request}`
}

const attackerHost = new RegExp(`^h(\\d+)\\.(${kinds.join("|")})\\.`)

const numberOfKind = (kind: string): number => kinds.findIndex((name) => name === kind) + 1

const hash = (text: string): number => {
  let hash = 0x811c9dc5
  for (const character of text) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193)
  return hash >>> 0
}

/** The address that a name lookup returns. It is public, so the checks of a fetch accept it. */
export const addressOf = (host: string): string => {
  const [, index, kind = ""] = attackerHost.exec(host) ?? []
  if (index !== undefined) return `45.${numberOfKind(kind)}.${Number(index) >> 8}.${Number(index) & 255}`
  const number = hash(host)
  return `45.${16 + (number >>> 16) % 100}.${(number >>> 8) & 255}.${number & 255}`
}

/** Where such an address leads on loopback: each host of the attacker has its own address there, all others share one. */
export const loopbackOf = (address: string): { readonly address: string; readonly party: "attackers" | "origins" } => {
  const [, second = 0, third = 0, fourth = 0] = address.split(".").map(Number)
  return second <= kinds.length
    ? { address: `127.${second}.${third}.${fourth}`, party: "attackers" }
    : { address: "127.0.0.1", party: "origins" }
}

/** The loopback address of a host of the attacker. */
export const listenerOf = (kind: Kind, index: number): string =>
  `127.${numberOfKind(kind)}.${index >> 8}.${index & 255}`
