import * as Duration from "effect/Duration"
import { X509Certificate } from "node:crypto"
import type { Options } from "../Fetcher.js"
import type * as Budget from "./budget.js"

/** The fetcher's options, complete and checked. */
export interface Settings {
  readonly timeoutMillis: number
  readonly maxBodyBytes: number
  readonly maxHeaderBytes: number
  readonly maxHeaderCount: number
  readonly accept: string
  readonly ca: ReadonlyArray<string> | undefined
  readonly budget: Budget.Limits
}

/** Longer ones overflow the timers of Node.js, which then fire at once. */
const maxMillis = 2 ** 31 - 1

/** The settings, or what is wrong with the options and how to mend it. */
export const settle = (options: Options): Settings | string => {
  const faults: Array<string> = []

  const whole = (name: string, given: number | undefined, fallback: number): number => {
    const value = given ?? fallback
    if (!Number.isSafeInteger(value) || value < 1) {
      faults.push(`\`${name}\` must be a whole number from 1 on, and is ${value}`)
    }
    return value
  }
  const millis = (
    name: string,
    given: Duration.DurationInput | undefined,
    fallback: Duration.DurationInput,
    least: number
  ): number => {
    const decoded = Duration.decodeUnknown(given ?? fallback)
    const value = decoded._tag === "Some" ? Duration.toMillis(decoded.value) : Number.NaN
    if (!(value >= least && value <= maxMillis)) {
      faults.push(`\`${name}\` must be a length of time from ${least} ms to 24 days, and is ${String(given)}`)
    }
    return value
  }

  const accept = options.accept ?? "application/json"
  if (!/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(accept)) {
    faults.push("`accept` must be a list of media types in printable ASCII")
  }
  const ca = typeof options.ca === "string" ? [options.ca] : options.ca
  if (ca?.length === 0) {
    faults.push(
      "`ca` is empty, so that no certificate would be trusted: leave it out to trust the system's authorities"
    )
  }
  for (const authority of ca ?? []) {
    const fault = faultOfAuthority(authority)
    if (fault !== undefined) faults.push(fault)
  }

  const settings: Settings = {
    timeoutMillis: millis("timeout", options.timeout, "5 seconds", 1),
    maxBodyBytes: whole("maxBodyBytes", options.maxBodyBytes, 5120),
    maxHeaderBytes: whole("maxHeaderBytes", options.maxHeaderBytes, 16_384),
    maxHeaderCount: whole("maxHeaderCount", options.maxHeaderCount, 100),
    accept,
    ca,
    budget: {
      concurrency: whole("concurrency", options.concurrency, 16),
      concurrencyPerOrigin: whole("concurrencyPerOrigin", options.concurrencyPerOrigin, 4),
      startRate: {
        starts: whole("startRate.starts", options.startRate?.starts, 30),
        perMillis: millis("startRate.per", options.startRate?.per, "10 seconds", 1)
      },
      failurePause: {
        minimumMillis: millis("failurePause.minimum", options.failurePause?.minimum, "1 second", 0),
        maximumMillis: millis("failurePause.maximum", options.failurePause?.maximum, "60 seconds", 0)
      },
      tracked: whole("tracked", options.tracked, 10_000)
    }
  }
  const { maximumMillis, minimumMillis } = settings.budget.failurePause
  if (minimumMillis > maximumMillis) {
    faults.push("`failurePause.minimum` is above `failurePause.maximum`")
  }
  return faults.length === 0 ? settings : `The fetcher's options cannot be kept: ${faults.join("; ")}.`
}

const faultOfAuthority = (pem: string): string | undefined => {
  try {
    new X509Certificate(pem)
    return pem.includes("-----BEGIN CERTIFICATE-----") ? undefined : "`ca` must be in PEM form"
  } catch {
    return "`ca` holds what is no certificate in PEM form"
  }
}
