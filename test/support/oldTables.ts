import * as Migrator from "@effect/sql/Migrator"
import { Migrations } from "effect-cimd"
import * as Effect from "effect/Effect"

/** Creates the tables of version 1, as that version did. */
export const ofVersion1 = Migrator.make({})({
  loader: Effect.map(Migrations.loader(), (all) => all.filter(([id]) => id === 1)),
  table: "cimd_migrations"
})
