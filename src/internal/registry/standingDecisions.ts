import type { Issue } from "../../Issue.js"
import { error } from "../rules/ruleCatalog.js"
import type { DecisionIndex, Mode, Standing } from "./decisionIndex.js"
import * as DecisionIndexes from "./decisionIndex.js"

/** The decisions of one slot replace each other. */
export type Slot = "block" | "approval" | "pin"

const slots = {
  blocked: "block",
  allowed: "approval",
  rejected: "approval",
  pinned: "pin"
} as const satisfies Record<Standing["decision"], Slot>

// Every node holds all decisions in memory, and builds its index from them after each new one.
const maxDecisions = 100_000
const maxPinnedLength = 65_536
const maxPinnedLengthInAll = 16_777_216

const keyOf = (slot: Slot, subject: string): string => `${slot} ${subject}`
const pinnedLength = (standing: Standing | undefined): number =>
  standing?.decision === "pinned" ? standing.document.text.length : 0

/** The decisions in force. Each change makes a new index when it is next asked for. */
export class StandingDecisions {
  readonly #standing = new Map<string, Standing>()
  readonly #mode: Mode
  #index: DecisionIndex | undefined
  #pinnedLength = 0

  constructor(mode: Mode) {
    this.#mode = mode
  }

  get index(): DecisionIndex {
    return this.#index ??= DecisionIndexes.make([...this.#standing.values()], this.#mode)
  }

  get(slot: Slot, subject: string): Standing | undefined {
    return this.#standing.get(keyOf(slot, subject))
  }

  /** Returns what keeps a decision from being put into force, if anything does. */
  issuesOf(standing: Standing): ReadonlyArray<Issue> {
    const replaced = this.get(slots[standing.decision], standing.subject)
    const issues: Array<Issue> = []
    if (replaced === undefined && this.#standing.size >= maxDecisions) {
      issues.push(error("REG-15", "", `There are ${maxDecisions} decisions, which is the maximum. Remove some.`))
    }
    if (pinnedLength(standing) > maxPinnedLength) {
      issues.push(error("REG-15", "", `A pinned document must have at most ${maxPinnedLength} characters.`))
    }
    if (this.#pinnedLength - pinnedLength(replaced) + pinnedLength(standing) > maxPinnedLengthInAll) {
      issues.push(
        error("REG-15", "", `All pinned documents must have at most ${maxPinnedLengthInAll} characters. Unpin some.`)
      )
    }
    return issues
  }

  /** Puts a decision into force in place of the one in its slot. */
  set(standing: Standing, slot: Slot = slots[standing.decision]): void {
    const replaced = this.get(slot, standing.subject)
    this.#standing.set(keyOf(slot, standing.subject), standing)
    this.#pinnedLength += pinnedLength(standing) - pinnedLength(replaced)
    this.#index = undefined
  }

  /** Returns whether there was a decision. */
  delete(slot: Slot, subject: string): boolean {
    const key = keyOf(slot, subject)
    const standing = this.#standing.get(key)
    if (standing === undefined) return false
    this.#standing.delete(key)
    this.#pinnedLength -= pinnedLength(standing)
    this.#index = undefined
    return true
  }
}
