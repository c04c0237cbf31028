/**
 * An ESLint rule: every export has a doc comment with `@since`, and with a sentence and `@category` unless it re-exports
 * a module.
 *
 * @type {import("eslint").Rule.RuleModule}
 */
export const documentedExports = {
  meta: {
    type: "suggestion",
    schema: [],
    messages: {
      missing: "An export needs a doc comment.",
      sentence: "The doc comment of an export needs a sentence.",
      tag: "The doc comment of an export needs {{tag}}."
    }
  },
  create(context) {
    const overloads = new Set()

    const check = (node, tags) => {
      const comment = context.sourceCode.getCommentsBefore(node).at(-1)
      if (comment === undefined || comment.type !== "Block" || !comment.value.startsWith("*")) {
        context.report({ node, messageId: "missing" })
        return
      }
      if (tags.includes("@category") && !/^[\s*]*[^\s*@]/.test(comment.value)) {
        context.report({ node, messageId: "sentence" })
      }
      for (const tag of tags) {
        if (!comment.value.includes(tag)) context.report({ node, messageId: "tag", data: { tag } })
      }
    }

    return {
      ExportAllDeclaration: (node) => check(node, ["@since"]),
      ExportNamedDeclaration: (node) => {
        if (node.declaration === null) {
          // `export {}` only says that the file is a module.
          if (node.specifiers.length > 0) check(node, ["@since"])
          return
        }
        // The first overload speaks for all of them.
        const name = node.declaration.id?.name
        if (node.declaration.type === "TSDeclareFunction") {
          if (overloads.has(name)) return
          overloads.add(name)
        } else if (node.declaration.type === "FunctionDeclaration" && overloads.has(name)) {
          return
        }
        check(node, ["@since", "@category"])
      }
    }
  }
}
