import { it } from "@effect/vitest"
import { Dialer, Fetcher, FetchError, HostPolicy, OAuthError } from "effect-cimd"
import { FetcherTest, NameLookupTest, Origin } from "effect-cimd/testing"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { subscribe, unsubscribe } from "node:diagnostics_channel"
import type { EventEmitter } from "node:events"
import * as https from "node:https"
import type { Duplex } from "node:stream"
import { inspect } from "node:util"
import { Agent, getGlobalDispatcher, request, setGlobalDispatcher } from "undici"
import { afterEach, describe, expect, vi } from "vitest"
import { settingsOf } from "../../src/internal/fetch/options.js"
import * as metrics from "../../src/internal/metrics.js"
import { clientId } from "../support/clientId.js"
import { recording } from "../support/recording.js"
import { world } from "../support/world.js"

const url = "https://app.example/client.json"
const fetch = (target: string = url) => Effect.flatMap(Fetcher.Fetcher, ({ fetch }) => fetch(clientId(target)))
const hanging: Origin.Answer = { raw: "", end: "hang" }
const halfBody: Origin.Answer = {
  raw: "HTTP/1.1 200 \r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
  end: "hang"
}

describe("Interrupted fetch", () => {
  for (
    const [phase, handshake, answer] of [
      ["tls", "hang", hanging],
      ["headers", "trusted", hanging],
      ["body", "trusted", halfBody]
    ] as const
  ) {
    it.live(`FET-11: closes its connection at once, in the phase ${phase}`, () =>
      Effect.gen(function*() {
        const origin = yield* Origin.Origin
        yield* origin.handshake("app.example", handshake)
        yield* origin.serve(url, answer)
        const fiber = yield* Effect.fork(fetch())
        yield* Effect.sleep(100)
        expect(yield* origin.connections).toEqual({ open: 1, total: 1 })
        yield* Fiber.interrupt(fiber)
        yield* Effect.sleep(20)
        expect(yield* origin.connections).toEqual({ open: 0, total: 1 })
      }).pipe(Effect.provide(world())))
  }
})

const resources = (kind: string) => process.getActiveResourcesInfo().filter((name) => name === kind).length

describe("Fetch of an uninterruptible caller", () => {
  for (
    const [what, handshake, answer, options] of [
      ["hangs in TLS", "hang", hanging, { timeout: 200 }],
      ["hangs", "trusted", hanging, { timeout: 200 }],
      ["hangs in the body", "trusted", halfBody, { timeout: 200 }],
      ["succeeds", "trusted", { body: "{}", end: "hang" }, { timeout: 60_000 }]
    ] as const
  ) {
    it.live(`FET-08: leaves neither a connection nor a timer behind when it ${what}`, () =>
      Effect.gen(function*() {
        const origin = yield* Origin.Origin
        yield* origin.handshake("app.example", handshake)
        yield* origin.serve(url, answer)
        const timers = resources("Timeout")
        const { _tag } = yield* Effect.uninterruptible(Effect.either(fetch()))
        expect(_tag).toBe(what === "succeeds" ? "Right" : "Left")
        yield* Effect.promise(() => new Promise(setImmediate))
        expect(resources("Timeout")).toBeLessThanOrEqual(timers)
        yield* Effect.sleep(50)
        expect(yield* origin.connections).toEqual({ open: 0, total: 1 })
      }).pipe(Effect.provide(world(options))))
  }
})

describe("Environment", () => {
  afterEach(() => {
    delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"]
  })

  it.live("FET-13: no environment variable turns off the check of certificates", () =>
    Effect.gen(function*() {
      process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0"
      const origin = yield* Origin.Origin
      yield* origin.handshake("app.example", "self-signed")
      expect(yield* Effect.flip(fetch())).toMatchObject({ _tag: "TlsFailed", code: "DEPTH_ZERO_SELF_SIGNED_CERT" })
    }).pipe(Effect.provide(world())))

  it.live("FET-02: subscribers of diagnostics channels add no header, and the origin receives no trace", () => {
    const channels = ["undici:request:create", "http.client.request.start", "http.client.request.created"]
    const meddle = (message: unknown) => {
      const { request } = message as { request: { addHeader?: Function; setHeader?: Function } }
      request.addHeader?.("traceparent", "00-1-2-01")
      request.setHeader?.("traceparent", "00-1-2-01")
    }
    for (const channel of channels) subscribe(channel, meddle)
    return Effect.gen(function*() {
      const origin = yield* Origin.Origin
      yield* origin.document(url, {})
      yield* Effect.withSpan(fetch(), "a login")
      expect((yield* origin.requests)[0]?.headers.map(([name]) => name)).toEqual([
        "Host",
        "Accept",
        "Accept-Encoding",
        "User-Agent",
        "Connection"
      ])
    }).pipe(
      Effect.provide(world()),
      Effect.ensuring(Effect.sync(() => {
        for (const channel of channels) unsubscribe(channel, meddle)
      }))
    )
  })

  it.live("FET-13: neither a global dispatcher, nor a global agent, nor a global fetch sees a request", () =>
    Effect.gen(function*() {
      let seen = 0
      const see = () => {
        seen++
        throw new Error("It was asked")
      }
      class Seeing extends Agent {
        override dispatch = see
      }
      const dispatcher = getGlobalDispatcher()
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          setGlobalDispatcher(new Seeing())
          Object.assign(https.globalAgent, { createConnection: see })
          vi.spyOn(globalThis, "fetch").mockImplementation(see)
        }),
        () =>
          Effect.sync(() => {
            setGlobalDispatcher(dispatcher)
            Reflect.deleteProperty(https.globalAgent, "createConnection")
            vi.restoreAllMocks()
          })
      )
      const elsewhere = "https://127.0.0.1/"
      // Each of them records its requests.
      for (const ask of [() => request(elsewhere), () => https.get(elsewhere), () => globalThis.fetch(elsewhere)]) {
        yield* Effect.exit(Effect.tryPromise(async () => ask()))
      }
      expect(seen).toBe(3)
      const origin = yield* Origin.Origin
      yield* origin.document(url, {})
      expect((yield* fetch()).address).toBe(Origin.publicAddresses[0])
      expect(seen).toBe(3)
    }).pipe(Effect.scoped, Effect.provide(world())))

  it.live("FET-13: trusts the authorities of the options and no others", () =>
    Effect.gen(function*() {
      const other = yield* Effect.scoped(Origin.make)
      const origin = yield* Origin.Origin
      yield* origin.document(url, {})
      for (const [ca, tag] of [[other.ca, "TlsFailed"], [[other.ca, origin.ca], "Response"]] as const) {
        const result = yield* fetch().pipe(
          Effect.as({ _tag: "Response" }),
          Effect.merge,
          Effect.provide(Layer.provide(FetcherTest.layer({ ca }), HostPolicy.layerPublic))
        )
        expect(result._tag).toBe(tag)
      }
    }).pipe(Effect.provide(Origin.layer)))
})

describe("Limits of a fetcher", () => {
  it.live("FET-15: runs 16 concurrent fetches, and 4 from one site", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      yield* origin.serve("/", hanging)
      yield* origin.serve("/answer", { body: "{}" })
      for (let path = 0; path < 8; path++) {
        yield* origin.serve(`/${path}`, hanging)
        yield* Effect.fork(Effect.exit(fetch(`https://one.example/${path}`)))
      }
      yield* Effect.sleep(200)
      expect((yield* origin.connections).open).toBe(4)
      expect((yield* fetch("https://other.example/answer")).body.length).toBe(2)
      yield* Effect.forEach(
        Array.from({ length: 20 }, (_, host) => `https://h${host}.example/`),
        (target) => Effect.fork(Effect.exit(fetch(target)))
      )
      yield* Effect.repeat(Effect.delay(origin.connections, 10), { until: ({ open }) => open >= 16 })
      yield* Effect.sleep(100)
      expect((yield* origin.connections).open).toBe(16)
    }).pipe(Effect.provide(world({ timeout: "3 seconds" }))))

  it.effect("FET-21: the timeout of a fetch begins with its permit, and the wait for one has its own", () =>
    Effect.gen(function*() {
      const first = yield* Effect.fork(Effect.flip(fetch("https://first.example/")))
      yield* TestClock.adjust("4 seconds")
      const second = yield* Effect.fork(Effect.flip(fetch("https://second.example/")))
      const third = yield* Effect.fork(Effect.flip(fetch("https://third.example/")))
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(first)).toMatchObject({ _tag: "FetchTimeout", phase: "lookup", millis: 5000 })
      yield* TestClock.adjust("999 millis")
      expect(yield* Fiber.poll(third)).toEqual(Option.none())
      yield* TestClock.adjust("1 millis")
      expect(yield* Fiber.join(third)).toMatchObject({ _tag: "Throttled", reason: "busy" })
      yield* TestClock.adjust("3999 millis")
      expect(yield* Fiber.poll(second)).toEqual(Option.none())
      yield* TestClock.adjust("1 millis")
      expect(yield* Fiber.join(second)).toMatchObject({ _tag: "FetchTimeout", phase: "lookup", millis: 5000 })
      // The third one was not at fault, so it has no pause.
      const again = yield* Effect.fork(Effect.flip(fetch("https://third.example/")))
      yield* TestClock.adjust("5 seconds")
      expect((yield* Fiber.join(again))._tag).toBe("FetchTimeout")
    }).pipe(Effect.provide(
      Fetcher.layerWithoutDependencies({ concurrency: 1 }).pipe(
        Layer.provide([NameLookupTest.layer(() => Effect.never), Dialer.layer, HostPolicy.layerPublic])
      )
    )))

  it.live("FET-15: a failed client is not fetched during its pause, and then fetched again", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      yield* origin.serve(url, (_request, count) => count === 1 ? { status: 500 } : { body: `${count}` })
      expect((yield* Effect.flip(fetch()))._tag).toBe("UnexpectedStatus")
      expect(yield* Effect.flip(fetch())).toMatchObject({ _tag: "Throttled", reason: "failed" })
      yield* Effect.sleep(220)
      expect(Buffer.from((yield* fetch()).body).toString()).toBe("2")
      expect(Buffer.from((yield* fetch()).body).toString()).toBe("3")
      expect((yield* origin.requests).length).toBe(3)
    }).pipe(Effect.provide(world({ backoff: { initial: 200, maximum: 1000 } }))))

  it.live("FET-15: a timeout counts as a failure", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      yield* origin.serve(url, hanging)
      expect((yield* Effect.flip(fetch()))._tag).toBe("FetchTimeout")
      expect(yield* Effect.flip(fetch())).toMatchObject({ _tag: "Throttled", reason: "failed" })
    }).pipe(Effect.provide(world({ timeout: 100, backoff: { initial: 200, maximum: 1000 } }))))
})

describe("Telemetry and errors", () => {
  it.live("FET-12: a span has only the host of the client's URL, a log line nothing, and no error has what the origin sent but its name", () =>
    Effect.gen(function*() {
      const { events, exits, spans, tracer } = recording()
      const lines: Array<unknown> = []
      const logger = Logger.make(({ annotations, cause, message }) => void lines.push([message, annotations, cause]))
      const origin = yield* Origin.Origin
      const secret = "s3cret"
      const headers = {
        "set-cookie": secret,
        "x-token": secret,
        etag: `"${secret}"`,
        server: "s3rv3r",
        "cf-mitigated": "w4ll"
      }
      const answers: ReadonlyArray<Origin.Answer> = [
        { headers, body: secret },
        { headers, body: secret, status: 500 },
        { headers, body: secret.repeat(2000) },
        { headers, raw: secret },
        { headers: { ...headers, "content-length": "99" }, body: secret },
        { raw: `HTTP/1.1 200 OK\r\n${secret}\r\n\r\n` },
        { raw: `HTTP/1.1 200 ${secret}\r\nContent-Type: application/json\r\nContent-Length: ${secret}\r\n\r\n` },
        { raw: `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: ${secret}\r\n\r\n` },
        {
          raw: `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${secret}\r\n`
        }
      ]
      const ids = answers.map((_, index) => `https://app.example/p4th${index}?code=qu3ry`)
      yield* Effect.forEach(ids, (id, index) => origin.serve(id, answers[index] ?? {}))
      const results = yield* Effect.forEach(ids, (id) => Effect.exit(fetch(id))).pipe(
        Effect.withTracer(tracer),
        Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
        Logger.withMinimumLogLevel(LogLevel.All)
      )
      expect(spans.length).toBe(answers.length)
      expect(exits.filter(Exit.isFailure).length).toBe(answers.length - 1)
      expect(spans.map(({ attributes }) => attributes.get("cimd.host"))).toEqual(ids.map(() => "app.example"))
      const attributes = spans.flatMap(({ attributes, name }) => [name, ...attributes.entries()].flat())
      const text = (failures: ReadonlyArray<Exit.Exit<unknown, unknown>>) =>
        failures.filter(Exit.isFailure).map(({ cause }) => inspect(cause, { depth: 9 }) + Cause.pretty(cause)).join()
      expect(JSON.stringify([attributes, events, lines]) + text(exits)).not.toMatch(/s3cret|s3rv3r|w4ll|qu3ry|p4th/)
      expect(text(exits)).toContain("ResponseMalformed")
      // The error is for the operator, so it names the client, and the server that answered.
      expect(text(results)).toContain(`https://app.example/p4th1?code=qu3ry`)
      expect(text(results)).toContain("A bot wall of s3rv3r")
      expect(text(results)).not.toContain(secret)
      const oauthErrors = results.flatMap((exit) =>
        Exit.isFailure(exit) && exit.cause._tag === "Fail" ? [exit.cause.error.oauthError] : []
      )
      expect(oauthErrors).toEqual(oauthErrors.map(() => OAuthError.temporarilyUnavailable))
    }).pipe(Effect.provide(world())))

  it.live("FET-12: a span and a counter have the outcome, and nothing that the origin sent", () =>
    Effect.gen(function*() {
      const { spans, tracer } = recording()
      const origin = yield* Origin.Origin
      yield* origin.serve(
        url,
        (_request, count) => count === 1 ? { body: "{\"a\":1}" } : { status: 418, body: "secret" }
      )
      const counts = Effect.all([
        Metric.value(metrics.fetchesOf("success")),
        Metric.value(metrics.fetchesOf("UnexpectedStatus"))
      ])
      const before = yield* counts
      yield* Effect.exit(fetch()).pipe(Effect.repeatN(1), Effect.withTracer(tracer))
      const after = yield* counts
      expect(after.map(({ count }, index) => count - (before[index]?.count ?? 0))).toEqual([1, 1])
      const usage = { "cimd.received_bytes": expect.any(Number), "cimd.handshake_millis": expect.any(Number) }
      const common = { "cimd.host": "app.example", ...usage }
      expect(spans.map(({ attributes, name }) => [name, Object.fromEntries(attributes)])).toEqual([
        ["cimd.fetch", { ...common, "cimd.outcome": "success", "cimd.status": 200, "cimd.bytes": 7 }],
        ["cimd.fetch", { ...common, "cimd.outcome": "UnexpectedStatus", "cimd.status": 418 }]
      ])
    }).pipe(Effect.provide(world())))

  const samples: ReadonlyArray<FetchError.FetchError> = [
    new FetchError.LookupFailed({ clientId: url, host: "app.example", code: "ENOTFOUND" }),
    new FetchError.AddressBlocked({ clientId: url, address: "10.0.0.1", reason: "private" }),
    new FetchError.ConnectFailed({ clientId: url, attempts: [{ address: "93.184.215.14", code: "ECONNREFUSED" }] }),
    new FetchError.TlsFailed({ clientId: url, address: "93.184.215.14", code: "CERT_HAS_EXPIRED", detail: "expired" }),
    new FetchError.FetchTimeout({ clientId: url, phase: "tls", millis: 5000 }),
    new FetchError.UnexpectedStatus({ clientId: url, status: 404 }),
    new FetchError.UnexpectedRedirect({ clientId: url, status: 302, location: "https://other.example/" }),
    new FetchError.UnexpectedRedirect({ clientId: url, status: 302 }),
    new FetchError.UnsupportedContentType({ clientId: url, contentType: "text/html" }),
    new FetchError.UnsupportedContentType({ clientId: url }),
    new FetchError.UnsupportedContentEncoding({ clientId: url, contentEncoding: "gzip" }),
    new FetchError.ResponseTooLarge({ clientId: url, part: "body", limit: 5120 }),
    new FetchError.ResponseTruncated({ clientId: url, part: "headers" }),
    new FetchError.ResponseMalformed({ clientId: url, reason: "no status line" }),
    new FetchError.Throttled({ clientId: url, reason: "failed", originFault: true, retryAfterMillis: 1000 }),
    new FetchError.Throttled({ clientId: url, reason: "rate", retryAfterMillis: 1000 })
  ]
  const busy = new FetchError.Throttled({ clientId: url, reason: "busy", retryAfterMillis: 1000 })

  it("FET-12: every error has a code and a text for operators, and all but 404 and 410 have one OAuth error", () => {
    expect(new Set(samples.map(({ _tag }) => _tag)).size).toBe(FetchError.FetchError.members.length)
    for (const error of [...samples, busy]) {
      expect(error.message).toContain(url)
      expect(error.message).toMatch(/^[\x20-\x7e]+$/)
      const gone = error._tag === "UnexpectedStatus" && error.status === 404
      expect(error.oauthError).toEqual(
        gone
          ? { error: "invalid_client", error_description: "The client identifier could not be accepted." }
          : {
            error: "temporarily_unavailable",
            error_description: "The client identifier cannot be looked up at the moment. Try again later."
          }
      )
    }
  })

  it("FET-12: every error can be sent to another node as JSON", () => {
    for (const error of [...samples, busy]) {
      const text = JSON.stringify(Schema.encodeSync(FetchError.FetchError)(error))
      const decoded = Schema.decodeUnknownSync(FetchError.FetchError)(JSON.parse(text))
      expect(decoded).toEqual(error)
      expect(decoded.message).toBe(error.message)
    }
  })
})

describe("Options of a fetcher", () => {
  const build = (options: Fetcher.Options) =>
    Effect.flip(Effect.scoped(Layer.build(Layer.provide(Fetcher.layer(options), HostPolicy.layerPublic))))

  for (
    const [name, options] of [
      ["timeout", { timeout: 0 }],
      ["timeout", { timeout: "30 days" }],
      ["timeout", { timeout: Number.NaN }],
      ["maxBodyBytes", { maxBodyBytes: 0 }],
      ["maxHeaderBytes", { maxHeaderBytes: 1.5 }],
      ["maxHeaderCount", { maxHeaderCount: -1 }],
      ["accept", { accept: "application/json\r\nX: y" }],
      ["accept", { accept: "" }],
      ["ca", { ca: [] }],
      ["ca", { ca: "no certificate" }],
      ["concurrency", { concurrency: 0 }],
      ["confirmedConcurrency", { confirmedConcurrency: -1 }],
      ["concurrencyPerSite", { concurrencyPerSite: Infinity }],
      ["queueTimeout", { queueTimeout: 0 }],
      ["queueTimeout", { queueTimeout: "25 days" }],
      ["rateLimit.limit", { rateLimit: { limit: 0, window: 1000 } }],
      ["rateLimit.window", { rateLimit: { limit: 1, window: 0 } }],
      ["backoff.initial", { backoff: { initial: 2, maximum: 1 } }],
      ["backoff.initial", { backoff: { initial: -1, maximum: 1 } }],
      ["backoff.initial", { backoff: { initial: Number.NaN, maximum: 1 } }],
      ["backoff.initial", { backoff: { initial: "-1 second", maximum: 1 } }],
      ["backoff.maximum", { backoff: { initial: 1, maximum: -2n } }],
      ["backoff.maximum", { backoff: { initial: 1, maximum: [-1, 0] } }],
      ["maxTrackedKeys", { maxTrackedKeys: 0 }],
      ["maxTrackedKeys", { maxTrackedKeys: 2 ** 24 + 1 }],
      // Values that a program without types may pass.
      ["accept", { accept: 5 as never }],
      ["ca", { ca: {} as never }],
      ["ca", { ca: [5 as never] }],
      ["concurrency", { concurrency: "16" as never }]
    ] as const
  ) {
    it.effect(`FET-08: an invalid ${name} fails the layer and is named: ${inspect(options)}`, () =>
      Effect.map(build(options), (error) => {
        expect(error._tag).toBe("InvalidOptions")
        expect(error.message).toContain(`\`${name}\``)
      }))
  }

  it("FET-07, FET-08, FET-15: each option has its default, and each is used", () => {
    expect(Effect.runSync(settingsOf({}))).toEqual({
      timeoutMillis: 5000,
      maxBodyBytes: 5120,
      maxHeaderBytes: 16_384,
      maxHeaderCount: 100,
      maxReceivedBytes: 5120 + 65_536 - 8192,
      accept: "application/json",
      ca: undefined,
      limits: {
        concurrency: 16,
        confirmedConcurrency: 8,
        concurrencyPerSite: 4,
        rateLimit: { limit: 30, windowMillis: 10_000 },
        queueTimeoutMillis: 2000,
        timeoutMillis: 5000,
        backoff: { initialMillis: 1000, maximumMillis: 60_000 },
        maxTrackedKeys: 10_000
      }
    })
    expect(Effect.runSync(settingsOf({
      timeout: "1 second",
      maxBodyBytes: 1,
      maxHeaderBytes: 2,
      maxHeaderCount: 3,
      accept: "*/*",
      concurrency: 4,
      confirmedConcurrency: 2,
      concurrencyPerSite: 5,
      rateLimit: { limit: 6, window: "7 millis" },
      queueTimeout: "11 millis",
      backoff: { initial: 8, maximum: 9 },
      maxTrackedKeys: 10
    }))).toEqual({
      timeoutMillis: 1000,
      maxBodyBytes: 1,
      maxHeaderBytes: 2,
      maxHeaderCount: 3,
      maxReceivedBytes: 1 + 2 + 40_960,
      accept: "*/*",
      ca: undefined,
      limits: {
        concurrency: 4,
        confirmedConcurrency: 2,
        concurrencyPerSite: 5,
        rateLimit: { limit: 6, windowMillis: 7 },
        queueTimeoutMillis: 11,
        timeoutMillis: 1000,
        backoff: { initialMillis: 8, maximumMillis: 9 },
        maxTrackedKeys: 10
      }
    })
  })

  it.live("FET-02: the Accept header is an option", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      yield* origin.document(url, {}, { "content-type": "application/ld+json" })
      yield* fetch()
      expect((yield* origin.requests)[0]?.headers).toContainEqual(["Accept", "application/ld+json, application/json"])
    }).pipe(Effect.provide(world({ accept: "application/ld+json, application/json" }))))

  it.effect("FET-08: reads the options from Config", () =>
    Effect.gen(function*() {
      const options = {
        timeout: Config.duration("TIMEOUT"),
        concurrency: Config.integer("CONCURRENCY"),
        confirmedConcurrency: Config.withDefault(Config.integer("CONFIRMED_CONCURRENCY"), 8),
        concurrencyPerSite: Config.withDefault(Config.integer("CONCURRENCY_PER_SITE"), 4),
        queueTimeout: Config.withDefault(Config.duration("QUEUE_TIMEOUT"), "2 seconds")
      }
      const world = Layer.mergeAll(HostPolicy.layerPublic, NameLookupTest.layer({}), Dialer.layer)
      for (const layer of [Fetcher.layerConfig(options), Fetcher.layerWithoutDependenciesConfig(options)]) {
        const built = (entries: Record<string, string>) =>
          Effect.exit(Effect.scoped(Layer.build(Layer.provide(layer, world)))).pipe(
            Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(entries))))
          )
        expect((yield* built({ TIMEOUT: "3 seconds", CONCURRENCY: "2" }))._tag).toBe("Success")
        expect((yield* built({ TIMEOUT: "3 seconds", CONCURRENCY: "0" }))._tag).toBe("Failure")
        expect((yield* built({ TIMEOUT: "3 seconds" }))._tag).toBe("Failure")
        for (const name of ["CONFIRMED_CONCURRENCY", "CONCURRENCY_PER_SITE", "QUEUE_TIMEOUT"]) {
          const entries = { TIMEOUT: "3 seconds", CONCURRENCY: "2" }
          expect((yield* built({ ...entries, [name]: name === "QUEUE_TIMEOUT" ? "1 second" : "3" }))._tag).toBe(
            "Success"
          )
          expect((yield* built({ ...entries, [name]: name === "QUEUE_TIMEOUT" ? "0 seconds" : "0" }))._tag).toBe(
            "Failure"
          )
        }
      }
    }))
})

describe("Many fetches", () => {
  const listeners = (emitter: EventEmitter) =>
    Object.fromEntries(emitter.eventNames().map((event) => [String(event), emitter.listenerCount(event)]))
  const processListeners = () => Object.values(listeners(process)).reduce((sum, count) => sum + count, 0)
  const hosts = Array.from({ length: 60 }, (_, index) => `h${index}.example`)

  /** A fetcher of the origin, and the dialed sockets with their initial listeners. */
  const recorded = (options: Fetcher.Options) => {
    const dialed: Array<readonly [Duplex, Record<string, number>]> = []
    const layer = Layer.unwrapEffect(
      Effect.map(
        Origin.Origin,
        ({ ca, port }) =>
          Fetcher.layerWithoutDependencies({ ca, backoff: { initial: 0, maximum: 0 }, ...options }).pipe(
            Layer.provide(Layer.effect(
              Dialer.Dialer,
              Effect.map(Dialer.Dialer, ({ dial }) => ({
                dial: () =>
                  Effect.tap(
                    dial("127.0.0.1", port),
                    (socket) => Effect.sync(() => dialed.push([socket, listeners(socket)]))
                  )
              }))
            )),
            Layer.provide([
              Dialer.layer,
              NameLookupTest.layer(() => Effect.succeed(Origin.publicAddresses)),
              HostPolicy.layerPublic
            ])
          )
      )
    )
    return { dialed, layer }
  }

  for (
    const [what, answer, options, outcome] of [
      // An hour, so that a timer that was not cleared is still there when they are counted.
      ["answered", { body: "{}" }, { timeout: "1 hour" }, "Right"],
      ["refused", { status: 500, end: "hang" }, { timeout: "1 hour" }, "Left"],
      ["hanging", hanging, { timeout: 500 }, "Left"]
    ] as const
  ) {
    it.live(`FET-08: leave no socket, timer or listener behind when they are ${what}`, () => {
      const { dialed, layer } = recorded(options)
      return Effect.gen(function*() {
        const origin = yield* Origin.Origin
        yield* origin.serve("/", answer)
        const kinds = ["TCPSocketWrap", "TLSWrap", "Timeout"]
        const count = () => [...kinds.map(resources), processListeners()]
        yield* Effect.exit(fetch("https://first.example/"))
        yield* Effect.sleep(50)
        const before = count()
        const results = yield* Effect.forEach(hosts, (host) => Effect.either(fetch(`https://${host}/`)), {
          concurrency: 16
        })
        expect(results.map(({ _tag }) => _tag)).toEqual(hosts.map(() => outcome))
        yield* Effect.repeat(Effect.delay(origin.connections, 10), { until: ({ open }) => open === 0 })
        const after = count()
        expect(after.map((left, index) => left > (before[index] ?? 0))).toEqual(after.map(() => false))
        expect(dialed.length).toBe(hosts.length + 1)
        for (const [socket, own] of dialed) {
          expect(socket.destroyed).toBe(true)
          // A socket may fail after its end, so a listener that ignores the error stays.
          expect(listeners(socket)).toEqual({ ...own, error: (own["error"] ?? 0) + 1 })
        }
      }).pipe(Effect.provide(Layer.provideMerge(layer, Origin.layer)))
    })
  }
})
