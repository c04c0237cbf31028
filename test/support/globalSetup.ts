import * as PgClient from "@effect/sql-pg/PgClient"
import { Migrations } from "effect-cimd"
import { Postgres } from "effect-cimd/testing"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import type { TestProject } from "vitest/node"

declare module "vitest" {
  export interface ProvidedContext {
    postgresUrl: string
    migratedTemplate: string
    /** The loopback port of a pooler in front of the server, in a run that has one. */
    poolerPort?: number
  }
}

// The package of another version of Postgres.
const packageName = process.env.POSTGRES_PACKAGE

/** Starts one server for all test files, and migrates one database in it, of which each file takes copies. */
export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  // Vitest calls this once for each project. All of them receive what is provided to the root.
  const root = project.vitest.getRootProject()
  if ("postgresUrl" in root.getProvidedContext()) return undefined
  const scope = await Effect.runPromise(Scope.make())
  const started = Effect.gen(function*() {
    const server = yield* (packageName === undefined ? Postgres.url : Postgres.embedded({ packageName }))
    const template = yield* Postgres.database(server)
    const version = yield* Effect.provide(
      Effect.gen(function*() {
        yield* Migrations.run()
        const sql = yield* PgClient.PgClient
        return yield* sql<{ server_version: string }>`SHOW server_version`
      }),
      PgClient.layer({ url: template, maxConnections: 1 })
    )
    console.log(`Postgres ${version[0]?.server_version}`)
    return { server, template: new URL(Redacted.value(template)).pathname.slice(1) }
  })
  const { server, template } = await Effect.runPromise(
    Scope.extend(started, scope).pipe(
      // Vitest ends with no reason when its setup fails.
      Effect.tapErrorCause((cause) =>
        Effect.sync(() => console.error(Cause.pretty(cause, { renderErrorCause: true })))
      ),
      Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
    )
  )
  root.provide("postgresUrl", Redacted.value(server))
  root.provide("migratedTemplate", template)
  return () => Effect.runPromise(Scope.close(scope, Exit.void))
}
