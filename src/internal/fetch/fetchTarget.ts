import { isIP } from "node:net"
import type { ClientId } from "../../ClientId.js"
import type { ClientIdParts } from "../rules/clientIdParts.js"
import { parts } from "../rules/clientIdParts.js"

/** Where the document of a client identifier is fetched from. */
export interface FetchTarget extends ClientIdParts {
  readonly clientId: ClientId
  /** Whether the host is an IP address. */
  readonly isAddress: boolean
}

export const fetchTarget = (clientId: ClientId): FetchTarget => {
  const found = parts(clientId)
  return { ...found, clientId, isAddress: isIP(found.host) !== 0 }
}
