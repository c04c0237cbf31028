import { createHash } from "node:crypto"
import type { Profile } from "../Validator.js"

// Counts up when a built-in rule changes what is accepted, so that no server goes on with what an older one accepted.
const rulesVersion = 1

/** Names the built-in rules and a profile, in at most 32 characters. Profiles that ask for the same have one name. */
export const rulesetOf = (profile: Profile): string => {
  const asked = JSON.stringify([
    [...new Set(profile.required)].sort(),
    profile.sameOriginRedirect ?? false,
    profile.authMethods === undefined ? null : [...new Set(profile.authMethods)].sort(),
    (profile.rules ?? []).map((rule) => rule.id).sort()
  ])
  return `${rulesVersion}-${createHash("sha256").update(asked).digest("hex").slice(0, 16)}`
}
