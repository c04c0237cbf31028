/**
 * The types of the registered members (DOC-14). They are compiled once from the schema, so checking a document costs a
 * map lookup and a `typeof` for each member.
 */
import * as Option from "effect/Option"
import * as AST from "effect/SchemaAST"
import { ClientMetadata } from "../../ClientMetadata.js"
import type { Meaning } from "./memberMeaning.js"
import { meaningId } from "./memberMeaning.js"
import { isObject } from "./strictJson.js"
import { typeName } from "./text.js"

/** Called for each value of the wrong type, and for each string. `path` holds the steps to the value. */
interface Visitor {
  readonly wrongType: (path: ReadonlyArray<string | number>, wanted: string, actual: string) => void
  readonly meaning: (path: ReadonlyArray<string | number>, meaning: Meaning, text: string) => void
}

/** Walks one value. `path` holds the steps to the value; the walk extends and restores it. */
export type Walk = (value: unknown, path: Array<string | number>, visitor: Visitor) => void

const meaningOf = AST.getAnnotation<Meaning>(meaningId)

const compile = (ast: AST.AST): Walk => {
  switch (ast._tag) {
    case "UnknownKeyword":
      return () => undefined
    case "StringKeyword": {
      const meaning = Option.getOrElse(meaningOf(ast), (): Meaning => "plain")
      return (value, path, visitor) => {
        if (typeof value !== "string") {
          visitor.wrongType(path, "a string", typeName(value))
        } else {
          visitor.meaning(path, meaning, value)
        }
      }
    }
    case "BooleanKeyword":
      return (value, path, visitor) => {
        if (typeof value !== "boolean") {
          visitor.wrongType(path, "true or false, without quotes", typeName(value))
        }
      }
    case "Refinement":
      // The only refined members are durations and times, in seconds.
      return (value, path, visitor) => {
        if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
          visitor.wrongType(
            path,
            "a whole number of seconds, without quotes",
            typeof value === "number" ? String(value) : typeName(value)
          )
        }
      }
    case "TupleType":
      return compileArray(ast)
    case "TypeLiteral":
      return compileObject(ast)
    default:
      throw new Error(`The schema of client metadata has a ${ast._tag}, which the validator does not support`)
  }
}

const compileArray = (ast: AST.TupleType): Walk => {
  const element = compile(ast.rest[0]?.type ?? AST.unknownKeyword)
  const wanted = ast.rest[0]?.type._tag === "StringKeyword" ? "an array of strings" : "an array"
  return (value, path, visitor) => {
    if (!Array.isArray(value)) {
      visitor.wrongType(path, wanted, typeName(value))
      return
    }
    for (let i = 0; i < value.length; i++) {
      path.push(i)
      element(value[i], path, visitor)
      path.pop()
    }
  }
}

const compileObject = (ast: AST.TypeLiteral): Walk => {
  const members = ast.propertySignatures.map((property) => ({
    name: String(property.name),
    required: !property.isOptional,
    walk: compile(property.type)
  }))
  return (value, path, visitor) => {
    if (!isObject(value)) {
      visitor.wrongType(path, "an object", typeName(value))
      return
    }
    for (const { name, required, walk } of members) {
      if (required || Object.hasOwn(value, name)) {
        path.push(name)
        walk(Object.hasOwn(value, name) ? value[name] : undefined, path, visitor)
        path.pop()
      }
    }
  }
}

const root = ClientMetadata.ast
if (root._tag !== "TypeLiteral") {
  throw new Error("The schema of client metadata is not a struct")
}

const registered: ReadonlyMap<string, Walk> = new Map(
  root.propertySignatures.map((property) => [String(property.name), compile(property.type)])
)

const international: ReadonlyMap<string, Walk> = new Map(
  root.indexSignatures.flatMap(({ parameter, type }) =>
    parameter._tag === "TemplateLiteral" ? [[parameter.head.slice(0, -1), compile(type)] as const] : []
  )
)

/** Returns the walk of a registered member, by its name or by its name before a language tag. */
export const find = (name: string): Walk | undefined => {
  const walk = registered.get(name)
  if (walk !== undefined) {
    return walk
  }
  const hash = name.indexOf("#")
  return hash < 0 ? undefined : international.get(name.slice(0, hash))
}

/** Whether the name is that of a registered member with a malformed language tag (RFC 5646). */
export const hasMalformedTag = (name: string): boolean => {
  const hash = name.indexOf("#")
  return hash > 0 && international.has(name.slice(0, hash)) && !languageTag.test(name.slice(hash + 1))
}

const languageTag = /^[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*$/

/** Whether every registered member has its registered type. This is true for every accepted document. */
export const haveTheirTypes = (document: { readonly [name: string]: unknown }): boolean => {
  let wellTyped = true
  const visitor: Visitor = {
    wrongType: () => {
      wellTyped = false
    },
    meaning: () => undefined
  }
  const path: Array<string | number> = []
  for (const name of Object.keys(document)) {
    find(name)?.(document[name], path, visitor)
  }
  return wellTyped
}

/** The names of the registered members, for tests. */
export const names: ReadonlyArray<string> = [...registered.keys()]
