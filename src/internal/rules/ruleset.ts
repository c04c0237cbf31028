import { createHash } from "node:crypto"

// Counts up when a built-in rule changes what is accepted, so that no server goes on with what an older one accepted.
const rulesVersion = 1

/** What of a profile decides which documents are accepted. */
interface Asked {
  readonly required?: ReadonlyArray<string> | undefined
  readonly sameOriginRedirect?: boolean | undefined
  readonly authMethods?: ReadonlyArray<string> | undefined
  readonly rules?: ReadonlyArray<{ readonly id: string }> | undefined
}

/** Names the built-in rules and a profile, in at most 32 characters. Profiles that ask for the same have one name. */
export const rulesetOf = (profile: Asked): string => {
  const asked = JSON.stringify([
    [...new Set(profile.required)].sort(),
    profile.sameOriginRedirect ?? false,
    profile.authMethods === undefined ? null : [...new Set(profile.authMethods)].sort(),
    (profile.rules ?? []).map((rule) => rule.id).sort()
  ])
  return `${rulesVersion}-${createHash("sha256").update(asked).digest("hex").slice(0, 16)}`
}
