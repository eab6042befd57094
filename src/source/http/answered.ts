import type { Verdict } from "./verdict.ts";

export interface AnsweredOptions {
  readonly maxKeys: number;
  readonly maxBytes: number;
  /** Milliseconds for which an answer is remembered. */
  readonly rememberMs: number;
  readonly nowMs: () => number;
}

interface Remembered {
  readonly verdict: Verdict;
  readonly atMs: number;
  readonly bytes: number;
}

/**
 * What was answered to requests that have an `Idempotency-Key`, so that the same request sent again gets the
 * same answer and is taken once. Only what was taken is remembered, in memory, the oldest forgotten first.
 */
export class Answered {
  readonly #options: AnsweredOptions;
  /** Oldest first. */
  readonly #remembered = new Map<string, Remembered>();
  readonly #underWay = new Set<string>();
  #bytes = 0;

  constructor(options: AnsweredOptions) {
    this.#options = options;
  }

  /** The answer to the first request with this key; when there was none, this one is under way until `end`. */
  begin(key: string): Verdict | "under way" | "new" {
    this.#forget();
    const before = this.#remembered.get(key);
    if (before !== undefined) return before.verdict;
    if (this.#underWay.has(key)) return "under way";
    this.#underWay.add(key);
    return "new";
  }

  /** `verdict` is undefined when nothing was taken: the next request with the key is a first one. */
  end(key: string, verdict: Verdict | undefined): void {
    this.#underWay.delete(key);
    if (verdict === undefined) return;
    const bytes = 2 * (key.length + JSON.stringify(verdict).length);
    this.#remembered.set(key, { verdict, atMs: this.#options.nowMs(), bytes });
    this.#bytes += bytes;
    this.#forget();
  }

  #forget(): void {
    const { maxKeys, maxBytes, rememberMs, nowMs } = this.#options;
    for (const [key, { atMs, bytes }] of this.#remembered) {
      const isOld = nowMs() - atMs >= rememberMs;
      if (!isOld && this.#remembered.size <= maxKeys && this.#bytes <= maxBytes) break;
      this.#remembered.delete(key);
      this.#bytes -= bytes;
    }
  }
}
