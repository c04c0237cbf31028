import { PostgresCache } from "effect-cimd"
import * as Layer from "effect/Layer"
import { cacheSuite } from "./support/cacheSuite.js"
import * as Postgres from "./support/postgres.js"

cacheSuite("PostgresCache.layer", Layer.provide(PostgresCache.layer(), Postgres.migrated))
