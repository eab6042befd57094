import type { Assembler } from "../../src/run/assembler.ts";
import type { SavedHeart, SavedRecord } from "../../src/run/saved.ts";

/** A heart's state as it is kept outside: made of what changed each time, as text, in no order. */
export class Kept {
  #nowMs = 0;
  readonly #runs = new Map<string, string>();

  take(heart: Assembler): void {
    const { nowMs, runs, gone } = heart.changes();
    this.#nowMs = nowMs;
    for (const record of runs) {
      this.#runs.delete(record.runId);
      this.#runs.set(record.runId, JSON.stringify(record));
    }
    for (const runId of gone) this.#runs.delete(runId);
  }

  read(): SavedHeart {
    return {
      nowMs: this.#nowMs,
      runs: [...this.#runs.values()].map((text) => JSON.parse(text) as SavedRecord),
    };
  }
}

/** In an order that does not depend on when it was written. */
export function inOrder({ nowMs, runs }: SavedHeart): SavedHeart {
  const sorted = runs.toSorted((one, other) => (one.runId < other.runId ? -1 : 1));
  return JSON.parse(JSON.stringify({ nowMs, runs: sorted })) as SavedHeart;
}
