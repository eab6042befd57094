import type { Clock } from "../../clock.ts";
import type { Log } from "../../log.ts";

/** Least time between two warnings. */
const WARNING_MS = 10_000;

/** Messages that were gone before they could be handed out, in the life of this process. */
export class Losses {
  readonly #source: string;
  readonly #log: Log;
  readonly #clock: Clock;
  #count = 0;
  #told = 0;
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(source: string, { log, clock }: { readonly log: Log; readonly clock: Clock }) {
    this.#source = source;
    this.#log = log;
    this.#clock = clock;
  }

  get count(): number {
    return this.#count;
  }

  /** `isExact` is false where some of them may have been messages of others. */
  add(count: number, isExact: boolean): void {
    this.#count += count;
    const nowMs = this.#clock.now();
    if (this.#count === this.#told || nowMs - this.#toldMs < WARNING_MS) return;
    this.#log.warn("the stream has dropped messages before they were read", {
      source: this.#source,
      count: `${isExact ? "" : "at most "}${this.#count - this.#told}`,
    });
    this.#told = this.#count;
    this.#toldMs = nowMs;
  }
}
