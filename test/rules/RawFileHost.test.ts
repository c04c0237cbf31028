import { describe, expect, it } from "vitest"
import { issuesOf } from "../../src/internal/rules/rawFileHost.js"
import { clientId } from "../support/clientId.js"

const rulesOf = (url: string) => issuesOf(clientId(url)).map(({ rule, severity }) => `${severity} ${rule}`)

describe("URL-13: hosts of raw files", () => {
  it.each([
    "https://raw.githubusercontent.com/o/r/main/client.json",
    "https://raw.githubusercontent.com:443/o/r/main/client.json",
    "https://gist.githubusercontent.com/u/0123/raw/client.json",
    "https://gitlab.com/o/r/-/raw/main/client.json",
    "https://gitlab.com/o/g/r/-/raw/main/a/client.json?inline=false",
    "https://git.corp.example/o/r/-/raw/main/client.json",
    "https://gitlab.com/-/snippets/1/raw/main/client.json",
    "https://codeberg.org/o/r/raw/branch/main/client.json",
    "https://git.example.org/o/r/raw/commit/0123/client.json",
    "https://gitea.com/o/r/raw/tag/v1/client.json",
    "https://bitbucket.org/o/r/raw/main/client.json",
    "https://gitee.com/o/r/raw/master/client.json",
    "https://huggingface.co/o/r/raw/main/client.json",
    "https://huggingface.co/spaces/o/r/raw/main/client.json",
    "https://pastebin.com/raw/abc123"
  ])("URL-13: warns of text/plain: %s", (url) => {
    expect(rulesOf(url)).toEqual(["warning URL-13"])
    expect(issuesOf(url)[0]?.message).toContain("text/plain")
  })

  it.each([
    "https://github.com/o/r/raw/main/client.json",
    "https://gist.github.com/u/0123/raw/client.json",
    "https://huggingface.co/o/r/resolve/main/client.json"
  ])("URL-13: warns of a redirect: %s", (url) => {
    expect(rulesOf(url)).toEqual(["warning URL-13"])
    expect(issuesOf(url)[0]?.message).toContain("redirects")
  })

  it.each([
    "https://app.example/client.json",
    "https://app.example/raw/client.json",
    "https://app.example/o/r/raw/client.json",
    "https://app.example/raw.githubusercontent.com/client.json",
    "https://raw.githubusercontent.com.app.example/client.json",
    "https://xraw.githubusercontent.com/o/r/main/client.json",
    "https://o.github.io/r/client.json",
    "https://o.gitlab.io/r/client.json",
    "https://cdn.jsdelivr.net/gh/o/r@main/client.json",
    "https://unpkg.com/r@1/client.json",
    "https://raw.githack.com/o/r/main/client.json",
    "https://gitlab.com/o/r/-/jobs/artifacts/main/client.json",
    "https://bitbucket.org/o/r/downloads/client.json",
    "https://o.static.hf.space/client.json",
    "https://pastebin.com/abc123"
  ])("URL-13: does not warn of %s", (url) => {
    expect(rulesOf(url)).toEqual([])
  })
})
