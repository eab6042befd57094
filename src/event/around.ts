import type { Around } from "./event.ts";
import { fail, quoted, readCount, readName, readText, readUuid } from "./fields.ts";
import type { Fields, Wire } from "./fields.ts";
import type { Framed } from "./framing.ts";
import { hashText } from "./hash.ts";
import { parseTraceparent } from "./traceparent.ts";
import { foldUuid, NIL_UUID } from "./uuid.ts";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * Reads the fields beside an event, those of its envelope included, over what its delivery says (headers,
 * fields of an entry): what stands nearer to the event wins. Null is as good as absent.
 */
export function readAround(
  fields: Fields,
  { form, object }: Pick<Framed, "form" | "object">,
  { runId, outside }: { runId: string; outside: Around | undefined },
): Around | undefined {
  if (form === "alone") return outside;
  const around: Mutable<Around> = { ...outside };
  if (form === "envelope") readEnvelope(fields, object, { runId, around });
  const agent = given(object, "agent");
  if (agent !== undefined) {
    const name = readName(fields, agent, "agent");
    if (name !== "") around.agent = name;
  }
  const traceparent = given(object, "traceparent");
  const tracestate = given(object, "tracestate");
  const state = tracestate === undefined ? undefined : readText(fields, tracestate, "tracestate");
  if (traceparent !== undefined) {
    // A malformed one is no reason to refuse the event: the trace then starts anew (W3C Trace Context,
    // 3.2.3).
    const parent = parseTraceparent(readText(fields, traceparent, "traceparent"), state);
    if (parent !== undefined) around.parent = parent;
  }
  for (const _ in around) return around;
  return undefined;
}

function readEnvelope(
  fields: Fields,
  envelope: Wire,
  { runId, around }: { runId: string; around: Mutable<Around> },
): void {
  const eventId = given(envelope, "event_id");
  if (eventId !== undefined) {
    const id = readName(fields, eventId, "event_id");
    // What stands for no id would make one event of all that have it.
    if (id !== "" && id !== NIL_UUID) around.eventId = hashText(id);
  }
  const seq = given(envelope, "seq");
  if (seq !== undefined) {
    const number = readCount(fields, seq, "seq");
    // Stores count from 1; handlers of a `RuntimeInvocation` get 0 on every event (behest-runtime 0.5.9,
    // invocation.rs).
    if (number > 0) around.seq = number;
  }
  const sessionId = given(envelope, "session_id");
  if (sessionId !== undefined) around.sessionId = readUuid(fields, sessionId, "session_id");
  const emittedAt = given(envelope, "emitted_at");
  if (emittedAt !== undefined) readText(fields, emittedAt, "emitted_at");
  const outer = given(envelope, "run_id");
  if (outer === undefined) return;
  const text = readText(fields, outer, "run_id");
  if (foldUuid(text) !== runId) {
    fail(
      fields,
      "BEHEST_DECODE_RUN_ID",
      `run_id: expected the one of the event, ${runId}, found ${quoted(text)}`,
    );
  }
}

function given(object: Wire, name: string): unknown {
  return Object.hasOwn(object, name) ? (object[name] ?? undefined) : undefined;
}
