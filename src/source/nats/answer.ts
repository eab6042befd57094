import type { MsgHdrs } from "@nats-io/transport-node";

import type { Around } from "../../event/event.ts";
import { parseTraceparent } from "../../event/traceparent.ts";

/** Numbers that JetStream gives its errors (nats-server `errors.json`). */
export const CONSUMER_CREATE = 10_012;
export const CONSUMER_NOT_FOUND = 10_014;
export const STREAM_NOT_FOUND = 10_059;
export const SUBJECTS_OVERLAP = 10_065;
export const CONSUMER_EXISTS = 10_148;
export const WRONG_LAST_SEQUENCE: readonly (number | undefined)[] = [10_071, 10_164];

/** UTF-16 units of a name, as the decoder takes them from beside an event. */
const MAX_NAME_LENGTH = 1_024;

/** The number of an error that JetStream answered with; undefined for any other. */
export function apiCode(error: unknown): number | undefined {
  const { code } = (error ?? {}) as { readonly code?: unknown };
  return error instanceof Error && typeof code === "number" ? code : undefined;
}

/** The request came to nobody. */
export function isUnheard(error: unknown): boolean {
  return error instanceof Error && error.name === "JetStreamNotEnabled";
}

/** Nobody knows whether the request was carried out. */
export function isUnanswered(error: unknown): boolean {
  return error instanceof Error && error.name === "TimeoutError";
}

/** What went wrong in the client's or the server's own words, which hold no secret. */
export function natsReason(error: unknown): string {
  if (!(error instanceof Error)) return "the connection was closed";
  const code = apiCode(error);
  if (code === STREAM_NOT_FOUND) return "there is no such stream; make it, or add create=true";
  switch (error.name) {
    case "TimeoutError":
      return "no answer in time";
    case "JetStreamNotEnabled":
      return "nobody answers: JetStream is off in the server or for this account or not ready yet, or what was asked for is gone";
    case "AuthorizationError":
    case "UserAuthenticationExpiredError":
      return `refused the login: ${error.message.replaceAll("'", "")}`;
    default: {
      const words =
        error.message === "" && error.cause instanceof Error ? error.cause.message : error.message;
      return code === undefined ? words || error.name : `${words} (${code})`;
    }
  }
}

/** What a message says of itself beside its payload. */
export interface Arrival {
  /** Sequence in the stream, and in what the consumer delivered. */
  readonly sequence: number;
  readonly delivered: number;
  /** When the stream took it, in milliseconds since 1970. */
  readonly appendedMs: number;
}

/**
 * Reads the reply subject of a message from a consumer; undefined when it is none. The names in it may not
 * hold dots, so counting from the end works for servers with and without domains (ADR-15).
 */
export function parseReply(reply: string): Arrival | undefined {
  const words = reply.split(".");
  if (words[0] !== "$JS" || words[1] !== "ACK" || words.length < 9) return undefined;
  const first = words.length === 9 ? 5 : 7;
  const [sequence, delivered] = [Number(words[first]), Number(words[first + 1])];
  // Nanoseconds, which no number holds exactly.
  const appendedMs = Number(words[first + 2]?.slice(0, -6));
  return Number.isSafeInteger(sequence) && Number.isSafeInteger(delivered) && Number.isSafeInteger(appendedMs)
    ? { sequence, delivered, appendedMs }
    : undefined;
}

/** What the headers of a message say of its event; names in any case. A malformed one is left out. */
export function outsideOf(headers: MsgHdrs | undefined): Around | undefined {
  if (headers === undefined) return undefined;
  let [traceparent, tracestate, agent]: (string | undefined)[] = [];
  for (const key of headers.keys()) {
    const name = key.toLowerCase();
    if (name === "traceparent") traceparent = headers.get(key);
    else if (name === "tracestate") tracestate = headers.values(key).join(",");
    else if (name === "behest-agent") agent = headers.get(key).trim();
  }
  const parent = traceparent === undefined ? undefined : parseTraceparent(traceparent, tracestate);
  if (agent === "" || (agent?.length ?? 0) > MAX_NAME_LENGTH) agent = undefined;
  if (parent === undefined && agent === undefined) return undefined;
  return { ...(agent !== undefined && { agent }), ...(parent !== undefined && { parent }) };
}
