import type { Fetcher } from "effect-cimd"
import { HostPolicy } from "effect-cimd"
import { FetcherTest, Origin } from "effect-cimd/testing"
import * as Layer from "effect/Layer"

/** A real fetcher of a production server and its origin. Fetches may begin as often as a test likes. */
export const world = (options?: Fetcher.Options) =>
  FetcherTest.layer({ rateLimit: { limit: 100_000, window: 1 }, ...options }).pipe(
    Layer.provideMerge(Origin.layer),
    Layer.provide(HostPolicy.layerPublic)
  )
