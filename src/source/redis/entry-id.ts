/** Ids of stream entries, `<milliseconds>-<sequence>`, both up to 2^64 - 1, so compared as text. */

/** Before the first of a stream. */
export const FIRST_ID = "0-0";

const LAST_SEQUENCE = (1n << 64n) - 1n;

/** Negative when `a` was appended before `b`, 0 when they are the same. */
export function compareIds(a: string, b: string): number {
  const [aMs = "", aSequence = "0"] = a.split("-");
  const [bMs = "", bSequence = "0"] = b.split("-");
  return compareDigits(aMs, bMs) || compareDigits(aSequence, bSequence);
}

/** The append time of an entry in milliseconds since 1970: by default the server's clock gave it. */
export function timeOf(id: string): number {
  return Number(id.slice(0, id.indexOf("-")));
}

/** The greatest id below this one; `0-0` stays. */
export function idBefore(id: string): string {
  const [ms = "0", sequence = "0"] = id.split("-");
  if (BigInt(sequence) > 0n) return `${ms}-${BigInt(sequence) - 1n}`;
  return BigInt(ms) > 0n ? `${BigInt(ms) - 1n}-${LAST_SEQUENCE}` : FIRST_ID;
}

export function isEntryId(text: string): boolean {
  return /^\d{1,20}-\d{1,20}$/.test(text);
}

function compareDigits(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}
