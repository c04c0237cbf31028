/** What a host writes first: look into Keyv on Postgres, else fetch, judge and store. */
import { validateCimdMetadata } from "@better-auth/cimd"
import KeyvPostgres from "@keyv/postgres"
import Keyv from "keyv"

export const make = ({ databaseUrl, fetch }) => {
  const keyv = new Keyv({ store: new KeyvPostgres({ uri: databaseUrl, max: 10 }), throwOnErrors: true })
  return {
    // Its table is made by the first use.
    prepare: async () => {
      await keyv.get("ready")
    },
    resolve: async (clientId) => {
      const stored = await keyv.get(clientId)
      if (stored !== undefined) return stored.client_name
      const response = await fetch(clientId, { headers: { accept: "application/json" }, redirect: "error" })
      const judged = validateCimdMetadata(clientId, await response.json(), { originBoundFields: [] })
      if (response.status !== 200 || !judged.valid) throw new Error(judged.error ?? String(response.status))
      await keyv.set(clientId, judged.metadata, 3_600_000)
      return judged.metadata.client_name
    }
  }
}
