/**
 * Hosts that serve the files of repositories and snippets as plain text, whatever the files are (URL-13). A fetcher refuses
 * that content type (FET-05), so a document at such a URL cannot be resolved.
 *
 * Content delivery networks that serve JSON as JSON are not among them, such as jsDelivr, unpkg and GitHub Pages.
 */
import type { Issue } from "../../Issue.js"
import { parts } from "./clientIdParts.js"
import { warning } from "./ruleCatalog.js"
import { quote } from "./text.js"

/** Hosts that serve nothing else. */
const rawHosts: ReadonlySet<string> = new Set(["raw.githubusercontent.com", "gist.githubusercontent.com"])

/** The paths of raw files on hosts that also have other pages. */
const rawPaths: ReadonlyMap<string, RegExp> = new Map([
  ["bitbucket.org", /^\/[^/]+\/[^/]+\/raw\//],
  ["gitee.com", /^\/[^/]+\/[^/]+\/raw\//],
  ["huggingface.co", /^\/(?:[^/]+\/){1,3}raw\//],
  ["pastebin.com", /^\/raw\//]
])

/** GitLab, Gitea and Forgejo run on many hosts, such as gitlab.com and codeberg.org, with the same paths. */
const forgePath = /\/-\/(?:raw|snippets\/[^/]+\/raw)\/|^\/[^/]+\/[^/]+\/raw\/(?:branch|commit|tag)\//

/** These redirect to a raw file, and redirects are not followed (FET-04). */
const redirectPaths: ReadonlyMap<string, RegExp> = new Map([
  ["github.com", /^\/[^/]+\/[^/]+\/raw\//],
  ["gist.github.com", /^\/[^/]+\/[^/]+\/raw(?:\/|$)/],
  ["huggingface.co", /^\/(?:[^/]+\/){1,3}resolve\//]
])

const advice = "Publish it where JSON is served as application/json, such as on GitHub Pages or on a host of your own."

/** Returns a warning for a client identifier whose host does not serve JSON as JSON. The grammar has accepted it. */
export const issuesOf = (clientId: string): ReadonlyArray<Issue> => {
  const { host, requestTarget } = parts(clientId)
  if (rawHosts.has(host) || rawPaths.get(host)?.test(requestTarget) === true || forgePath.test(requestTarget)) {
    return [warning(
      "URL-13",
      "",
      `The host ${quote(host)} serves such files as text/plain, so a server refuses the document (FET-05). ${advice}`
    )]
  }
  return redirectPaths.get(host)?.test(requestTarget) === true
    ? [warning(
      "URL-13",
      "",
      `The host ${quote(host)} redirects such URLs, so a server refuses the response (FET-04). ${advice}`
    )]
    : []
}
