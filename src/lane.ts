import { isUtf8 } from "node:buffer";

import type { Committer } from "./committer.ts";
import type { DeadLetter } from "./dead-letter.ts";
import type { Rejected, UnknownType } from "./event/codes.ts";
import type { Decoded } from "./event/decode.ts";
import { openLetter, outsideOf } from "./event/letter.ts";
import { LineSplitter } from "./event/lines.ts";
import type { Log } from "./log.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Delivery, Source } from "./source/source.ts";

/** Unknown types that are told of by name; more only count. */
const MAX_TOLD_TYPES = 100;

export interface LaneOptions {
  readonly source: Source;
  readonly pipeline: Pipeline;
  /** Where its state is kept; undefined for a source that is read once. */
  readonly committer?: Committer | undefined;
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
  #toldSpanLetter = false;
  /** The dead letters, when writing them has fallen behind. */
  #written: Promise<void> | undefined;
  /** When the source was asked for more, while it has not answered. */
  #askedAtMs: number | undefined;
  #answeredAtMs = 0;
  /** Source time at that moment. */
  #askedSourceMs = 0;
  #ended = false;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  get pipeline(): Pipeline {
    return this.#options.pipeline;
  }

  get source(): Source {
    return this.#options.source;
  }

  get committer(): Committer | undefined {
    return this.#options.committer;
  }

  /** The source said by itself that nothing more will come. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Reads the source to its end, or until `signal` is aborted. Rejects when the source cannot be read. */
  async read(signal: AbortSignal): Promise<void> {
    const { source, room, pipeline } = this.#options;
    let splitter = this.#splitter();
    for (;;) {
      this.#ask(pipeline.heart.nowMs);
      const reading = await source.next(signal);
      this.#askedAtMs = undefined;
      this.#answeredAtMs = this.#options.now();
      if (reading === undefined) break;
      switch (reading.kind) {
        case "caught_up":
          if (reading.nowMs !== undefined) pipeline.tick(reading.nowMs);
          break;
        case "break":
          splitter.end();
          splitter = this.#splitter();
          break;
        case "deliveries":
          for (const delivery of reading.deliveries) this.#deliver(delivery);
          break;
        case "chunk":
          splitter.push(reading.bytes);
          this.#options.onChunk?.(reading.bytes.length);
          break;
      }
      pipeline.settle();
      await this.#written;
      await room();
    }
    if (signal.aborted) return;
    this.#ended = true;
    // A stop is no end: half a line may still become a whole one for whoever reads on.
    splitter.end();
  }

  /**
   * While a source without times of its own has nothing, source time goes on at the pace of the wall clock from
   * where the events left it, so that a run that falls silent expires (docs/decisions/004-idle-sources.md).
   */
  tick(): void {
    if (this.#options.source.timed || this.#askedAtMs === undefined || this.#askedSourceMs === 0) return;
    const { pipeline, now } = this.#options;
    pipeline.tick(this.#askedSourceMs + (now() - this.#askedAtMs));
  }

  /** What it waits for, and for how long. */
  waiting(): { readonly waitsFor: "source" | "export"; readonly forSeconds: number } {
    const { now } = this.#options;
    const sinceMs = this.#askedAtMs ?? this.#answeredAtMs;
    return {
      waitsFor: this.#askedAtMs === undefined ? "export" : "source",
      forSeconds: Math.max(0, now() - sinceMs) / 1000,
    };
  }

  #ask(sourceMs: number): void {
    this.#askedAtMs = this.#options.now();
    this.#askedSourceMs = sourceMs;
  }

  #splitter(): LineSplitter {
    const { pipeline } = this.#options;
    return new LineSplitter({
      onLine: (buffer, start, end, validUtf8) => {
        const decoded = pipeline.line(buffer, start, end, validUtf8);
        if (isOdd(decoded)) this.#note(decoded, { payload: buffer.subarray(start, end) });
      },
      onTooLong: (bytes, head) => this.#tooLong({ payload: head, bytes }),
    });
  }

  #deliver({ id, appendedMs, payload, wholeBytes, outside }: Delivery): void {
    const { pipeline, committer, onChunk } = this.#options;
    onChunk?.(payload.length);
    if (wholeBytes !== undefined) {
      this.#tooLong({ payload, bytes: wholeBytes, deliveryId: id, outside: outsideOf(outside) });
      committer?.taken.take(id, undefined);
      return;
    }
    const from = { nowMs: appendedMs, outside };
    const decoded = pipeline.line(payload, 0, payload.length, isUtf8(payload), from);
    if (isOdd(decoded)) {
      this.#note(decoded, { payload, deliveryId: id, outside: outsideOf(outside) });
      committer?.taken.take(id, undefined);
    } else {
      committer?.taken.take(id, decoded);
    }
  }

  #tooLong(found: Found & { readonly bytes: number }): void {
    const message = `the line has ${found.bytes} bytes`;
    const { pipeline } = this.#options;
    const rejected = pipeline.reject({ type: "rejected", code: "BEHEST_LINE_TOO_LONG", message });
    if (rejected !== undefined) this.#keep(rejected, found);
  }

  #note(odd: Odd, found: Found): void {
    if (odd.type === "unknown") this.#tellType(odd.name);
    else if (odd.code === "BEHEST_DECODE_SPAN") this.#tellSpanLetter();
    // Of a dead letter that is refused again what was in it is kept: a letter about a letter could not be read.
    else this.#keep(odd, this.#options.deadLetter ? unpacked(found) : found);
  }

  #keep({ code, message }: Rejected, { payload, bytes, deliveryId, outside, source }: Found): void {
    const { deadLetter, source: own, now } = this.#options;
    const waiting = deadLetter?.add({
      kind: "event",
      code,
      message,
      source: source ?? own.name,
      deliveryId,
      at: new Date(now()),
      payload,
      bytes: bytes ?? payload.length,
      outside,
    });
    this.#written = waiting ?? this.#written;
  }

  /** It lies in a file of dead letters already, and would go from one into the next for ever. */
  #tellSpanLetter(): void {
    if (this.#toldSpanLetter) return;
    this.#toldSpanLetter = true;
    const { log, source } = this.#options;
    log.warn(
      "Dead letters of spans cannot be read back, they are rejected and counted. Replay the events of those " +
        "runs: they make the same spans again",
      { source: source.name },
    );
  }

  #tellType(name: string): void {
    if (this.#toldTypes.has(name) || this.#toldTypes.size >= MAX_TOLD_TYPES) return;
    this.#toldTypes.add(name);
    const { log, source } = this.#options;
    log.warn("Events of a type that this version does not know are dropped and counted", {
      type: name,
      source: source.name,
    });
  }
}

type Odd = Rejected | UnknownType;

/** Input that is no event, as far as it is at hand. */
interface Found {
  readonly payload: Buffer;
  /** Of the whole line, when the payload is only its head. */
  readonly bytes?: number | undefined;
  readonly deliveryId?: string | undefined;
  /** What stood beside it. */
  readonly outside?: unknown;
  /** Where it came from at first, when that is not this source. */
  readonly source?: string | undefined;
}

/** What is in a dead letter, with what the letter says of it; anything else as it is. */
function unpacked(found: Found): Found {
  const letter = openLetter(found.payload);
  if (letter === undefined) return found;
  const { payload, wholeBytes: bytes, source, outside = found.outside } = letter;
  const deliveryId = source === undefined ? found.deliveryId : letter.deliveryId;
  return { payload, bytes, deliveryId, outside, source };
}

/** No event, or none that this version knows. */
function isOdd(decoded: Decoded | undefined): decoded is Odd {
  const type = decoded?.type;
  return type === "rejected" || type === "unknown";
}
