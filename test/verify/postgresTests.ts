/** The tests that use Postgres: files, and folders of them. */
export const postgresTests: ReadonlyArray<string> = [
  "test/Metrics.test.ts",
  "test/Migrations.test.ts",
  "test/PostgresCache.test.ts",
  "test/PostgresRegistry.test.ts",
  "test/Resolver.test.ts",
  "test/ResolverLimits.test.ts",
  "test/ResolverRegistry.test.ts",
  "test/Sweeper.test.ts",
  "test/cluster",
  "test/postgres"
]
