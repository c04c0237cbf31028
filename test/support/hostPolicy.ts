import { HostPolicy } from "effect-cimd"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** The public policy with another check of clients. */
export const policyWith = (check: HostPolicy.HostPolicy["Type"]["check"]): Layer.Layer<HostPolicy.HostPolicy> =>
  Layer.provide(
    Layer.effect(HostPolicy.HostPolicy, Effect.map(HostPolicy.HostPolicy, (policy) => ({ ...policy, check }))),
    HostPolicy.layerPublic
  )

/** The service that options make. */
export const policyOf = (options: HostPolicy.Options): HostPolicy.HostPolicy["Type"] =>
  Effect.runSync(Effect.provide(HostPolicy.HostPolicy, HostPolicy.layer(options)))
