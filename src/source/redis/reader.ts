import type { Clock } from "../../clock.ts";
import { BridgeError } from "../../errors.ts";
import type { Log } from "../../log.ts";
import type { Delivery, Reading } from "../source.ts";
import { deliveryOf } from "./entry.ts";
import { FIRST_ID, timeOf } from "./entry-id.ts";
import {
  goneUnread,
  groupInfoOf,
  makeGroup,
  pendingIds,
  streamInfoOf,
  type GroupInfo,
  type StreamInfo,
} from "./group.ts";
import { Ledger, parsePosition } from "./ledger.ts";
import type { Command, Link } from "./link.ts";
import type { Ownership } from "./ownership.ts";
import { Refusal } from "./refusal.ts";
import { listOf, numberOf, streamEntries, type Entry, type Reply } from "./reply.ts";
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
  readonly #ledger = new Ledger();
  #stage: "detached" | "pending" | "new" = "detached";
  #wasAttached = false;
  /** In the stage "pending" the last one handed out, then the last one that the group gave to anybody. */
  #cursor = FIRST_ID;
  #isIdle = false;
  #count = MAX_ENTRIES;
  #appendedMs = 0;
  #abandoned: Abandoned | undefined;
  #nextTakeoverMs = 0;
  /** To be done with the next reading: tells the server how many entries the group is past. */
  #correction: Command | undefined;
  /** That number, of the stream's first one ever, when something was missing the last time. */
  #passed = 0;
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
    const ledger = this.#ledger;
    if (position !== undefined) ledger.restore(parsePosition(position, name));
    const { resume } = ledger;
    const found = await makeGroup(link, { stream, group, start }, resume);
    if ("kind" in found) {
      if (resume !== undefined) {
        log.warn("The consumer group was gone and is made again", { source: name, group, behind: found.at });
      }
      ledger.remade(found);
      this.#cursor = found.at;
      this.#abandoned = undefined;
      this.#correction = undefined;
      this.#passed = 0;
    } else if (!this.#wasAttached) {
      const pending = await this.#takePending();
      this.pendingLeft = pending.length;
      ledger.join(pending, start === FIRST_ID ? FIRST_ID : found.lastDelivered);
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

  positionOf(last: string | undefined, unused: readonly string[]): string {
    return this.#ledger.positionOf(last, unused);
  }

  /** These entries are committed, and with them the position asked for last. */
  settle(used: readonly string[]): void {
    this.#ledger.settle(used);
  }

  /** Before anything is read: what dead consumers left comes in its place among our own. Gives all of these. */
  async #takePending(): Promise<string[]> {
    const { link } = this.#options;
    for (;;) {
      const found = await abandoned(link, this.#options);
      if (found === undefined) break;
      this.#taken(found, await takeOver(this.#askGuarded, this.#options, found.ids));
    }
    return pendingIds(link, this.#options);
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
    // Of those that are gone nothing is left that could be committed, and what is used nobody commits again.
    const { unknown, used } = this.#ledger.sift(entries);
    const over = new Set([...gone, ...used]);
    if (over.size > 0) await link.ask(["XACK", stream, group, ...over]);
    for (const id of gone) this.#ledger.gone(id);
    this.#cursor = last.id;
    // Beyond those of earlier lives there are some whose answer was lost on its way to this one.
    const again = Math.min(this.pendingLeft, entries.length);
    this.pendingLeft -= again;
    this.redelivered += Math.max(0, again - gone.length);
    this.#noteLost(gone.length);
    return this.#handOut(unknown);
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
    const { unknown, used } = this.#ledger.sift(entries);
    // Before they count as read: whoever fails here comes upon all of them again among the pending ones.
    if (used.length > 0) await link.ask(["XACK", stream, group, ...used]);
    const before = groupInfoOf(groupReply, group);
    this.#cursor = entries.at(-1)?.id ?? before?.lastDelivered ?? this.#cursor;
    const streamInfo = streamInfoOf(streamReply);
    if (streamInfo !== undefined && before !== undefined) {
      await this.#countGone(streamInfo, before, entries.length);
    }
    this.#isIdle = entries.length === 0;
    if (!this.#isIdle) return this.#handOut(unknown);
    this.#ledger.caughtUp();
    return { kind: "caught_up", nowMs: this.#later(millis(time)) };
  }

  /** What was trimmed away in front of the entries that were just read, or of none. */
  async #countGone(stream: StreamInfo, before: GroupInfo, readNow: number): Promise<void> {
    const gone = goneUnread(stream, before, this.#passed);
    if (gone === 0) return;
    const passed = (stream.entriesAdded ?? 0) - stream.length + readNow;
    const { stream: key, group } = this.#options;
    // Redis 7.0 and 7.2 count what was trimmed as lag for ever.
    const correction = ["XGROUP", "SETID", key, group, this.#cursor, "ENTRIESREAD", String(passed)];
    // As long as the group stands before the gap, the next life would count it again.
    if (readNow === 0) await this.#guarded([correction]);
    else this.#correction = correction;
    this.#passed = passed;
    this.#noteLost(gone);
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
    const entries = await takeOver(this.#askGuarded, this.#options, found.ids);
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

  /** One command, while this process owns the state. */
  readonly #askGuarded = async (command: Command): Promise<Reply> => {
    const [reply] = await this.#guarded([command]);
    if (reply instanceof Refusal) throw reply;
    return reply ?? null;
  };

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

  #handOut(entries: readonly Entry[]): Reading | undefined {
    const deliveries: Delivery[] = [];
    let largest = 1;
    for (const { id, fields } of entries) {
      if (fields === undefined) continue;
      const delivery = deliveryOf(id, fields, this.#later(timeOf(id)));
      largest = Math.max(largest, delivery.payload.length);
      this.#ledger.handedOut(id);
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
