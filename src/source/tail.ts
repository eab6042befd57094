import type { BigIntStats } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { CHUNK_BYTES, type Reading } from "./source.ts";

const LINE_FEED = 0x0a;
const NOTHING = Buffer.alloc(0);

/** Bytes before the offset that are compared with what was read there: they tell a file from its successor. */
export const ANCHOR_BYTES = 256;

/**
 * One generation of a followed file: an open file, read on as it grows, whatever becomes of its name.
 *
 * It hands out whole lines. The beginning of a line stays in the file until its end has been
 * written, so that nothing of it is lost or joined to something else when the file is truncated.
 */
export class Tail {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly identity: string;
  /** Up to 256 bytes at the beginning of the file, no more than stand before the one at which reading began. */
  readonly first: Buffer;
  #offset: number;
  /** What stood right before the offset when it was read. */
  #anchor: Buffer;
  #modifiedMs: number;
  /** The last chunk ended within a line that is longer than a chunk. */
  #withinLine = false;

  private constructor(path: string, handle: FileHandle, found: Found) {
    this.#path = path;
    this.#handle = handle;
    this.identity = identityOf(found.stats);
    this.#modifiedMs = Number(found.stats.mtimeMs);
    this.first = found.first;
    this.#anchor = found.anchor;
    this.#offset = found.offset;
  }

  /** Reads from `offset` on, the beginning of a line. */
  static async open(path: string, offset = 0): Promise<Tail> {
    const handle = await open(path, "r");
    try {
      const stats = await handle.stat({ bigint: true });
      if (!stats.isFile()) throw new Error(stats.isDirectory() ? "is a directory" : "is no regular file");
      const length = Math.min(offset, ANCHOR_BYTES);
      const first = await handle.read(Buffer.alloc(length), 0, length, 0);
      const last = await handle.read(Buffer.alloc(length), 0, length, offset - length);
      return new Tail(path, handle, {
        stats,
        offset,
        first: first.buffer.subarray(0, first.bytesRead),
        anchor: last.buffer.subarray(0, last.bytesRead),
      });
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  get withinLine(): boolean {
    return this.#withinLine;
  }

  /** Up to 256 bytes that stand before the next one to be read. */
  get anchor(): Buffer {
    return this.#anchor;
  }

  /** When it was last written to, as far as was seen; milliseconds since 1970. */
  get modifiedMs(): number {
    return this.#modifiedMs;
  }

  async isEmpty(): Promise<boolean> {
    return (await this.#handle.stat()).size === 0;
  }

  /** Whole lines that came since, at most a chunk of them; undefined when there are none. */
  async read(): Promise<Reading | undefined> {
    const read = await this.#readOn();
    if (read === "replaced") return this.#startAgain() ?? this.read();
    const end = read.lastIndexOf(LINE_FEED) + 1;
    if (end > 0) {
      this.#withinLine = false;
      return this.#handOut(read.subarray(0, end));
    }
    if (read.length < CHUNK_BYTES - ANCHOR_BYTES) return undefined;
    this.#withinLine = true;
    return this.#handOut(read);
  }

  /**
   * The last line, when nobody will write its end any more, or `accept` takes it as it is; then a break.
   * `accept` is asked for whatever is left, which is nothing where the line's beginning was handed out.
   */
  async rest(accept: (bytes: Buffer) => boolean = () => true): Promise<readonly Reading[]> {
    const read = await this.#readOn();
    if (read === "replaced" || read.length === 0) return this.#withinLine ? [{ kind: "break" }] : [];
    return accept(read) ? [this.#handOut(read), { kind: "break" }] : [];
  }

  async close(): Promise<void> {
    await this.#handle.close().catch(() => {});
  }

  /** The bytes from the offset on, or the news that the file is no longer the one that was read. */
  async #readOn(): Promise<Buffer | "replaced"> {
    const { size, mtimeMs } = await this.#handle.stat();
    this.#modifiedMs = mtimeMs;
    if (size === this.#offset) return (await this.#isSame()) ? NOTHING : "replaced";
    const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
    const before = this.#anchor.length;
    const { bytesRead } = await this.#handle.read(buffer, 0, CHUNK_BYTES, this.#offset - before);
    if (!buffer.subarray(0, Math.min(before, bytesRead)).equals(this.#anchor)) return "replaced";
    return buffer.subarray(before, bytesRead);
  }

  /** Whether what stands before the offset is what was read: a file written anew may have just the old length. */
  async #isSame(): Promise<boolean> {
    const { length } = this.#anchor;
    const { buffer, bytesRead } = await this.#handle.read(
      Buffer.alloc(length),
      0,
      length,
      this.#offset - length,
    );
    return bytesRead === length && buffer.equals(this.#anchor);
  }

  #handOut(bytes: Buffer): Reading {
    const position = { file: this.#path, offset: this.#offset };
    this.#offset += bytes.length;
    // A short chunk leaves a short anchor, which is enough: it must only differ from what is written anew.
    this.#anchor = Buffer.from(bytes.subarray(-ANCHOR_BYTES));
    return { kind: "chunk", bytes, position };
  }

  #startAgain(): Reading | undefined {
    this.#offset = 0;
    this.#anchor = Buffer.alloc(0);
    const wasWithinLine = this.#withinLine;
    this.#withinLine = false;
    return wasWithinLine ? { kind: "break" } : undefined;
  }
}

interface Found {
  readonly stats: BigIntStats;
  readonly offset: number;
  readonly first: Buffer;
  readonly anchor: Buffer;
}

/** Device and number: what stays the same when a file is renamed, as long as it is held open. */
export function identityOf(stats: { readonly dev: bigint; readonly ino: bigint }): string {
  return `${stats.dev}:${stats.ino}`;
}
