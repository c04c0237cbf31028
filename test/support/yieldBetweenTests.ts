/**
 * Lets the event loop turn after each test. A worker that runs one long synchronous property after another would not
 * read the answers of the runner, and after a minute the runner would report a timeout.
 */
import { afterEach } from "vitest"

// Kept, because a test may replace the timers.
const { setImmediate } = globalThis

afterEach(() => new Promise<void>((resolve) => setImmediate(resolve)))
