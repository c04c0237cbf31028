/**
 * The registered members with their types, read once from the schema, so that judging a document costs a map lookup and
 * a `typeof` for each member.
 */
import * as Option from "effect/Option"
import * as AST from "effect/SchemaAST"
import { ClientMetadata } from "../../ClientMetadata.js"
import type { Meaning } from "./memberMeaning.js"
import { meaningId } from "./memberMeaning.js"
import { isObject } from "./strictJson.js"
import { typeName } from "./text.js"

/** Told of each value of the wrong type, and of each string that has a meaning, with the steps down to it. */
interface Visitor {
  readonly wrongType: (path: ReadonlyArray<string | number>, wanted: string, found: string) => void
  readonly meaning: (path: ReadonlyArray<string | number>, meaning: Meaning, text: string) => void
}

/** Walks one value. `path` is where it is; it is the walker's to extend and to restore. */
export type Walk = (value: unknown, path: Array<string | number>, visitor: Visitor) => void

const meaningOf = AST.getAnnotation<Meaning>(meaningId)

const compile = (ast: AST.AST): Walk => {
  switch (ast._tag) {
    case "UnknownKeyword":
      return () => undefined
    case "StringKeyword": {
      const meaning = Option.getOrUndefined(meaningOf(ast))
      return (value, path, visitor) => {
        if (typeof value !== "string") {
          visitor.wrongType(path, "a string", typeName(value))
        } else if (meaning !== undefined) {
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
      // The only refined members are lengths of time and instants, in seconds.
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
      throw new Error(`The schema of client metadata has a ${ast._tag}, which the validator does not know`)
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

/** A registered member's walk: by its name, or by its name before a language tag. */
export const find = (name: string): Walk | undefined => {
  const walk = registered.get(name)
  if (walk !== undefined) {
    return walk
  }
  const hash = name.indexOf("#")
  return hash < 0 ? undefined : international.get(name.slice(0, hash))
}

/** Whether a member is a registered one in another language whose tag is not one (RFC 5646). */
export const hasMalformedTag = (name: string): boolean => {
  const hash = name.indexOf("#")
  return hash > 0 && international.has(name.slice(0, hash)) && !languageTag.test(name.slice(hash + 1))
}

const languageTag = /^[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*$/

/** Whether every registered member has its registered type, as every accepted document's has. */
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

/** The names that the schema knows, for tests. */
export const names: ReadonlyArray<string> = [...registered.keys()]
