import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ClientId from "../ClientId.js"
import * as HostPolicy from "../HostPolicy.js"
import { isRefused } from "../internal/rules/redirectSchemes.js"
import { quote } from "../internal/rules/text.js"
import * as Validator from "../Validator.js"
import { UsageError } from "./exitCode.js"

/** The flags that say what the server requires and permits. `resolve`, `lint` and `match` have all of them. */
export const options = Options.all({
  mcp: Options.boolean("mcp").pipe(Options.withDescription("Require what the Model Context Protocol requires")),
  required: Options.text("require").pipe(
    Options.withPseudoName("member"),
    Options.withDescription("Require a member of the document"),
    Options.repeated
  ),
  sameOriginRedirect: Options.boolean("same-origin-redirect").pipe(
    Options.withDescription("Require that https redirect URIs have the origin of the client id")
  ),
  authMethods: Options.text("auth-method").pipe(
    Options.withPseudoName("name"),
    Options.withDescription("An authentication method of the server. Defaults to all without a shared secret"),
    Options.repeated
  ),
  privateUseSchemes: Options.text("private-use-scheme").pipe(
    Options.withPseudoName("scheme"),
    Options.withDescription("Match redirect URIs of a scheme without a period, such as acme"),
    Options.repeated
  ),
  allowLocalhostPort: Options.boolean("allow-localhost-port").pipe(
    Options.withDescription("Match any port of http://localhost, as of 127.0.0.1 and [::1]")
  ),
  loopback: Options.boolean("allow-loopback").pipe(
    Options.withDescription("Permit a client on localhost or a loopback address, for development")
  ),
  addressLiterals: Options.boolean("allow-address-literals").pipe(
    Options.withDescription("Permit a client whose host is a public IP address")
  )
})

/** The values of the flags. */
export interface Choice {
  readonly mcp: boolean
  readonly required: ReadonlyArray<string>
  readonly sameOriginRedirect: boolean
  readonly authMethods: ReadonlyArray<string>
  readonly privateUseSchemes: ReadonlyArray<string>
  readonly allowLocalhostPort: boolean
  readonly loopback: boolean
  readonly addressLiterals: boolean
}

const issueOfScheme = (scheme: string): string | undefined =>
  !/^[a-z][a-z0-9+.-]*$/i.test(scheme)
    ? `${quote(scheme)} is not a scheme. Write it without the colon, such as acme.`
    : isRefused(scheme.toLowerCase())
    ? `The scheme ${quote(scheme)} is never permitted (DOC-12).`
    : undefined

/** The profile that the flags describe. Fails if a scheme cannot be permitted. */
const profileOf = (choice: Choice): Effect.Effect<Validator.Profile, UsageError> => {
  const message = choice.privateUseSchemes.map(issueOfScheme).find((issue) => issue !== undefined)
  if (message !== undefined) return new UsageError({ message: `--private-use-scheme: ${message}` })
  return Effect.succeed(Validator.combine(
    {
      required: choice.required,
      sameOriginRedirect: choice.sameOriginRedirect,
      privateUseSchemes: choice.privateUseSchemes,
      ...(choice.authMethods.length === 0 ? {} : { authMethods: choice.authMethods })
    },
    ...(choice.mcp ? [Validator.mcp] : [])
  ))
}

/** The validator of the profile. */
export const layerValidator = (choice: Choice): Layer.Layer<Validator.Validator, UsageError> =>
  Layer.effect(Validator.Validator, Effect.map(profileOf(choice), (profile) => Validator.make(profile, choice)))

/** The hosts that the flags permit. */
export const layerHostPolicy = ({ addressLiterals, loopback }: Choice): Layer.Layer<HostPolicy.HostPolicy> =>
  Layer.orDie(HostPolicy.layer({
    addressLiterals,
    // The command has no issuer of its own. This one states that it runs on the developer's machine. No client can be at
    // its port (ADR-08), so its origin refuses none (ADR-11).
    ...(loopback ? { development: { issuer: "https://localhost:9" } } : {})
  }))

/** Names the flag that would permit a client id which is refused only for its host. */
export const hintFor = (clientId: unknown, { addressLiterals, loopback }: ClientId.Options): string | undefined => {
  if (ClientId.is(clientId, { addressLiterals, loopback })) return undefined
  if (ClientId.is(clientId, { addressLiterals, loopback: true })) return "--allow-loopback permits this host."
  return ClientId.is(clientId, { addressLiterals: true, loopback })
    ? "--allow-address-literals permits a host that is a public address."
    : undefined
}
