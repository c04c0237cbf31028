import { createHash } from "node:crypto"

// Increment this when a built-in rule changes which documents are accepted. Cached documents that were accepted under
// the older rules are then no longer served (CAC-11).
const rulesVersion = 3

/** The members of a profile that decide which documents are accepted. */
interface Profile {
  readonly required?: ReadonlyArray<string> | undefined
  readonly sameOriginRedirect?: boolean | undefined
  readonly authMethods?: ReadonlyArray<string> | undefined
  readonly privateUseSchemes?: ReadonlyArray<string> | undefined
  readonly rules?: ReadonlyArray<{ readonly id: string }> | undefined
}

/** The members of a host policy that decide it too. */
interface Hosts {
  readonly loopback?: boolean | undefined
  readonly addressLiterals?: boolean | undefined
  readonly ruleset?: string | undefined
}

/**
 * Returns the name of the built-in rules together with a profile and a host policy, in at most 32 characters. Profiles
 * and policies with the same requirements have the same name.
 */
export const rulesetOf = (profile: Profile, hosts: Hosts): string => {
  const requirements = JSON.stringify([
    [...new Set(profile.required)].sort(),
    profile.sameOriginRedirect ?? false,
    profile.authMethods === undefined ? null : [...new Set(profile.authMethods)].sort(),
    [...new Set(profile.privateUseSchemes)].sort(),
    hosts.loopback ?? false,
    hosts.addressLiterals ?? false,
    hosts.ruleset ?? "",
    (profile.rules ?? []).map((rule) => rule.id).sort()
  ])
  return `${rulesVersion}-${createHash("sha256").update(requirements).digest("hex").slice(0, 16)}`
}
