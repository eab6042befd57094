/** Walks over JSON text that is known to be valid, one token after another, without recursion. */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;
const OPENING_BRACKET = 0x5b;
const CLOSING_BRACKET = 0x5d;

export interface JsonMeasure {
  /** UTF-16 units without the whitespace between tokens. */
  readonly length: number;
  /** Arrays and objects within each other: 0 for a scalar, 1 for `[]`. */
  readonly depth: number;
}

export function measureJson(json: string): JsonMeasure {
  let length = 0;
  let depth = 0;
  let deepest = 0;
  let at = 0;
  while (at < json.length) {
    const code = json.charCodeAt(at);
    const next = code === QUOTE ? stringEnd(json, at) : at + 1;
    if (!isSpace(code)) length += next - at;
    if (code === OPENING_BRACE || code === OPENING_BRACKET) {
      depth += 1;
      if (depth > deepest) deepest = depth;
    } else if (code === CLOSING_BRACE || code === CLOSING_BRACKET) {
      depth -= 1;
    }
    at = next;
  }
  return { length, depth: deepest };
}

export interface JsonRewrite {
  /** The JSON text to put in place of the whole value of the member with this name; undefined keeps it. */
  readonly member: (name: string) => string | undefined;
  /** What a string becomes; the same string keeps its text. */
  readonly string: (value: string) => string;
}

/**
 * The same JSON with some values replaced, without whitespace between tokens. Everything kept is kept to
 * the character: key order, repeated keys, the digits of large numbers.
 */
export function rewriteJson(json: string, rewrite: JsonRewrite): string {
  const parts: string[] = [];
  /** For each open array or object, whether it is an object. */
  const open: boolean[] = [];
  let expectsKey = false;
  /** Everything before it is in `parts` already. */
  let kept = 0;
  let at = 0;
  const replace = (start: number, end: number, text: string): void => {
    parts.push(json.slice(kept, start), text);
    kept = end;
    at = end;
  };
  while (at < json.length) {
    const code = json.charCodeAt(at);
    if (isSpace(code)) {
      replace(at, skipSpace(json, at), "");
    } else if (code === QUOTE) {
      const end = stringEnd(json, at);
      const value: string = JSON.parse(json.slice(at, end));
      if (expectsKey) {
        const replacement = rewrite.member(value);
        if (replacement === undefined) at = end;
        else replace(end, endOfMember(json, end), `:${replacement}`);
        expectsKey = false;
      } else {
        const rewritten = rewrite.string(value);
        if (rewritten === value) at = end;
        else replace(at, end, JSON.stringify(rewritten));
      }
    } else {
      if (code === OPENING_BRACE || code === OPENING_BRACKET) open.push(code === OPENING_BRACE);
      else if (code === CLOSING_BRACE || code === CLOSING_BRACKET) open.pop();
      expectsKey = code === OPENING_BRACE || (code === COMMA && open.at(-1) === true);
      at += 1;
    }
  }
  if (kept === 0) return json;
  parts.push(json.slice(kept));
  return parts.join("");
}

/** The comma or brace behind the member whose key ends at `start`. */
function endOfMember(json: string, start: number): number {
  let depth = 0;
  let at = start;
  while (at < json.length) {
    const code = json.charCodeAt(at);
    if (code === OPENING_BRACE || code === OPENING_BRACKET) depth += 1;
    else if (code === CLOSING_BRACE || code === CLOSING_BRACKET) depth -= 1;
    if (depth < 0 || (depth === 0 && code === COMMA)) return at;
    at = code === QUOTE ? stringEnd(json, at) : at + 1;
  }
  return at;
}

function stringEnd(json: string, start: number): number {
  let at = start + 1;
  while (at < json.length) {
    const code = json.charCodeAt(at);
    if (code === QUOTE) return at + 1;
    at += code === BACKSLASH ? 2 : 1;
  }
  return at;
}

function skipSpace(json: string, start: number): number {
  let at = start;
  while (isSpace(json.charCodeAt(at))) at += 1;
  return at;
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d;
}
