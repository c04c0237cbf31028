import { describe, expect, it } from "@effect/vitest"
import { issuesOf } from "../../src/internal/rules/displayText.js"

describe("DOC-18: text on a consent page", () => {
  const refused: Readonly<Record<string, string>> = {
    "a space alone": " ",
    "a no-break space alone": "\u00a0",
    "a zero-width space alone": "\u200b",
    "a Hangul filler alone": "\u3164",
    "a Hangul choseong filler alone": "\u115f",
    "a blank Braille pattern alone": "\u2800",
    "a zero-width no-break space alone": "\ufeff",
    "a variation selector alone": "\ufe0f",
    "a combining mark alone": "\u0301",
    "a direction mark alone": "\u200e",
    "a zero-width space in a word": "Goo\u200bgle",
    "a word joiner in a word": "Goo\u2060gle",
    "a soft hyphen in a word": "Goo\u00adgle",
    "a combining grapheme joiner": "Goo\u034fgle",
    "a Mongolian vowel separator": "Goo\u180egle",
    "an invisible separator": "Goo\u2063gle",
    "a line separator": "Goo\u2028gle",
    "a paragraph separator": "Goo\u2029",
    "a line feed": "Goo\ngle",
    "a right-to-left override": "\u202eelgooG",
    "a right-to-left isolate": "\u2067Acme",
    "an interlinear annotation": "Acme\ufff9",
    "tag characters without a flag": "Acme\u{e0041}\u{e007f}",
    "tag characters before a letter": "\u{e0041}Acme",
    "a flag whose tags have no end": "\u{1f3f4}\u{e0067}\u{e0062}",
    "a joiner between spaces": "Acme \u200d App",
    "a joiner at the end": "Acme\u200d",
    "a variation selector after a space": "Acme \ufe0f",
    "250 combining marks": `e${"\u0301".repeat(250)}`,
    "9 combining marks in a row": `Acme${"\u0301".repeat(9)}`,
    "257 characters": "a".repeat(257)
  }
  for (const [name, text] of Object.entries(refused)) {
    it(`DOC-18: refuses ${name}`, () => {
      expect(issuesOf(text).errors).not.toEqual([])
    })
  }

  const accepted: Readonly<Record<string, string>> = {
    "an ASCII name": "Acme (beta)",
    "256 characters": "a".repeat(256),
    "256 characters outside the basic plane": "😀".repeat(256),
    "a precomposed and a decomposed letter": "Ünïcode e\u0301",
    "Vietnamese": "Việt Nam",
    "8 combining marks in a row": `a${"\u0301".repeat(8)}`,
    "Persian with a non-joiner": "می\u200cخواهم",
    "Hindi with a joiner": "क्\u200dष",
    "Hebrew with a direction mark": "שלום\u200f!",
    "Mongolian with a variation selector": "ᠮᠠ\u180bᠨ",
    "Japanese with a variation selector": "葛\u{e0100}飾",
    "a heart with a variation selector": "❤\ufe0f App",
    "a keycap": "1\ufe0f\u20e3",
    "a family": "👨\u200d👩\u200d👧",
    "a person with a skin tone at a computer": "👩🏽\u200d💻",
    "a rainbow flag": "🏳\ufe0f\u200d🌈",
    "the flag of England": "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
    "an empty text": ""
  }
  for (const [name, text] of Object.entries(accepted)) {
    it(`DOC-18: accepts ${name}`, () => {
      expect(issuesOf(text).errors).toEqual([])
    })
  }

  it("DOC-18: warns of a word that mixes scripts, and of no other text", () => {
    for (const text of ["G\u043e\u043egle", "Αpple".replace("A", "\u0391"), "p\u0430ypal App", "Яндекс\u0069"]) {
      expect(issuesOf(text), text).toMatchObject({ errors: [], warnings: [expect.stringContaining("scripts")] })
    }
    for (
      const text of ["Яндекс Mail", "日本語のApp", "Emailクライアント", "한국어App", "中文 App", "Ünïcode", "שלום Mail"]
    ) {
      expect(issuesOf(text), text).toEqual({ errors: [], warnings: [] })
    }
  })
})
