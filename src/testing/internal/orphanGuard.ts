import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as ChildProcess from "./childProcess.js"
import type { EmbeddedFailure } from "./embeddedFailure.js"

// Its input ends when this process does, however that ends. The server's own pid file shows whether the server is gone:
// it is removed last, and a process that nobody waits for keeps its pid.
const script = `
while read -r line; do pid=$line; done
tries=0
if [ -n "$pid" ] && kill -INT "$pid"; then
  while [ -e "$1/postmaster.pid" ] && [ $tries -lt 300 ]; do sleep 0.1; tries=$((tries + 1)); done
fi
[ -z "$2" ] || rm -rf -- "$2" || { sleep 1; rm -rf -- "$2"; }
`

/**
 * Stops the server, and removes the temporary folder, should this process be killed before the scope closes. Returns
 * what takes the server's process id. Windows has no such guard.
 */
export const start = (
  options: { readonly data: string; readonly temporary: string | undefined }
): Effect.Effect<(pid: number) => void, EmbeddedFailure, Scope.Scope> =>
  process.platform === "win32" ? Effect.succeed(() => {}) : Effect.acquireRelease(
    ChildProcess.start("sh", ["-c", script, "sh", options.data, options.temporary ?? ""]),
    ({ child, exited }) =>
      Effect.promise(() => {
        child.kill("SIGKILL")
        return exited
      })
  ).pipe(Effect.map(({ child }) => (pid) => {
    child.stdin.write(`${pid}\n`)
  }))
