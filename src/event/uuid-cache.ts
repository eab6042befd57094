import { isLowerUuid, NIL_UUID, UUID_LENGTH } from "./uuid.ts";

/** A power of two. Runs whose events are mixed find their ids as long as about so many are at work. */
const SLOTS = 4_096;
const WORDS = UUID_LENGTH / 4;

/**
 * Makes strings of the UUIDs in lines, the same string for the same bytes while it is remembered: that
 * saves making and hashing one per event. Bounded: each place holds the last id that fell on it.
 */
export class UuidCache {
  readonly #words = new Int32Array(SLOTS * WORDS);
  readonly #texts = Array.from({ length: SLOTS }, () => "");

  /**
   * The lower-case UUID at `line[at]`; undefined when there is none, or the nil one. `view` is of all of
   * `line`.
   */
  read(line: Buffer, view: DataView, at: number): string | undefined {
    // The words of a version 7 UUID differ at its end, those of versions 1 and 4 everywhere.
    const mixed = view.getInt32(at + 28, true) ^ Math.imul(view.getInt32(at + 32, true), 0x9e3779b1);
    const slot = Math.imul(mixed ^ view.getInt32(at, true), 0x85ebca77) >>> 20;
    const first = slot * WORDS;
    for (let word = 0; word < WORDS; word += 1) {
      if (this.#words[first + word] !== view.getInt32(at + word * 4, true)) {
        return this.#remember(line, view, { at, slot });
      }
    }
    // Bytes of zero look like a place that is still empty.
    return this.#texts[slot] === "" ? undefined : this.#texts[slot];
  }

  #remember(line: Buffer, view: DataView, { at, slot }: { at: number; slot: number }): string | undefined {
    if (!isLowerUuid(view, at)) return undefined;
    const text = line.toString("latin1", at, at + UUID_LENGTH);
    if (text === NIL_UUID) return undefined;
    for (let word = 0; word < WORDS; word += 1) {
      this.#words[slot * WORDS + word] = view.getInt32(at + word * 4, true);
    }
    this.#texts[slot] = text;
    return text;
  }
}
