import { Cache } from "effect-cimd"
import * as Layer from "effect/Layer"
import { cacheSuite } from "./support/cacheSuite.js"

cacheSuite("Cache.layerMemory", Layer.fresh(Cache.layerMemory()))
