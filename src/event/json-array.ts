import { endOfValue, skipSpace } from "./json-bytes.ts";

/** A part of a text: its first byte, and the one behind its last. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

const OPENING_BRACKET = 0x5b;
const CLOSING_BRACKET = 0x5d;
const COMMA = 0x2c;

/**
 * The elements of the JSON array that begins at `start` and goes to the end of `json`, without parsing them: an
 * element may be broken within, and whoever parses it finds out. When each of them is JSON, so is the whole.
 * Returns at the end what is wrong with the array itself, in words that give nothing of it away.
 */
export function* elementsOf(json: Buffer, start: number): Generator<Range, string | undefined> {
  if (json[start] !== OPENING_BRACKET) return "it is no JSON array";
  let at = skipSpace(json, start + 1);
  if (json[at] === CLOSING_BRACKET) return restOf(json, at + 1);
  for (;;) {
    const end = endOfValue(json, at);
    if (end > json.length) return "the JSON array ends too early";
    if (end === at) return at === json.length ? "the JSON array ends too early" : missing(at);
    yield { start: at, end };
    at = skipSpace(json, end);
    if (json[at] === CLOSING_BRACKET) return restOf(json, at + 1);
    if (at >= json.length) return "the JSON array ends too early";
    if (json[at] !== COMMA) return `expected a comma or the end of the JSON array at byte ${at + 1}`;
    at = skipSpace(json, at + 1);
  }
}

function missing(at: number): string {
  return `expected an element of the JSON array at byte ${at + 1}`;
}

function restOf(json: Buffer, end: number): string | undefined {
  const behind = skipSpace(json, end);
  return behind < json.length ? `there is more behind the JSON array, at byte ${behind + 1}` : undefined;
}
