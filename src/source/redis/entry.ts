import { isUtf8 } from "node:buffer";

import type { Around } from "../../event/event.ts";
import { parseTraceparent } from "../../event/traceparent.ts";
import type { Delivery } from "../source.ts";

/** Longest name of an agent taken from a field; what is longer is no name. */
const MAX_AGENT_BYTES = 1_024;

/**
 * The delivery of an entry: its field `event` has a bare event (the publisher, behest 0.2.2
 * `queue/redis_streams.rs`), or `data` an envelope (the event store, behest-runtime 0.5.9
 * `event_store/redis.rs`). An entry with neither becomes JSON that is no event, so that it is rejected
 * like any other, and kept whole in the dead letters.
 */
export function deliveryOf(id: string, fields: readonly Buffer[], appendedMs: number): Delivery {
  let event: Buffer | undefined;
  let data: Buffer | undefined;
  let agent: string | undefined;
  let traceparent: string | undefined;
  let tracestate: string | undefined;
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const [name, value] = [fields[at], fields[at + 1]];
    if (name === undefined || value === undefined) continue;
    // Of a field that is there twice the first one counts.
    switch (name.toString("latin1")) {
      case "event":
        event ??= value;
        break;
      case "data":
        data ??= value;
        break;
      case "agent":
        if (value.length > 0 && value.length <= MAX_AGENT_BYTES) agent ??= value.toString();
        break;
      case "traceparent":
        traceparent ??= value.toString();
        break;
      case "tracestate":
        tracestate ??= value.toString();
        break;
    }
  }
  const parent = traceparent === undefined ? undefined : parseTraceparent(traceparent, tracestate);
  const outside: Around | undefined =
    agent === undefined && parent === undefined
      ? undefined
      : { ...(agent && { agent }), ...(parent && { parent }) };
  return { id, appendedMs, payload: event ?? data ?? asJson(id, fields), outside };
}

/** All of an entry. Names in lower case around a list are no event of any version. */
function asJson(id: string, fields: readonly Buffer[]): Buffer {
  const texts = fields.map((field) =>
    isUtf8(field) ? field.toString() : { base64: field.toString("base64") },
  );
  return Buffer.from(JSON.stringify({ redis_entry: id, fields: texts }));
}
