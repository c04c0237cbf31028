import { isIP } from "node:net"
import * as ClientId from "../../ClientId.js"
import { splitAuthority } from "../rules/uriSyntax.js"

/** What a client identifier says about where its document is. */
export interface Target {
  readonly clientId: ClientId.ClientId
  /** The host name or the address, without brackets. */
  readonly host: string
  readonly isAddress: boolean
  readonly port: number
  /** The value of the `Host` field. */
  readonly hostField: string
  /** Path and query, byte for byte as they stand in the client identifier (FET-01). */
  readonly requestTarget: string
}

export const parse = (clientId: ClientId.ClientId): Target => {
  const afterScheme = "https://".length
  const path = clientId.indexOf("/", afterScheme)
  const { host: bracketed, port: digits } = splitAuthority(clientId.slice(afterScheme, path))
  const host = ClientId.host(clientId)
  const port = digits === undefined ? 443 : Number(digits)
  return {
    clientId,
    host,
    isAddress: isIP(host) !== 0,
    port,
    hostField: port === 443 ? bracketed : `${bracketed}:${port}`,
    requestTarget: clientId.slice(path)
  }
}
