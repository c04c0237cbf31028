import type { Answer, Packet, Question } from "dns-packet"
import * as dnsPacket from "dns-packet"
import * as Effect from "effect/Effect"
import { createSocket } from "node:dgram"

/** The response codes of DNS (RFC 1035, section 4.1.1). */
export const rcode = { serverFailure: 2, nameError: 3, notImplemented: 4, refused: 5 } as const

/** Records, at once or after a delay, a response code, or no answer at all. */
export type Reply =
  | ReadonlyArray<Answer>
  | { readonly afterMillis: number; readonly records: ReadonlyArray<Answer> }
  | number
  | "silence"

/** A DNS server on loopback, over UDP, that remembers what it was asked; closed with the scope. */
export const dnsServer = (reply: (question: Question) => Reply) =>
  Effect.gen(function*() {
    const questions: Array<string> = []
    let open = true
    const socket = createSocket("udp4", (message, { address, port }) => {
      const { id, questions: asked = [] } = dnsPacket.decode(message)
      const [question] = asked
      if (question === undefined) return
      questions.push(`${question.type} ${question.name}`)
      const answer = reply(question)
      if (answer === "silence") return
      const packet: Packet = {
        type: "response",
        id: id ?? 0,
        flags: dnsPacket.RECURSION_DESIRED | dnsPacket.RECURSION_AVAILABLE | (typeof answer === "number" ? answer : 0),
        questions: asked,
        answers: typeof answer === "number" ? [] : [..."records" in answer ? answer.records : answer]
      }
      const send = () => open && socket.send(dnsPacket.encode(packet), port, address)
      if (typeof answer === "object" && "afterMillis" in answer) setTimeout(send, answer.afterMillis)
      else send()
    })
    yield* Effect.acquireRelease(
      Effect.async<void>((resume) => {
        socket.bind(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () =>
        Effect.async<void>((resume) => {
          open = false
          socket.close(() => resume(Effect.void))
        })
    )
    return { server: `127.0.0.1:${socket.address().port}`, questions }
  })
