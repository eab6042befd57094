/**
 * Places within JSON text that `JSON.parse` has already accepted, found without parsing it again.
 *
 * The identity of an event is that of its bytes, and arguments keep their key order and the digits of their
 * numbers only in their own text.
 */

/** A member of an object: its key from the opening quote on, and its value. */
export interface Member {
  readonly keyStart: number;
  readonly valueStart: number;
  readonly valueEnd: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;
const OPENING_BRACKET = 0x5b;
const CLOSING_BRACKET = 0x5d;
const COMMA = 0x2c;

/**
 * The member `name` (in ASCII) of the object that begins at or, after whitespace, behind `start`.
 * Of several with that name it is the last, as for `JSON.parse`. It must be there: throws where it is not.
 */
export function findMember(json: Buffer, start: number, name: string): Member {
  let found: Member | undefined;
  let at = skipSpace(json, start);
  at = skipSpace(json, at + 1);
  while (json[at] === QUOTE) {
    const keyStart = at;
    const keyEnd = stringEnd(json, keyStart);
    // Behind the key stands a colon, possibly between spaces.
    const valueStart = skipSpace(json, skipSpace(json, keyEnd) + 1);
    const valueEnd = endOfValue(json, valueStart);
    if (isKey(json, keyStart, keyEnd, name)) found = { keyStart, valueStart, valueEnd };
    at = skipSpace(json, valueEnd);
    if (json[at] === COMMA) at = skipSpace(json, at + 1);
  }
  if (found === undefined) throw new Error(`JSON.parse found a member ${name} that its text does not have`);
  return found;
}

/** What lies between the braces of the object in `json[start, end)`, without whitespace at its ends. */
export function insideOf(json: Buffer, start: number, end: number): { start: number; end: number } {
  const first = skipSpace(json, skipSpace(json, start) + 1);
  const brace = skipSpaceBefore(json, end) - 1;
  return { start: first, end: skipSpaceBefore(json, brace) };
}

function isKey(json: Buffer, start: number, end: number, name: string): boolean {
  let at = start + 1;
  for (; at < end - 1 && json[at] !== BACKSLASH; at += 1) {
    if (json[at] !== name.charCodeAt(at - start - 1)) return false;
  }
  // Keys with escapes are rare: no serializer escapes the letters of the names asked for.
  if (json[at] === BACKSLASH) return JSON.parse(json.toString("utf8", start, end)) === name;
  return end - start === name.length + 2;
}

/**
 * Behind the value that begins at `start`. In text that nobody has parsed yet it is beyond the end of the text
 * when the value has no end of its own, and `start` when no value begins there.
 */
export function endOfValue(json: Buffer, start: number): number {
  const first = json[start];
  if (first === QUOTE) return stringEnd(json, start);
  let at = start;
  if (first !== OPENING_BRACE && first !== OPENING_BRACKET) {
    while (at < json.length && !endsScalar(json[at])) at += 1;
    return at;
  }
  let depth = 0;
  do {
    const byte = json[at];
    if (byte === QUOTE) {
      at = stringEnd(json, at);
      continue;
    }
    if (byte === OPENING_BRACE || byte === OPENING_BRACKET) depth += 1;
    else if (byte === CLOSING_BRACE || byte === CLOSING_BRACKET) depth -= 1;
    at += 1;
  } while (depth > 0 && at < json.length);
  return depth > 0 ? json.length + 1 : at;
}

/** Behind the closing quote of the string that begins at `start`. */
function stringEnd(json: Buffer, start: number): number {
  let at = start + 1;
  while (at < json.length && json[at] !== QUOTE) at += json[at] === BACKSLASH ? 2 : 1;
  return at + 1;
}

function endsScalar(byte: number | undefined): boolean {
  return byte === COMMA || byte === CLOSING_BRACE || byte === CLOSING_BRACKET || isSpace(byte);
}

/** The first place from `start` on that is not JSON's whitespace; the end of the text when there is none. */
export function skipSpace(json: Buffer, start: number): number {
  let at = start;
  while (isSpace(json[at])) at += 1;
  return at;
}

function skipSpaceBefore(json: Buffer, end: number): number {
  let at = end;
  while (isSpace(json[at - 1])) at -= 1;
  return at;
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;
}
