/** The messages between the demo and its nodes. */
export type Request =
  | { readonly command: "resolve"; readonly clientId: string }
  | { readonly command: "sweep" }

export type Response =
  | { readonly _tag: "Resolved"; readonly source: string }
  | { readonly _tag: "Swept"; readonly documents: number }
  | { readonly _tag: "Failed"; readonly error: string; readonly message: string; readonly oauthError: string }

/** The only host name with a private address. */
export const privateHost = "intranet.example"
