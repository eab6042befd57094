import { isDelta, type Delta, type Event } from "../event/event.ts";
import { isAfter, laterOf, type Time } from "../event/time.ts";
import { useDelta } from "./chunk.ts";
import { closeSegment, type Completion } from "./close.ts";
import { Deadlines } from "./deadlines.ts";
import { isRepeated, messageOf } from "./fault.ts";
import { forgetDeltas, knewDelta, knewOther, newHashMemory } from "./hash-memory.ts";
import type { HeartOptions } from "./limits.ts";
import { countGaps, placeInRun } from "./numbering.ts";
import type { DropReason, Ending, IncompleteReason, Op, RunFacts } from "./op.ts";
import { OrderStage, type Waiting } from "./order.ts";
import { Remembered } from "./remembered.ts";
import {
  restoreRecord,
  saveRecord,
  takeAwaited,
  type HeartChanges,
  type SavedHeart,
  type SavedRecord,
} from "./saved.ts";
import { goesOn, isLateAlready, learn, openSegment, useLate } from "./segment.ts";
import { isKnown, newRecord, type RunRecord, type Segment } from "./state.ts";
import { transition } from "./transition.ts";
import { USED } from "./used.ts";

/**
 * The heart: events in, ops out. Synchronous, without clock or I/O; what it does is a function of
 * the events and of source time, and its state is plain data (`saved.ts`).
 *
 * Every accepted event ends in exactly one `used` or `dropped` op, at once or when its wait in the
 * reorder window is over. Nothing it is given makes it throw: a fault of ours closes the one run.
 */
export class Assembler {
  readonly options: HeartOptions;
  /** Runs with an open segment, and runs all of whose events still wait. */
  readonly #active = new Map<string, RunRecord>();
  readonly #remembered: Remembered;
  readonly #deadlines: Deadlines;
  readonly #order: OrderStage;
  #nowMs = 0;
  /** Runs have been opened and closed so often. */
  #moves = 0;
  /** Runs that are not as they were last written down, once somebody asks for them. */
  #changed: Set<string> | undefined;

  constructor(options: HeartOptions) {
    this.options = options;
    this.#deadlines = new Deadlines(options);
    this.#remembered = new Remembered(options);
    this.#order = new OrderStage(options.reorderWindowMs);
  }

  /** Source time, milliseconds since 1970. */
  get nowMs(): number {
    return this.#nowMs;
  }

  get openRuns(): number {
    return this.#deadlines.size;
  }

  get rememberedRuns(): number {
    return this.#remembered.size;
  }

  get waitingEvents(): number {
    return this.#order.size;
  }

  /** The events whose fate is not decided yet, in order of arrival, as they were given. */
  undecided(): Iterable<Event> {
    return this.#order.events();
  }

  /** What is known of a run, open or remembered. */
  factsOf(runId: string): RunFacts | undefined {
    const record = this.#active.get(runId) ?? this.#remembered.get(runId);
    return record?.segment?.facts ?? record?.closed?.facts;
  }

  /** Start of the run that has been open longest; undefined when none is open. */
  oldestStart(): Time | undefined {
    let oldest: Time | undefined;
    for (const { segment } of this.#active.values()) {
      if (segment === undefined) continue;
      if (oldest === undefined || isAfter(oldest, segment.start)) oldest = segment.start;
    }
    return oldest;
  }

  /** An event arrived with a delivery of source time `nowMs`. Ops are added to `ops`. */
  accept(event: Event, nowMs: number, ops: Op[]): void {
    if (isDelta(event)) this.acceptDelta(event, nowMs, ops);
    else this.#acceptOther(event, nowMs, ops);
  }

  /** The same for a delta: nine of ten events, and the engine is quick where it meets but few shapes of them. */
  acceptDelta(delta: Delta, nowMs: number, ops: Op[]): void {
    const { type, runId, hash, time, around } = delta;
    const record = this.#arrival(runId, nowMs, ops);
    const awaited = takeAwaited(record, hash);
    const wasKnown = awaited === undefined && knewDelta(record.hashes, delta, this.options.maxHashes);
    const count = awaited ?? placeInRun(record, around, time);
    // A late one may well be a duplicate that is no longer remembered, so it may not put off anything either.
    if (wasKnown || (awaited === undefined && isLateAlready(record, delta, count))) {
      ops.push({ op: "dropped", type, reason: wasKnown ? "duplicate" : "late" });
      return;
    }
    putOff(record, nowMs);
    if (this.options.reorderWindowMs === 0) this.#useDelta(record, delta, count, nowMs, ops);
    else this.#wait(record, delta, count, nowMs, ops);
  }

  #acceptOther(event: Exclude<Event, Delta>, nowMs: number, ops: Op[]): void {
    const { type, runId, hash, time, around } = event;
    const record = this.#arrival(runId, nowMs, ops);
    const awaited = takeAwaited(record, hash);
    // What is awaited was remembered when it came first, and is not for longer because it comes again.
    const wasKnown = awaited === undefined && knewOther(record.hashes, event, this.options.maxHashes);
    // The runtime numbers one and the same CacheMetrics twice: its second number is not missing.
    const count = awaited ?? placeInRun(record, around, time);
    if (wasKnown) {
      ops.push({ op: "dropped", type, reason: "duplicate" });
      return;
    }
    putOff(record, nowMs);
    if (this.options.reorderWindowMs === 0) this.#use(record, event, count, nowMs, ops);
    else this.#wait(record, event, count, nowMs, ops);
  }

  /** What is known of the run of an event that arrived, once source time has come to its arrival. */
  #arrival(runId: string, nowMs: number, ops: Op[]): RunRecord {
    this.tick(nowMs, ops);
    this.#changed?.add(runId);
    return this.#recordOf(runId, nowMs);
  }

  #wait(record: RunRecord, event: Event, count: number, arrivalMs: number, ops: Op[]): void {
    if (event.around?.seq === undefined) record.numbered = false;
    this.#order.add({ event, arrivalMs, count, used: false }, record.numbered);
    this.#order.shrink(this.options.maxWaiting, (waiting) => this.#useWaiting(waiting, ops));
  }

  /**
   * Source time has come to `nowMs`: waits end, silent runs expire, old ones are forgotten, each in the
   * order of its time, so that it does not matter how often this is called.
   */
  tick(nowMs: number, ops: Op[]): void {
    for (let { dueMs } = this.#order; dueMs <= nowMs; { dueMs } = this.#order) {
      this.#advance(dueMs, ops);
      this.#order.release((waiting) => this.#useWaiting(waiting, ops));
    }
    this.#advance(nowMs, ops);
  }

  #advance(nowMs: number, ops: Op[]): void {
    if (nowMs > this.#nowMs) this.#nowMs = nowMs;
    if (this.#deadlines.dueMs <= this.#nowMs) this.#expire(ops);
    this.#forget();
  }

  /** The input has ended: nothing that waits has to wait any longer. */
  release(ops: Op[]): void {
    this.#order.shrink(0, (waiting) => this.#useWaiting(waiting, ops));
  }

  /** Closes every open run, in order of opening, because nothing more will come. */
  drain(ops: Op[]): void {
    this.release(ops);
    for (const record of this.#active.values()) {
      if (record.segment !== undefined) {
        this.#stop(record, record.segment, "drained", this.#nowMs, ops);
      }
    }
  }

  /** The state as plain JSON data, without the events that still wait (`saved.ts`). */
  save(): SavedHeart {
    const records = [...this.#active.values(), ...this.#remembered.values()];
    return { nowMs: this.#nowMs, runs: this.#written(records.filter(isKnown)) };
  }

  /**
   * What is new in the state since this was asked for last, or since it was read back; at first all of
   * it. All changes taken together are what `save` gives.
   */
  changes(): HeartChanges {
    const changed = this.#changed;
    this.#changed = new Set();
    if (changed === undefined) return { ...this.save(), gone: [] };
    const records: RunRecord[] = [];
    const gone: string[] = [];
    for (const runId of changed) {
      const record = this.#active.get(runId) ?? this.#remembered.get(runId);
      if (record !== undefined && isKnown(record)) records.push(record);
      else gone.push(runId);
    }
    return { nowMs: this.#nowMs, runs: this.#written(records), gone };
  }

  /** The heart that was saved; events that waited are expected to be delivered again. */
  static restore(saved: SavedHeart, options: HeartOptions): Assembler {
    const heart = new Assembler(options);
    heart.#nowMs = saved.nowMs;
    heart.#changed = new Set();
    for (const each of saved.runs.toSorted((one, other) => one.moved - other.moved)) {
      const record = restoreRecord(each);
      heart.#moves = record.moved;
      const { segment } = record;
      if (segment === undefined) {
        heart.#remembered.add(record);
        continue;
      }
      heart.#active.set(record.runId, record);
      heart.#deadlines.add(record, segment);
    }
    return heart;
  }

  #written(records: readonly RunRecord[]): SavedRecord[] {
    return records.map((record) => saveRecord(record, this.#order.of(record.runId)));
  }

  /** What is known of a run, for an event that arrived at `arrivalMs`. */
  #recordOf(runId: string, arrivalMs: number): RunRecord {
    const active = this.#active.get(runId);
    if (active !== undefined) return active;
    const remembered = this.#remembered.recall(runId, arrivalMs);
    if (remembered !== undefined) return remembered;
    const record = newRecord(runId, newHashMemory());
    this.#active.set(runId, record);
    return record;
  }

  #useWaiting({ event, count, arrivalMs }: Waiting, ops: Op[]): void {
    this.#changed?.add(event.runId);
    const record = this.#recordOf(event.runId, arrivalMs);
    if (isDelta(event)) this.#useDelta(record, event, count, arrivalMs, ops);
    else this.#use(record, event, count, arrivalMs, ops);
  }

  #useDelta(record: RunRecord, delta: Delta, count: number, arrivalMs: number, ops: Op[]): void {
    const { segment, closed } = record;
    if (segment === undefined || closed !== undefined) {
      this.#use(record, delta, count, arrivalMs, ops);
      return;
    }
    const before = ops.length;
    try {
      useDelta({ record, segment, options: this.options, count, ops }, delta);
    } catch (error) {
      this.#failed(record, delta, error, before, ops);
    }
  }

  #use(record: RunRecord, event: Event, count: number, arrivalMs: number, ops: Op[]): void {
    const before = ops.length;
    try {
      const fate = this.#carryOut(record, event, count, arrivalMs, ops);
      if (fate === "used") ops.push(USED[event.type]);
      else ops.push({ op: "dropped", type: event.type, reason: fate });
    } catch (error) {
      this.#failed(record, event, error, before, ops);
    }
  }

  #failed(record: RunRecord, { type, time }: Event, error: unknown, before: number, ops: Op[]): void {
    const { segment } = record;
    // What it did before it failed is as late as the event, and the run may not end before that.
    if (segment !== undefined) segment.last = laterOf(segment.last, time);
    this.#fault(record, error, before, ops);
    ops.push({ op: "dropped", type, reason: "faulted" });
  }

  #carryOut(
    record: RunRecord,
    event: Event,
    count: number,
    arrivalMs: number,
    ops: Op[],
  ): "used" | DropReason {
    const { closed } = record;
    let { segment } = record;
    if (closed !== undefined && !goesOn(closed, segment, event)) {
      return useLate(record, closed, event, this.options, ops);
    }
    if (segment === undefined) segment = this.#open(record, event, ops);
    else learn(segment, event.around);
    countGaps(record, event.around, count);
    const raised = isAfter(segment.last, event.time);
    const at = raised ? segment.last : event.time;
    const { options } = this;
    const fate = transition({ options, record, segment, moment: { at, raised }, count, ops }, event);
    if (typeof fate === "string" && fate !== "used") return fate;
    segment.last = at;
    segment.events += 1;
    if (typeof fate === "object") {
      const completion = event.type === "RunCompleted" ? event : undefined;
      this.#close(record, segment, fate, completion, arrivalMs, ops);
      return "used";
    }
    this.#deadlines.bringForward(record, segment);
    return "used";
  }

  #open(record: RunRecord, event: Event, ops: Op[]): Segment {
    while (this.openRuns > 0 && this.openRuns >= this.options.maxOpenRuns) this.#evict(ops);
    const segment = openSegment(record, event, this.options.agentName);
    record.segment = segment;
    record.moved = ++this.#moves;
    this.#remembered.remove(record.runId);
    this.#active.set(record.runId, record);
    this.#deadlines.add(record, segment);
    const { facts: run, start, resumedFrom } = segment;
    ops.push({
      op: "opened",
      span: { kind: "run", run, start, resumedFrom },
    });
    return segment;
  }

  #close(
    record: RunRecord,
    segment: Segment,
    ending: Ending,
    completion: Completion | undefined,
    closedMs: number,
    ops: Op[],
  ): void {
    closeSegment(record, segment, ending, completion, closedMs, this.options, ops);
    this.#leave(record);
  }

  /** Closes a run that no event closed. */
  #stop(record: RunRecord, segment: Segment, reason: IncompleteReason, closedMs: number, ops: Op[]): void {
    const before = ops.length;
    this.#changed?.add(record.runId);
    try {
      this.#close(record, segment, { outcome: "incomplete", reason }, undefined, closedMs, ops);
    } catch (error) {
      this.#fault(record, error, before, ops);
    }
  }

  /** The run moves from the open to the remembered ones. */
  #leave(record: RunRecord): void {
    if (record.queueIndex >= 0) this.#deadlines.remove(record);
    this.#active.delete(record.runId);
    if (record.closed === undefined) return;
    forgetDeltas(record.hashes, this.#order.of(record.runId), this.options.maxHashes);
    record.moved = ++this.#moves;
    this.#remembered.add(record);
    this.#forget();
  }

  #expire(ops: Op[]): void {
    for (;;) {
      const next = this.#deadlines.first(this.#nowMs);
      if (next === undefined) return;
      this.#stop(next.record, next.segment, "expired", next.record.deadlineMs, ops);
    }
  }

  /** Closes the run that would expire first. */
  #evict(ops: Op[]): void {
    const next = this.#deadlines.first(Infinity);
    if (next !== undefined) this.#stop(next.record, next.segment, "evicted", this.#nowMs, ops);
  }

  #forget(): void {
    this.#remembered.forget(this.#nowMs, (runId) => this.#changed?.add(runId));
  }

  /** A bug: closes the run as far as it can be, and keeps nothing of it that could fail again. */
  #fault(record: RunRecord, error: unknown, before: number, ops: Op[]): void {
    ops.push({ op: "fault", runId: record.runId, message: messageOf(error) });
    const { segment } = record;
    if (segment === undefined) {
      this.#active.delete(record.runId);
      return;
    }
    const rest: Op[] = [];
    try {
      const ending: Ending = { outcome: "incomplete", reason: "faulted" };
      closeSegment(record, segment, ending, undefined, this.#nowMs, this.options, rest);
      for (const op of rest) if (!isRepeated(op, ops, before)) ops.push(op);
    } catch (second) {
      ops.push({ op: "fault", runId: record.runId, message: messageOf(second) });
      record.segment = undefined;
    }
    this.#leave(record);
  }
}

/** What waited when the state was saved arrives again, with the time of its first arrival. */
function putOff(record: RunRecord, nowMs: number): void {
  if (nowMs > record.lastArrivalMs) record.lastArrivalMs = nowMs;
}
