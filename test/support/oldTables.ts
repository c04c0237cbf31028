import * as Migrator from "@effect/sql/Migrator"
import { Migrations } from "effect-cimd"
import * as Effect from "effect/Effect"

const upTo = (version: number) =>
  Migrator.make({})({
    loader: Effect.map(Migrations.loader(), (all) => all.filter(([id]) => id <= version)),
    table: "cimd_migrations"
  })

/** Creates the tables of version 1, as that version did. */
export const ofVersion1 = upTo(1)

/** Creates the tables of version 2, or brings those of version 1 to it, as that version did. */
export const ofVersion2 = upTo(2)
