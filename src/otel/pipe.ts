import type { Clock } from "../clock.ts";
import type { Delivery, Failed, FailureReason } from "./courier.ts";

/** What has become of everything that was pushed: pushed = waiting + exported + discarded + failed. */
export interface PipeCounts {
  readonly pushed: number;
  /** In the queue or on the way. */
  readonly waiting: number;
  readonly exported: number;
  readonly discarded: number;
  readonly failed: Readonly<Partial<Record<FailureReason, number>>>;
}

export interface PipeOptions<R> {
  /** Never rejects; what became of a batch is in its answer. */
  readonly deliver: (batch: readonly R[]) => Promise<Delivery<R>>;
  readonly clock: Clock;
  readonly maxBatchRecords: number;
  /** Of the estimates given to `push`; a single record above it goes alone. */
  readonly maxBatchBytes?: number;
  readonly maxInFlight?: number;
  /** From here on `push` asks to wait; what is on the way counts. */
  readonly maxWaitingRecords?: number;
  readonly maxWaitingBytes?: number;
  /** How long a lone record waits for company. */
  readonly lingerMs?: number;
  /** `first` is the number of the batch's first record, in the order of `push` from 0. */
  readonly onExported?: (count: number, first: number) => void;
  readonly onFailed?: (failed: Failed<R>, first: number) => void;
}

const DEFAULT_BATCH_BYTES = 2 * 1024 * 1024;
const DEFAULT_IN_FLIGHT = 2;
const DEFAULT_WAITING_BYTES = 16 * 1024 * 1024;
const DEFAULT_LINGER_MS = 200;
/** So many batches may wait: enough that a sender always finds a full one, little enough to hold. */
const WAITING_BATCHES = 8;

/** A record in the queue with its estimated size. */
interface Waiting<R> {
  readonly record: R;
  readonly bytes: number;
}

/**
 * A bounded queue that sends itself off in batches.
 *
 * Nothing is dropped for being too fast: when the pipe is full, `push` takes the record all the same
 * and answers with a promise of room, which the source has to wait for before it reads on. So the
 * queue can exceed its limit by what one event makes, and by nothing more.
 */
export class Pipe<R> {
  readonly #options: Required<Omit<PipeOptions<R>, "onExported" | "onFailed">> &
    Pick<PipeOptions<R>, "onExported" | "onFailed">;
  readonly #failed: Partial<Record<FailureReason, number>> = {};
  /** Taken from the front by `#head`, so that a long queue is not moved for every batch. */
  #queue: Waiting<R>[] = [];
  #head = 0;
  #queuedBytes = 0;
  #flyingRecords = 0;
  #flyingBytes = 0;
  #pushed = 0;
  #exported = 0;
  #discarded = 0;
  /** How many of the records pushed must leave without waiting for company. */
  #hurried = 0;
  /** How many were pushed before the last flush was asked for: no batch has some of these and later ones. */
  #mark = 0;
  /** Number of the first record of each batch on the way, counted from 0. */
  readonly #flying = new Set<number>();
  #cancelLinger: (() => void) | undefined;
  #room: PromiseWithResolvers<void> | undefined;
  #flushes: { readonly upTo: number; readonly resolve: (counts: PipeCounts) => void }[] = [];

  constructor(options: PipeOptions<R>) {
    this.#options = {
      maxBatchBytes: DEFAULT_BATCH_BYTES,
      maxInFlight: DEFAULT_IN_FLIGHT,
      maxWaitingRecords: WAITING_BATCHES * options.maxBatchRecords,
      maxWaitingBytes: DEFAULT_WAITING_BYTES,
      lingerMs: DEFAULT_LINGER_MS,
      ...options,
    };
  }

  get counts(): PipeCounts {
    return {
      pushed: this.#pushed,
      waiting: this.#waiting,
      exported: this.#exported,
      discarded: this.#discarded,
      failed: { ...this.#failed },
    };
  }

  /** Estimated size of what is in the queue and on the way. */
  get waitingBytes(): number {
    return this.#queuedBytes + this.#flyingBytes;
  }

  /** Takes a record; the promise, when there is one, resolves when there is room again. */
  push(record: R, bytes: number): Promise<void> | undefined {
    this.#queue.push({ record, bytes });
    this.#queuedBytes += bytes;
    this.#pushed += 1;
    this.#sendOff();
    if (this.#hasRoom()) return undefined;
    this.#room ??= Promise.withResolvers();
    return this.#room.promise;
  }

  /** Resolves when everything pushed before is decided, with the counts of that moment. */
  flushed(): Promise<PipeCounts> {
    this.#hurried = this.#pushed;
    this.#mark = this.#pushed;
    this.#sendOff();
    if (this.#undecidedFrom() >= this.#pushed) return Promise.resolve(this.counts);
    return new Promise((resolve) => this.#flushes.push({ upTo: this.#pushed, resolve }));
  }

  get #queued(): number {
    return this.#queue.length - this.#head;
  }

  get #waiting(): number {
    return this.#queued + this.#flyingRecords;
  }

  #hasRoom(): boolean {
    const { maxWaitingRecords, maxWaitingBytes } = this.#options;
    return this.#waiting < maxWaitingRecords && this.waitingBytes < maxWaitingBytes;
  }

  /** Starts as many batches as are full or in a hurry and may fly; the rest lingers. */
  #sendOff(): void {
    const { maxBatchRecords, maxBatchBytes, maxInFlight, clock, lingerMs } = this.#options;
    while (this.#queued > 0 && this.#flying.size < maxInFlight) {
      const first = this.#pushed - this.#queued;
      const isFull = this.#queued >= maxBatchRecords || this.#queuedBytes >= maxBatchBytes;
      if (!isFull && this.#hurried <= first) break;
      void this.#fly(first, this.#takeBatch());
    }
    if (this.#queued === 0 || this.#flying.size >= maxInFlight) return;
    this.#cancelLinger ??= clock.after(lingerMs, () => {
      this.#cancelLinger = undefined;
      this.#hurried = this.#pushed;
      this.#sendOff();
    });
  }

  #takeBatch(): readonly Waiting<R>[] {
    const { maxBatchRecords, maxBatchBytes } = this.#options;
    const batch: Waiting<R>[] = [];
    const first = this.#pushed - this.#queued;
    const most = first < this.#mark ? Math.min(this.#mark - first, maxBatchRecords) : maxBatchRecords;
    let bytes = 0;
    for (let next = this.#queue[this.#head]; next !== undefined; next = this.#queue[this.#head]) {
      if (batch.length >= most || (batch.length > 0 && bytes + next.bytes > maxBatchBytes)) break;
      batch.push(next);
      bytes += next.bytes;
      this.#head += 1;
    }
    this.#queuedBytes -= bytes;
    if (this.#head * 2 >= this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    if (this.#queued === 0) {
      this.#cancelLinger?.();
      this.#cancelLinger = undefined;
    }
    return batch;
  }

  async #fly(first: number, batch: readonly Waiting<R>[]): Promise<void> {
    const bytes = batch.reduce((sum, waiting) => sum + waiting.bytes, 0);
    this.#flying.add(first);
    this.#flyingRecords += batch.length;
    this.#flyingBytes += bytes;
    const { delivered, discarded, failed } = await this.#options.deliver(
      batch.map((waiting) => waiting.record),
    );
    this.#flying.delete(first);
    this.#flyingRecords -= batch.length;
    this.#flyingBytes -= bytes;
    this.#exported += delivered;
    this.#discarded += discarded;
    for (const { reason, count } of failed) this.#failed[reason] = (this.#failed[reason] ?? 0) + count;
    if (delivered > 0) this.#options.onExported?.(delivered, first);
    for (const one of failed) this.#options.onFailed?.(one, first);
    this.#sendOff();
    this.#tell();
  }

  /** Number of the first record that is not decided; everything before it is. */
  #undecidedFrom(): number {
    return Math.min(this.#pushed - this.#queued, ...this.#flying);
  }

  #tell(): void {
    if (this.#room !== undefined && this.#hasRoom()) {
      this.#room.resolve();
      this.#room = undefined;
    }
    const decided = this.#undecidedFrom();
    const ready = this.#flushes.filter((flush) => flush.upTo <= decided);
    if (ready.length === 0) return;
    this.#flushes = this.#flushes.filter((flush) => flush.upTo > decided);
    const { counts } = this;
    for (const { resolve } of ready) resolve(counts);
  }
}
