import type { Refusal } from "./answer.ts";
import type { Room } from "./room.ts";

/** For bodies beyond the limit, however they come to be. */
export function tooLarge(maxBodyBytes: number): Refusal {
  const limit = maxBodyBytes.toLocaleString("en-US");
  const message = `the body has more than ${limit} bytes, as sent or inflated; expected several smaller ones`;
  return { status: 413, message };
}

/** For bodies there is no room for now, whose sender tries again. */
export const FULL: Refusal = {
  status: 429,
  message: "there is no room for the body now, and nothing of it was taken; send it again later",
  headers: { "retry-after": "1" },
};

const LEAST_BYTES = 4_096;

/** The bytes of one body, held together: a list of the pieces in which they came could cost many times as much. */
export class Gathered {
  readonly #maxBytes: number;
  readonly #room: Room;
  #buffer = Buffer.alloc(0);
  #length = 0;
  #held = 0;
  /** Why no more is gathered. */
  refusal: Refusal | undefined;

  constructor({ maxBodyBytes, room }: { readonly maxBodyBytes: number; readonly room: Room }) {
    this.#maxBytes = maxBodyBytes;
    this.#room = room;
  }

  /** False, with a refusal, when that is too much. */
  add(bytes: Buffer): boolean {
    const length = this.#length + bytes.length;
    if (length > this.#maxBytes) this.refusal = tooLarge(this.#maxBytes);
    else if (length > this.#buffer.length && !this.#grow(length)) this.refusal = FULL;
    if (this.refusal !== undefined) return false;
    bytes.copy(this.#buffer, this.#length);
    this.#length = length;
    return true;
  }

  /** A copy of just their size: what they have grown into is up to twice that. */
  whole(): Buffer {
    const bytes = Buffer.allocUnsafeSlow(this.#length);
    this.#buffer.copy(bytes, 0, 0, this.#length);
    return bytes;
  }

  /** Gives the room back, and lets go of the bytes. */
  release(): void {
    this.#room.give(this.#held);
    this.#held = 0;
    this.#buffer = Buffer.alloc(0);
  }

  #grow(length: number): boolean {
    const size = Math.max(length, Math.min(this.#maxBytes, Math.max(2 * this.#buffer.length, LEAST_BYTES)));
    const more = size - this.#held;
    if (!this.#room.take(more)) return false;
    this.#held += more;
    const grown = Buffer.allocUnsafeSlow(size);
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
    return true;
  }
}
