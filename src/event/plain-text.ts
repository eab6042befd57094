/**
 * Looks at the bytes of JSON strings four at a time. What is asked for by `JSON.parse` of a string: no
 * quote, no control character, escapes that exist (RFC 8259, section 7).
 */

export type StringForm = "plain" | "escaped" | "invalid";

/** The form of `view[start, end)` as the inside of a JSON string; its bytes must be valid UTF-8. */
export function stringForm(view: DataView, start: number, end: number): StringForm {
  let at = start;
  for (const last = end - 4; at <= last; at += 4) {
    if (hasSpecial(view.getInt32(at, true))) return formFrom(view, at, end);
  }
  return formFrom(view, at, end);
}

/** Place of the quote that ends the string whose inside begins at `start`; -1 when it has no such end before `limit`. */
export function endOfString(view: DataView, start: number, limit: number): number {
  let at = start;
  while (at < limit) {
    if (at + 4 <= limit && !hasSpecial(view.getInt32(at, true))) {
      at += 4;
      continue;
    }
    const byte = view.getUint8(at);
    if (byte === 0x22) return at;
    if (byte < 0x20) return -1;
    const length = byte === 0x5c ? escapeLength(view, at, limit) : 1;
    if (length === 0) return -1;
    at += length;
  }
  return -1;
}

/**
 * Whether one of four bytes is below 0x20, a quote or a backslash, by subtracting from all four at once
 * ("Bit Twiddling Hacks", hasless and haszero): a byte below the subtrahend borrows into its highest bit.
 */
function hasSpecial(word: number): boolean {
  // Flipping this bit leaves what is below 0x20 below it, and puts the quote (0x22) right behind.
  const quoteOrControl = (word ^ 0x02020202) - 0x21212121;
  const backslash = (word ^ 0x5c5c5c5c) - 0x01010101;
  // Bytes above 0x7f, of characters beyond ASCII, are none of the three.
  return ((quoteOrControl | backslash) & ~word & 0x80808080) !== 0;
}

function formFrom(view: DataView, start: number, end: number): StringForm {
  let escaped = false;
  let at = start;
  while (at < end) {
    const byte = view.getUint8(at);
    if (byte < 0x20 || byte === 0x22) return "invalid";
    if (byte !== 0x5c) {
      at += 1;
      continue;
    }
    escaped = true;
    const length = escapeLength(view, at, end);
    if (length === 0) return "invalid";
    at += length;
  }
  return escaped ? "escaped" : "plain";
}

/** Bytes of the escape at `at`, 0 when it is none. */
function escapeLength(view: DataView, at: number, end: number): number {
  if (at + 1 >= end) return 0;
  switch (view.getUint8(at + 1)) {
    case 0x22: // "
    case 0x5c: // \
    case 0x2f: // /
    case 0x62: // b
    case 0x66: // f
    case 0x6e: // n
    case 0x72: // r
    case 0x74: // t
      return 2;
    case 0x75: // u
      return at + 6 <= end && isHex(view, at + 2) ? 6 : 0;
    default:
      return 0;
  }
}

function isHex(view: DataView, start: number): boolean {
  for (let at = start; at < start + 4; at += 1) {
    const byte = view.getUint8(at);
    const letter = byte | 0x20;
    if (!((byte >= 0x30 && byte <= 0x39) || (letter >= 0x61 && letter <= 0x66))) return false;
  }
  return true;
}
