import { elementsOf, type Range } from "../../event/json-array.ts";
import { endOfValue, skipSpace } from "../../event/json-bytes.ts";

/** How the events of a body are parted: a line each, the elements of a JSON array, or one alone. */
export type Form = "lines" | "array" | "one";

/** One event of a body: `body[start, end)`. */
export interface Cut extends Range {
  /** Counts from 1: lines, blank ones included, or elements. */
  readonly line: number;
}

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const TAB = 0x09;
const OPENING_BRACE = 0x7b;
const OPENING_BRACKET = 0x5b;

/**
 * The form of a body: NDJSON is lines whatever stands in them; JSON is an array or one event; and of a body
 * without a type its first character tells. Undefined for JSON that is neither.
 */
export function formOf(type: "ndjson" | "json" | undefined, body: Buffer): Form | undefined {
  if (type === "ndjson") return "lines";
  const first = body[firstByte(body)];
  if (first === OPENING_BRACKET) return "array";
  if (type === undefined) return "lines";
  return first === OPENING_BRACE ? "one" : undefined;
}

/**
 * The events of a body, their bytes as they were sent. Returns at its end what is wrong with the body as a
 * whole, in words; a body of lines is never wrong.
 */
export function* cut(body: Buffer, form: Form): Generator<Cut, string | undefined> {
  switch (form) {
    case "lines":
      yield* lines(body);
      return undefined;
    case "one":
      return yield* single(body);
    case "array": {
      const elements = elementsOf(body, firstByte(body));
      for (let line = 1; ; line += 1) {
        const { done, value } = elements.next();
        if (done) return value;
        yield { ...value, line };
      }
    }
  }
}

function* single(body: Buffer): Generator<Cut, string | undefined> {
  const start = firstByte(body);
  const end = endOfValue(body, start);
  if (end > body.length) return "the JSON ends too early";
  const behind = skipSpace(body, end);
  if (behind < body.length) {
    return (
      `there is more behind the event, at byte ${behind + 1}; expected one event, ` +
      "a JSON array of them, or lines as application/x-ndjson"
    );
  }
  yield { start, end, line: 1 };
  return undefined;
}

/** LF or CRLF ends a line, and the last one possibly nothing. Blank lines are counted and are no events. */
function* lines(body: Buffer): Generator<Cut> {
  let line = 1;
  for (let at = afterMark(body); at < body.length; at += 1) {
    const byte = body[at];
    if (byte === LINE_FEED) line += 1;
    if (byte === LINE_FEED || byte === CARRIAGE_RETURN || byte === SPACE || byte === TAB) continue;
    const found = body.indexOf(LINE_FEED, at);
    const next = found < 0 ? body.length : found;
    yield { start: at, end: body[next - 1] === CARRIAGE_RETURN ? next - 1 : next, line };
    line += 1;
    at = next;
  }
}

/** Behind a byte order mark and whitespace. */
function firstByte(body: Buffer): number {
  return skipSpace(body, afterMark(body));
}

function afterMark(body: Buffer): number {
  return body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf ? 3 : 0;
}
