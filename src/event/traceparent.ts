import type { RemoteParent } from "./event.ts";

/** Version, trace id, parent id and flags; later versions may go on after another hyphen. */
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** W3C Trace Context asks for at least this many characters to be carried on. */
const MAX_TRACESTATE_LENGTH = 512;
const MAX_TRACEPARENT_LENGTH = 256;

const TRACESTATE = /^[\x20-\x7e]+$/;

/**
 * Reads a W3C `traceparent` (Trace Context level 1, section 3.2) and the `tracestate` beside it.
 *
 * Undefined when it is malformed: the trace then starts anew, as the recommendation says. Version `ff` is
 * invalid; versions after `00` are read by their first four fields. A tracestate that is no printable ASCII,
 * or longer than 512 characters, is left out.
 */
export function parseTraceparent(traceparent: string, tracestate?: string): RemoteParent | undefined {
  if (traceparent.length > MAX_TRACEPARENT_LENGTH) return undefined;
  const [, version, traceId, spanId, flags, more] = TRACEPARENT.exec(traceparent.trim()) ?? [];
  if (!version || !traceId || !spanId || !flags) return undefined;
  if (version === "ff" || (version === "00" && more !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  const parent = { traceId, spanId, flags: Number.parseInt(flags, 16) };
  const state = tracestate?.trim();
  const keepsState = state !== undefined && state.length <= MAX_TRACESTATE_LENGTH && TRACESTATE.test(state);
  return keepsState ? { ...parent, tracestate: state } : parent;
}

/** The `traceparent` of version 00 for a span. */
export function formatTraceparent(parent: RemoteParent): string {
  return `00-${parent.traceId}-${parent.spanId}-${parent.flags.toString(16).padStart(2, "0")}`;
}
