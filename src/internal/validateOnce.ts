import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ClientId } from "../ClientId.js"
import type { AcceptedDocument } from "../ClientMetadata.js"
import type { StoredDocument } from "../ClientRegistry.js"
import type { InvalidDocument, UnauthorizedClient, Validator } from "../Validator.js"
import * as SingleFlight from "./singleFlight.js"

type Outcome = Effect.Effect<AcceptedDocument, InvalidDocument | UnauthorizedClient>

const encoder = new TextEncoder()

/**
 * Makes a function that validates a document of the registry under the rules of this node (REG-09). The outcome is
 * remembered as long as the document is in memory, because strangers decide how often a pinned document is read. A defect
 * of a custom rule is not remembered.
 */
export const make = (
  validator: Validator["Type"]
): Effect.Effect<(clientId: ClientId, stored: StoredDocument) => Outcome, never, Scope.Scope> =>
  Effect.map(SingleFlight.make<AcceptedDocument, InvalidDocument | UnauthorizedClient>(), (validating) => {
    const outcomes = new WeakMap<StoredDocument, Outcome>()

    const remember = (stored: StoredDocument, outcome: Outcome): Outcome => {
      outcomes.set(stored, outcome)
      return outcome
    }

    // Custom rules may take time, so concurrent callers share one run of them.
    const validate = (clientId: ClientId, stored: StoredDocument): Outcome =>
      validating.join(
        `${clientId} ${stored.digest}`,
        Effect.matchEffect(Effect.suspend(() => validator.validate(clientId, encoder.encode(stored.text))), {
          onFailure: (error) => remember(stored, Effect.fail(error)),
          onSuccess: (document) => remember(stored, Effect.succeed(document))
        })
      )

    return (clientId, stored) => outcomes.get(stored) ?? validate(clientId, stored)
  })
