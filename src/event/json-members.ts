/**
 * Walks over the members of an object in JSON text that nobody has parsed, and finds out whether it is JSON:
 * without whitespace between tokens, as serializers write it (RFC 8259). Of anything else it says nothing,
 * also when that may well be JSON.
 */
import { endOfString } from "./plain-text.ts";

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPENING_BRACKET = 0x5b;
const CLOSING_BRACKET = 0x5d;
const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;

/** Arrays and objects within each other: as many as one number has bits for. */
const MAX_DEPTH = 30;

const RUN_ID = "run_id";
const TIMESTAMP = "timestamp";

/**
 * Reads on behind the value of a first member, at `view[at]`. Unusual is also another member `run_id`, a second
 * `timestamp`, and a name with an escape, which could be either. The bytes up to `limit` must be valid UTF-8.
 */
export class MemberReader {
  /** Place of the brace that closes the object that was read last. */
  end = -1;
  /** Of the string that is its `timestamp`, the first byte and the quote behind it; -1 without one. */
  timestampStart = -1;
  timestampEnd = -1;
  #view: DataView = new DataView(new ArrayBuffer(0));
  #limit = 0;

  /** False when it is not JSON, or unusual. */
  read(view: DataView, at: number, limit: number): boolean {
    this.#view = view;
    this.#limit = limit;
    this.timestampStart = -1;
    this.timestampEnd = -1;
    this.end = this.#walk(at);
    return this.end >= 0;
  }

  #walk(start: number): number {
    const view = this.#view;
    const limit = this.#limit;
    let depth = 0;
    /** For each open array or object, the innermost lowest, whether it is an object. */
    let objects = 1;
    let at = start;
    // Each turn begins behind a value, or behind the bracket that opens an array or object.
    let isFirst = false;
    while (at < limit) {
      const byte = view.getUint8(at);
      const inObject = (objects & 1) === 1;
      if (byte === (inObject ? CLOSING_BRACE : CLOSING_BRACKET)) {
        if (depth === 0) return at;
        depth -= 1;
        objects >>>= 1;
        at += 1;
        isFirst = false;
        continue;
      }
      if (!isFirst) {
        if (byte !== COMMA) return -1;
        at += 1;
      }
      let isTimestamp = false;
      if (inObject) {
        const keyAt = at + 1;
        at = this.#endOfKey(at);
        if (at < 0) return -1;
        if (depth === 0) {
          if (isText(view, keyAt, at - 2, RUN_ID)) return -1;
          isTimestamp = isText(view, keyAt, at - 2, TIMESTAMP);
          if (isTimestamp && this.timestampStart >= 0) return -1;
        }
      }
      if (at >= limit) return -1;
      const first = view.getUint8(at);
      isFirst = first === OPENING_BRACE || first === OPENING_BRACKET;
      if (isFirst) {
        if (depth === MAX_DEPTH) return -1;
        depth += 1;
        objects = (objects << 1) | (first === OPENING_BRACE ? 1 : 0);
        at += 1;
        continue;
      }
      const valueAt = at;
      at = first === QUOTE ? endOfString(view, at + 1, limit) + 1 : endOfScalar(view, at, limit);
      if (at <= 0) return -1;
      if (isTimestamp && first === QUOTE) {
        this.timestampStart = valueAt + 1;
        this.timestampEnd = at - 1;
      }
    }
    return -1;
  }

  /** Behind the colon; -1 when there is no name of a member, or one with an escape. */
  #endOfKey(start: number): number {
    const view = this.#view;
    if (start >= this.#limit || view.getUint8(start) !== QUOTE) return -1;
    for (let at = start + 1; at + 1 < this.#limit; at += 1) {
      const byte = view.getUint8(at);
      if (byte === QUOTE) return view.getUint8(at + 1) === COLON ? at + 2 : -1;
      if (byte === BACKSLASH || byte < 0x20) return -1;
    }
    return -1;
  }
}

function isText(view: DataView, start: number, end: number, text: string): boolean {
  if (end - start !== text.length) return false;
  for (let at = 0; at < text.length; at += 1) {
    if (view.getUint8(start + at) !== text.charCodeAt(at)) return false;
  }
  return true;
}

/** Behind the number or word that begins at `start`; -1 when there is none. */
function endOfScalar(view: DataView, start: number, limit: number): number {
  switch (view.getUint8(start)) {
    case 0x74:
      return endOfWord(view, start, limit, "true");
    case 0x66:
      return endOfWord(view, start, limit, "false");
    case 0x6e:
      return endOfWord(view, start, limit, "null");
    default:
      return endOfNumber(view, start, limit);
  }
}

function endOfWord(view: DataView, start: number, limit: number, word: string): number {
  const end = start + word.length;
  return end <= limit && isText(view, start, end, word) ? end : -1;
}

function endOfNumber(view: DataView, start: number, limit: number): number {
  let at = view.getUint8(start) === MINUS ? start + 1 : start;
  const wholeAt = at;
  at = endOfDigits(view, at, limit);
  if (at === wholeAt || (at > wholeAt + 1 && view.getUint8(wholeAt) === ZERO)) return -1;
  if (at < limit && view.getUint8(at) === POINT) {
    const fractionAt = at + 1;
    at = endOfDigits(view, fractionAt, limit);
    if (at === fractionAt) return -1;
  }
  if (at < limit && (view.getUint8(at) | 0x20) === 0x65) {
    const signAt = at + 1;
    const isSigned = signAt < limit && (view.getUint8(signAt) === MINUS || view.getUint8(signAt) === 0x2b);
    const exponentAt = isSigned ? signAt + 1 : signAt;
    at = endOfDigits(view, exponentAt, limit);
    if (at === exponentAt) return -1;
  }
  return at;
}

function endOfDigits(view: DataView, start: number, limit: number): number {
  let at = start;
  while (at < limit && view.getUint8(at) >= ZERO && view.getUint8(at) <= ZERO + 9) at += 1;
  return at;
}
