/**
 * Redirect URIs: what a document may register (DOC-11, DOC-12), and whether a request's URI is one of them (RED-01 to
 * RED-04).
 *
 * @since 0.1.0
 */
export {}
