import { EMITTED_AT, ENVELOPE_HEAD, EVENT, NULL, RUN_ID, SEQ, SESSION_ID } from "./envelope.ts";
import { EVENT_TYPES } from "./event.ts";
import { MemberReader } from "./json-members.ts";
import { literal, matches, type Literal } from "./literal.ts";
import { stringForm } from "./plain-text.ts";
import { toMillis } from "./time.ts";
import type { TimestampReader } from "./timestamp.ts";
import { UUID_LENGTH } from "./uuid.ts";

/** A longer line is unusual, and left to the decoder, whose own limit is above this. */
export const MAX_RUN_LINE_BYTES = 65_536;

/**
 * Finds the run that a line is of in its bytes, without decoding it. Of deltas it says nothing (`delta.ts` does).
 *
 * It knows what serializers write: an event whose first member is its run id, alone or in the envelope of the
 * runtime, without whitespace. What it takes, the decoder takes for an event of that run, or rejects as one of
 * that run; of anything else it says nothing, and the decoder decides. A test proves it.
 */
export class RunLine {
  readonly #timestamps: TimestampReader;
  readonly #members = new MemberReader();
  #view: DataView = new DataView(new ArrayBuffer(0));
  #end = 0;
  #runIdAt = 0;
  #isEnveloped = false;

  constructor(timestamps: TimestampReader) {
    this.#timestamps = timestamps;
  }

  /**
   * Where the run id of the line `view[start, end)` would stand, 36 bytes long; -1 when it stands at no usual
   * place. Whether it is one, and the event's, `isWhole` says.
   */
  find(view: DataView, start: number, end: number): number {
    const length = end - start;
    if (length < SHORTEST.length || length > MAX_RUN_LINE_BYTES) return -1;
    this.#view = view;
    this.#end = end;
    this.#isEnveloped = matches(view, start, ENVELOPE_HEAD);
    const eventAt = this.#isEnveloped ? this.#insideEnvelope(start) : start + 1;
    if (eventAt < 0 || (!this.#isEnveloped && view.getUint8(start) !== OPENING_BRACE)) return -1;
    this.#runIdAt = this.#behindHead(eventAt);
    return this.#runIdAt;
  }

  /**
   * Whether the rest of the line that `find` was asked for last is JSON, says no other run, and is all there.
   * The line must be valid UTF-8, and a UUID in lower case stand where `find` said.
   */
  isWhole(): boolean {
    const view = this.#view;
    const end = this.#end;
    const behindId = this.#runIdAt + UUID_LENGTH;
    if (behindId >= end || view.getUint8(behindId) !== QUOTE) return false;
    if (!this.#members.read(view, behindId + 1, end)) return false;
    const closing = this.#members.end + 1;
    if (closing >= end) return false;
    if (!this.#isEnveloped) return closing === end - 1 && view.getUint8(closing) === CLOSING_BRACE;
    const emittedAt = closing + EMITTED_AT.length;
    return (
      emittedAt + 2 <= end &&
      matches(view, closing, EMITTED_AT) &&
      view.getUint8(end - 1) === CLOSING_BRACE &&
      view.getUint8(end - 2) === QUOTE &&
      stringForm(view, emittedAt, end - 2) === "plain"
    );
  }

  /**
   * What time the event says it is, in milliseconds since 1970; undefined when that cannot be read, and the event
   * is none. To be asked after `isWhole`; that it says so does not make it an event either.
   */
  timeMs(): number | undefined {
    const { timestampStart, timestampEnd } = this.#members;
    if (timestampStart < 0) return undefined;
    const time = this.#timestamps.bytes(this.#view, timestampStart, timestampEnd);
    return time && toMillis(time);
  }

  /** Where the event's own member begins; -1 when the members before it are not those of the runtime. */
  #insideEnvelope(start: number): number {
    const view = this.#view;
    if (this.#end - start < SHORTEST_ENVELOPE.length) return -1;
    const idAt = start + ENVELOPE_HEAD.length;
    let at = idAt + UUID_LENGTH;
    if (!matches(view, at, SEQ) || stringForm(view, idAt, at) !== "plain") return -1;
    const seqAt = at + SEQ.length;
    at = seqAt;
    while (at < seqAt + MAX_DIGITS && isDigit(view.getUint8(at))) at += 1;
    // A number with a leading zero is no JSON.
    if (at === seqAt || (at > seqAt + 1 && view.getUint8(seqAt) === ZERO)) return -1;
    if (!matches(view, at, RUN_ID)) return -1;
    const outerAt = at + RUN_ID.length;
    at = outerAt + UUID_LENGTH;
    if (!matches(view, at, SESSION_ID) || stringForm(view, outerAt, at) !== "plain") return -1;
    at += SESSION_ID.length;
    if (matches(view, at, NULL)) {
      at += NULL.length;
    } else {
      const sessionEnd = at + 1 + UUID_LENGTH;
      if (view.getUint8(at) !== QUOTE || view.getUint8(sessionEnd) !== QUOTE) return -1;
      if (stringForm(view, at + 1, sessionEnd) !== "plain") return -1;
      at = sessionEnd + 1;
    }
    return matches(view, at, EVENT) ? at + EVENT.length : -1;
  }

  /** Behind `"RunStarted":{"run_id":"`, with the name of any variant but a delta; -1 when something else stands there. */
  #behindHead(start: number): number {
    const view = this.#view;
    if (start + LONGEST_HEAD + UUID_LENGTH > this.#end) return -1;
    const head = HEADS.get(view.getInt32(start + 2, true) ^ view.getInt32(start + 11, true));
    return head !== undefined && matches(view, start, head) ? start + head.length : -1;
  }
}

const QUOTE = 0x22;
const ZERO = 0x30;
const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;
/** A number of so many digits is a whole one below 2^53, or none that counts. */
const MAX_DIGITS = 15;

const headTexts = EVENT_TYPES.filter((type) => type !== "TextDelta" && type !== "ToolCallDelta").map(
  (type) => `"${type}":{"run_id":"`,
);
const LONGEST_HEAD = Math.max(...headTexts.map(({ length }) => length));
/** By eight of their bytes, which are different ones in each. */
const HEADS: ReadonlyMap<number, Literal> = new Map(
  headTexts.map((text) => {
    const bytes = Buffer.from(text);
    return [bytes.readInt32LE(2) ^ bytes.readInt32LE(11), literal(text)];
  }),
);

/** All that is read without looking whether the line goes that far lies within this length. */
const RUN = "6f1f6d0e-3c51-4a7e-9b57-0d4cf3a1b2c3";
const SHORTEST = `{"RunFailed":{"run_id":"${RUN}","timestamp":""}}`;
const SHORTEST_ENVELOPE = `{"event_id":"${RUN}","seq":1,"run_id":"${RUN}","session_id":null,"event":${SHORTEST},"emitted_at":""}`;

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= ZERO + 9;
}
