import type { Decoder } from "./event/decode.ts";
import { MAX_RUN_LINE_BYTES } from "./event/run-line.ts";

/** Bytes of lines that are held back: any line has room where no other is. */
const MAX_HELD_BYTES = MAX_RUN_LINE_BYTES;

/** A line that says it is so late, within the bytes that are held back. */
interface Claim {
  readonly ms: number;
  readonly start: number;
  readonly end: number;
}

/**
 * What time the lines of other shards say it is, where only events say so: a run falls silent by
 * what everybody does. A line that is no event counts for nothing, so the latest of them have to be decoded, but
 * only if nothing that follows says that it is as late by itself.
 */
export class OthersTime {
  readonly #decoder: Decoder;
  readonly #held = Buffer.allocUnsafeSlow(MAX_HELD_BYTES);
  #heldBytes = 0;
  #claims: Claim[] = [];
  /** What is known for certain. */
  #reachedMs = 0;

  constructor(decoder: Decoder) {
    this.#decoder = decoder;
  }

  /** An event of this time was read. */
  reach(ms: number): void {
    if (ms > this.#reachedMs) this.#reachedMs = ms;
  }

  /** Takes a copy of the line; false when there is no room for it before the time was settled. */
  add(ms: number, buffer: Buffer, start: number, end: number): boolean {
    const heldEnd = this.#heldBytes + end - start;
    if (heldEnd > MAX_HELD_BYTES) return false;
    buffer.copy(this.#held, this.#heldBytes, start, end);
    this.#claims.push({ ms, start: this.#heldBytes, end: heldEnd });
    this.#heldBytes = heldEnd;
    return true;
  }

  /** The latest time of `ms`, of every event, and of every line that is one; forgets the lines. */
  settle(ms: number): number {
    const leastMs = Math.max(ms, this.#reachedMs);
    if (this.#claims.length === 0) return leastMs;
    const later = this.#claims.filter((claim) => claim.ms > leastMs).toSorted((a, b) => b.ms - a.ms);
    this.#claims = [];
    this.#heldBytes = 0;
    const latest = later.find(({ start, end }) => {
      const { type } = this.#decoder.line(this.#held, start, end, true);
      return type !== "rejected" && type !== "unknown";
    });
    return latest?.ms ?? leastMs;
  }
}
