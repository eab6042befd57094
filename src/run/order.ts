import type { Chunk, Event, EventType } from "../event/event.ts";
import { compareTimes, type Time } from "../event/time.ts";

/** Place of a type in a run, for events of one timestamp; terminal events last. */
const RANK: Readonly<Record<EventType, number>> = {
  RunStarted: 0,
  ContextBuilt: 1,
  ModelStarted: 2,
  TextDelta: 3,
  ToolCallStarted: 4,
  ToolCallDelta: 5,
  ToolCallCompleted: 6,
  UsageRecorded: 7,
  CacheMetrics: 8,
  AssistantMessageCommitted: 9,
  DoomLoopDetected: 10,
  ToolExecutionStarted: 11,
  ToolExecutionFinished: 12,
  ToolMessageCommitted: 13,
  CompactionCircuitOpened: 14,
  RunCompleted: 15,
  RunFailed: 15,
  RunCancelled: 15,
};

/** Where a ModelStarted stands in its run. */
export interface Beginning {
  /** Its own timestamp. */
  readonly startedAt: Time;
  readonly startedSeq: number | undefined;
  /** Which count that number belongs to (`numbering.ts`). */
  readonly startedCount: number;
}

/** Whether an event belongs before a model call: by number when both have one, else by time and rank. */
export function isBefore({ type, time, around }: Event, count: number, call: Beginning): boolean {
  return comesFirst(time, around?.seq, RANK[type] - RANK.ModelStarted, count, call);
}

/** The same for what a model streams, whose rank is behind that of its call. */
export function isChunkBefore({ time, around }: Chunk, count: number, call: Beginning): boolean {
  return comesFirst(time, around?.seq, 1, count, call);
}

function comesFirst(
  time: Time,
  seq: number | undefined,
  rank: number,
  count: number,
  call: Beginning,
): boolean {
  if (seq !== undefined && call.startedSeq !== undefined) {
    return count < call.startedCount || (count === call.startedCount && seq < call.startedSeq);
  }
  return (compareTimes(time, call.startedAt) || rank) < 0;
}

/** An event in the reorder window. */
export interface Waiting {
  readonly event: Event;
  /** Source time of its delivery. */
  readonly arrivalMs: number;
  /** Which count its `seq` belongs to (`numbering.ts`). */
  readonly count: number;
  used: boolean;
}

/** What waits for one run. */
interface Line {
  readonly inOrder: Waiting[];
  numbered: boolean;
}

/**
 * Events that wait for others that belong before them. Each waits at most the window, in source
 * time; when its wait is over, all of its run that belong before it go first.
 */
export class OrderStage {
  readonly #windowMs: number;
  readonly #byRun = new Map<string, Line>();
  /** In order of arrival, which is the order of being due. */
  #queue: Waiting[] = [];
  #head = 0;
  #size = 0;

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  get size(): number {
    return this.#size;
  }

  /**
   * Numbers and timestamps do not mix into one order: `numbered` is false once any event of the run
   * came without a number, and its events are ordered by time alone from then on.
   */
  add(waiting: Waiting, numbered: boolean): void {
    const { runId } = waiting.event;
    let line = this.#byRun.get(runId);
    if (line === undefined) this.#byRun.set(runId, (line = { inOrder: [], numbered }));
    if (line.numbered && !numbered) {
      line.numbered = false;
      line.inOrder.sort(byTime);
    }
    insert(line, waiting);
    this.#queue.push(waiting);
    this.#size += 1;
  }

  /** First millisecond in which the oldest arrival has waited longer than the window. */
  get dueMs(): number {
    const next = this.#queue[this.#head];
    return next === undefined ? Infinity : next.arrivalMs + this.#windowMs + 1;
  }

  /** Hands over the oldest arrival, and what belongs before it. */
  release(use: (waiting: Waiting) => void): void {
    const next = this.#queue[this.#head];
    if (next !== undefined) this.#release(next, use);
  }

  /** Hands over the oldest arrivals until at most `limit` wait. */
  shrink(limit: number, use: (waiting: Waiting) => void): void {
    while (this.#size > limit) this.release(use);
  }

  /** What waits for a run, in the order it would be used. */
  of(runId: string): readonly Waiting[] {
    return this.#byRun.get(runId)?.inOrder ?? [];
  }

  /** All events that wait, in order of arrival. */
  *events(): Generator<Event, void> {
    for (let at = this.#head; at < this.#queue.length; at++) {
      const waiting = this.#queue[at];
      if (waiting?.used === false) yield waiting.event;
    }
  }

  #release(next: Waiting, use: (waiting: Waiting) => void): void {
    this.#head += 1;
    if (this.#head > 1_024 && this.#head * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    if (next.used) return;
    const { runId } = next.event;
    const line = this.#byRun.get(runId)?.inOrder ?? [];
    // Mostly it is the first of its run as well.
    const released = line[0] === next ? undefined : line.splice(0, line.indexOf(next) + 1);
    if (released === undefined) line.shift();
    if (line.length === 0) this.#byRun.delete(runId);
    if (released === undefined) this.#hand(next, use);
    else for (const waiting of released) this.#hand(waiting, use);
  }

  #hand(waiting: Waiting, use: (waiting: Waiting) => void): void {
    waiting.used = true;
    this.#size -= 1;
    use(waiting);
  }
}

/** Puts an event where it belongs; from the end, because most come in order. */
function insert(line: Line, waiting: Waiting): void {
  const { inOrder } = line;
  const compare = line.numbered ? bySeq : byTime;
  let at = inOrder.length;
  for (; at > 0; at--) {
    const before = inOrder[at - 1];
    if (before === undefined || compare(before, waiting) <= 0) break;
  }
  if (at === inOrder.length) inOrder.push(waiting);
  else inOrder.splice(at, 0, waiting);
}

function seqOf(waiting: Waiting): number | undefined {
  return waiting.event.around?.seq;
}

function bySeq(a: Waiting, b: Waiting): number {
  return a.count - b.count || (seqOf(a) ?? 0) - (seqOf(b) ?? 0);
}

function byTime(a: Waiting, b: Waiting): number {
  return compareTimes(a.event.time, b.event.time) || RANK[a.event.type] - RANK[b.event.type];
}
