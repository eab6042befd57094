import { isUtf8 } from "node:buffer";

import { lineLimit } from "./letter.ts";

export const DEFAULT_MAX_LINE_BYTES = 1_048_576;

/** What is kept of a line that is too long. */
export const HEAD_BYTES = 65_536;

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
/** A carriage return that may turn out to be part of the line's end; a byte order mark on the first line. */
const SLACK_BYTES = 4;
const MIN_CARRY_BYTES = 4_096;
const NOTHING = Buffer.alloc(0);

export interface LineSplitterOptions {
  /**
   * Called for each line that is not blank: `buffer[start, end)`, without its end; valid during the call
   * only.
   */
  readonly onLine: (buffer: Buffer, start: number, end: number, validUtf8: boolean) => void;
  /** Called once for a line over the limit, when it is over: its length and its first 64 KiB, a copy. */
  readonly onTooLong: (bytes: number, head: Buffer) => void;
  /**
   * Length of the longest line, its end not counted. Default 1 MiB. The line of a dead letter may be as long as
   * one of a payload of that length has to be: six times that, and 128 KiB.
   */
  readonly maxLineBytes?: number;
  /** Position in the input at which reading begins, where it goes on. Default 0. */
  readonly offset?: number;
}

/**
 * Cuts a stream of bytes into lines, wherever the chunks are cut.
 *
 * Lines end in LF or CRLF, the last one possibly in nothing; a byte order mark at the very start and blank
 * lines are skipped. A line within one chunk is handed on without copying. Holds at most one line of the
 * limit's length; memory that a dead letter took is given back behind it.
 */
export class LineSplitter {
  readonly #onLine: LineSplitterOptions["onLine"];
  readonly #onTooLong: LineSplitterOptions["onTooLong"];
  readonly #maxLineBytes: number;
  /** The beginning of a line whose end has not come: the first `#held` bytes. */
  #carry = NOTHING;
  #held = 0;
  /** All bytes of the unfinished line, held or (when it is too long) let go. */
  #lineBytes = 0;
  #lastByte = 0;
  #lineStart: number;
  #offset: number;

  constructor(options: LineSplitterOptions) {
    this.#onLine = options.onLine;
    this.#onTooLong = options.onTooLong;
    this.#maxLineBytes = options.maxLineBytes ?? DEFAULT_MAX_LINE_BYTES;
    this.#offset = options.offset ?? 0;
    this.#lineStart = this.#offset;
  }

  /** Position in the input after the last complete line, the one being handed on included. */
  get offset(): number {
    return this.#offset;
  }

  /** Position in the input of the first byte of the line being handed on. */
  get lineStart(): number {
    return this.#lineStart;
  }

  /** Takes the next bytes. The chunk may be written over as soon as this returns. */
  push(chunk: Buffer): void {
    let start = 0;
    let end = chunk.indexOf(LINE_FEED);
    if (end >= 0 && this.#lineBytes > 0) {
      this.#hold(chunk, 0, end);
      start = end + 1;
      this.#finishHeld(1);
      end = chunk.indexOf(LINE_FEED, start);
    }
    if (end >= 0) {
      // Asked once for all the lines that lie within the chunk; a line of its own only where that fails.
      const whole = chunk.subarray(start, chunk.lastIndexOf(LINE_FEED));
      const allValid = isUtf8(whole);
      for (; end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
        this.#lineStart = this.#offset;
        this.#offset += end + 1 - start;
        this.#emit(chunk, start, end, allValid);
        start = end + 1;
      }
    }
    if (start < chunk.length) this.#hold(chunk, start, chunk.length);
  }

  /** Hands on a last line without an end. The offset then stands behind it. */
  end(): void {
    if (this.#lineBytes > 0) this.#finishHeld(0);
  }

  /** Keeps what may still become a line; of a line already too long only its head. */
  #hold(chunk: Buffer, start: number, end: number): void {
    if (end === start) return;
    this.#lineBytes += end - start;
    this.#lastByte = chunk[end - 1] ?? 0;
    const most = this.#maxLineBytes + SLACK_BYTES;
    if (this.#lineBytes <= most) {
      this.#copy(chunk, start, { wanted: this.#lineBytes, most });
      return;
    }
    const headBytes = Math.min(this.#lineBytes, HEAD_BYTES);
    const copied = this.#copy(chunk, start, { wanted: headBytes, most: Math.max(most, HEAD_BYTES) });
    const mostOfThis = lineLimit(this.#carry, 0, this.#held, this.#maxLineBytes) + SLACK_BYTES;
    if (this.#lineBytes > mostOfThis) return;
    this.#copy(chunk, start + copied, { wanted: this.#lineBytes, most: mostOfThis });
  }

  /** Makes the first `wanted` bytes of the line be held; gives back how many of them it took from the chunk. */
  #copy(
    chunk: Buffer,
    from: number,
    { wanted, most }: { readonly wanted: number; readonly most: number },
  ): number {
    const missing = wanted - this.#held;
    if (missing <= 0) return 0;
    if (wanted > this.#carry.length) this.#grow(wanted, most);
    chunk.copy(this.#carry, this.#held, from, from + missing);
    this.#held = wanted;
    return missing;
  }

  #grow(wanted: number, most: number): void {
    const carry = Buffer.allocUnsafeSlow(
      Math.min(most, Math.max(wanted, 2 * this.#carry.length, MIN_CARRY_BYTES)),
    );
    this.#carry.copy(carry, 0, 0, this.#held);
    this.#carry = carry;
  }

  #finishHeld(lineFeedBytes: 0 | 1): void {
    const bytes = this.#lineBytes;
    const held = this.#held;
    this.#lineStart = this.#offset;
    this.#offset += bytes + lineFeedBytes;
    this.#lineBytes = 0;
    this.#held = 0;
    const carry = this.#carry;
    if (carry.length > Math.max(this.#maxLineBytes + SLACK_BYTES, HEAD_BYTES)) this.#carry = NOTHING;
    if (bytes === held) {
      this.#emit(carry, 0, held, isUtf8(carry.subarray(0, held)));
      return;
    }
    const start = this.#contentStart(carry, 0, held);
    const lineEnd = lineFeedBytes === 1 && this.#lastByte === CARRIAGE_RETURN ? 1 : 0;
    this.#onTooLong(bytes - start - lineEnd, head(carry, start, held));
  }

  #emit(buffer: Buffer, lineStart: number, lineEnd: number, validUtf8: boolean): void {
    const start = this.#contentStart(buffer, lineStart, lineEnd);
    const end = lineEnd > start && buffer[lineEnd - 1] === CARRIAGE_RETURN ? lineEnd - 1 : lineEnd;
    const bytes = end - start;
    if (bytes > this.#maxLineBytes && bytes > lineLimit(buffer, start, end, this.#maxLineBytes)) {
      this.#onTooLong(bytes, head(buffer, start, end));
    } else if (!isBlank(buffer, start, end)) {
      this.#onLine(buffer, start, end, validUtf8 || isUtf8(buffer.subarray(start, end)));
    }
  }

  /** Behind the byte order mark, where the line is the very first and has one. */
  #contentStart(buffer: Buffer, start: number, end: number): number {
    if (this.#lineStart > 0 || end - start < 3) return start;
    const marked = buffer[start] === 0xef && buffer[start + 1] === 0xbb && buffer[start + 2] === 0xbf;
    return marked ? start + 3 : start;
  }
}

function head(buffer: Buffer, start: number, end: number): Buffer {
  return Buffer.from(buffer.subarray(start, Math.min(end, start + HEAD_BYTES)));
}

/** Nothing but what JSON calls whitespace. */
function isBlank(buffer: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at += 1) {
    const byte = buffer[at];
    if (byte !== 0x20 && byte !== 0x09 && byte !== CARRIAGE_RETURN) return false;
  }
  return true;
}
