/**
 * Every benchmark in one table; each line is a ratio measured in this run. `--json` prints it for a program.
 *
 * The peers of `validate` and `burst` are installed apart, in differential/.
 */
import { attack } from "./attack.js"
import { burst } from "./burst.js"
import { cache } from "./cache.js"
import { fetch } from "./fetch.js"
import { registry } from "./registry.js"
import { print } from "./row.js"
import { validate } from "./validate.js"

print([
  ...await validate(),
  ...await fetch(),
  ...await cache(),
  ...await registry(),
  ...await burst(),
  ...await attack()
])
