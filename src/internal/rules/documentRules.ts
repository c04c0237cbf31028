/**
 * The rules on the members of a document (DOC-04 to DOC-14, DOC-18, DOC-20, DOC-21, DOC-23). Pure.
 */
import type { ClientId } from "../../ClientId.js"
import { origin } from "../../ClientId.js"
import type { JsonObject } from "../../ClientMetadata.js"
import type { Issue } from "../../Issue.js"
import * as Jwk from "./keyMaterial.js"
import type { Meaning } from "./memberMeaning.js"
import { find, hasMalformedTag } from "./memberTypes.js"
import * as RedirectUriRules from "./redirectUriRules.js"
import type { RuleId } from "./ruleCatalog.js"
import { error, warning } from "./ruleCatalog.js"
import * as SoftwareStatement from "./softwareStatement.js"
import { codePoint, pointerStep, quote } from "./text.js"
import { isPlainHttps, splitAuthority, whatwg } from "./uri.js"

/** The part of a profile that needs no effects. */
export interface Options {
  readonly required?: ReadonlyArray<string> | undefined
  readonly sameOriginRedirect?: boolean | undefined
}

/** Every finding about the document of a client, in a stable order: by rule where a rule looks at more than one member. */
export const judge = (document: JsonObject, clientId: ClientId, options: Options): ReadonlyArray<Issue> => {
  const found: Array<Issue> = []
  judgeClientId(document, clientId, found)
  judgeMembers(document, found)
  judgeSecrets(document, (rule, path, message) => found.push(error(rule, path, message)))
  judgeKeys(document, found)
  judgeMethods(document, found)
  judgeRedirectUris(document, found)
  judgeStatement(document, found)
  judgeProfile(document, clientId, options, found)
  return found
}

const strings = (value: unknown): ReadonlyArray<string> =>
  Array.isArray(value) ? value.filter((element) => typeof element === "string") : []

const judgeClientId = (document: JsonObject, clientId: ClientId, found: Array<Issue>): void => {
  const actual = document["client_id"]
  if (actual === clientId) {
    return
  }
  if (actual === undefined) {
    found.push(error("DOC-04", "/client_id", `The member is missing. Add it, with the value ${quote(clientId)}.`))
  } else if (typeof actual === "string") {
    found.push(error(
      "DOC-04",
      "/client_id",
      `It is ${quote(actual)}, and has to be the URL of this document character by character: ${quote(clientId)}.`
    ))
  }
}

const judgeMembers = (document: JsonObject, found: Array<Issue>): void => {
  const visitor = {
    wrongType: (path: ReadonlyArray<string | number>, wanted: string, actual: string) => {
      const problem = actual === "undefined"
        ? `It is missing, and has to be ${wanted}.`
        : `It has to be ${wanted}, not ${actual}.`
      found.push(error("DOC-14", pointer(path), problem))
    },
    meaning: (path: ReadonlyArray<string | number>, meaning: Meaning, text: string) => {
      if (meaning === "text") {
        judgeText(text, path, found)
      } else if (!isPlainHttps(text)) {
        if (meaning === "redirect") {
          found.push(...RedirectUriRules.findings(text, pointer(path)))
        } else {
          judgeUri(text, meaning, pointer(path), found)
        }
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
      found.push(warning("DOC-14", pointerStep(name), "What follows the \"#\" is not a language tag, as \"ja\" is."))
    }
  }
}

const pointer = (path: ReadonlyArray<string | number>): string => path.map(pointerStep).join("")

const maxTextLength = 256
// Control characters, and those that embed, override or isolate a reading direction. U+0000 has a rule of its own.
const unshowable = /[\u0001-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g

const judgeText = (text: string, path: ReadonlyArray<string | number>, found: Array<Issue>): void => {
  const bad = text.match(unshowable)
  if (bad !== null) {
    const distinct = [...new Set(bad)].map((character) => codePoint(character.charCodeAt(0)))
    found.push(error(
      "DOC-18",
      pointer(path),
      `It has ${distinct.join(", ")}, with which a consent page can show something else than it says. Remove it.`
    ))
  }
  if (text.length > maxTextLength && [...text].length > maxTextLength) {
    found.push(
      error("DOC-18", pointer(path), `It is shown to people and has more than ${maxTextLength} characters. Shorten it.`)
    )
  }
}

const judgeUri = (text: string, meaning: Meaning, path: string, found: Array<Issue>): void => {
  const bad = /[\u0000-\u0020\u007f\\]/.exec(text)?.[0]
  if (bad !== undefined) {
    found.push(
      error("DOC-13", path, `It has the character ${codePoint(bad.charCodeAt(0))}, which no URL has. Remove it.`)
    )
    return
  }
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(text)?.[1]?.toLowerCase()
  const wanted = meaning === "link" ? "https (http is accepted, with a warning)" : "https"
  if (scheme === undefined) {
    found.push(error("DOC-13", path, `${quote(text)} is not an absolute URL. Write it out, with its scheme ${wanted}.`))
    return
  }
  if (scheme !== "https" && !(scheme === "http" && meaning === "link")) {
    found.push(error("DOC-13", path, `Its scheme is ${quote(scheme)}, and has to be ${wanted}.`))
    return
  }
  const authority = /^[^:]*:\/\/([^/?#]+)/.exec(text)?.[1]
  if (authority === undefined || whatwg(text) === undefined) {
    found.push(error("DOC-13", path, `${quote(text)} is not a URL that a browser can open. Check its host and port.`))
    return
  }
  if (scheme === "http") {
    found.push(warning("DOC-13", path, "Its scheme is http. Use https."))
  }
  if (splitAuthority(authority).userinfo !== undefined) {
    const message = "It has a userinfo part. Remove everything up to and with the \"@\" before the host."
    found.push(meaning === "resource" ? error("DOC-13", path, message) : warning("DOC-13", path, message))
  }
  if (meaning === "resource" && text.includes("#")) {
    found.push(error("DOC-13", path, "It has a fragment. Remove the \"#\" and what follows."))
  }
}

type Claims = { readonly [name: string]: unknown }

const isShared = (method: string): boolean => method.toLowerCase().startsWith("client_secret")

/** The rules on secrets and keys, for a document and for the claims of its software statement. */
const judgeSecrets = (claims: Claims, report: Jwk.Report): void => {
  for (const name of ["client_secret", "client_secret_expires_at"]) {
    if (Object.hasOwn(claims, name)) {
      report("DOC-05", `/${name}`, `The document is public and has no secret. Remove ${name}.`)
    }
  }
  const advice = "rests on a shared secret, which a public document cannot have. Use \"private_key_jwt\" or \"none\"."
  const method = claims["token_endpoint_auth_method"]
  if (typeof method === "string" && isShared(method)) {
    report("DOC-06", "/token_endpoint_auth_method", `${quote(method)} ${advice}`)
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
    Jwk.judgeSecrecy(claims["jwks"], (rule, path, message) => report(rule, `/jwks${path}`, message))
    if (Object.hasOwn(claims, "jwks_uri")) {
      report("DOC-09", "/jwks_uri", "jwks and jwks_uri are both present. Keep one of the two.")
    }
  }
}

const judgeKeys = (document: JsonObject, found: Array<Issue>): void => {
  if (Object.hasOwn(document, "jwks")) {
    Jwk.judgeForm(document["jwks"], (rule, path, message) => found.push(error(rule, `/jwks${path}`, message)))
  }
}

// Methods by which a client proves that it holds a private key, which the server checks with a public one.
const keyMethods: ReadonlySet<string> = new Set(["private_key_jwt", "self_signed_tls_client_auth"])

const judgeMethods = (document: JsonObject, found: Array<Issue>): void => {
  const single = document["token_endpoint_auth_method"]
  const listed = document["token_endpoint_auth_methods_supported"]
  if (typeof single === "string" && Array.isArray(listed) && !listed.includes(single)) {
    found.push(error(
      "DOC-21",
      "/token_endpoint_auth_method",
      `${quote(single)} is not among token_endpoint_auth_methods_supported. Add it there, or remove this member.`
    ))
  }
  if (Object.hasOwn(document, "jwks") || Object.hasOwn(document, "jwks_uri")) {
    return
  }
  if (typeof single === "string" && keyMethods.has(single)) {
    found.push(error("DOC-09", "/token_endpoint_auth_method", needsKeys(single)))
    return
  }
  const method = strings(listed).find((method) => keyMethods.has(method))
  if (method !== undefined) {
    found.push(error("DOC-09", "/token_endpoint_auth_methods_supported", needsKeys(method)))
  }
}

const needsKeys = (method: string): string => `${quote(method)} needs the client's public keys. Add jwks_uri or jwks.`

const redirectingGrants: ReadonlySet<string> = new Set(["authorization_code", "implicit"])

const judgeRedirectUris = (document: JsonObject, found: Array<Issue>): void => {
  if (strings(document["redirect_uris"]).length > 0) {
    return
  }
  const grants = strings(document["grant_types"])
  if (grants.length > 0 && !grants.some((grant) => redirectingGrants.has(grant))) {
    return
  }
  found.push(error(
    "DOC-10",
    "/redirect_uris",
    Object.hasOwn(document, "redirect_uris")
      ? "It has no redirect URI. List at least one, as a string in an array."
      : "The member is missing. Add an array with at least one redirect URI; only a client whose grant_types name no grant " +
        "with redirection may go without."
  ))
}

const judgeStatement = (document: JsonObject, found: Array<Issue>): void => {
  const statement = document["software_statement"]
  if (typeof statement !== "string") {
    return
  }
  const path = "/software_statement"
  const claims = SoftwareStatement.claims(statement)
  if (typeof claims === "string") {
    found.push(error("DOC-14", path, claims))
    return
  }
  judgeSecrets(claims, (rule: RuleId, claim, message) => {
    found.push(error("DOC-23", path, `Its claim ${claim} breaks ${rule}: ${message}`))
  })
}

const judgeProfile = (document: JsonObject, clientId: ClientId, options: Options, found: Array<Issue>): void => {
  for (const name of options.required ?? []) {
    const value = Object.hasOwn(document, name) ? document[name] : undefined
    if (value === undefined || value === "" || (Array.isArray(value) && value.length === 0)) {
      found.push(
        error("DOC-20", pointerStep(name), "This server asks for the member, and it is missing or empty. Add it.")
      )
    }
  }
  if (options.sameOriginRedirect === true) {
    const wanted = origin(clientId)
    for (const [index, uri] of elements(document["redirect_uris"])) {
      const actual = httpsOrigin(uri)
      if (actual !== undefined && actual !== wanted) {
        found.push(error(
          "DOC-20",
          `/redirect_uris/${index}`,
          `Its origin is ${quote(actual)}. This server asks for that of the client id, ${quote(wanted)}.`
        ))
      }
    }
  }
}

const elements = (value: unknown): Iterable<[number, unknown]> => Array.isArray(value) ? value.entries() : []

const httpsOrigin = (uri: unknown): string | undefined =>
  typeof uri === "string" && uri.toLowerCase().startsWith("https:") ? whatwg(uri)?.origin : undefined
