/** The libraries whose burst is measured, each behind one function, and each over real TLS to the origin. */
import {
  Fetcher,
  HostPolicy,
  Migrations,
  PostgresCache,
  PostgresClient,
  PostgresRegistry,
  Resolver,
  Validator
} from "effect-cimd"
import { DialerTest, NameLookupTest, Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import { Agent, buildConnector, fetch } from "undici"

export interface World {
  readonly databaseUrl: string
  readonly origin: { readonly port: number; readonly ca: string }
}

export interface Subject {
  /** Makes the tables, once for all processes. */
  readonly prepare: () => Promise<void>
  /** The name of the client that its document gives. */
  readonly resolve: (clientId: string) => Promise<string | undefined>
}

const ours = ({ databaseUrl, origin }: World): Subject => {
  const Database = PostgresClient.layer({ url: Redacted.make(databaseUrl), maxConnections: 10 })
  const Fetching = Fetcher.layerWithoutDependencies({ ca: origin.ca }).pipe(
    Layer.provide(NameLookupTest.layer(() => Effect.succeed(Origin.publicAddresses))),
    Layer.provide(DialerTest.layerWith(() => origin.port))
  )
  const runtime = ManagedRuntime.make(
    Resolver.layer().pipe(
      Layer.provide(
        Layer.mergeAll(Fetching, Validator.layer(), PostgresCache.layerTiered(), PostgresRegistry.layer())
      ),
      Layer.provide(Database),
      Layer.provide(HostPolicy.layerPublic)
    )
  )
  return {
    prepare: () => Effect.runPromise(Effect.asVoid(Effect.provide(Migrations.run(), Database))),
    resolve: (clientId) =>
      runtime.runPromise(Effect.map(
        Effect.flatMap(Resolver.Resolver, (resolver) => resolver.resolve(clientId)),
        ({ document }) => document.metadata.client_name
      ))
  }
}

/** A fetch that finds every host at the origin, and trusts its authority. */
const fetchFrom = ({ origin }: World) => {
  const connect = buildConnector({ ca: origin.ca })
  const dispatcher = new Agent({
    connect: (options, done) =>
      connect({ ...options, hostname: "127.0.0.1", port: String(origin.port), servername: options.hostname }, done)
  })
  return (url: string, init: Parameters<typeof fetch>[1]) => fetch(url, { ...init, dispatcher })
}

const peer = (module: string) => async (world: World): Promise<Subject> => {
  const { make } = await import(new URL(`../../differential/burst/${module}.js`, import.meta.url).href)
  return make({ databaseUrl: world.databaseUrl, fetch: fetchFrom(world) })
}

export const subjects: { readonly [name: string]: (world: World) => Subject | Promise<Subject> } = {
  "effect-cimd": ours,
  "@better-auth/cimd": peer("betterAuth"),
  "oidc-provider": peer("oidcProvider"),
  "Keyv on Postgres": peer("keyv")
}
