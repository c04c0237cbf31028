/**
 * The rules for the members of a document (DOC-04 to DOC-14, DOC-18, DOC-20, DOC-21, DOC-23). Pure.
 */
import type { ClientId } from "../../ClientId.js"
import type { JsonObject } from "../../ClientMetadata.js"
import type { Issue } from "../../Issue.js"
import { reasonAgainstPort } from "./badPorts.js"
import { parts } from "./clientIdParts.js"
import * as DisplayText from "./displayText.js"
import * as Jwk from "./keyMaterial.js"
import type { Meaning } from "./memberMeaning.js"
import { find, hasMalformedTag } from "./memberTypes.js"
import * as RedirectUriRules from "./redirectUriRules.js"
import type { RuleId } from "./ruleCatalog.js"
import { error, warning } from "./ruleCatalog.js"
import * as SharedSecretAlgorithms from "./sharedSecretAlgorithms.js"
import * as SoftwareStatement from "./softwareStatement.js"
import { isObject } from "./strictJson.js"
import { codePoint, pointerOf, pointerStep, quote } from "./text.js"
import { httpsOrigin, isPlainHttps, parse } from "./uriSyntax.js"
import * as WebHost from "./webHost.js"
import * as Weight from "./weight.js"

/** The members of a profile that these rules need. */
export interface Options {
  readonly required?: ReadonlyArray<string> | undefined
  readonly sameOriginRedirect?: boolean | undefined
  readonly privateUseSchemes?: ReadonlyArray<string> | undefined
  readonly loopback?: boolean | undefined
  readonly addressLiterals?: boolean | undefined
  /** Returns why the server must not fetch from a host and port. */
  readonly reasonAgainstFetch?: ((host: string, port: number) => string | undefined) | undefined
}

/** Returns every issue of a client's document. The order is stable: member by member, then rule by rule. */
export const issuesOf = (document: JsonObject, clientId: ClientId, options: Options): ReadonlyArray<Issue> => {
  const issues: Array<Issue> = []
  checkClientId(document, clientId, issues)
  const heavy = Weight.issuesOf(document)
  // A document of unlimited weight has unlimited issues.
  if (heavy.length > 0) return [...issues, ...heavy]
  checkMembers(document, options, issues)
  checkSecrets(document, (rule, path, message) => issues.push(error(rule, path, message)))
  SharedSecretAlgorithms.check(document, {
    error: (path, message) => issues.push(error("DOC-24", path, message)),
    warning: (path, message) => issues.push(warning("DOC-24", path, message))
  })
  checkKeys(document, issues)
  checkMethods(document, issues)
  checkRedirectUris(document, issues)
  checkStatement(document, issues)
  checkProfile(document, clientId, options, issues)
  return issues
}

const strings = (value: unknown): ReadonlyArray<string> =>
  Array.isArray(value) ? value.filter((element) => typeof element === "string") : []

const checkClientId = (document: JsonObject, clientId: ClientId, issues: Array<Issue>): void => {
  const actual = document["client_id"]
  if (actual === clientId) {
    return
  }
  if (actual === undefined) {
    issues.push(error("DOC-04", "/client_id", `The member is missing. Add it, with the value ${quote(clientId)}.`))
  } else if (typeof actual === "string") {
    issues.push(error(
      "DOC-04",
      "/client_id",
      `The value is ${quote(actual)}, but must equal the URL of this document, character by character: ${
        quote(clientId)
      }.`
    ))
  }
}

const checkMembers = (document: JsonObject, options: Options, issues: Array<Issue>): void => {
  const visitor = {
    wrongType: (path: ReadonlyArray<string | number>, wanted: string, actual: string) => {
      const problem = actual === "undefined"
        ? `The member is missing. It must be ${wanted}.`
        : `The value must be ${wanted}, not ${actual}.`
      issues.push(error("DOC-14", pointerOf(path), problem))
    },
    meaning: (path: ReadonlyArray<string | number>, meaning: Meaning, text: string) => {
      if (meaning === "text") {
        checkText(text, path, issues)
      } else if (meaning === "plain") {
        checkPlain(text, path, issues)
      } else if (isPlainHttps(text)) {
        if (isFetched(meaning)) checkPlainTarget(text, path, options, issues)
      } else if (meaning === "redirect") {
        issues.push(...RedirectUriRules.issuesOf(text, pointerOf(path), options.privateUseSchemes))
      } else {
        checkUri(text, meaning, pointerOf(path), options, issues)
      }
    }
  }
  for (const name of Object.keys(document)) {
    const walk = find(name)
    if (walk === undefined) {
      continue
    }
    walk(document[name], [name], visitor)
    if (hasMalformedTag(name)) {
      issues.push(warning("DOC-14", pointerOf([name]), "The text after \"#\" must be a language tag, such as \"ja\"."))
    }
  }
}

const checkText = (text: string, path: ReadonlyArray<string | number>, issues: Array<Issue>): void => {
  const { errors, warnings } = DisplayText.issuesOf(text)
  for (const message of errors) issues.push(error("DOC-18", pointerOf(path), message))
  for (const message of warnings) issues.push(warning("DOC-18", pointerOf(path), message))
  // The other texts may be empty, because an authorization server shows a client's name and leaves out what is missing.
  if (text === "" && isClientName(path[0])) issues.push(error("DOC-18", pointerOf(path), DisplayText.invisible))
}

const isClientName = (member: string | number | undefined): boolean =>
  typeof member === "string" && (member === "client_name" || member.startsWith("client_name#"))

// C0 and C1 controls. DOC-17 is about U+0000.
const control = /[\u0001-\u001f\u007f-\u009f]/

/** Reports a control character in a string that is not shown to users but is written to logs and headers. */
const checkPlain = (text: string, path: ReadonlyArray<string | number>, issues: Array<Issue>): void => {
  const bad = control.exec(text)?.[0]
  // A client_id with such a character equals no URL, which DOC-04 reports.
  if (bad === undefined || (path.length === 1 && path[0] === "client_id")) return
  issues.push(
    error("DOC-18", pointerOf(path), `The value has the control character ${codePoint(bad.charCodeAt(0))}. Remove it.`)
  )
}

const checkUri = (text: string, meaning: Meaning, path: string, options: Options, issues: Array<Issue>): void => {
  const report = (message: string) => issues.push(error("DOC-13", path, message))
  const bad = /[^\x21-\x5b\x5d-\x7e]/u.exec(text)?.[0]
  if (bad !== undefined) {
    report(
      `The URL has the character ${codePoint(bad.codePointAt(0) ?? 0)}, which is not allowed in a URL. Remove it, or ` +
        "percent-encode it. Write an international host name in its xn-- form."
    )
    return
  }
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(text)?.[1]?.toLowerCase()
  const wanted = meaning === "link" ? "https (http is accepted, with a warning)" : "https"
  if (scheme === undefined) {
    report(`${quote(text)} is not an absolute URL. Begin it with the scheme ${wanted}.`)
    return
  }
  if (scheme !== "https" && !(scheme === "http" && meaning === "link")) {
    report(`The scheme is ${quote(scheme)}, but must be ${wanted}.`)
    return
  }
  const read = parse(text)
  if (read?.host === undefined || read.host === "") {
    report(`${quote(text)} is not a valid URL (RFC 3986). Check its characters, its host, its port and its "%" signs.`)
    return
  }
  const host = WebHost.read(read.host.toLowerCase())
  if (host.kind === "invalid") {
    report(host.message)
  } else if (isFetched(meaning) && !isFetchable(host, options)) {
    report(
      `The server fetches the URL, but the host ${
        quote(read.host)
      } is not a public host name. Use one of at least two ` +
        "labels, such as app.example.com."
    )
  }
  if (read.port !== undefined && !WebHost.isPlainPort(read.port)) {
    report(`${quote(read.port)} is not a port. Use a number from 1 to 65535 without leading zeros.`)
  } else if (isFetched(meaning) && isFetchable(host, options)) {
    const port = read.port === undefined || read.port === "" ? 443 : Number(read.port)
    checkTarget(host.kind === "address" ? host.address : read.host.toLowerCase(), port, path, options, issues)
  }
  if (scheme === "http") {
    issues.push(warning("DOC-13", path, "The scheme is http. Use https."))
  }
  if (read.userinfo !== undefined) {
    const message =
      "The URL has a userinfo part. Remove the \"@\" before the host, and the user name and password before it."
    issues.push(isFetched(meaning) ? error("DOC-13", path, message) : warning("DOC-13", path, message))
  }
  if (meaning === "resource" && read.fragment !== undefined) {
    report("The URL has a fragment. Remove the \"#\" and everything after it.")
  }
}

/** Reports a host and port that the server must not fetch from. */
const checkTarget = (host: string, port: number, path: string, options: Options, issues: Array<Issue>): void => {
  const reason = options.reasonAgainstFetch === undefined
    ? reasonAgainstPort(port)
    : options.reasonAgainstFetch(host, port)
  if (reason !== undefined) {
    issues.push(error(
      "DOC-13",
      path,
      `The server fetches the URL, but must not fetch from ${quote(host)}: ${reason}. Use another host or port.`
    ))
  }
}

/** The same for a URL so plain that its host ends at the first slash, and that has no port. */
const checkPlainTarget = (
  text: string,
  path: ReadonlyArray<string | number>,
  options: Options,
  issues: Array<Issue>
): void => {
  if (options.reasonAgainstFetch !== undefined) {
    const [, , host = ""] = text.split("/", 3)
    checkTarget(host, 443, pointerOf(path), options, issues)
  }
}

const isFetched = (meaning: Meaning): boolean => meaning === "resource" || meaning === "request"

// The names are those of the grammar of client identifiers (URL-10). A name may still lead to an address that is not
// public, which only the code that fetches the URL can see.
const isFetchable = (host: WebHost.Host, options: Options): boolean =>
  (host.kind === "name" && host.labels.length > 1 && !host.trailingDot && !WebHost.isLoopback(host)) ||
  (host.kind === "address" && options.addressLiterals === true && WebHost.isPublic(host)) ||
  (options.loopback === true && WebHost.isLoopback(host) && !(host.kind === "name" && host.labels.length > 1))

type Claims = { readonly [name: string]: unknown }

const isShared = (method: string): boolean => method.toLowerCase().startsWith("client_secret")

/** The rules for secrets and keys. They apply to a document and to the claims of its software statement. */
const checkSecrets = (claims: Claims, report: Jwk.Report): void => {
  for (const name of ["client_secret", "client_secret_expires_at"]) {
    if (Object.hasOwn(claims, name)) {
      report("DOC-05", `/${name}`, `The document is public, so it must not have a secret. Remove ${name}.`)
    }
  }
  const advice = "needs a shared secret, which a public document cannot have. Use \"private_key_jwt\" or \"none\"."
  const method = claims["token_endpoint_auth_method"]
  if (typeof method === "string" && isShared(method)) {
    report("DOC-06", "/token_endpoint_auth_method", `${quote(method)} ${advice}`)
  }
  if (method === "") {
    report("DOC-06", "/token_endpoint_auth_method", "The value is empty. Use \"private_key_jwt\" or \"none\".")
  }
  const methods = claims["token_endpoint_auth_methods_supported"]
  if (Array.isArray(methods)) {
    for (const [index, element] of methods.entries()) {
      if (typeof element === "string" && isShared(element)) {
        report("DOC-06", `/token_endpoint_auth_methods_supported/${index}`, `${quote(element)} ${advice}`)
      }
    }
  }
  if (Object.hasOwn(claims, "jwks")) {
    Jwk.checkSecrecy(claims["jwks"], (rule, path, message) => report(rule, `/jwks${path}`, message))
    if (Object.hasOwn(claims, "jwks_uri")) {
      report("DOC-09", "/jwks_uri", "The members jwks and jwks_uri are both present. Keep only one of them.")
    }
  }
}

const checkKeys = (document: JsonObject, issues: Array<Issue>): void => {
  if (Object.hasOwn(document, "jwks")) {
    Jwk.checkForm(document["jwks"], (rule, path, message) => issues.push(error(rule, `/jwks${path}`, message)))
    Jwk.checkIds(document["jwks"], (rule, path, message) => issues.push(warning(rule, `/jwks${path}`, message)))
  }
}

// With these methods a client proves that it has a private key, so the server needs the public one.
const keyMethods: ReadonlySet<string> = new Set(["private_key_jwt", "self_signed_tls_client_auth"])

const checkMethods = (document: JsonObject, issues: Array<Issue>): void => {
  const single = document["token_endpoint_auth_method"]
  const listed = document["token_endpoint_auth_methods_supported"]
  if (typeof single === "string" && Array.isArray(listed) && !listed.includes(single)) {
    issues.push(error(
      "DOC-21",
      "/token_endpoint_auth_method",
      `${quote(single)} is not among token_endpoint_auth_methods_supported. Add it there, or remove this member.`
    ))
  }
  if (Object.hasOwn(document, "jwks_uri") || (Object.hasOwn(document, "jwks") && !isEmptySet(document["jwks"]))) {
    return
  }
  if (typeof single === "string" && keyMethods.has(single)) {
    issues.push(error("DOC-09", "/token_endpoint_auth_method", needsKeys(single)))
    return
  }
  const method = strings(listed).find((method) => keyMethods.has(method))
  if (method !== undefined) {
    issues.push(error("DOC-09", "/token_endpoint_auth_methods_supported", needsKeys(method)))
  }
}

// A malformed set is an issue of its own.
const isEmptySet = (jwks: unknown): boolean =>
  isObject(jwks) && Array.isArray(jwks["keys"]) && jwks["keys"].length === 0

const needsKeys = (method: string): string => `${quote(method)} needs the client's public keys. Add jwks_uri or jwks.`

const redirectingGrants: ReadonlySet<string> = new Set(["authorization_code", "implicit"])

const checkRedirectUris = (document: JsonObject, issues: Array<Issue>): void => {
  if (strings(document["redirect_uris"]).length > 0) {
    return
  }
  const grants = strings(document["grant_types"])
  if (grants.length > 0 && !grants.some((grant) => redirectingGrants.has(grant))) {
    return
  }
  issues.push(error(
    "DOC-10",
    "/redirect_uris",
    Object.hasOwn(document, "redirect_uris")
      ? "The array has no redirect URI. List at least one, as a string."
      : "The member is missing. Add an array with at least one redirect URI. Only a client whose grant_types has no " +
        "grant with redirection may omit it."
  ))
}

const checkStatement = (document: JsonObject, issues: Array<Issue>): void => {
  const statement = document["software_statement"]
  if (typeof statement !== "string") {
    return
  }
  const path = "/software_statement"
  const claims = SoftwareStatement.claims(statement)
  if (typeof claims === "string") {
    issues.push(error("DOC-14", path, claims))
    return
  }
  const report = (rule: RuleId, claim: string, message: string) =>
    issues.push(error("DOC-23", path, `The claim ${claim} breaks ${rule}: ${message}`))
  checkSecrets(claims, report)
  SharedSecretAlgorithms.check(claims, {
    error: (claim, message) => report("DOC-24", claim, message),
    warning: () => undefined
  })
}

const checkProfile = (document: JsonObject, clientId: ClientId, options: Options, issues: Array<Issue>): void => {
  for (const name of options.required ?? []) {
    const value = Object.hasOwn(document, name) ? document[name] : undefined
    if (value === undefined || value === "" || (Array.isArray(value) && value.length === 0)) {
      issues.push(
        error("DOC-20", pointerStep(name), "This server requires the member, but it is missing or empty. Add it.")
      )
    }
  }
  if (options.sameOriginRedirect === true) {
    const wanted = parts(clientId).origin
    for (const [index, uri] of elements(document["redirect_uris"])) {
      const actual = typeof uri === "string" ? httpsOrigin(uri) : undefined
      if (actual !== undefined && actual !== wanted) {
        issues.push(error(
          "DOC-20",
          `/redirect_uris/${index}`,
          `The origin is ${quote(actual)}. On this server it must be the origin of the client id, ${quote(wanted)}.`
        ))
      }
    }
  }
}

const elements = (value: unknown): Iterable<[number, unknown]> => Array.isArray(value) ? value.entries() : []
