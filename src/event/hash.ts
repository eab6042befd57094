import { writeText } from "./write-text.ts";

/**
 * A 53-bit hash for telling events apart: not for secrets, not against an attacker.
 *
 * Two lanes of 32 bits, so that the result fits a double exactly. Each step takes eight bytes and can be
 * undone, so texts of one length that differ in a single step never collide before the last bits are cut
 * off. The numbers are part of the saved state: after a change here a restarted bridge would not recognise
 * the duplicates of what it saw before.
 */

const PRIME_A = 0x9e3779b1 | 0;
const PRIME_B = 0x85ebca77 | 0;

/** Bytes that one step takes. */
const STEP = 8;

/**
 * One buffer for all short texts: a new one would cost more than the hash. UTF-8 takes at most three bytes
 * per UTF-16 unit.
 */
const SCRATCH_TEXT = 2_048;
const scratch = Buffer.allocUnsafeSlow(3 * SCRATCH_TEXT);
const scratchView = new DataView(scratch.buffer);

/** 32 bits of the first lane and 21 of the second. */
const SECOND_LANE = 0x200000;

/** Hash of `view[start, end)`: a whole number below 2^53. Equal bytes give equal numbers. */
export function hashBytes(view: DataView, start: number, end: number, seedA = 0, seedB = 0): number {
  const length = end - start;
  if (length < STEP) return hashShort(view, start, end, seedA, seedB);
  let a = length ^ seedA;
  let b = ~length ^ seedB;
  const last = end - STEP;
  for (let at = start; at < last; at += STEP) {
    a = Math.imul(a ^ view.getInt32(at, true), PRIME_A);
    a = (((a << 13) | (a >>> 19)) + b) | 0;
    b = Math.imul(b ^ view.getInt32(at + 4, true), PRIME_B);
    b = ((b << 15) | (b >>> 17)) ^ a;
  }
  // Where the length is no multiple of the step, the last one overlaps the one before it.
  return finish(a ^ view.getInt32(last, true), b ^ view.getInt32(last + 4, true));
}

function hashShort(view: DataView, start: number, end: number, seedA: number, seedB: number): number {
  let a = (end - start) ^ seedA;
  let b = ~(end - start) ^ seedB;
  for (let at = start; at < end; at += 1) {
    a = Math.imul(a ^ view.getUint8(at), PRIME_A);
    b = Math.imul(b ^ a, PRIME_B);
  }
  return finish(a, b);
}

/** Hash of the UTF-8 bytes of `text`: the number that `hashBytes` gives for them. */
export function hashText(text: string, seedA = 0, seedB = 0): number {
  if (text.length <= SCRATCH_TEXT) {
    return hashBytes(scratchView, 0, writeText(scratch, text), seedA, seedB);
  }
  const bytes = Buffer.from(text, "utf8");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return hashBytes(view, 0, bytes.byteLength, seedA, seedB);
}

/**
 * Joins the lanes. One is spread before it meets the other: two digits that differ must not make up for each
 * other.
 */
function finish(laneA: number, laneB: number): number {
  const b = spread(laneB);
  const a = spread(laneA ^ b);
  return (a >>> 0) * SECOND_LANE + ((a + b) >>> 11);
}

/** The 32-bit finaliser of MurmurHash3, which is in the public domain. */
function spread(lane: number): number {
  let x = lane;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}
