import { X509Certificate } from "node:crypto"
import type { Options } from "../Fetcher.js"
import type * as Budget from "./budget.js"
import * as OptionReader from "./optionReader.js"

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

/** The settings, or what is wrong with the options and how to mend it. */
export const settle = (options: Options): Settings | string => {
  const { faults, millis, whole } = OptionReader.make()

  const accept = options.accept ?? "application/json"
  if (typeof accept !== "string" || !/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(accept)) {
    faults.push("`accept` must be a list of media types in printable ASCII")
  }
  const ca = typeof options.ca === "string" ? [options.ca] : options.ca
  faults.push(...faultsOfAuthorities(ca))

  const settings: Settings = {
    timeoutMillis: millis("timeout", options.timeout, "5 seconds"),
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
        perMillis: millis("startRate.per", options.startRate?.per, "10 seconds")
      },
      failurePause: {
        minimumMillis: millis("failurePause.minimum", options.failurePause?.minimum, "1 second", { least: 0 }),
        maximumMillis: millis("failurePause.maximum", options.failurePause?.maximum, "60 seconds", { least: 0 })
      },
      // A Map of Node.js holds no more.
      tracked: whole("tracked", options.tracked, 10_000, 2 ** 24)
    }
  }
  const { maximumMillis, minimumMillis } = settings.budget.failurePause
  if (minimumMillis > maximumMillis) {
    faults.push("`failurePause.minimum` is above `failurePause.maximum`")
  }
  return faults.length === 0 ? settings : `The fetcher's options cannot be kept: ${faults.join("; ")}.`
}

const faultsOfAuthorities = (ca: unknown): ReadonlyArray<string> => {
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
