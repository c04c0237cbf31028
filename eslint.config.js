import dprint from "@effect/eslint-plugin/configs/dprint"
import tseslint from "typescript-eslint"
import { documentedExports } from "./scripts/documented-exports.js"

const perModule = [
  "effect",
  "@effect/cli",
  "@effect/platform",
  "@effect/platform-node",
  "@effect/sql",
  "@effect/sql-pg"
].map((name) => ({ name, message: `Import the module, as in import * as X from "${name}/X".` }))

const formatting = {
  indentWidth: 2,
  lineWidth: 120,
  operatorPosition: "maintain",
  semiColons: "asi",
  quoteStyle: "alwaysDouble",
  trailingCommas: "never",
  "arrowFunction.useParentheses": "force"
}

export default tseslint.config(
  { ignores: ["dist", "coverage", ".cache", "**/*.d.ts"] },
  ...dprint,
  {
    rules: { "@effect/dprint": ["error", { config: formatting }] }
  },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.base],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/await-thenable": "error",
      "@typescript-eslint/consistent-type-imports": ["error", {
        disallowTypeAnnotations: false,
        fixStyle: "separate-type-imports"
      }],
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/no-misused-promises": "error",
      "@typescript-eslint/no-non-null-assertion": "error",
      "@typescript-eslint/no-unnecessary-type-assertion": "error",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "@typescript-eslint/only-throw-error": "error",
      "@typescript-eslint/prefer-readonly": "error",
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      eqeqeq: "error",
      "no-restricted-imports": ["error", { paths: perModule }],
      "object-shorthand": "error",
      "prefer-const": "error"
    }
  },
  {
    // A test that expects a value fails on its absence, whichever way it says so.
    files: ["test/**/*.ts"],
    rules: { "@typescript-eslint/no-non-null-assertion": "off" }
  },
  {
    files: ["src/**/*.ts"],
    rules: {
      "no-console": "error",
      "no-restricted-syntax": ["error", {
        selector: "CallExpression[callee.object.name='Date'][callee.property.name='now']",
        message: "Take the time from effect/Clock."
      }, {
        selector: "NewExpression[callee.name='Date'][arguments.length=0]",
        message: "Take the time from effect/Clock."
      }, {
        selector: "CallExpression[callee.object.name='Math'][callee.property.name='random']",
        message: "Take what is random from effect/Random."
      }]
    }
  },
  {
    // The pure modules and the services stay free of the platform; what touches it is named here, file by file.
    files: ["src/*.ts"],
    ignores: ["src/Dialer.ts", "src/Fetcher.ts", "src/NameLookup.ts"],
    rules: {
      "@typescript-eslint/no-restricted-imports": ["error", {
        paths: perModule,
        patterns: [{
          regex: "^node:",
          message: "Move what needs the platform into src/internal.",
          allowTypeImports: true
        }]
      }],
      "no-restricted-imports": "off"
    }
  },
  // The walls between the rooms of src/internal. A relative import is the only way in: nothing of it is exported.
  ...[
    { room: "rules", closed: ["fetch", "postgres"], paths: [{ name: "effect/Effect", message: "Rules are pure." }] },
    { room: "registry", closed: ["fetch", "postgres"], paths: [] },
    { room: "fetch", closed: ["postgres"], paths: [] },
    { room: "postgres", closed: ["fetch"], paths: [] }
  ].map(({ closed, paths, room }) => ({
    files: [`src/internal/${room}/**/*.ts`],
    rules: {
      "no-restricted-imports": ["error", {
        paths: [...perModule, ...paths],
        patterns: [{
          regex: `(^|/)(${closed.join("|")})/`,
          message: `src/internal/${room} must not depend on this room; see docs/architecture.md.`
        }]
      }]
    }
  })),
  {
    files: ["src/*.ts", "src/testing/*.ts"],
    plugins: { local: { rules: { "documented-exports": documentedExports } } },
    rules: { "local/documented-exports": "error" }
  }
)
