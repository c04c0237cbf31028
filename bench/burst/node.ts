/** One process of a burst: it answers what it is told over IPC, until its parent leaves. */
import type { World } from "./subjects.js"
import { subjects } from "./subjects.js"

/** Resolves one client for so many callers at once, when the clock that all processes share says so. */
export interface Burst {
  readonly clientId: string
  readonly callers: number
  readonly at: number
}

/** What came of it: how many callers were answered, and why the first of the others was not. */
export interface Outcome {
  readonly answered: number
  readonly fault?: string | undefined
}

const { prepares, subject, world }: { prepares: boolean; subject: string; world: World } = JSON.parse(
  process.argv[2] ?? "{}"
)
const tell = (message: Outcome) => process.send?.(message)

const made = subjects[subject]
if (made === undefined) throw new Error(`There is no subject ${subject}`)
const { prepare, resolve } = await made(world)
if (prepares) await prepare()

const begin = ({ callers, clientId }: Burst) => {
  void Promise.allSettled(Array.from({ length: callers }, () => resolve(clientId))).then((answers) => {
    const failed = answers.find((answer) => answer.status === "rejected")
    tell({
      answered: answers.filter((answer) => answer.status === "fulfilled" && answer.value === "Burst").length,
      fault: failed === undefined ? undefined : String(failed.reason)
    })
  })
}

process.on("message", (burst: Burst) => setTimeout(begin, burst.at - Date.now(), burst))
process.on("disconnect", () => process.exit(0))
tell({ answered: 0 })
