import { splitAuthority } from "./uriSyntax.js"

/** The parts of a client identifier. The only place that cuts one up, so that all readers agree where it leads. */
export interface ClientIdParts {
  /** The host name or the address, without brackets. */
  readonly host: string
  /** The host as a URL has it: an IPv6 literal in its brackets. */
  readonly bracketedHost: string
  /** Defaults to `443`. */
  readonly port: number
  /** Scheme, host, and port unless it is 443. */
  readonly origin: string
  /** The value of the `Host` field: the host, and the port unless it is 443. */
  readonly hostField: string
  /** Path and query, byte for byte as they stand in the client identifier (FET-01). */
  readonly requestTarget: string
}

const authorityStart = "https://".length

/** Splits a client identifier, which the grammar has accepted: it begins with `https://` and has a path. */
export const parts = (clientId: string): ClientIdParts => {
  const path = clientId.indexOf("/", authorityStart)
  const { host: bracketedHost, port: digits } = splitAuthority(clientId.slice(authorityStart, path))
  const port = digits === undefined ? 443 : Number(digits)
  const hostField = port === 443 ? bracketedHost : `${bracketedHost}:${port}`
  return {
    host: bracketedHost.startsWith("[") ? bracketedHost.slice(1, -1) : bracketedHost,
    bracketedHost,
    port,
    origin: `https://${hostField}`,
    hostField,
    requestTarget: clientId.slice(path)
  }
}
