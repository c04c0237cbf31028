import { describe, expect, it } from "@effect/vitest"
import { isMatchable, isRefused } from "../../src/internal/rules/redirectSchemes.js"

const refused =
  `smb ldap sftp ms-msdt ms-word ms-settings search-ms itms-services intent jar chrome resource feed tel urn ws wss
  x-apple.systempreferences x-apple-helper javascript data file blob vbscript about mailto view-source filesystem ftp
  soap.beep iris.lwz z39.50r android-app ms-search web+app ext+app teams-link shell microsoft-edge chrome-extension`
    .split(/\s+/)

describe("schemes of redirect URIs", () => {
  it("DOC-12: refuses the schemes of protocols, browsers and handlers", () => {
    for (const scheme of refused) expect(isRefused(scheme), scheme).toBe(true)
  })

  it("DOC-12: refuses no reverse domain name, no known app and no other private-use scheme", () => {
    for (const scheme of ["com.example.app", "io.x-apple.app", "org.ms-app", "vscode", "cursor", "a", "acme", "myms"]) {
      expect(isRefused(scheme), scheme).toBe(false)
    }
  })

  it("RED-05: matches reverse domain names, known apps and opened schemes", () => {
    for (const scheme of ["com.example.app", "cursor", "code-oss"]) expect(isMatchable(scheme), scheme).toBe(true)
    expect(isMatchable("acme")).toBe(false)
    expect(isMatchable("acme", ["acme"])).toBe(true)
  })
})
