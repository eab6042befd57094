import type { StateRecord } from "../../state/store.ts";
import { packRecords, parseChunk, recordBytes, type Changes } from "./chunk-text.ts";

/** Some records, written once and never changed: one value, or several when a single record takes that. */
export interface Chunk {
  /** Who wrote it, and which of his it is. */
  readonly epoch: number;
  readonly number: number;
  /** Length of its text. */
  readonly bytes: number;
  /** Where its values stand, in order; known once they are written. */
  readonly revisions: number[];
}

/** What a commit writes, and what is true once it is committed. */
export interface Plan {
  readonly written: readonly { readonly chunk: Chunk; readonly text: Buffer }[];
  /** The chunks that make up the state then, oldest first. */
  readonly chunks: readonly Chunk[];
  /** Chunks that are needed no more then: the oldest that were cleaned, and a short last one. */
  readonly dropped: readonly Chunk[];
  readonly cleaned: number;
  /** Keys of which there is no record any more. */
  readonly removed: readonly string[];
  /** What every written chunk holds, in the same order. */
  readonly contents: readonly Changes[];
}

export interface ChunkLogOptions {
  /** Longest text of a chunk, but for a single record that is longer. */
  readonly chunkBytes: number;
  /** A last chunk that is shorter is written again, together with what is new. */
  readonly tailBytes: number;
  /** Bytes that may lie dead beside as many as are alive. */
  readonly slackBytes: number;
  /** Chunks beyond which the oldest are written again even when they are all alive. */
  readonly maxChunks: number;
}

/** Of the oldest chunks, what a commit reads at least when there is need: so much that it always gets ahead. */
const MIN_CLEANED_BYTES = 4 * 1024 * 1024;
/** A key's place is one number: the ordinal of its chunk, and the length of its record in the lower bits. */
const LENGTH_RANGE = 2 ** 21;

/**
 * Which chunks hold the newest record of each key. A state is its chunks read one after another; a commit
 * adds chunks for what has changed, and takes over what is alive of the oldest when too much of them is
 * dead. It holds the keys but no values, except those of a short last chunk.
 */
export class ChunkLog {
  readonly #options: ChunkLogOptions;
  readonly #epoch: number;
  #number = 0;
  /** Oldest first; what the ordinals of places count from is the first of these. */
  #chunks: readonly Chunk[];
  #firstOrdinal = 0;
  readonly #places = new Map<string, number>();
  /** Keys of which the newest is that they are gone, while the chunks are being read. */
  #gone: Set<string> | undefined = new Set();
  #read: number;
  #liveBytes = 0;
  #bytes: number;
  /** What the last chunk holds, as long as it is short. */
  #tail: Changes | undefined;

  constructor(chunks: readonly Chunk[], epoch: number, options: ChunkLogOptions) {
    this.#chunks = chunks;
    this.#epoch = epoch;
    this.#options = options;
    this.#read = chunks.length;
    this.#bytes = total(chunks);
  }

  get chunks(): readonly Chunk[] {
    return this.#chunks;
  }

  /** Length of their texts. */
  get bytes(): number {
    return this.#bytes;
  }

  get keys(): number {
    return this.#places.size;
  }

  /** The chunk to read next, newest first; undefined when every one was read. */
  get toRead(): Chunk | undefined {
    return this.#chunks[this.#read - 1];
  }

  /** Takes in the text of `toRead`; gives the records that are the newest of their keys. Throws when it is damaged. */
  read(text: Buffer): StateRecord[] {
    this.#read -= 1;
    const changes = parseChunk(text);
    if (this.#read === this.#chunks.length - 1 && text.length < this.#options.tailBytes) this.#tail = changes;
    const records: StateRecord[] = [];
    for (const [key, value] of changes) {
      if (this.#places.has(key) || this.#gone?.has(key)) continue;
      if (value === undefined) this.#gone?.add(key);
      else {
        this.#put(key, this.#read, recordBytes(key, value));
        records.push([key, value]);
      }
    }
    if (this.#read === 0) this.#gone = undefined;
    return records;
  }

  /** The oldest chunks, whose text a plan for so many bytes of changes wants to have. */
  toClean(changedBytes: number): readonly Chunk[] {
    const most = Math.max(MIN_CLEANED_BYTES, 2 * changedBytes);
    const excess = () => this.#bytes - cleaned - 2 * this.#liveBytes - this.#options.slackBytes;
    let [count, cleaned] = [0, 0];
    // The last one is written again as long as it is short, so it is never too old.
    while (count < this.#chunks.length - 1 && cleaned < most) {
      const isCrowded = this.#chunks.length - count > this.#options.maxChunks;
      if (excess() <= 0 && !isCrowded) break;
      cleaned += this.#chunks[count]?.bytes ?? 0;
      count += 1;
    }
    return this.#chunks.slice(0, count);
  }

  /** What to write for a change, given the text of the first of `toClean`. Changes nothing; see `apply`. */
  plan(changes: Changes, cleaned: readonly Buffer[] = []): Plan {
    const records = new Map<string, string | undefined>();
    for (const [index, text] of cleaned.entries()) {
      for (const [key, value] of parseChunk(text)) {
        const isNewest = this.#ordinalOf(key) === this.#firstOrdinal + index;
        if (value !== undefined && isNewest) records.set(key, value);
      }
    }
    for (const [key, value] of this.#tail ?? []) records.set(key, value);
    for (const [key, value] of changes) {
      // That it is gone needs saying only where something is older.
      if (value !== undefined || this.#places.has(key)) records.set(key, value);
    }
    const kept = this.#chunks.slice(cleaned.length, this.#tail === undefined ? undefined : -1);
    const dropped = [
      ...this.#chunks.slice(0, cleaned.length),
      ...(this.#tail === undefined ? [] : this.#chunks.slice(-1)),
    ];
    if (kept.length === 0) removeGone(records);
    const removed = [...changes].flatMap(([key, value]) => (value === undefined ? [key] : []));
    return this.#planOf(records, { kept, dropped, cleaned: cleaned.length, removed });
  }

  /** What to write when these records are all there is. */
  planWhole(records: ReadonlyMap<string, string>): Plan {
    const removed = [...this.#places.keys()].filter((key) => !records.has(key));
    return this.#planOf(records, { kept: [], dropped: this.#chunks, cleaned: this.#chunks.length, removed });
  }

  /** The plan is committed. It must be of this log as it is. */
  apply({ chunks, dropped, cleaned, removed, contents, written }: Plan): void {
    const kept = chunks.length - written.length;
    this.#firstOrdinal += cleaned;
    this.#bytes += total(written.map(({ chunk }) => chunk)) - total(dropped);
    this.#chunks = chunks;
    // What was removed and is not even written any more, for nothing is older.
    for (const key of removed) this.#remove(key);
    for (const [index, changes] of contents.entries()) {
      for (const [key, value] of changes) {
        this.#remove(key);
        if (value !== undefined) this.#put(key, kept + index, recordBytes(key, value));
      }
    }
    const last = written.at(-1);
    const isShort = last !== undefined && last.text.length < this.#options.tailBytes;
    this.#tail = isShort ? contents.at(-1) : undefined;
  }

  #planOf(
    records: Changes,
    rest: Pick<Plan, "dropped" | "cleaned" | "removed"> & { readonly kept: readonly Chunk[] },
  ): Plan {
    const { kept, ...others } = rest;
    const packed = packRecords(records, this.#options.chunkBytes);
    const written = packed.map(({ text }) => {
      this.#number += 1;
      return { text, chunk: { epoch: this.#epoch, number: this.#number, bytes: text.length, revisions: [] } };
    });
    return {
      ...others,
      written,
      chunks: [...kept, ...written.map(({ chunk }) => chunk)],
      contents: packed.map(({ changes }) => changes),
    };
  }

  #put(key: string, index: number, bytes: number): void {
    const length = Math.min(bytes, LENGTH_RANGE - 1);
    this.#liveBytes += length;
    this.#places.set(key, (this.#firstOrdinal + index) * LENGTH_RANGE + length);
  }

  #remove(key: string): void {
    const place = this.#places.get(key);
    if (place === undefined) return;
    this.#liveBytes -= place % LENGTH_RANGE;
    this.#places.delete(key);
  }

  #ordinalOf(key: string): number | undefined {
    const place = this.#places.get(key);
    return place === undefined ? undefined : Math.floor(place / LENGTH_RANGE);
  }
}

function removeGone(records: Map<string, string | undefined>): void {
  for (const [key, value] of records) {
    if (value === undefined) records.delete(key);
  }
}

function total(chunks: readonly Chunk[]): number {
  return chunks.reduce((bytes, chunk) => bytes + chunk.bytes, 0);
}
