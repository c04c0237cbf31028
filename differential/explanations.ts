/** Explains why this library and another server disagree. */

/** The other server accepts input that breaks this rule. */
interface WeRefuse {
  readonly peer: string
  readonly weRefuse: string
  /** Limits the entry to issues of the rule with a matching path. */
  readonly path?: RegExp
  /** Limits the entry to issues of the rule with a matching message. */
  readonly message?: RegExp
  readonly why: string
}

/** The other server refuses, with a matching error, input that this library accepts. */
interface TheyRefuse {
  readonly peer: string
  readonly theyRefuse: RegExp
  readonly why: string
}

export type Explanation = WeRefuse | TheyRefuse

// Entries for input that both servers accept, for the same reason.
const both = (explanation: Omit<WeRefuse, "peer">): ReadonlyArray<Explanation> =>
  ["oidc-provider", "@better-auth/cimd"].map((peer) => ({ peer, ...explanation }))

const json = "it uses JSON.parse, which keeps the last of repeated members, rounds numbers, and has no limits"
const reading = "it reads the URI only by the URL standard, which repairs malformed input"
const unread = "it does not read this member"

export const explanations: ReadonlyArray<Explanation> = [
  // Client identifiers
  ...both({ weRefuse: "URL-01", message: /lower case/, why: "it compares schemes case-insensitively" }),
  ...both({ weRefuse: "URL-06", why: "it leaves ports to the URL parser, which drops an empty one and leading zeros" }),
  ...both({
    weRefuse: "URL-08",
    why: "it fetches the URL as the URL parser rewrites it, which differs from the client id"
  }),
  ...both({ weRefuse: "URL-09", why: "it has no maximum length" }),
  ...both({
    weRefuse: "URL-10",
    message: /has no dot|is an address|ends with a dot|The host label/,
    why: "it does not check the host before it connects"
  }),
  ...both({ weRefuse: "URL-11", why: "the URL parser accepts a bare percent sign" }),
  {
    peer: "oidc-provider",
    weRefuse: "URL-02",
    why: "it reads a missing path as /, although the draft requires a path component"
  },
  {
    peer: "oidc-provider",
    weRefuse: "URL-10",
    message: /loopback|localhost/,
    why: "it refuses loopback when it connects, not by the host name"
  },
  {
    peer: "@better-auth/cimd",
    weRefuse: "URL-05",
    why: "an empty userinfo part is invisible in a parsed URL"
  },

  // The text
  ...both({ weRefuse: "DOC-01", why: "it replaces bytes that are not UTF-8" }),
  ...both({ weRefuse: "DOC-02", why: json }),
  ...both({ weRefuse: "DOC-03", why: json }),
  ...both({ weRefuse: "DOC-15", why: json }),
  ...both({ weRefuse: "DOC-17", why: "it does not check whether a database can store the text" }),
  {
    peer: "oidc-provider",
    theyRefuse: /^client_id metadata document fetch failed$/,
    why: "it does not drop a byte-order mark"
  },

  // Redirect URIs
  ...both({ weRefuse: "DOC-11", path: /redirect_uris/, why: reading }),
  ...both({
    weRefuse: "DOC-12",
    path: /redirect_uris/,
    message: /^The scheme is http,/,
    why: "it allows http on any host, at least for post-logout redirects"
  }),
  ...both({
    weRefuse: "DOC-12",
    path: /redirect_uris/,
    message: /never allowed/,
    why: "its list of forbidden schemes is shorter, and does not apply to every list of URIs"
  }),
  {
    peer: "oidc-provider",
    theyRefuse: /redirect_uris (?:for (?:web|native) clients|must only contain web uris)/,
    why: "it decides by application_type, web by default, but this library decides by the URI (RED-02)"
  },
  {
    peer: "@better-auth/cimd",
    theyRefuse: /^redirect_uris must be a non-empty array of absolute HTTP\(S\) or private-use URIs$/,
    why: "it requires a dot and no authority in private-use URIs, but clients publish both (DOC-12)"
  },

  // URI members
  ...both({
    weRefuse: "DOC-13",
    message: /has the character|that a browser can open|is not a valid URL|^The host label/,
    why: reading
  }),
  ...both({
    weRefuse: "DOC-13",
    message: /^The server fetches the URL, but the host/,
    why: "it does not check the host of a URL that it fetches until it connects"
  }),
  ...both({
    weRefuse: "DOC-13",
    path: /^\/logo_uri$/,
    message: /userinfo|fragment/,
    why: "it allows both in the URL of a logo"
  }),
  {
    peer: "oidc-provider",
    weRefuse: "DOC-13",
    path: /^\/(?:jwks_uri|backchannel_logout_uri)$/,
    message: /userinfo|fragment/,
    why: "it allows both in URLs that it fetches"
  },
  {
    peer: "@better-auth/cimd",
    weRefuse: "DOC-13",
    path: /^\/jwks_uri$/,
    message: /scheme|userinfo/,
    why: "it allows http for keys, and an empty userinfo part is invisible in a parsed URL"
  },
  {
    peer: "@better-auth/cimd",
    weRefuse: "DOC-13",
    path: /^\/logo_uri$/,
    message: /scheme/,
    why: "it allows http for a logo"
  },
  { peer: "@better-auth/cimd", weRefuse: "DOC-13", path: /^\/initiate_login_uri$/, why: unread },
  {
    peer: "oidc-provider",
    theyRefuse: /^client_id metadata document (?:client|policy|tos)_uri must be an https: URL$/,
    why: "it refuses http in URLs that are only shown, but this library warns"
  },
  {
    peer: "@better-auth/cimd",
    theyRefuse:
      /^(?:client|logo|policy|tos)_uri must not (?:contain credentials|point to a private or reserved address)$/,
    why:
      "it refuses these in URLs that are only shown; this library warns of userinfo, and checks hosts when it fetches"
  },
  {
    peer: "@better-auth/cimd",
    theyRefuse: /backchannel_logout_uri/,
    why: "it has no back-channel logout for such clients"
  },

  // Types
  ...both({ weRefuse: "DOC-14", path: /^\/client_name#ja$/, why: "it does not support members in other languages" }),
  ...both({ weRefuse: "DOC-14", path: /^\/jwks\/keys\//, why: "it does not check the size of coordinates" }),
  ...both({ weRefuse: "DOC-14", path: /^\/software_statement$/, why: unread }),
  { peer: "oidc-provider", weRefuse: "DOC-14", path: /^\/software_(?:id|version)$/, why: unread },
  {
    peer: "@better-auth/cimd",
    weRefuse: "DOC-14",
    path: /^\/(?:default_acr_values|default_max_age|initiate_login_uri|require_auth_time)/,
    why: unread
  },
  {
    peer: "@better-auth/cimd",
    weRefuse: "DOC-14",
    path: /^\/token_endpoint_auth_(?:methods_supported|signing_alg)/,
    why: unread
  },
  ...both({ weRefuse: "DOC-18", why: "it does not check the name" }),
  ...both({ weRefuse: "DOC-23", why: unread }),

  // Client authentication
  {
    peer: "@better-auth/cimd",
    weRefuse: "DOC-24",
    path: /^\/token_endpoint_auth_signing_alg$/,
    why: unread
  },
  { peer: "@better-auth/cimd", weRefuse: "DOC-06", why: "it does not support token_endpoint_auth_methods_supported" },
  { peer: "@better-auth/cimd", weRefuse: "DOC-21", why: "it does not support token_endpoint_auth_methods_supported" },
  {
    peer: "@better-auth/cimd",
    weRefuse: "DOC-09",
    why: "it requires keys only by token_endpoint_auth_method, and accepts jwks beside jwks_uri"
  },
  {
    peer: "oidc-provider",
    weRefuse: "DOC-09",
    why: "it selects a method that it supports first, and requires keys only by that method"
  },
  {
    peer: "oidc-provider",
    theyRefuse: /^client_secret is mandatory property$/,
    why: "it defaults to client_secret_basic, as RFC 7591 does for other clients, but the default here is none (DOC-07)"
  },
  {
    peer: "oidc-provider",
    theyRefuse: /^tls_client_auth requires one of/,
    why: "it checks what RFC 8705 requires of clients with certificates, but here the server that supports it does"
  },
  {
    peer: "oidc-provider",
    theyRefuse: /^token_endpoint_auth_signing_alg must/,
    why: "it refuses algorithms that it does not support, but here unknown values are kept"
  },
  {
    peer: "@better-auth/cimd",
    theyRefuse: /^token_endpoint_auth_method/,
    why: "it refuses methods that it does not support, but here that is another error, by the profile (DOC-22)"
  },

  // A value that a server does not support is not an issue of the document (DOC-16)
  {
    peer: "oidc-provider",
    theyRefuse: /^(?:scope|subject_type|application_type) must/,
    why: "it refuses values that it does not support"
  },
  {
    peer: "oidc-provider",
    theyRefuse: /^(?:grant|response)_types has no values supported/,
    why: "it refuses values that it does not support"
  },
  {
    peer: "oidc-provider",
    theyRefuse: /^default_acr_values must be empty/,
    why: "it refuses values that it does not support"
  },
  {
    peer: "oidc-provider",
    theyRefuse: /^(?:sector_identifier_uri|jwks_uri) is mandatory property$/,
    why: "it checks the requirements of pairwise subjects, which are left to the server here"
  },
  {
    peer: "oidc-provider",
    theyRefuse: /^(?:client_name must be a non-empty string|contacts can only contain email)/,
    why: "no specification requires it; the mcp profile refuses an empty name"
  },
  {
    peer: "@better-auth/cimd",
    theyRefuse: /^(?:application_type|subject_type|response_types\.\d): Invalid/,
    why: "it refuses values that it does not support"
  },
  {
    peer: "@better-auth/cimd",
    theyRefuse: /^(?:contacts|grant_types|jwks\.keys|post_logout_redirect_uris): Too small|^client_name: .* empty/,
    why: "no specification requires it; the mcp profile refuses an empty name"
  },
  {
    peer: "@better-auth/cimd",
    theyRefuse: /^jwks must contain only structurally valid public keys$/,
    why: "it refuses unknown key types and curves, but here they are kept for servers that know them"
  }
]
