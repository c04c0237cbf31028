/** The bytes of a usual document. */
export const documentOf = (clientId: string) =>
  new TextEncoder().encode(JSON.stringify({
    client_id: clientId,
    client_name: "Benchmark",
    client_uri: "https://app.example/",
    redirect_uris: ["https://app.example/callback", "http://127.0.0.1/callback"],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none"
  }))
