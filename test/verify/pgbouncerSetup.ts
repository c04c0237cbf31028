import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import type { TestProject } from "vitest/node"
import * as PgBouncer from "./pgbouncer.js"

/** Starts a PgBouncer in front of the server of all test files. It has fewer sessions than the tests have connections. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { postgresUrl } = project.vitest.getRootProject().getProvidedContext()
  const scope = await Effect.runPromise(Scope.make())
  const close = () => Effect.runPromise(Scope.close(scope, Exit.void))
  const port = await Effect.runPromise(
    Scope.extend(PgBouncer.start(Redacted.make(postgresUrl), { poolSize: 8 }), scope)
  ).catch((error: unknown) => close().then(() => Promise.reject(error)))
  project.provide("poolerPort", port)
  return close
}
