import type { DeadLetter } from "./dead-letter.ts";
import type { Rejected } from "./event/codes.ts";
import { LineSplitter } from "./event/lines.ts";
import type { Log } from "./log.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Source } from "./source/source.ts";

/** Unknown types that are told of by name; more only count. */
const MAX_TOLD_TYPES = 100;

export interface LaneOptions {
  readonly source: Source;
  readonly pipeline: Pipeline;
  readonly deadLetter: DeadLetter | undefined;
  readonly log: Log;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Awaited before the source is asked for more: the room behind the lane. */
  readonly room: () => Promise<void>;
  /** Told after each chunk, with its bytes. */
  readonly onChunk?: (bytes: number) => void;
}

/**
 * One source on its way in: reads it, cuts lines, and gives them to its pipeline. What is not asked
 * for is not read, so a slow backend holds up the source and nothing is dropped.
 */
export class Lane {
  readonly #options: LaneOptions;
  readonly #toldTypes = new Set<string>();
  /** The dead letters, when writing them has fallen behind. */
  #written: Promise<void> | undefined;
  /** When the source was asked for more, while it has not answered. */
  #askedAtMs: number | undefined;
  /** Source time at that moment. */
  #askedSourceMs = 0;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  get pipeline(): Pipeline {
    return this.#options.pipeline;
  }

  get name(): string {
    return this.#options.source.name;
  }

  /** Reads the source to its end, or until `signal` is aborted. Rejects when the source cannot be read. */
  async read(signal: AbortSignal): Promise<void> {
    const { source, room, onChunk, pipeline } = this.#options;
    let splitter = this.#splitter();
    for (;;) {
      this.#ask(pipeline.heart.nowMs);
      const reading = await source.next(signal);
      this.#askedAtMs = undefined;
      if (reading === undefined) break;
      if (reading.kind === "caught_up") continue;
      if (reading.kind === "break") {
        splitter.end();
        splitter = this.#splitter();
        continue;
      }
      splitter.push(reading.bytes);
      onChunk?.(reading.bytes.length);
      await this.#written;
      await room();
    }
    // A stop is no end: half a line may still become a whole one for whoever reads on.
    if (!signal.aborted) splitter.end();
  }

  /**
   * While the source has nothing, source time goes on at the pace of the wall clock from where the
   * events left it, so that a run that falls silent expires (docs/decisions/004-idle-sources.md).
   */
  tick(): void {
    if (this.#askedAtMs === undefined || this.#askedSourceMs === 0) return;
    const { pipeline, now } = this.#options;
    pipeline.tick(this.#askedSourceMs + (now() - this.#askedAtMs));
  }

  #ask(sourceMs: number): void {
    this.#askedAtMs = this.#options.now();
    this.#askedSourceMs = sourceMs;
  }

  #splitter(): LineSplitter {
    const { pipeline } = this.#options;
    return new LineSplitter({
      onLine: (buffer, start, end, validUtf8) => {
        const odd = pipeline.line(buffer, start, end, validUtf8);
        if (odd === undefined) return;
        if (odd.type === "unknown") this.#tellType(odd.name);
        else this.#keep(odd, buffer.subarray(start, end), end - start);
      },
      onTooLong: (bytes, head) => {
        const message = `the line has ${bytes} bytes`;
        this.#keep(pipeline.reject({ type: "rejected", code: "BEHEST_LINE_TOO_LONG", message }), head, bytes);
      },
    });
  }

  #keep({ code, message }: Rejected, payload: Buffer, bytes: number): void {
    const { deadLetter, source, now } = this.#options;
    const at = new Date(now());
    const refusal = {
      kind: "event",
      code,
      message,
      source: source.name,
      deliveryId: undefined,
      at,
      payload,
      bytes,
    } as const;
    this.#written = deadLetter?.add(refusal) ?? this.#written;
  }

  #tellType(name: string): void {
    if (this.#toldTypes.has(name) || this.#toldTypes.size >= MAX_TOLD_TYPES) return;
    this.#toldTypes.add(name);
    this.#options.log.warn("Events of a type that this version does not know are dropped and counted", {
      type: name,
      source: this.name,
    });
  }
}
