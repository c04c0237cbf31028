import * as Options from "@effect/cli/Options"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as ClientId from "../ClientId.js"
import * as Fetcher from "../Fetcher.js"
import * as Freshness from "../Freshness.js"
import * as HostPolicy from "../HostPolicy.js"
import { UsageError } from "./exitCode.js"
import * as Input from "./input.js"
import * as Profile from "./profile.js"

/** The flag for the certificate authorities that a fetch trusts. */
export const ca = Options.text("ca").pipe(
  Options.withPseudoName("file"),
  Options.withDescription("Trust the certificate authorities of this PEM file instead of Node.js's own"),
  Options.optional
)

const readCertificates = (file: Option.Option<string>): Effect.Effect<string | undefined, UsageError> =>
  Option.match(file, {
    onNone: () => Effect.succeed(undefined),
    onSome: (name) =>
      Effect.flatMap(Input.read(name), (bytes) => {
        const text = new TextDecoder().decode(bytes)
        return text.includes("-----BEGIN CERTIFICATE-----")
          ? Effect.succeed(text)
          : new UsageError({ message: `The file ${name} does not contain a certificate in PEM format.` })
      })
  })

/** How to fetch. */
export interface Choice {
  readonly ca: Option.Option<string>
  readonly profile: Profile.Choice
}

/** The fetcher, and the policy of the hosts that it may fetch from. */
export const layer = (
  choice: Choice,
  options?: Fetcher.Options
): Layer.Layer<Fetcher.Fetcher | HostPolicy.HostPolicy, UsageError> =>
  Layer.unwrapEffect(Effect.map(readCertificates(choice.ca), (ca) =>
    Layer.provideMerge(
      Layer.mapError(
        Fetcher.layer({ ...options, ca }),
        ({ message }) => new UsageError({ message: `--ca: ${message}` })
      ),
      Profile.layerHostPolicy(choice.profile)
    )))

/** A document that was fetched, and how that went. */
export interface Fetched {
  readonly clientId: ClientId.ClientId
  readonly body: Uint8Array
  readonly address: string
  readonly millis: number
  /** How long a cache keeps the document by default. `undefined` if it keeps it for this request only. */
  readonly timeToLive: Duration.Duration | undefined
}

/** Fetches a document once, as a server does that has not cached it. */
export const fetchDocument = (
  url: string,
  choice: Choice
): Effect.Effect<Fetched, UsageError | ClientId.InvalidClientId | HostPolicy.HostRefused | Fetcher.FetchError> =>
  Effect.gen(function*() {
    const policy = yield* HostPolicy.HostPolicy
    const fetcher = yield* Fetcher.Fetcher
    const clientId = yield* ClientId.parse(url, policy)
    yield* policy.check(clientId)
    const start = yield* Clock.currentTimeMillis
    const { address, body, freshness } = yield* fetcher.fetch(clientId)
    return {
      clientId,
      body,
      address,
      millis: (yield* Clock.currentTimeMillis) - start,
      timeToLive: Option.getOrUndefined(Freshness.timeToLive(freshness))
    }
    // A document that is too large for a server still has issues to show.
  }).pipe(Effect.provide(layer(choice, { maxBodyBytes: Input.maxBytes })))

/** A fetch in the form that `--json` prints. */
export const toJson = ({ address, body, millis, timeToLive }: Fetched) => ({
  address,
  bytes: body.byteLength,
  millis,
  timeToLiveSeconds: timeToLive === undefined ? null : Math.round(Duration.toSeconds(timeToLive))
})

/** A fetch as a line of text. */
export const toLine = (fetched: Fetched): string => {
  const { address, bytes, millis, timeToLiveSeconds } = toJson(fetched)
  const kept = timeToLiveSeconds === null ? "not to be stored" : `to be stored for ${timeToLiveSeconds} s`
  return `fetched: ${bytes} bytes from ${address}, in ${millis} ms, ${kept}`
}
