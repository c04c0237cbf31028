import type * as Exit from "effect/Exit"
import * as Tracer from "effect/Tracer"

/** A tracer that keeps all that it is told. */
export const recording = () => {
  const events: Array<unknown> = []
  const exits: Array<Exit.Exit<unknown, unknown>> = []
  const spans: Array<Tracer.Span> = []
  const tracer = Tracer.make({
    span: (name, parent, context, links, startTime, kind) => {
      const attributes = new Map<string, unknown>()
      const span: Tracer.Span = {
        _tag: "Span",
        name,
        parent,
        context,
        links,
        kind,
        spanId: "1",
        traceId: "1",
        sampled: true,
        status: { _tag: "Started", startTime },
        attributes,
        attribute: (key, value) => void attributes.set(key, value),
        event: (name, _time, more) => void events.push([name, more]),
        addLinks: () => {},
        end: (_time, exit) => void exits.push(exit)
      }
      spans.push(span)
      return span
    },
    context: (work) => work()
  })
  return { spans, tracer, events, exits }
}
