export const UUID_LENGTH = 36;
export const NIL_UUID = "00000000-0000-0000-0000-000000000000";

const LOWER = 1;
const UPPER = 2;
const HYPHEN = 4;
const OTHER = 8;

/** What each byte is. Read without a branch: which digit comes next in a UUID cannot be foretold. */
const KINDS = Uint8Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte);
  if (/[0-9a-f]/.test(character)) return LOWER;
  if (/[A-F]/.test(character)) return UPPER;
  return character === "-" ? HYPHEN : OTHER;
});

/** What takes the kind of a hyphen away where one belongs. Looked up, as it costs less than asking for the place. */
const HYPHENS = Uint8Array.from({ length: UUID_LENGTH }, (_, at) =>
  [8, 13, 18, 23].includes(at) ? HYPHEN : 0,
);

/** The hyphenated form of RFC 9562 section 4, folded to lower case; undefined for any other text. */
export function foldUuid(text: string): string | undefined {
  if (text.length !== UUID_LENGTH) return undefined;
  let kinds = 0;
  let codes = 0;
  for (let at = 0; at < UUID_LENGTH; at += 1) {
    const code = text.charCodeAt(at);
    codes |= code;
    kinds |= (KINDS[code & 0xff] ?? OTHER) ^ (HYPHENS[at] ?? 0);
  }
  if (codes > 0xff || kinds > (LOWER | UPPER)) return undefined;
  return kinds > LOWER ? text.toLowerCase() : text;
}

/** `view[start, start + 36)` is a hyphenated UUID in lower case. */
export function isLowerUuid(view: DataView, start: number): boolean {
  let kinds = 0;
  for (let at = 0; at < UUID_LENGTH; at += 1) {
    kinds |= (KINDS[view.getUint8(start + at)] ?? OTHER) ^ (HYPHENS[at] ?? 0);
  }
  return kinds === LOWER;
}
