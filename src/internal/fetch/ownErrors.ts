/** The errors of system calls that this machine causes, and not the origin (FET-21). */
import { isIPv4 } from "node:net"
import { addressBusy } from "./addressShare.js"
import type { Refusal } from "./refusal.js"
import { busy } from "./refusal.js"

/** Too many files, or too little memory. `EAGAIN` is what a socket reports when the kernel has no room for it. */
const outOfResources: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EAGAIN"])

/** Returns the refusal that a failed attempt to connect stands for, if it was never made. */
export const ofDial = (address: string, code: string): Refusal | undefined =>
  code === addressBusy
    ? busy("address")
    // No local port is left. For IPv6, the code usually means that this machine has no IPv6, which does not pass.
    : outOfResources.has(code) || (code === "EADDRNOTAVAIL" && isIPv4(address))
    ? busy("node", code)
    : undefined

/**
 * `EBUSY` is a lookup that too many others kept from starting. `ECONNREFUSED` means that no DNS server of this machine
 * could be reached; Node.js reports it too when no file is left for the socket. `EAI_MEMORY` is that of `getaddrinfo`.
 */
const notLookedUp: ReadonlySet<string> = new Set([...outOfResources, "EBUSY", "ECONNREFUSED", "EAI_MEMORY"])

/** Returns the refusal that a failed name lookup stands for, if it was never made. */
export const ofLookup = (code: string): Refusal | undefined => notLookedUp.has(code) ? busy("node", code) : undefined
