/**
 * The meaning of a string member. It decides which rules apply to the value, in addition to its type:
 *
 * - `text`: a text shown to users (DOC-18).
 * - `link`: a URL that is only shown (DOC-13).
 * - `endpoint`: a URL that a user agent or a request is sent to (DOC-13).
 * - `resource`: a URL that the server may fetch or call (DOC-13).
 * - `request`: the same, but its fragment is the hash of its content (OpenID Connect Core, section 6.2).
 * - `plain`: any other string (DOC-18). This is the meaning of a string without an annotation.
 * - `redirect`: a URI that a user agent is redirected to (DOC-11, DOC-12).
 */
export type Meaning = "text" | "plain" | "link" | "endpoint" | "resource" | "request" | "redirect"

/** The schema annotation that holds a `Meaning`. */
export const meaningId = Symbol.for("effect-cimd/meaning")
