import type { Random } from "../run/random.ts";
import type { Silences } from "../run/reference.ts";
import { tellRun } from "./shapes.ts";
import type { SpanBook } from "./span-book.ts";
import type { Truth } from "./truth.ts";

/** A line, and when it is appended to the log. */
export interface Send {
  readonly line: string;
  /** Milliseconds since 1970. */
  readonly dueMs: number;
  /** Number of its run, by which producers share the runs. */
  readonly run: number;
}

export interface LoadOptions {
  readonly random: Random;
  readonly startMs: number;
  /** Between the beginnings of two runs. */
  readonly everyMs: number;
  readonly silences: Silences;
  readonly longestMs: number;
  readonly truth: Truth;
  readonly book: SpanBook;
}

/** How far events get out of order: less than any reorder window. */
const SWAP_MS = 300;
const DOUBLED = 0.05;
/** Of events but deltas, which are known again for less long. */
const DOUBLED_LATER = 0.02;
const UNKNOWN = 0.002;
const BROKEN = 0.003;
const SLOT_MS = 1_000;

/**
 * A steady load without an end, made as time goes on: what is due depends on the time and the seed alone, and
 * what was taken is forgotten.
 */
export class Load {
  readonly #options: LoadOptions;
  #runs = 0;
  #lastDueMs = 0;
  #isEnding = false;
  /** Due or nearly so, in order. */
  #soon: Send[] = [];
  #isSorted = true;
  /** By second, for later. */
  readonly #later = new Map<number, Send[]>();
  /** All of the seconds before this one are in `#soon`. */
  #slot: number;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#slot = slotOf(options.startMs);
  }

  /** When the last line is due of runs that have begun. */
  get lastDueMs(): number {
    return this.#lastDueMs;
  }

  /** No run begins any more. */
  end(): void {
    this.#isEnding = true;
  }

  /** The first lines that are due and not taken. */
  due(nowMs: number, most: number): readonly Send[] {
    const { startMs, everyMs } = this.#options;
    while (!this.#isEnding && startMs + this.#runs * everyMs <= nowMs) this.#begin();
    for (; this.#slot <= slotOf(nowMs); this.#slot += 1) {
      const more = this.#later.get(this.#slot) ?? [];
      this.#later.delete(this.#slot);
      this.#soon.push(...more);
      this.#isSorted = false;
    }
    if (!this.#isSorted) this.#soon.sort((a, b) => a.dueMs - b.dueMs);
    this.#isSorted = true;
    const some = this.#soon.slice(0, most);
    const notYet = some.findIndex(({ dueMs }) => dueMs > nowMs);
    return notYet < 0 ? some : some.slice(0, notYet);
  }

  /** The first so many were taken. */
  took(count: number): void {
    this.#soon.splice(0, count);
  }

  #begin(): void {
    const { random, startMs, everyMs, silences, longestMs, truth, book } = this.#options;
    const run = this.#runs;
    this.#runs += 1;
    const { agent, events } = tellRun(run, startMs + run * everyMs, { random, longestMs, ...silences });
    const outlines = truth.run(
      events.map(({ line }) => line),
      agent,
      silences,
    );
    for (const { line, atMs, isDelta } of events) {
      const send = (text: string, withinMs: number) => {
        const dueMs = Math.floor(atMs + (random.below(1_000) / 1_000) * withinMs);
        this.#lastDueMs = Math.max(this.#lastDueMs, dueMs);
        this.#put({ line: text, dueMs, run });
      };
      send(line, SWAP_MS);
      if (random.chance(DOUBLED)) {
        send(line, SWAP_MS);
        truth.duplicate();
      }
      if (!isDelta && random.chance(DOUBLED_LATER)) {
        send(line, silences.rememberMs / 2);
        truth.duplicate();
      }
      if (random.chance(UNKNOWN)) {
        send(line.replace(/"[A-Z]\w+":/, '"ToolProgress":'), SWAP_MS);
        truth.unknown();
      }
      if (random.chance(BROKEN)) {
        send(line.slice(0, line.length / 2), SWAP_MS);
        truth.broken();
      }
    }
    book.expect(outlines);
  }

  #put(send: Send): void {
    const slot = slotOf(send.dueMs);
    if (slot < this.#slot) {
      this.#soon.push(send);
      this.#isSorted = false;
      return;
    }
    const there = this.#later.get(slot);
    if (there === undefined) this.#later.set(slot, [send]);
    else there.push(send);
  }
}

function slotOf(ms: number): number {
  return Math.floor(ms / SLOT_MS);
}
