/** @better-auth/cimd, in a whole better-auth server over Postgres. */
import { createCimdClientDiscovery } from "@better-auth/cimd"
import { oauthProvider } from "@better-auth/oauth-provider"
import { betterAuth } from "better-auth"
import { getMigrations } from "better-auth/db/migration"
import { jwt } from "better-auth/plugins"
import pg from "pg"

export const make = ({ databaseUrl, fetch }) => {
  const discovery = createCimdClientDiscovery({ fetchClientMetadataResource: fetch })
  const auth = betterAuth({
    baseURL: "https://as.example.com",
    secret: "a secret of the benchmark, which guards nothing",
    logger: { disabled: true },
    telemetry: { enabled: false },
    database: new pg.Pool({ connectionString: databaseUrl, max: 10 }),
    plugins: [
      jwt(),
      oauthProvider({ loginPage: "/login", consentPage: "/consent", extensions: [{ clientDiscovery: discovery }] })
    ]
  })
  return {
    prepare: async () => {
      const { runMigrations } = await getMigrations(auth.options)
      await runMigrations()
    },
    // What the server does with the client id of an authorization request.
    resolve: async (clientId) => {
      const context = await auth.$context
      const stored = await context.adapter.findOne({
        model: "oauthClient",
        where: [{ field: "clientId", value: clientId }]
      })
      return (await discovery.resolve({ context }, clientId, stored)).name
    }
  }
}
