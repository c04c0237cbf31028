import { existsSync, readdirSync, readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { defaultPolicy } from "../src/Freshness.js"
import * as Tables from "../src/internal/postgres/tableNames.js"

const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), "utf8")

const readme = read("README.md")

const wordsOf = (text: string, pattern: RegExp): ReadonlyArray<string> =>
  [...new Set([...text.matchAll(pattern)].map(([, word = ""]) => word))].sort()

/** The text under a heading, up to the next heading of the same or a higher level. */
const sectionOf = (text: string, heading: string): string => {
  const [hashes = ""] = heading.split(" ")
  const [, after = ""] = `\n${text}`.split(`\n${heading}\n`)
  return after.split(new RegExp(`^#{1,${hashes.length}} `, "m"))[0] ?? ""
}

const filesIn = (folder: string): ReadonlyArray<string> =>
  readdirSync(new URL(`../${folder}`, import.meta.url))
    .filter((name) => name.endsWith(".ts"))
    .map((name) => `${folder}/${name}`)

describe("README.md", () => {
  it("lists the metrics that there are, and no others", () => {
    const source = read("src/internal/metrics.ts")
    const exported = wordsOf(source, /Metric\.(?:counter|gauge)\("([a-z_]+)"/g)
    expect(exported.length).toBeGreaterThan(5)
    expect(wordsOf(sectionOf(readme, "## Metrics"), /^\| `(cimd_[a-z_]+)` \|/gm)).toEqual(exported)
  })

  it("lists every tag that they have", () => {
    const source = read("src/internal/metrics.ts")
    const tags = wordsOf(source, /Metric\.tagged\(\w+, "\w+", "([a-z_]+)"\)/g)
    expect(tags.length).toBeGreaterThan(5)
    for (const tag of tags) expect(readme).toMatch(new RegExp(`^\\| \`cimd_.*\\b${tag}\\b`, "m"))
  })

  it("names the tables that there are", () => {
    const { channel: _, prefix, schema: __, ...tables } = Tables.defaults
    for (const table of Object.values(tables)) expect(table).toMatch(new RegExp(`^${prefix}`))
    expect(
      wordsOf(sectionOf(readme, "## Postgres"), /^(\| `cimd_.*)$/gm).flatMap((row) => wordsOf(row, /`(cimd_\w+)`/g))
        .sort()
    ).toEqual(Object.values(tables).sort())
  })

  it("names every module", () => {
    const modules = filesIn("src").map((path) => path.slice("src/".length, -".ts".length))
    for (const module of modules.filter((module) => module !== "index")) expect(readme).toContain(module)
  })

  it("links to files and headings that exist", () => {
    const links = wordsOf(readme, /\]\((?!https:)([^)]+)\)/g)
    expect(links.length).toBeGreaterThan(3)
    const headings = wordsOf(readme, /^#+ (.+)$/gm).map((heading) => `#${heading.toLowerCase().replaceAll(" ", "-")}`)
    for (const link of links) {
      if (link.startsWith("#")) expect(headings).toContain(link)
      else expect(existsSync(new URL(`../${link}`, import.meta.url)), link).toBe(true)
    }
  })

  it("begins the installation with a version of each required peer", () => {
    const { peerDependencies, peerDependenciesMeta } = JSON.parse(read("package.json"))
    const [, line = ""] = /```sh\n(.*)/.exec(sectionOf(readme, "## Installation")) ?? []
    const versions = new Map(
      line.split(" ").slice(3).map((word) => [word.slice(0, word.lastIndexOf("@")), word.split("@").at(-1) ?? ""])
    )
    const required = Object.keys(peerDependencies).filter((name) => peerDependenciesMeta[name]?.optional !== true)
    expect([...versions.keys()].sort()).toEqual(required.sort())
    for (const [name, version] of versions) expect(peerDependencies[name]).toMatch(new RegExp(`^\\^${version}\\b`))
  })

  it("begins the quick start with two whole programs", () => {
    const programs = [...sectionOf(readme, "## Quick start").matchAll(/^```ts\n([^]*?)^```$/gm)]
      .map(([, code = ""]) => code)
    expect(programs).toHaveLength(2)
    expect(programs[0]).toContain("Effect.runPromise(")
    expect(programs[1]).toContain("NodeRuntime.runMain(")
  })
})

describe.each(["docs/architecture.md", "CONTRIBUTING.md", "SECURITY.md"])("%s", (path) => {
  it("names files that exist", () => {
    const named = wordsOf(read(path), /(?:`|\]\()((?:src|test|docs|migrations|examples|scripts|\.ci)\/[\w./-]+)/g)
    expect(named.length).toBeGreaterThan(0)
    for (const file of named) expect(existsSync(new URL(`../${file}`, import.meta.url)), file).toBe(true)
  })
})

describe("The Configuration of README.md", () => {
  const configuration = sectionOf(readme, "## Configuration")

  /** The headings under Configuration, and the files that read the options. */
  const readers: Readonly<Record<string, ReadonlyArray<string>>> = {
    Resolver: ["src/Resolver.ts", "src/Freshness.ts", "src/internal/rules/clientIdGrammar.ts"],
    Fetcher: filesIn("src/internal/fetch"),
    PostgresCache: [...filesIn("src/internal/postgres"), ...filesIn("src/internal")],
    "PostgresClient.layer": ["src/PostgresClient.ts"],
    Cache: [...filesIn("src/internal/postgres"), ...filesIn("src/internal")],
    ClientRegistry: ["src/ClientRegistry.ts", ...filesIn("src/internal/registry")],
    PostgresRegistry: [...filesIn("src/internal/postgres/registry"), "src/internal/postgres/tableNames.ts"],
    HostPolicy: ["src/HostPolicy.ts"],
    Validator: ["src/Validator.ts", "src/internal/rules/ruleset.ts"],
    Sweeper: ["src/Sweeper.ts"],
    NameLookup: ["src/NameLookup.ts"],
    Dialer: ["src/Dialer.ts"]
  }

  const rowsOf = (service: string) =>
    [...sectionOf(configuration, `### ${service}`).matchAll(/^\| `([\w.]+)` \| ([^|]+) \|/gm)]
      .map(([, option = "", fallback = ""]) => ({ option, fallback }))

  const sourceOf = (service: string): string => (readers[service] ?? []).map(read).join("\n")

  const literal = "(\"[^\"]*\"|\\[\\]|[\\w.]+)"

  /** The default of an option as the code writes it: as an argument of its reader, behind `??`, or in a pattern. */
  const defaultIn = (source: string, option: string): string | undefined => {
    const name = option.replaceAll(".", "\\.")
    const last = option.split(".").at(-1)
    const [, found] = [
      `"${name}",\\s*[\\w.?]+,\\s*${literal}`,
      `(?:options|profile)\\.${name} \\?\\? ${literal}`,
      `\\{[^{}=]*(?:=[^{}=]*)?\\b${last} = ${literal}[^{}]*\\} ?[=:]`,
      `Defaults to \`${literal}\`[^/]*\\*/\\s*readonly ${last}\\?`
    ].map((pattern) => new RegExp(pattern).exec(source)).find((match) => match !== null) ?? []
    // A named default is a constant of the same files.
    const [, constant] = new RegExp(`\\bconst ${found} = ${literal}`).exec(source) ?? []
    return constant ?? found
  }

  const plain = (text: string): string => text.replaceAll(/^"|"$/g, "").replaceAll(/(?<=\d)[,_](?=\d)/g, "")

  const none = new Set([undefined, "undefined", "[]", "Number.NaN"])

  it("has a table for every service with options", () => {
    expect(wordsOf(configuration, /^### (\S+)$/gm)).toEqual(Object.keys(readers).sort())
    for (const service of Object.keys(readers)) expect(rowsOf(service).length, service).toBeGreaterThan(1)
  })

  it.each(Object.keys(readers))("lists options that %s has, each with its default", (service) => {
    const source = sourceOf(service)
    for (const { fallback, option } of rowsOf(service)) {
      for (const part of option.split(".")) expect(source, option).toMatch(new RegExp(`readonly ${part}\\??:`))
      const found = option.startsWith("freshness.")
        ? Object.entries(defaultPolicy).find(([name]) => `freshness.${name}` === option)?.[1]
        : defaultIn(source, option)
      expect({ option, fallback: plain(fallback) }).toEqual({
        option,
        fallback: none.has(found) ? "none" : plain(String(found))
      })
    }
  })

  it("lists every number and duration that a service reads", () => {
    const listed = new Set(Object.keys(readers).flatMap(rowsOf).map(({ option }) => option))
    const found = Object.keys(readers).flatMap((service) =>
      wordsOf(sourceOf(service), /\b(?:millis|whole)\(\s*"([\w.]+)"/g)
    )
    expect(found.length).toBeGreaterThan(15)
    for (const option of found) expect(listed).toContain(option)
  })
})
