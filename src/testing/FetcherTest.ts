/**
 * A real fetcher with every check, which reaches nothing but one scripted origin.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Fetcher from "../Fetcher.js"
import type { HostPolicy } from "../HostPolicy.js"
import type { InvalidOptions } from "../InvalidOptions.js"
import * as DialerTest from "./DialerTest.js"
import * as NameLookupTest from "./NameLookupTest.js"
import { Origin, publicAddresses } from "./Origin.js"

/**
 * Every host name has a public address, every connection goes to the {@link Origin}, and its authority is trusted.
 * TLS and HTTP are real. The option `backoff` defaults to none.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options?: Fetcher.Options
): Layer.Layer<Fetcher.Fetcher | DialerTest.DialerTest, InvalidOptions, Origin | HostPolicy> =>
  Layer.unwrapEffect(
    Effect.map(
      Origin,
      ({ ca }) =>
        Fetcher.layerWithoutDependencies({ ca, backoff: { initial: 0, maximum: 0 }, ...options }).pipe(
          Layer.provideMerge(DialerTest.layer),
          Layer.provide(NameLookupTest.layer(() => Effect.succeed(publicAddresses)))
        )
    )
  )
