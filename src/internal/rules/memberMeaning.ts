/**
 * What a string member means, and so which rules it is under beside its type:
 *
 * - `text`: shown to people (DOC-18).
 * - `link`: an address that is only shown (DOC-13).
 * - `endpoint`: an address that a user agent or a request is sent to (DOC-13).
 * - `resource`: an address that the server may fetch or call (DOC-13).
 * - `redirect`: an address that a user agent is redirected to (DOC-11, DOC-12).
 */
export type Meaning = "text" | "link" | "endpoint" | "resource" | "redirect"

/** The schema annotation that holds a `Meaning`. */
export const meaningId = Symbol.for("effect-cimd/meaning")
