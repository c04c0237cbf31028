import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import { X509Certificate } from "node:crypto"
import type { InvalidOptions } from "../../InvalidOptions.js"
import * as OptionReader from "../optionReader.js"
import type * as Limiter from "./limiter.js"

/** What the fetcher may be told. */
export interface FetchOptions {
  /** Time for everything: lookup, connect, TLS, headers and the last byte; 5 seconds unless told (FET-08). */
  readonly timeout?: Duration.DurationInput | undefined
  /** Bytes of body at most; 5120 unless told (FET-07). */
  readonly maxBodyBytes?: number | undefined
  /** Bytes of the status line and the headers at most; 16384 unless told (FET-07). */
  readonly maxHeaderBytes?: number | undefined
  /** Header lines at most; 100 unless told (FET-07). */
  readonly maxHeaderCount?: number | undefined
  /** `Accept` header; `application/json` unless told (FET-02). */
  readonly accept?: string | undefined
  /** Certificate authorities (PEM) to trust instead of the system's. */
  readonly ca?: string | ReadonlyArray<string> | undefined
  /** Fetches at the same time; 16 unless told. For each of them 8 may wait; further ones are refused. */
  readonly concurrency?: number | undefined
  /** Fetches at the same time from one origin; 4 unless told. For each of them 8 may wait; further ones are refused. */
  readonly concurrencyPerOrigin?: number | undefined
  /**
   * How many fetches from one origin may begin within a time; 30 in 10 seconds unless told. They may all begin at once;
   * after that the number fills up again evenly.
   */
  readonly rateLimit?: {
    readonly limit: number
    readonly window: Duration.DurationInput
  } | undefined
  /**
   * How long a client is left alone after a failed fetch: first the minimum (1 second unless told), and twice as long
   * with each further failure, up to the maximum (60 seconds unless told). A success ends it. Zero turns it off.
   */
  readonly backoff?: {
    readonly initial: Duration.DurationInput
    readonly maximum: Duration.DurationInput
  } | undefined
  /**
   * Origins, and failed clients, that are remembered for these limits at most; 10,000 each unless told. No entry that
   * still counts is pushed out. While the table of origins is full, the origins outside it share the limits of one.
   */
  readonly maxTrackedKeys?: number | undefined
}

/** The fetcher's options, complete and checked. */
export interface Settings {
  readonly timeoutMillis: number
  readonly maxBodyBytes: number
  readonly maxHeaderBytes: number
  readonly maxHeaderCount: number
  readonly accept: string
  readonly ca: ReadonlyArray<string> | undefined
  readonly limits: Limiter.Limits
}

/** Checks the options and fills in the defaults. */
export const settle = (options: FetchOptions): Effect.Effect<Settings, InvalidOptions> =>
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
    return {
      timeoutMillis: millis("timeout", options.timeout, "5 seconds"),
      maxBodyBytes: whole("maxBodyBytes", options.maxBodyBytes, 5120),
      maxHeaderBytes: whole("maxHeaderBytes", options.maxHeaderBytes, 16_384),
      maxHeaderCount: whole("maxHeaderCount", options.maxHeaderCount, 100),
      accept,
      ca,
      limits: {
        concurrency: whole("concurrency", options.concurrency, 16),
        concurrencyPerOrigin: whole("concurrencyPerOrigin", options.concurrencyPerOrigin, 4),
        rateLimit: {
          limit: whole("rateLimit.limit", options.rateLimit?.limit, 30),
          windowMillis: millis("rateLimit.window", options.rateLimit?.window, "10 seconds")
        },
        backoff: { initialMillis, maximumMillis },
        // A Map of Node.js holds no more.
        maxTrackedKeys: whole("maxTrackedKeys", options.maxTrackedKeys, 10_000, 2 ** 24)
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
    ? ["`ca` is empty, so that no certificate would be trusted: leave it out to trust the system's authorities"]
    : ca.flatMap((pem: unknown) => isCertificate(pem) ? [] : ["`ca` holds what is no certificate in PEM form"])
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
