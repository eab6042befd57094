import type { HeartOptions } from "./limits.ts";
import type { RunRecord } from "./state.ts";

type Limits = Pick<HeartOptions, "rememberMs" | "maxRememberedRuns" | "reorderWindowMs">;

/** Closed runs, in order of closing, each for `rememberMs` of source time. */
export class Remembered {
  readonly #limits: Limits;
  readonly #runs = new Map<string, RunRecord>();
  /** When the run closed first has to be forgotten. */
  #forgetAtMs = Infinity;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#runs.size;
  }

  get(runId: string): RunRecord | undefined {
    return this.#runs.get(runId);
  }

  values(): Iterable<RunRecord> {
    return this.#runs.values();
  }

  /** What is remembered of a run for an event that arrived at `arrivalMs`. */
  recall(runId: string, arrivalMs: number): RunRecord | undefined {
    const record = this.#runs.get(runId);
    if (record === undefined || arrivalMs < this.#until(record)) return record;
    this.#runs.delete(runId);
    return undefined;
  }

  add(record: RunRecord): void {
    this.#runs.set(record.runId, record);
    this.#forgetAtMs = Math.min(this.#forgetAtMs, this.#forgetTimeOf(record));
  }

  remove(runId: string): void {
    this.#runs.delete(runId);
  }

  /** Forgets what is too old at `nowMs`, and the oldest of too many; tells which. */
  forget(nowMs: number, onForgotten: (runId: string) => void): void {
    const { maxRememberedRuns } = this.#limits;
    if (this.#forgetAtMs > nowMs && this.#runs.size <= maxRememberedRuns) return;
    this.#forgetAtMs = Infinity;
    for (const [runId, record] of this.#runs) {
      const forgetAtMs = this.#forgetTimeOf(record);
      if (this.#runs.size <= maxRememberedRuns && forgetAtMs > nowMs) {
        this.#forgetAtMs = forgetAtMs;
        return;
      }
      this.#runs.delete(runId);
      onForgotten(runId);
    }
  }

  /** First millisecond in which an event that arrives finds nothing remembered of its run. */
  #until({ closed }: RunRecord): number {
    return (closed?.closedMs ?? 0) + this.#limits.rememberMs;
  }

  /** An event that arrived in time may still wait. */
  #forgetTimeOf(record: RunRecord): number {
    const { reorderWindowMs } = this.#limits;
    return this.#until(record) + (reorderWindowMs === 0 ? 0 : reorderWindowMs + 1);
  }
}
