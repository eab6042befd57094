import type { Decoded } from "./event/decode.ts";
import { hashText } from "./event/hash.ts";
import { RunLine } from "./event/run-line.ts";
import { TimestampReader } from "./event/timestamp.ts";
import { UuidCache } from "./event/uuid-cache.ts";

/** One of several processes that share the runs of one source: `--shard 0/2` is the first of two. */
export interface Shard {
  readonly index: number;
  readonly count: number;
}

/** Runs whose shard is remembered: about as many as are at work at once. */
const MAX_REMEMBERED = 4_096;

/**
 * Whose an event is: that of a hash of its run id that never changes, so that all events of a run go to one
 * process. What has no run id, because it is no event, falls to the first shard.
 */
export class ShardGate {
  readonly #shard: Shard;
  readonly #line = new RunLine(new TimestampReader());
  readonly #uuids = new UuidCache();
  readonly #remembered = new Map<string, boolean>();
  #buffer: Buffer = Buffer.alloc(0);
  #view: DataView = new DataView(new ArrayBuffer(0));

  constructor(shard: Shard) {
    this.#shard = shard;
  }

  /** Whether it falls to this shard. */
  isOurs(decoded: Decoded): boolean {
    const runId = decoded.type === "unknown" ? undefined : decoded.runId;
    return runId === undefined ? this.#shard.index === 0 : this.isOurRun(runId);
  }

  /** Whether the run falls to this shard. */
  readonly isOurRun = (runId: string): boolean => {
    let ours = this.#remembered.get(runId);
    if (ours !== undefined) return ours;
    ours = hashText(runId) % this.#shard.count === this.#shard.index;
    if (this.#remembered.size >= MAX_REMEMBERED) this.#remembered.clear();
    this.#remembered.set(runId, ours);
    return ours;
  };

  /**
   * Tells lines of others by their bytes, for every shard reads everything, and most of it is none of its business.
   * True only for a line `buffer[start, end)`, of valid UTF-8, of which `isOurs` would say no once it was decoded.
   * False for this shard's, for deltas, and for all that only decoding can tell.
   */
  isOthers(buffer: Buffer, start: number, end: number): boolean {
    if (this.#buffer !== buffer) {
      this.#buffer = buffer;
      this.#view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    }
    const runIdAt = this.#line.find(this.#view, start, end);
    const runId = runIdAt < 0 ? undefined : this.#uuids.read(buffer, this.#view, runIdAt);
    return runId !== undefined && !this.isOurRun(runId) && this.#line.isWhole();
  }

  /** The time that the line says that was told last; undefined when that makes it no event. */
  timeMs(): number | undefined {
    return this.#line.timeMs();
  }
}
