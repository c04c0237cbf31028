/** Why this library and another server disagree. */

/** The other server accepts what breaks this rule. */
interface WeRefuse {
  readonly peer: string
  readonly weRefuse: string
  /** Which findings of the rule, if not all. */
  readonly path?: RegExp
  readonly message?: RegExp
  readonly why: string
}

/** The other server refuses, with this description, what this library accepts. */
interface TheyRefuse {
  readonly peer: string
  readonly theyRefuse: RegExp
  readonly why: string
}

export type Explanation = WeRefuse | TheyRefuse

// What both servers let through, for the same reason.
const both = (explanation: Omit<WeRefuse, "peer">): ReadonlyArray<Explanation> =>
  ["oidc-provider", "@better-auth/cimd"].map((peer) => ({ peer, ...explanation }))

const json = "it reads with JSON.parse, which takes the last of repeated members, rounds numbers, and knows no bounds"
const reading = "it reads the URI with the URL standard alone, which repairs what it is given"
const unread = "it does not look at this member"

export const explanations: ReadonlyArray<Explanation> = [
  // Client identifiers
  ...both({ weRefuse: "URL-01", message: /lower case/, why: "it compares schemes without regard to case" }),
  ...both({ weRefuse: "URL-06", why: "it leaves ports to the URL parser, which drops an empty one and leading zeros" }),
  ...both({
    weRefuse: "URL-08",
    why: "it fetches the URL as the URL parser rewrites it, which is not the string that names the client"
  }),
  ...both({ weRefuse: "URL-09", why: "it bounds no length" }),
  ...both({
    weRefuse: "URL-10",
    message: /has no dot|is an address|ends with a dot|The host label/,
    why: "it leaves the host to the network"
  }),
  ...both({ weRefuse: "URL-11", why: "the URL parser lets a bare percent sign be" }),
  {
    peer: "oidc-provider",
    weRefuse: "URL-02",
    why: "it takes a missing path for /, though the draft asks for a path component"
  },
  {
    peer: "oidc-provider",
    weRefuse: "URL-10",
    message: /loopback|localhost/,
    why: "it refuses loopback when it connects, not by the name"
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
  ...both({ weRefuse: "DOC-17", why: "it does not ask whether its database can hold the text" }),
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
    message: /Its scheme is http/,
    why: "it allows http on any host, for post-logout redirects at least"
  }),
  ...both({
    weRefuse: "DOC-12",
    path: /redirect_uris/,
    message: /never allowed/,
    why: "its list of dangerous schemes is shorter, and not applied to each list of URIs"
  }),
  {
    peer: "oidc-provider",
    theyRefuse: /redirect_uris (?:for (?:web|native) clients|must only contain web uris)/,
    why: "it decides by application_type, web by default; this library decides from the URI (RED-02)"
  },
  {
    peer: "@better-auth/cimd",
    theyRefuse: /^redirect_uris must be a non-empty array of absolute HTTP\(S\) or private-use URIs$/,
    why: "it wants private-use schemes with a dot and without an authority; clients publish both (DOC-12)"
  },

  // Addresses
  ...both({ weRefuse: "DOC-13", message: /has the character|that a browser can open/, why: reading }),
  ...both({
    weRefuse: "DOC-13",
    path: /^\/logo_uri$/,
    message: /userinfo|fragment/,
    why: "it allows both in a logo's address"
  }),
  {
    peer: "oidc-provider",
    weRefuse: "DOC-13",
    path: /^\/(?:jwks_uri|backchannel_logout_uri)$/,
    message: /userinfo|fragment/,
    why: "it allows both in addresses that it fetches"
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
    why: "it refuses http for addresses that are only shown; this library warns"
  },
  {
    peer: "@better-auth/cimd",
    theyRefuse:
      /^(?:client|logo|policy|tos)_uri must not (?:contain credentials|point to a private or reserved address)$/,
    why:
      "it refuses these in addresses that are only shown; this library warns of userinfo and leaves hosts to who fetches"
  },
  {
    peer: "@better-auth/cimd",
    theyRefuse: /backchannel_logout_uri/,
    why: "it has no back-channel logout for such clients"
  },

  // Types
  ...both({ weRefuse: "DOC-14", path: /^\/client_name#ja$/, why: "it does not know members in other languages" }),
  ...both({ weRefuse: "DOC-14", path: /^\/jwks\/keys\//, why: "it does not measure coordinates" }),
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
  ...both({ weRefuse: "DOC-18", why: "it shows the name as it is" }),
  ...both({ weRefuse: "DOC-23", why: unread }),

  // Client authentication
  { peer: "@better-auth/cimd", weRefuse: "DOC-06", why: "it does not know token_endpoint_auth_methods_supported" },
  { peer: "@better-auth/cimd", weRefuse: "DOC-21", why: "it does not know token_endpoint_auth_methods_supported" },
  {
    peer: "@better-auth/cimd",
    weRefuse: "DOC-09",
    why: "it asks for keys by token_endpoint_auth_method alone, and lets two sets of keys be"
  },
  {
    peer: "oidc-provider",
    weRefuse: "DOC-09",
    why: "it picks a method that it supports first, and asks for keys by that one alone"
  },
  {
    peer: "oidc-provider",
    theyRefuse: /^client_secret is mandatory property$/,
    why: "it falls back to client_secret_basic, as RFC 7591 says for other clients; the default here is none (DOC-07)"
  },
  {
    peer: "oidc-provider",
    theyRefuse: /^tls_client_auth requires one of/,
    why: "it checks what RFC 8705 asks of clients with certificates; here the host does, who supports the method"
  },
  {
    peer: "oidc-provider",
    theyRefuse: /^token_endpoint_auth_signing_alg must/,
    why: "algorithms are the server's choice; here unknown values are kept"
  },
  {
    peer: "@better-auth/cimd",
    theyRefuse: /^token_endpoint_auth_method/,
    why: "it refuses methods it does not support; here that is another error (DOC-22), after the profile's choice"
  },

  // What a server supports is no fault of a document (DOC-16)
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
    why: "pairwise subjects and their needs are the server's"
  },
  {
    peer: "oidc-provider",
    theyRefuse: /^(?:client_name must be a non-empty string|contacts can only contain email)/,
    why: "no text asks for it; the mcp profile refuses an empty name"
  },
  {
    peer: "@better-auth/cimd",
    theyRefuse: /^(?:application_type|subject_type|response_types\.\d): Invalid/,
    why: "it refuses values that it does not support"
  },
  {
    peer: "@better-auth/cimd",
    theyRefuse: /^(?:contacts|grant_types|jwks\.keys|post_logout_redirect_uris): Too small|^client_name: .* empty/,
    why: "no text asks for it; the mcp profile refuses an empty name"
  },
  {
    peer: "@better-auth/cimd",
    theyRefuse: /^jwks must contain only structurally valid public keys$/,
    why: "it refuses key types and curves that it does not know; here they are kept for who does"
  }
]
