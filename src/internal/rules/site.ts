import { parts } from "./clientIdParts.js"

/**
 * Returns the site of a client: the unit that pays for what its clients cause. It is the exact host, because this package
 * has no list of public suffixes.
 */
export const siteOf = (clientId: string): string => parts(clientId).host
