/**
 * Returns the command line with the file `-` of `lint` moved to the end, because the parser reads a `-` before the
 * options as one of them.
 */
export const normalize = (argv: ReadonlyArray<string>): ReadonlyArray<string> => {
  const dash = argv[2] === "lint"
    ? argv.findIndex((argument, index) => argument === "-" && argv[index - 1] !== "--client-id")
    : -1
  return dash === -1 ? argv : [...argv.slice(0, dash), ...argv.slice(dash + 1), "-"]
}
