import type { ContentPolicy } from "./content.ts";
import { EMITTED_AT, ENVELOPE_HEAD, EVENT, NULL, RUN_ID, SEQ, SESSION_ID } from "./envelope.ts";
import type { Around, Delta } from "./event.ts";
import { hashBytes, hashText } from "./hash.ts";
import { literal, matches } from "./literal.ts";
import { stringForm } from "./plain-text.ts";
import type { TimestampReader } from "./timestamp.ts";
import { UuidCache } from "./uuid-cache.ts";
import { NIL_UUID, UUID_LENGTH } from "./uuid.ts";

const EMPTY_VIEW = new DataView(new ArrayBuffer(0));

/**
 * The short way for deltas, which are nine of ten events: read from the bytes, without JSON.parse.
 *
 * It knows one form only, the one that serde writes: these keys in this order, no whitespace, ids in lower
 * case, a timestamp in UTC with 0, 3, 6 or 9 digits, bare or in the envelope of the runtime. Of anything
 * else it says nothing (undefined) and the long way decides; what it accepts, the long way accepts with the
 * same result: a test proves it.
 */
export class DeltaReader {
  readonly #timestamps: TimestampReader;
  readonly #keepsText: boolean;
  readonly #maxStringLength: number;
  readonly #uuids = new UuidCache();
  #line: Buffer = Buffer.alloc(0);
  #view: DataView = EMPTY_VIEW;

  constructor(options: { timestamps: TimestampReader; policy: ContentPolicy; maxStringLength: number }) {
    this.#timestamps = options.timestamps;
    this.#keepsText = options.policy.content === "span";
    this.#maxStringLength = options.maxStringLength;
  }

  /**
   * A view of all of `buffer`, the same one as long as the buffer is: lines that follow each other share
   * theirs.
   */
  viewOf(buffer: Buffer): DataView {
    if (this.#line !== buffer) {
      this.#line = buffer;
      this.#view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    }
    return this.#view;
  }

  /** Reads `buffer[start, end)`, which must be valid UTF-8. */
  read(buffer: Buffer, start: number, end: number, outside: Around | undefined): Delta | undefined {
    const view = this.viewOf(buffer);
    if (end - start < SHORTEST_BARE.length) return undefined;
    if (!matches(view, start, ENVELOPE_HEAD)) {
      return buffer[start] === OPENING_BRACE && buffer[end - 1] === CLOSING_BRACE
        ? this.#readEvent(start + 1, end - 2, outside)
        : undefined;
    }
    return this.#readEnvelope(start, end, outside);
  }

  /** Reads the member `"TextDelta":{...}`, where `last` is the place of its closing brace. */
  #readEvent(start: number, last: number, around: Around | undefined): Delta | undefined {
    const view = this.#view;
    const line = this.#line;
    if (line[last] !== CLOSING_BRACE || line[last - 1] !== QUOTE) return undefined;
    const isText = matches(view, start, TEXT_HEAD);
    if (!isText && !matches(view, start, TOOL_HEAD)) return undefined;
    const runIdAt = start + (isText ? TEXT_HEAD.length : TOOL_HEAD.length);
    const runId = this.#uuids.read(line, view, runIdAt);
    if (runId === undefined) return undefined;
    let at = runIdAt + UUID_LENGTH;
    let callId = "";
    if (!isText) {
      if (!matches(view, at, CALL_ID)) return undefined;
      const callIdAt = at + CALL_ID.length;
      at = this.#endOfName(callIdAt, last);
      if (at < 0) return undefined;
      callId = line.toString("utf8", callIdAt, at);
    }
    if (at + DELTA.length > last || !matches(view, at, DELTA)) return undefined;
    const textAt = at + DELTA.length;

    // From the end backwards, as the text may have any length.
    const timestampAt = last - 1 - timestampLength(line, last - 1);
    const textEnd = timestampAt - TIMESTAMP.length;
    if (textEnd < textAt || !matches(view, textEnd, TIMESTAMP)) return undefined;
    const time = this.#timestamps.bytes(view, timestampAt, last - 1);
    if (time === undefined) return undefined;
    const form = stringForm(view, textAt, textEnd);
    if (form === "invalid") return undefined;
    const hash = hashBytes(view, start, last + 1);
    if (!isText) return { runId, time, hash, around, type: "ToolCallDelta", callId };
    let text: string | undefined;
    if (this.#keepsText) {
      text =
        form === "plain"
          ? line.toString("utf8", textAt, textEnd)
          : (JSON.parse(line.toString("utf8", textAt - 1, textEnd + 1)) as string);
    }
    return { runId, time, hash, around, type: "TextDelta", text };
  }

  /** Reads `{"event_id":"...","seq":1,"run_id":"...","session_id":...,"event":{...},"emitted_at":"..."}`. */
  #readEnvelope(start: number, end: number, outside: Around | undefined): Delta | undefined {
    const view = this.#view;
    const line = this.#line;
    if (end - start < SHORTEST_ENVELOPE.length || this.#maxStringLength < UUID_LENGTH) return undefined;
    const idAt = start + ENVELOPE_HEAD.length;
    let at = idAt + UUID_LENGTH;
    if (!matches(view, at, SEQ) || stringForm(view, idAt, at) !== "plain") return undefined;
    const seqAt = at + SEQ.length;
    const seqEnd = endOfDigits(view, seqAt);
    // 0 stands for no number, which the long way knows.
    if (seqEnd === seqAt || view.getUint8(seqAt) === ZERO) return undefined;
    if (!matches(view, seqEnd, RUN_ID)) return undefined;
    const runIdAt = seqEnd + RUN_ID.length;
    at = runIdAt + UUID_LENGTH;
    if (!matches(view, at, SESSION_ID)) return undefined;
    at += SESSION_ID.length;
    let sessionId: string | undefined;
    if (matches(view, at, NULL)) {
      at += NULL.length;
    } else {
      sessionId = line[at] === QUOTE ? this.#uuids.read(line, view, at + 1) : undefined;
      if (sessionId === undefined || line[at + 1 + UUID_LENGTH] !== QUOTE) return undefined;
      at += UUID_LENGTH + 2;
    }
    if (!matches(view, at, EVENT)) return undefined;
    at += EVENT.length;

    const last = this.#endOfEnveloped(end);
    if (last < 0 || last - at < SHORTEST_BARE.length - 3) return undefined;
    const eventId = hashBytes(view, idAt, idAt + UUID_LENGTH);
    if (eventId === NIL_EVENT_ID) return undefined;
    const seq = numberOf(view, seqAt, seqEnd);
    let around: Around = sessionId === undefined ? { eventId, seq } : { eventId, seq, sessionId };
    if (outside !== undefined) around = { ...outside, ...around };
    const event = this.#readEvent(at, last, around);
    return event !== undefined && event.runId === this.#uuids.read(line, view, runIdAt) ? event : undefined;
  }

  /**
   * Place of the brace that closes the payload before `},"emitted_at":"..."}`, -1 when there is no such end.
   */
  #endOfEnveloped(end: number): number {
    const view = this.#view;
    if (view.getUint8(end - 1) !== CLOSING_BRACE || view.getUint8(end - 2) !== QUOTE) return -1;
    let at = end - 3;
    for (const least = end - LONGEST_EMITTED_AT; at > least && isTimestampByte(view.getUint8(at)); at -= 1);
    const memberAt = at + 1 - EMITTED_AT.length;
    return matches(view, memberAt, EMITTED_AT) ? memberAt - 1 : -1;
  }

  /** Place of the quote that ends a name without escapes, -1 when there is none within the limit. */
  #endOfName(start: number, end: number): number {
    const view = this.#view;
    // No more UTF-16 units than bytes.
    const limit = Math.min(end, start + this.#maxStringLength + 1);
    for (let at = start; at < limit; at += 1) {
      const byte = view.getUint8(at);
      if (byte === QUOTE) return at;
      if (byte < 0x20 || byte === BACKSLASH) return -1;
    }
    return -1;
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;
const ZERO = 0x30;

/** The long way takes it for no id. */
const NIL_EVENT_ID = hashText(NIL_UUID);

const TEXT_HEAD = literal('"TextDelta":{"run_id":"');
const TOOL_HEAD = literal('"ToolCallDelta":{"run_id":"');
const CALL_ID = literal('","call_id":"');
const DELTA = literal('","delta":"');
const TIMESTAMP = literal('","timestamp":"');
const LONGEST_EMITTED_AT = 40;

/** All that is read without looking whether the line goes that far lies within this length. */
const SHORTEST_BARE =
  '{"TextDelta":{"run_id":"6f1f6d0e-3c51-4a7e-9b57-0d4cf3a1b2c3","delta":"","timestamp":"2026-06-21T00:00:00Z"}}';
const SHORTEST_ENVELOPE = `{"event_id":"6f1f6d0e-3c51-4a7e-9b57-0d4cf3a1b2c3","seq":1,"run_id":"6f1f6d0e-3c51-4a7e-9b57-0d4cf3a1b2c3","session_id":null,"event":${SHORTEST_BARE},"emitted_at":""}`;

/**
 * Length of the timestamp before the quote at `end`, by where the other quote stands; 0 for lengths serde
 * never writes.
 */
function timestampLength(line: Buffer, end: number): number {
  if (line[end - 31] === QUOTE) return 30;
  if (line[end - 28] === QUOTE) return 27;
  if (line[end - 25] === QUOTE) return 24;
  return line[end - 21] === QUOTE ? 20 : 0;
}

/** Fifteen digits are always a safe integer; behind more of them stands no comma. */
function endOfDigits(view: DataView, start: number): number {
  let at = start;
  while (at < start + 15 && isDigit(view.getUint8(at))) at += 1;
  return at;
}

function numberOf(view: DataView, start: number, end: number): number {
  let number = 0;
  for (let at = start; at < end; at += 1) number = number * 10 + view.getUint8(at) - ZERO;
  return number;
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= ZERO + 9;
}

/** Digits, letters, and `+ - . :`: what timestamps consist of, and what no JSON string has to escape. */
function isTimestampByte(byte: number): boolean {
  return isDigit(byte) || byte === 0x3a || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x2b && byte <= 0x2e);
}
