import { LineSplitter } from "../../event/lines.ts";
import type { Followed } from "../follow.ts";
import type { Reading } from "../source.ts";
import { ANCHOR_BYTES, type Tail } from "../tail.ts";
import { anchorOf, lastBytes } from "./anchor.ts";
import type { Generation, Line, Progress } from "./progress.ts";

const LINE_FEED = 0x0a;
const NOTHING: Buffer = Buffer.alloc(0);

/** Deliveries of one reading: few enough that a commit can come between them. */
const MAX_DELIVERIES = 8_192;

/** A file that is read as deliveries, each a line that can be found again. */
export class KeptTail implements Followed {
  /** Each file has its lines cut for itself, so another one may be read in between. */
  readonly withinLine = false;
  readonly #tail: Tail;
  readonly #progress: Progress;
  #generation: Generation;
  #splitter: LineSplitter;
  /** Cut and not handed out. */
  #lines: Line[] = [];
  /** What was read last, where it stands, and up to 256 bytes before it. */
  #chunk: Buffer = NOTHING;
  #chunkAt: number;
  #before: Buffer;
  /** Up to 256 bytes at the beginning of the file, as far as it was read. */
  #first: Buffer;

  /** `offset` is where the tail begins to read. */
  constructor(
    tail: Tail,
    progress: Progress,
    { generation, offset }: { generation: Generation; offset: number },
  ) {
    this.#tail = tail;
    this.#progress = progress;
    this.#generation = generation;
    this.#chunkAt = offset;
    this.#before = tail.anchor;
    this.#first = tail.first;
    this.#splitter = this.#newSplitter(offset);
  }

  get identity(): string {
    return this.#tail.identity;
  }

  isEmpty(): Promise<boolean> {
    return this.#tail.isEmpty();
  }

  async read(): Promise<Reading | undefined> {
    while (this.#lines.length === 0) {
      const reading = await this.#tail.read();
      if (reading === undefined) return undefined;
      this.#take(reading);
    }
    return this.#handOut();
  }

  async rest(): Promise<readonly Reading[]> {
    return this.#handOutAll(await this.#tail.rest());
  }

  /**
   * What is left of a file to which nobody may have finished writing: its last line where that is a whole
   * object. Else says how many bytes stay in it, or that there are whole lines again.
   */
  async lastLine(): Promise<readonly Reading[] | "grown" | { readonly unfinishedBytes: number }> {
    let left: Buffer = NOTHING;
    const isTaken = (bytes: Buffer) => {
      left = bytes;
      return !this.#tail.withinLine && isWholeObject(bytes);
    };
    const readings = this.#tail.withinLine ? [] : await this.#tail.rest(isTaken);
    if (readings.length > 0) return this.#handOutAll(readings);
    if (left.includes(LINE_FEED)) return "grown";
    const unfinishedBytes = this.#end - this.#splitter.offset + left.length;
    return isBlank(left) && unfinishedBytes === left.length ? [] : { unfinishedBytes };
  }

  async close(): Promise<void> {
    this.#progress.end(this.#generation);
    await this.#tail.close();
  }

  /** Behind what was read last. */
  get #end(): number {
    return this.#chunkAt + this.#chunk.length;
  }

  #take(reading: Reading): void {
    if (reading.kind === "break") {
      this.#splitter.end();
      this.#splitter = this.#newSplitter(this.#end);
    }
    if (reading.kind !== "chunk") return;
    if (reading.position.offset === this.#end) this.#letGo();
    else this.#startAgain();
    this.#chunk = reading.bytes;
    if (this.#chunkAt < ANCHOR_BYTES) {
      this.#first = Buffer.concat([this.#first, reading.bytes.subarray(0, ANCHOR_BYTES - this.#chunkAt)]);
    }
    this.#splitter.push(reading.bytes);
  }

  #startAgain(): void {
    this.#progress.end(this.#generation);
    this.#generation = this.#progress.begin(this.identity, this.#generation.path);
    this.#chunkAt = 0;
    this.#before = NOTHING;
    this.#first = NOTHING;
    this.#splitter = this.#newSplitter(0);
  }

  #newSplitter(offset: number): LineSplitter {
    const splitter = new LineSplitter({
      offset,
      onLine: (buffer, start, end) => {
        const bytes = buffer.subarray(start, end);
        // What lies within a chunk is there for ever; what was put together is written over.
        this.#add(splitter, buffer === this.#chunk ? bytes : Buffer.from(bytes), undefined);
      },
      onTooLong: (bytes, head) => this.#add(splitter, head, bytes),
    });
    return splitter;
  }

  #add(
    { lineStart: start, offset: end }: LineSplitter,
    payload: Buffer,
    wholeBytes: number | undefined,
  ): void {
    if (!this.#progress.isWanted(this.#generation, start)) return;
    this.#lines.push({ start, end, payload, wholeBytes });
  }

  #handOutAll(readings: readonly Reading[]): Reading[] {
    for (const reading of readings) this.#take(reading);
    const handedOut: Reading[] = [];
    while (this.#lines.length > 0) handedOut.push(this.#handOut());
    return handedOut;
  }

  #handOut(): Reading {
    const lines = this.#lines.splice(0, MAX_DELIVERIES);
    const offset = lines.at(-1)?.end ?? this.#end;
    const last = lastBytes(this.#before, this.#chunk.subarray(0, offset - this.#chunkAt));
    const anchor = anchorOf(this.#first.subarray(0, last.length), last);
    const mark = { offset, anchor, modifiedMs: this.#tail.modifiedMs };
    const deliveries = this.#progress.handOut(this.#generation, lines, mark);
    if (this.#lines.length === 0) this.#letGo();
    return { kind: "deliveries", deliveries };
  }

  /** A chunk is long; of one that was used the end is enough. */
  #letGo(): void {
    this.#before = lastBytes(this.#before, this.#chunk);
    this.#chunkAt = this.#end;
    this.#chunk = NOTHING;
  }
}

/** An object says where it ends, as a number does not. */
function isWholeObject(bytes: Buffer): boolean {
  try {
    const value: unknown = JSON.parse(textOf(bytes));
    return typeof value === "object" && value !== null;
  } catch {
    return false;
  }
}

function isBlank(bytes: Buffer): boolean {
  return textOf(bytes).trim() === "";
}

/** Without the byte order mark of a file that has just this line. */
function textOf(bytes: Buffer): string {
  return new TextDecoder().decode(bytes);
}
