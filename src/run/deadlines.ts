import type { HeartOptions } from "./limits.ts";
import type { RunRecord, Segment } from "./state.ts";

/** An open run that has been silent for too long, or for longest. */
interface Expiring {
  readonly record: RunRecord;
  readonly segment: Segment;
}

/**
 * Runs by the moment they have to be looked at: a binary heap that knows each run's place.
 *
 * An event that puts its run's deadline off does not move it (that would cost a walk per event); a run
 * that comes up too early is put back then. A stored deadline is never later than the true one.
 */
export class Deadlines {
  readonly #options: Pick<HeartOptions, "runIdleMs" | "toolIdleMs">;
  readonly #heap: RunRecord[] = [];

  constructor(options: Pick<HeartOptions, "runIdleMs" | "toolIdleMs">) {
    this.#options = options;
  }

  get size(): number {
    return this.#heap.length;
  }

  /** No run expires before this moment; Infinity while there is none. */
  get dueMs(): number {
    return this.#heap[0]?.deadlineMs ?? Infinity;
  }

  /** The run that expires first, when it does so not later than `untilMs`. */
  first(untilMs: number): Expiring | undefined {
    for (;;) {
      const [record] = this.#heap;
      if (record?.segment === undefined || record.deadlineMs > untilMs) return undefined;
      const deadlineMs = this.#deadlineOf(record, record.segment);
      if (deadlineMs <= record.deadlineMs) return { record, segment: record.segment };
      this.#move(record, deadlineMs);
    }
  }

  add(record: RunRecord, segment: Segment): void {
    record.deadlineMs = this.#deadlineOf(record, segment);
    this.#heap.push(record);
    this.#rise(this.#heap.length - 1, record);
  }

  /** A tool that ends, or begins, may bring the deadline forward; all else puts it off. */
  bringForward(record: RunRecord, segment: Segment): void {
    const deadlineMs = this.#deadlineOf(record, segment);
    if (deadlineMs < record.deadlineMs) this.#move(record, deadlineMs);
  }

  remove(record: RunRecord): void {
    const at = record.queueIndex;
    record.queueIndex = -1;
    const last = this.#heap.pop();
    if (last === undefined || last === record) return;
    this.#rise(at, last);
    this.#sink(last.queueIndex, last);
  }

  /** When the run has been silent for too long; moves on with every arrival. */
  #deadlineOf({ lastArrivalMs }: RunRecord, { openExecutions }: Segment): number {
    const { runIdleMs, toolIdleMs } = this.#options;
    return lastArrivalMs + (openExecutions > 0 ? toolIdleMs : runIdleMs);
  }

  #move(record: RunRecord, deadlineMs: number): void {
    record.deadlineMs = deadlineMs;
    this.#rise(record.queueIndex, record);
    this.#sink(record.queueIndex, record);
  }

  #rise(at: number, record: RunRecord): void {
    let place = at;
    while (place > 0) {
      const parentAt = (place - 1) >> 1;
      const parent = this.#heap[parentAt];
      if (parent === undefined || !isBefore(record, parent)) break;
      this.#set(place, parent);
      place = parentAt;
    }
    this.#set(place, record);
  }

  #sink(at: number, record: RunRecord): void {
    let place = at;
    for (;;) {
      let childAt = place * 2 + 1;
      let child = this.#heap[childAt];
      const right = this.#heap[childAt + 1];
      if (child === undefined) break;
      if (right !== undefined && isBefore(right, child)) {
        child = right;
        childAt += 1;
      }
      if (!isBefore(child, record)) break;
      this.#set(place, child);
      place = childAt;
    }
    this.#set(place, record);
  }

  #set(at: number, record: RunRecord): void {
    this.#heap[at] = record;
    record.queueIndex = at;
  }
}

/** By deadline, then by id, so that what happens does not depend on the heap's shape. */
function isBefore(a: RunRecord, b: RunRecord): boolean {
  return a.deadlineMs < b.deadlineMs || (a.deadlineMs === b.deadlineMs && a.runId < b.runId);
}
