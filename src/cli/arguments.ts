// The commands that read a document from standard input, and their flags whose value may be a dash.
const readers = ["lint", "pin"]
const flagsOfText = ["--ca", "--client-id", "--reason", "--by"]

// The parser does not read `--flag=value` of these, because they may be repeated.
const repeated = /^(--(?:require|auth-method|private-use-scheme))=([^]*)$/

// The parser reads a `-` before the options as one of them.
const withDashAtEnd = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const dash = args.findIndex((arg, index) => arg === "-" && !flagsOfText.includes(args[index - 1] ?? ""))
  return dash === -1 ? args : [...args.slice(0, dash), ...args.slice(dash + 1), "-"]
}

/**
 * Returns the command line as the parser reads it: `help` of a command as its flag `--help`, each value of a repeated flag
 * as an argument of its own, and the `-` of a command that reads a document at the end.
 */
export const normalize = (argv: ReadonlyArray<string>, isCommand: (name: string) => boolean): ReadonlyArray<string> => {
  const [command = "", ...rest] = argv.slice(2)
  if (command === "help") {
    const [name] = rest
    // The parser reports a command that does not exist, but not if its help is requested.
    return [...argv.slice(0, 2), ...rest, ...(name === undefined || isCommand(name) ? ["--help"] : [])]
  }
  const separate = rest.flatMap((arg) => repeated.exec(arg)?.slice(1) ?? [arg])
  return [...argv.slice(0, 3), ...(readers.includes(command) ? withDashAtEnd(separate) : separate)]
}
