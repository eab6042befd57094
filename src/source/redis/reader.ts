import type { Clock } from "../../clock.ts";
import { BridgeError } from "../../errors.ts";
import type { Log } from "../../log.ts";
import type { Delivery, Reading } from "../source.ts";
import { deliveryOf } from "./entry.ts";
import { compareIds, FIRST_ID, timeOf } from "./entry-id.ts";
import { goneUnread, groupInfoOf, makeGroup, positionText, resumeOf, streamInfoOf } from "./group.ts";
import type { Command, Link } from "./link.ts";
import type { Ownership } from "./ownership.ts";
import { Refusal } from "./refusal.ts";
import { infoOf, listOf, numberOf, streamEntries, textOf, type Entry, type Reply } from "./reply.ts";
import { abandoned, takeOver, type Abandoned } from "./takeover.ts";

export interface ReaderOptions {
  readonly link: Link;
  readonly ownership: Ownership;
  readonly name: string;
  readonly stream: string;
  readonly group: string;
  readonly consumer: string;
  readonly start: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Entries asked for at once: as many as were 4 MiB if all were as large as the largest of those before. */
const MAX_ENTRIES = 500;
const MIN_ENTRIES = 16;
const BATCH_BYTES = 4 * 1024 * 1024;
/** Longest wait for something new; then it is said again that there is nothing. */
const BLOCK_MS = 900;
/** Between two looks for what dead consumers left. */
const TAKEOVER_MS = 30_000;
/** Between two words about entries that are gone. */
const TELL_MS = 10_000;

/**
 * Reads one group of one stream over a connection that may break at any call: then `detach`, and what was
 * not handed out comes again.
 *
 * First come the entries that are pending for this consumer, from the first one on: an earlier life read and did not
 * commit them. Then new ones. New entries are read in a transaction that runs only while this process
 * owns the state. A process that was replaced shares the consumer's name: what it went on to read would lie
 * among the pending entries of the newer one, behind its back.
 */
export class StreamReader {
  /** Entries that were trimmed or deleted before they were handed out, as far as the server can tell. */
  lost = 0;
  /** Entries handed out that had been handed out before: to an earlier life, or another consumer. */
  redelivered = 0;
  /** Entries of earlier lives that are still to be handed out. */
  pendingLeft = 0;
  readonly #options: ReaderOptions;
  #stage: "detached" | "pending" | "new" = "detached";
  #wasAttached = false;
  /** In the stage "pending" the last one handed out, then the last one that the group gave to anybody. */
  #cursor = FIRST_ID;
  /** Up to here what a group gives that was made again is known already. */
  #skipTo: string | undefined;
  /** Where a group that is gone would have to begin: as asked for by the last commit, and with it done. */
  #asked: string | undefined;
  #resume: string | undefined;
  #isIdle = false;
  #count = MAX_ENTRIES;
  #appendedMs = 0;
  #abandoned: Abandoned | undefined;
  #nextTakeoverMs = 0;
  /** To be done with the next reading: tells the server how many entries the group is past. */
  #correction: Command | undefined;
  #untold = 0;
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(options: ReaderOptions) {
    this.#options = options;
  }

  /** What was not handed out is asked for again, on whichever connection comes next. */
  detach(): void {
    this.#stage = "detached";
    // The group may have gone on since, unseen.
    this.#correction = undefined;
  }

  get isAttached(): boolean {
    return this.#stage !== "detached";
  }

  /** Makes ready to read on a new connection. `position` is the one of the last commit, once. */
  async attach(position?: string): Promise<void> {
    const { link, stream, group, start, log, name } = this.#options;
    if (position !== undefined) this.#resume = resumeOf(position);
    const found = await makeGroup(link, { stream, group, start }, this.#resume);
    if ("kind" in found) {
      if (this.#wasAttached || this.#resume !== undefined) {
        log.warn("The consumer group was gone and is made again", { source: name, group, behind: found.at });
      }
      const knows = this.#wasAttached && !found.isOtherStream && compareIds(this.#cursor, found.at) > 0;
      this.#skipTo = knows ? this.#cursor : undefined;
      this.#cursor = found.at;
      this.#resume = found.at;
      this.#abandoned = undefined;
      this.#correction = undefined;
    } else if (!this.#wasAttached) {
      this.#resume ??= start === FIRST_ID ? FIRST_ID : found.lastDelivered;
      await this.#takePending();
    }
    this.#wasAttached = true;
    this.#stage = "pending";
  }

  /** Undefined when there is nothing to say yet. Rejects with `Refusal`, `LostConnection`, or for good. */
  async read(): Promise<Reading | undefined> {
    switch (this.#stage) {
      case "detached":
        await this.attach();
        return undefined;
      case "pending":
        return this.#readPending();
      case "new":
        return (await this.#readAbandoned()) ?? (await this.#readNew());
    }
  }

  positionOf(last: string, unused: readonly string[]): string {
    const position = positionText(last, unused);
    this.#asked = resumeOf(position);
    return position;
  }

  /** The position asked for last is committed. */
  settle(): void {
    this.#resume = this.#asked ?? this.#resume;
  }

  /** Before anything is read: what dead consumers left comes in its place among our own. */
  async #takePending(): Promise<void> {
    const { link, stream, group, consumer } = this.#options;
    for (;;) {
      const found = await abandoned(link, this.#options);
      if (found === undefined) break;
      this.#taken(found, await takeOver(link, this.#options, found.ids));
    }
    const consumers = listOf(await link.ask(["XINFO", "CONSUMERS", stream, group])).map(infoOf);
    const own = consumers.find((info) => textOf(info.get("name")) === consumer);
    this.pendingLeft = numberOf(own?.get("pending")) ?? 0;
  }

  async #readPending(): Promise<Reading | undefined> {
    const { link, stream, group } = this.#options;
    const [reply] = await this.#guarded([this.#readGroup(this.#cursor)]);
    if (reply instanceof Refusal) throw reply;
    const entries = streamEntries(reply);
    const last = entries.at(-1);
    if (last === undefined) {
      this.#stage = "new";
      this.#isIdle = false;
      this.pendingLeft = 0;
      return undefined;
    }
    const gone = entries.filter(({ fields }) => fields === undefined).map(({ id }) => id);
    // Nothing is left of them that could be committed.
    if (gone.length > 0) await link.ask(["XACK", stream, group, ...gone]);
    this.#cursor = last.id;
    // Beyond those of earlier lives there are some whose answer was lost on its way to this one.
    const again = Math.min(this.pendingLeft, entries.length);
    this.pendingLeft -= again;
    this.redelivered += Math.max(0, again - gone.length);
    this.#noteLost(gone.length);
    return this.#handOut(entries);
  }

  async #readNew(): Promise<Reading | undefined> {
    const { link, stream, group } = this.#options;
    if (this.#isIdle) {
      // Outside of the group, so that it may be waited for without taking it from anybody.
      await link.ask(["XREAD", "COUNT", "1", "BLOCK", String(BLOCK_MS), "STREAMS", stream, this.#cursor]);
    }
    const [streamReply, groupReply, reply, time] = await this.#guarded(
      [["XINFO", "STREAM", stream], ["XINFO", "GROUPS", stream], this.#readGroup(">"), ["TIME"]],
      this.#correction,
    );
    if (reply instanceof Refusal) throw reply;
    this.#correction = undefined;
    const entries = streamEntries(reply);
    const before = groupInfoOf(groupReply, group);
    this.#cursor = entries.at(-1)?.id ?? before?.lastDelivered ?? this.#cursor;
    const streamInfo = streamInfoOf(streamReply);
    if (streamInfo !== undefined && before !== undefined) {
      const gone = goneUnread(streamInfo, before);
      this.#noteLost(gone);
      const read = (streamInfo.entriesAdded ?? 0) - streamInfo.length + entries.length;
      // Redis 7.0 and 7.2 count what was trimmed as lag for ever.
      if (gone > 0) {
        this.#correction = ["XGROUP", "SETID", stream, group, this.#cursor, "ENTRIESREAD", String(read)];
      }
    }
    this.#isIdle = entries.length === 0;
    if (this.#isIdle) return { kind: "caught_up", nowMs: this.#later(millis(time)) };
    return this.#handOut(this.#unknown(entries));
  }

  /** What another consumer left, now and then. */
  async #readAbandoned(): Promise<Reading | undefined> {
    const { link, clock } = this.#options;
    if (this.#abandoned === undefined) {
      if (clock.now() < this.#nextTakeoverMs) return undefined;
      this.#abandoned = await abandoned(link, this.#options);
      this.#nextTakeoverMs = clock.now() + TAKEOVER_MS;
      if (this.#abandoned === undefined) return undefined;
    }
    const found = this.#abandoned;
    const entries = await takeOver(link, this.#options, found.ids);
    this.#abandoned = undefined;
    // There may be more.
    this.#nextTakeoverMs = 0;
    this.#taken(found, entries);
    this.redelivered += entries.length;
    return this.#handOut(entries);
  }

  #taken({ by, ids }: Abandoned, entries: readonly Entry[]): void {
    const { log, name, group } = this.#options;
    log.warn("Entries that another consumer read and left are taken over", {
      source: name,
      group,
      consumer: by,
      count: entries.length,
    });
    this.#noteLost(ids.length - entries.length);
  }

  #readGroup(id: string): Command {
    const { group, consumer, stream } = this.#options;
    return ["XREADGROUP", "GROUP", group, consumer, "COUNT", String(this.#count), "STREAMS", stream, id];
  }

  /** Runs them as one while this process owns the state, `first` before them. */
  async #guarded(commands: readonly Command[], first?: Command): Promise<readonly Reply[]> {
    const { link, ownership } = this.#options;
    const all = first === undefined ? commands : [first, ...commands];
    for (;;) {
      const verdict = ownership.isTaken ? await ownership.check(link) : undefined;
      if (verdict?.kind === "replaced") {
        throw new BridgeError("BEHEST_STATE_REPLACED", `${ownership.key}: replaced by a newer process`);
      }
      if (verdict?.kind === "lost") {
        await ownership.regain(link);
        continue;
      }
      const replies = await link.transaction(all);
      // Undefined after a commit of our own in between.
      if (replies !== undefined) return first === undefined ? replies : replies.slice(1);
    }
  }

  /** A group that was made again gives once more what this process has got. */
  #unknown(entries: readonly Entry[]): readonly Entry[] {
    const skipTo = this.#skipTo;
    if (skipTo === undefined) return entries;
    const unknown = entries.filter(({ id }) => compareIds(id, skipTo) > 0);
    if (unknown.length > 0) this.#skipTo = undefined;
    return unknown;
  }

  #handOut(entries: readonly Entry[]): Reading | undefined {
    const deliveries: Delivery[] = [];
    let largest = 1;
    for (const { id, fields } of entries) {
      if (fields === undefined) continue;
      const delivery = deliveryOf(id, fields, this.#later(timeOf(id)));
      largest = Math.max(largest, delivery.payload.length);
      deliveries.push(delivery);
    }
    this.#count = Math.min(MAX_ENTRIES, Math.max(MIN_ENTRIES, Math.floor(BATCH_BYTES / largest)));
    this.#isIdle = false;
    return deliveries.length === 0 ? undefined : { kind: "deliveries", deliveries };
  }

  /** Append times never go back, whatever ids an entry was given or taken over with. */
  #later(ms: number): number {
    this.#appendedMs = Math.max(this.#appendedMs, ms);
    return this.#appendedMs;
  }

  #noteLost(count: number): void {
    this.lost += count;
    this.#untold += count;
    const { clock, log, name, group } = this.#options;
    const nowMs = clock.now();
    if (this.#untold === 0 || nowMs - this.#toldMs < TELL_MS) return;
    log.warn("Entries were trimmed or deleted from the stream before they were read", {
      source: name,
      group,
      count: this.#untold,
    });
    this.#untold = 0;
    this.#toldMs = nowMs;
  }
}

/** Of what `TIME` answers, in milliseconds. */
function millis(time: Reply | undefined): number {
  const [seconds, micros] = listOf(time).map(numberOf);
  return (seconds ?? 0) * 1_000 + Math.floor((micros ?? 0) / 1_000);
}
