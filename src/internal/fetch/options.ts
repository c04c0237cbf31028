import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import { X509Certificate } from "node:crypto"
import type { InvalidOptions } from "../../InvalidOptions.js"
import * as OptionReader from "../optionReader.js"
import type * as Limiter from "./limiter.js"
import { maxReadBytes } from "./sockets.js"

/** The options of the fetcher. */
export interface FetchOptions {
  /**
   * Time for the whole fetch, from its permit to the last byte. A fetch that takes longer fails with `FetchTimeout`
   * (FET-08). Defaults to `5 seconds`.
   */
  readonly timeout?: Duration.DurationInput | undefined
  /** Maximum bytes of the body. A longer body fails the fetch with `ResponseTooLarge` (FET-07). Defaults to `5120`. */
  readonly maxBodyBytes?: number | undefined
  /**
   * Maximum bytes of the status line and the header lines together. Longer ones fail the fetch with `ResponseTooLarge`
   * (FET-07). Defaults to `16384`.
   */
  readonly maxHeaderBytes?: number | undefined
  /** Maximum number of header lines. More fail the fetch with `ResponseTooLarge` (FET-07). Defaults to `100`. */
  readonly maxHeaderCount?: number | undefined
  /** The value of the `Accept` header (FET-02). Defaults to `application/json`. */
  readonly accept?: string | undefined
  /**
   * Certificate authorities in PEM form, which are trusted instead of those of the system. The certificates that a server
   * sends have bounded cost all the same, so an intermediate with a key on P-521 is refused (FET-18). Defaults to those
   * of the system.
   */
  readonly ca?: string | ReadonlyArray<string> | undefined
  /**
   * Maximum number of concurrent fetches, without those of confirmed clients. Eight more per permit are queued; beyond
   * that, the site with the most waiters loses one, which fails with `Throttled`. Defaults to `16`.
   */
  readonly concurrency?: number | undefined
  /**
   * Maximum number of concurrent fetches of confirmed clients. They have a queue and rates of their own, so fetches of
   * other clients take nothing from them. Defaults to `8`.
   */
  readonly confirmedConcurrency?: number | undefined
  /**
   * Maximum number of concurrent fetches from one site, which is the registrable domain of a host by the Public Suffix List
   * (FET-20). Eight more per permit are queued; beyond that, fetches fail with `Throttled`. The registrable domain by the
   * ICANN part of the list, such as `github.io`, has twice as many. Defaults to `4`.
   */
  readonly concurrencyPerSite?: number | undefined
  /**
   * Maximum number of fetches from one site that start within a window. All of them may start at once, and the number is
   * then restored evenly. Beyond that, fetches fail with `Throttled`. The registrable domain by the ICANN part of the list
   * may start four times as many, and so may a requester. Defaults to `30` in `10 seconds`.
   */
  readonly rateLimit?: {
    readonly limit: number
    readonly window: Duration.DurationInput
  } | undefined
  /**
   * Maximum wait for a permit. A fetch that waits longer fails with `Throttled`. The `timeout` begins after the wait.
   * Defaults to `2 seconds`.
   */
  readonly queueTimeout?: Duration.DurationInput | undefined
  /**
   * The pause after a failed fetch, during which fetches of the same client fail with `Throttled`. The first pause is
   * `initial`, and each further failure doubles it, up to `maximum`. A success ends the back-off. Zero turns it off.
   * Defaults to `1 second` and `60 seconds`.
   */
  readonly backoff?: {
    readonly initial: Duration.DurationInput
    readonly maximum: Duration.DurationInput
  } | undefined
  /**
   * Maximum number of entries in each table of these limits: sites, domains, requesters and failed clients. An entry that
   * still counts is never evicted. While a table is full, all others share the limits of one. A failed client that has no
   * room has no pause. Defaults to `10000`.
   */
  readonly maxTrackedKeys?: number | undefined
}

/** The options with their defaults, checked. */
export interface Settings {
  readonly timeoutMillis: number
  readonly maxBodyBytes: number
  readonly maxHeaderBytes: number
  readonly maxHeaderCount: number
  /** Maximum bytes from the peer in all, those of TLS included (FET-17). */
  readonly maxReceivedBytes: number
  readonly accept: string
  readonly ca: ReadonlyArray<string> | undefined
  readonly limits: Limiter.Limits
}

/**
 * Bytes for the handshake, TLS records, chunks and trailers, so that a body may also arrive in records of a few dozen
 * bytes. The read that exceeds the limit belongs to them: with the default limit of the head, 64 KiB come on top of the body.
 */
const overheadBytes = 49_152 - maxReadBytes

/** Checks the options and adds the defaults. */
export const settingsOf = (options: FetchOptions): Effect.Effect<Settings, InvalidOptions> =>
  OptionReader.read("Fetcher", ({ millis, report, whole }) => {
    const accept = options.accept ?? "application/json"
    if (typeof accept !== "string" || !/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(accept)) {
      report("`accept` must be a list of media types in printable ASCII")
    }
    const ca = typeof options.ca === "string" ? [options.ca] : options.ca
    for (const issue of issuesOfAuthorities(ca)) report(issue)
    const initialMillis = millis("backoff.initial", options.backoff?.initial, "1 second", { least: 0 })
    const maximumMillis = millis("backoff.maximum", options.backoff?.maximum, "60 seconds", { least: 0 })
    if (initialMillis > maximumMillis) {
      report("`backoff.initial` must not be greater than `backoff.maximum`")
    }
    const timeoutMillis = millis("timeout", options.timeout, "5 seconds")
    const maxBodyBytes = whole("maxBodyBytes", options.maxBodyBytes, 5120)
    const maxHeaderBytes = whole("maxHeaderBytes", options.maxHeaderBytes, 16_384)
    return {
      timeoutMillis,
      maxBodyBytes,
      maxHeaderBytes,
      maxHeaderCount: whole("maxHeaderCount", options.maxHeaderCount, 100),
      maxReceivedBytes: maxBodyBytes + maxHeaderBytes + overheadBytes,
      accept,
      ca,
      limits: {
        concurrency: whole("concurrency", options.concurrency, 16),
        confirmedConcurrency: whole("confirmedConcurrency", options.confirmedConcurrency, 8),
        concurrencyPerSite: whole("concurrencyPerSite", options.concurrencyPerSite, 4),
        rateLimit: {
          limit: whole("rateLimit.limit", options.rateLimit?.limit, 30),
          windowMillis: millis("rateLimit.window", options.rateLimit?.window, "10 seconds")
        },
        queueTimeoutMillis: millis("queueTimeout", options.queueTimeout, "2 seconds"),
        timeoutMillis,
        backoff: { initialMillis, maximumMillis },
        // The maximum size of a Map in Node.js.
        maxTrackedKeys: whole("maxTrackedKeys", options.maxTrackedKeys, 10_000, { most: 2 ** 24 })
      }
    }
  })

const issuesOfAuthorities = (ca: unknown): ReadonlyArray<string> => {
  if (ca === undefined) {
    return []
  }
  if (!Array.isArray(ca)) {
    return ["`ca` must be certificates in PEM form"]
  }
  return ca.length === 0
    ? [
      "`ca` must not be empty; leave it out to trust the authorities of the system"
    ]
    : ca.flatMap((pem: unknown) =>
      isCertificate(pem) ? [] : ["`ca` contains an entry that is not a certificate in PEM form"]
    )
}

const isCertificate = (pem: unknown): boolean => {
  if (typeof pem !== "string" || !pem.includes("-----BEGIN CERTIFICATE-----")) {
    return false
  }
  try {
    new X509Certificate(pem)
    return true
  } catch {
    return false
  }
}
