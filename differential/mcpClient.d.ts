/** What the client keeps. */
interface Stored {
  readonly client: { readonly client_id: string } | undefined
  readonly tokens: { readonly access_token: string; readonly refresh_token?: string } | undefined
  readonly authorizationUrl: URL | undefined
  /** What the server's answers made it throw away. */
  readonly invalidated: ReadonlyArray<string>
}

export declare const make: (options: {
  readonly clientId: string
  readonly serverUrl: string
  readonly redirectUrl: string
  readonly fetch: typeof fetch
}) => {
  readonly stored: Stored
  readonly auth: (authorizationCode?: string) => Promise<"AUTHORIZED" | "REDIRECT">
}
