/**
 * @since 0.1.0
 */
export * as Cache from "./Cache.js"
/**
 * @since 0.1.0
 */
export * as ClientId from "./ClientId.js"
/**
 * @since 0.1.0
 */
export * as ClientMetadata from "./ClientMetadata.js"
/**
 * @since 0.1.0
 */
export * as ClientRegistry from "./ClientRegistry.js"
/**
 * @since 0.1.0
 */
export * as Dialer from "./Dialer.js"
/**
 * @since 0.1.0
 */
export * as FetchError from "./FetchError.js"
/**
 * @since 0.1.0
 */
export * as Fetcher from "./Fetcher.js"
/**
 * @since 0.1.0
 */
export * as Freshness from "./Freshness.js"
/**
 * @since 0.1.0
 */
export * as HostPolicy from "./HostPolicy.js"
/**
 * @since 0.1.0
 */
export * as InvalidOptions from "./InvalidOptions.js"
/**
 * @since 0.1.0
 */
export * as Issue from "./Issue.js"
/**
 * @since 0.1.0
 */
export * as Migrations from "./Migrations.js"
/**
 * @since 0.1.0
 */
export * as NameLookup from "./NameLookup.js"
/**
 * @since 0.1.0
 */
export * as OAuthError from "./OAuthError.js"
/**
 * @since 0.1.0
 */
export * as PostgresCache from "./PostgresCache.js"
/**
 * @since 0.1.0
 */
export * as PostgresClient from "./PostgresClient.js"
/**
 * @since 0.1.0
 */
export * as PostgresRegistry from "./PostgresRegistry.js"
/**
 * @since 0.1.0
 */
export * as RedirectUri from "./RedirectUri.js"
/**
 * @since 0.1.0
 */
export * as Resolver from "./Resolver.js"
/**
 * @since 0.1.0
 */
export * as Sweeper from "./Sweeper.js"
/**
 * @since 0.1.0
 */
export * as Validator from "./Validator.js"
