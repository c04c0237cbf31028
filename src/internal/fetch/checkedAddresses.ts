import * as Effect from "effect/Effect"
import { isIPv6 } from "node:net"
import { AddressBlocked, LookupFailed } from "../../FetchError.js"
import type { HostPolicy } from "../../HostPolicy.js"
import type { NameLookup } from "../../NameLookup.js"
import * as Address from "../addressRules.js"
import { reasonAgainstPort } from "../rules/badPorts.js"
import { printable } from "../rules/text.js"
import type { FetchTarget } from "./fetchTarget.js"
import * as OwnErrors from "./ownErrors.js"
import type { Refusal } from "./refusal.js"
import { codeOf } from "./sockets.js"

/** Maximum number of addresses to dial for one fetch. A stranger's DNS may return hundreds, and all are checked. */
const maxDialed = 8

/** Alternates between the families (RFC 8305, section 4), so that a family that does not work costs one attempt. */
export const interleaved = (addresses: ReadonlyArray<string>): ReadonlyArray<string> => {
  const preferred = isIPv6(addresses[0] ?? "")
  const first = addresses.filter((address) => isIPv6(address) === preferred)
  const second = addresses.filter((address) => isIPv6(address) !== preferred)
  return Array.from(
    { length: Math.max(first.length, second.length) },
    (_, index) => [first[index], second[index]]
  ).flat().filter((address) => address !== undefined)
}

const isLoopbackHost = (target: FetchTarget): boolean =>
  target.host === "localhost" || Address.classify(target.host).kind === "loopback"

/** Returns why an address must not be dialed for this target. The policy can open private addresses, but no others. */
const reasonNotToDial = (target: FetchTarget, address: string, policy: HostPolicy["Type"]): string | undefined => {
  const { kind, reason } = Address.classify(address)
  switch (kind) {
    case "public":
      return target.isAddress && !policy.addressLiterals
        ? "an address in the place of a host name"
        : policy.reasonAgainstAddress(address)
    case "loopback":
      // A stranger's name that leads to loopback is an attack, in development mode as well.
      return policy.loopback && isLoopbackHost(target) ? policy.reasonAgainstAddress(address) : reason
    case "private":
      return !target.isAddress && policy.permitsPrivateAddress(target.host, address)
        ? policy.reasonAgainstAddress(address)
        : reason
    default:
      return reason
  }
}

/**
 * Returns the addresses to dial for a target, in the order to try them. A port of another protocol fails before the
 * lookup (ADR-08). There is one lookup, and a single address that
 * must not be dialed fails the fetch (ADR-01).
 */
export const find = (
  target: FetchTarget,
  lookup: NameLookup["Type"]["lookup"],
  policy: HostPolicy["Type"]
): Effect.Effect<ReadonlyArray<string>, LookupFailed | AddressBlocked | Refusal> => {
  const { clientId, host } = target
  const portReason = reasonAgainstPort(target.port)
  if (portReason !== undefined) {
    return new AddressBlocked({ clientId, address: target.hostField, reason: portReason })
  }
  const failed = (code: string) => new LookupFailed({ clientId, host, code })
  const answers = target.isAddress
    ? Effect.succeed([host])
    : Effect.mapError(lookup(host), ({ cause }) => {
      const code = codeOf(cause)
      return OwnErrors.ofLookup(code) ?? failed(code)
    })
  return Effect.flatMap(answers, (addresses): Effect.Effect<ReadonlyArray<string>, LookupFailed | AddressBlocked> => {
    for (const address of addresses) {
      const reason = reasonNotToDial(target, address, policy)
      if (reason !== undefined) {
        return new AddressBlocked({ clientId, address: printable(address), reason })
      }
    }
    return addresses.length === 0
      ? failed("EMPTY")
      : Effect.succeed(interleaved([...new Set(addresses)]).slice(0, maxDialed))
  })
}
