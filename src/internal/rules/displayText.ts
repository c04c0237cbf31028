/**
 * What text on a consent page must not contain (DOC-18). A name must be what it looks like, so an invisible character is
 * refused unless its neighbours give it a meaning. No decision rests on the Unicode version of the runtime.
 */
import { isCombiningMark } from "./combiningMarks.js"
import { codePoint } from "./text.js"

/** What is wrong with a text, and what deserves a look. */
export interface DisplayIssues {
  readonly errors: ReadonlyArray<string>
  readonly warnings: ReadonlyArray<string>
}

const none: DisplayIssues = { errors: [], warnings: [] }

/** The message for a text that shows nothing. */
export const invisible = "It has no visible character. Write a name that people can read."

const maxLength = 256
/** The Stream-Safe Text Format of UAX #15 permits 30; no written language needs more than 8. */
const maxMarks = 8

// Most texts are ASCII without anything to find.
const plain = /^[ -~]*[!-~][ -~]*$/

// C0 and C1 controls, separators of lines and paragraphs, embeddings, overrides and isolates of a reading direction, and
// interlinear annotations. U+0000 has a rule of its own (DOC-17).
const isControl = (point: number): boolean =>
  (point > 0 && point < 0x20) || (point >= 0x7f && point < 0xa0) || point === 0x2028 || point === 0x2029 ||
  (point >= 0x202a && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069) || (point >= 0xfff9 && point <= 0xfffb)

const blanks = new Set([0x00a0, 0x1680, 0x2800, 0x202f, 0x205f, 0x3000])
const isBlank = (point: number): boolean => point === 0x20 || blanks.has(point) || (point >= 0x2000 && point <= 0x200a)

// Default_Ignorable_Code_Point, reserved ranges included, which makes it the same in every version of Unicode.
const isIgnorable = (point: number): boolean =>
  point === 0x00ad || point === 0x034f || point === 0x061c || point === 0x115f || point === 0x1160 ||
  point === 0x17b4 || point === 0x17b5 || (point >= 0x180b && point <= 0x180f) ||
  (point >= 0x200b && point <= 0x200f) ||
  (point >= 0x202a && point <= 0x202e) || (point >= 0x2060 && point <= 0x206f) || point === 0x3164 ||
  (point >= 0xfe00 && point <= 0xfe0f) || point === 0xfeff || point === 0xffa0 ||
  (point >= 0xfff0 && point <= 0xfff8) ||
  (point >= 0x1bca0 && point <= 0x1bca3) || (point >= 0x1d173 && point <= 0x1d17a) ||
  (point >= 0xe0000 && point <= 0xe0fff)

const isVisible = (point: number): boolean =>
  point > 0x20 && !isControl(point) && !isBlank(point) && !isIgnorable(point) && !isCombiningMark(point)

// LEFT-TO-RIGHT, RIGHT-TO-LEFT and ARABIC LETTER MARK.
const isDirectionMark = (point: number): boolean => point === 0x200e || point === 0x200f || point === 0x061c

const isVariationSelector = (point: number): boolean =>
  (point >= 0xfe00 && point <= 0xfe0f) || (point >= 0xe0100 && point <= 0xe01ef) ||
  (point >= 0x180b && point <= 0x180d) || point === 0x180f

const isAsciiLetter = (point: number): boolean => (point | 0x20) >= 0x61 && (point | 0x20) <= 0x7a && point < 0x80

/** Whether a joiner may stand beside it: a letter, with its marks, or a part of an emoji sequence. */
const isJoinable = (point: number): boolean =>
  isAsciiLetter(point) || (point >= 0x80 && (isVisible(point) || isCombiningMark(point) || isVariationSelector(point)))

const blackFlag = 0x1f3f4
const cancelTag = 0xe007f
const isTag = (point: number): boolean => point >= 0xe0020 && point <= 0xe007e

/** The number of code points of a well-formed tag sequence after a black flag (UTS #51), otherwise 0. */
const tagSequence = (points: ReadonlyArray<number>, start: number): number => {
  let end = start
  while (isTag(points[end] ?? 0)) end++
  return end > start && points[end] === cancelTag ? end + 1 - start : 0
}

const scripts = [
  "Latin",
  "Cyrillic",
  "Greek",
  "Armenian",
  "Cherokee",
  "Georgian",
  "Hebrew",
  "Arabic",
  "Devanagari",
  "Thai",
  "Han",
  "Hiragana",
  "Katakana",
  "Bopomofo",
  "Hangul"
].map((name) => [name, new RegExp(`\\p{Script=${name}}`, "u")] as const)

// The combinations that UTS #39 calls highly restrictive: how Japanese, Chinese and Korean are written.
const usual = [["Latin", "Han", "Hiragana", "Katakana"], ["Latin", "Han", "Bopomofo"], ["Latin", "Han", "Hangul"]]

/** The scripts of the first word that mixes some which no language mixes. It only warns, so newer scripts may be missing. */
const mixedScripts = (text: string): ReadonlyArray<string> | undefined => {
  for (const word of text.match(/[\p{L}\p{M}]+/gu) ?? []) {
    const found = scripts.filter(([, pattern]) => pattern.test(word)).map(([name]) => name)
    if (found.length > 1 && !usual.some((set) => found.every((name) => set.includes(name)))) return found
  }
  return undefined
}

/** Every issue of a text that is shown to people. An empty text has none. */
export const issuesOf = (text: string): DisplayIssues => {
  if (text === "" || (text.length <= maxLength && plain.test(text))) return none
  const points = Array.from(text, (character) => character.codePointAt(0) ?? 0)
  const errors: Array<string> = []
  if (points.length > maxLength) {
    errors.push(`It is shown to people and has more than ${maxLength} characters. Shorten it.`)
  }

  const refused = new Set<number>()
  let visible = false
  let marks = 0
  let tooManyMarks = false
  for (let i = 0; i < points.length; i++) {
    const point = points[i] ?? 0
    const before = points[i - 1] ?? 0
    if (point === blackFlag) i += tagSequence(points, i + 1)
    if (isVisible(point)) {
      visible = true
      marks = 0
    } else if (isVariationSelector(point)) {
      if (!isVisible(before)) refused.add(point)
    } else if (isCombiningMark(point) && !isIgnorable(point)) {
      marks++
      if (marks > maxMarks) tooManyMarks = true
    } else if (point === 0x200c || point === 0x200d) {
      if (!isJoinable(before) || !isJoinable(points[i + 1] ?? 0)) refused.add(point)
    } else if (isControl(point) || (isIgnorable(point) && !isDirectionMark(point))) {
      refused.add(point)
    } else {
      marks = 0
    }
  }
  if (refused.size > 0) {
    const shown = [...refused].slice(0, 10).map(codePoint).join(", ")
    errors.push(`It contains ${shown}, which can make a consent page show something else than it says. Remove it.`)
  }
  if (!visible) errors.push(invisible)
  if (tooManyMarks) errors.push(`It has more than ${maxMarks} combining marks in a row. Remove some.`)

  const mixed = mixedScripts(text)
  return {
    errors,
    warnings: mixed === undefined
      ? []
      : [`A word mixes the scripts ${mixed.join(" and ")}, which can imitate another name.`]
  }
}
