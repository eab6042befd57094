import { isUtf8 } from "node:buffer";

import type { Around } from "./event.ts";
import { isRecord } from "./fields.ts";
import type { Wire } from "./fields.ts";
import { findMember } from "./json-bytes.ts";
import { formatTraceparent } from "./traceparent.ts";

/** What a line holds that is a dead letter: an event that was refused, or only the word that a span was. */
export type Letter = EventLetter | { readonly kind: "span" };

export interface EventLetter {
  readonly kind: "event";
  /** The event as it came, or as somebody mended it. */
  readonly payload: Buffer;
  /** Length of the whole in bytes, when it was too long and the letter was given only its head. */
  readonly wholeBytes: number | undefined;
  /** What stood beside the event when it came, still to be checked: an object, or whatever else is there. */
  readonly outside: unknown;
  /** Where it came from at first. */
  readonly source: string | undefined;
  readonly deliveryId: string | undefined;
}

/** How a letter of ours begins. Only a line that does may be longer than others. */
const HEAD = /^(?:\xef\xbb\xbf)?[ \t]*\{[ \t]*"kind"[ \t]*:[ \t]*"(?:event|span)"/;
const HEAD_LENGTH = 64;

/** JSON writes a control character in six. */
const LONGEST_ESCAPE = 6;
/** More than what stands in a letter beside its payload. */
const REST_BYTES = 131_072;

/** UTF-16 units of a name or an id that goes from a letter into the next one. */
const MAX_KEPT_LENGTH = 4_096;

/**
 * How long the line that begins in `buffer[start, end)` may be where events have at most `maxLineBytes`: a
 * dead letter must have room for a payload of that length, however it is escaped.
 */
export function lineLimit(buffer: Buffer, start: number, end: number, maxLineBytes: number): number {
  const isLetter = HEAD.test(buffer.toString("latin1", start, Math.min(end, start + HEAD_LENGTH)));
  return isLetter ? LONGEST_ESCAPE * maxLineBytes + REST_BYTES : maxLineBytes;
}

/**
 * Reads an object in which no event was found as a dead letter (docs/delivery.md; `src/dead-letter.ts` writes them);
 * undefined when it is none. Of its fields only `kind` and `payload` (or `payload_base64`) have to be there;
 * whoever mends it may write the event itself as `payload`. `start` is where the object's text begins.
 */
export function letterIn(object: Wire, line: Buffer, start: number): Letter | undefined {
  const { kind } = object;
  if (kind !== "event" && kind !== "span") return undefined;
  // What has an event of its own is that event, and be it a wrong one.
  const isEvent = Object.hasOwn(object, "event") || Object.keys(object).some((key) => /^[A-Z]/.test(key));
  if (isEvent) return undefined;
  const payload = payloadOf(object, line, start);
  if (payload === undefined || kind === "span") return payload && { kind: "span" };
  const { bytes, code, outside, source, delivery_id: deliveryId } = object;
  const isHead =
    code === "BEHEST_LINE_TOO_LONG" && Number.isSafeInteger(bytes) && Number(bytes) > payload.length;
  return {
    kind,
    payload,
    wholeBytes: isHead ? Number(bytes) : undefined,
    outside,
    source: shortText(source),
    deliveryId: shortText(deliveryId),
  };
}

/** The letter of an event that a whole line is; undefined when it is none. */
export function openLetter(line: Buffer): EventLetter | undefined {
  // Most of what is refused is no letter, and need not be parsed to know that.
  if (!line.includes('"kind"') || !isUtf8(line)) return undefined;
  try {
    const object: unknown = JSON.parse(line.toString("utf8"));
    const letter = isRecord(object) ? letterIn(object, line, 0) : undefined;
    return letter?.kind === "event" ? letter : undefined;
  } catch {
    return undefined;
  }
}

/** What a delivery says beside its event, in the words in which it may stand there; undefined for nothing. */
export function outsideOf(around: Around | undefined): Wire | undefined {
  const { agent, parent } = around ?? {};
  if (agent === undefined && parent === undefined) return undefined;
  const traceparent = parent && formatTraceparent(parent);
  return { agent, traceparent, tracestate: parent?.tracestate };
}

function payloadOf(object: Wire, line: Buffer, start: number): Buffer | undefined {
  const { payload, payload_base64: base64 } = object;
  if (typeof payload === "string") return Buffer.from(payload);
  if (isRecord(payload)) {
    const { valueStart, valueEnd } = findMember(line, start, "payload");
    return line.subarray(valueStart, valueEnd);
  }
  return typeof base64 === "string" ? Buffer.from(base64, "base64") : undefined;
}

function shortText(value: unknown): string | undefined {
  return typeof value === "string" && value.length <= MAX_KEPT_LENGTH ? value : undefined;
}
