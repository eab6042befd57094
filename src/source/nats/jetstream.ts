import type { StreamInfo } from "@nats-io/jetstream";

import { unlessAborted } from "../../abort.ts";
import type { Clock } from "../../clock.ts";
import { BridgeError } from "../../errors.ts";
import type { Log } from "../../log.ts";
import type { Delivery, LogSource, Reading } from "../source.ts";
import { apiCode, natsReason, outsideOf, STREAM_NOT_FOUND } from "./answer.ts";
import { Bell } from "../bell.ts";
import {
  consumerInfo,
  makeConsumer,
  streamFacts,
  subjectFault,
  tryConsumer,
  type Consumer,
  type StreamFacts,
} from "./consumer.ts";
import { Ledger } from "./ledger.ts";
import { streamInfo, type Linked, type NatsLink } from "./link.ts";
import { Losses } from "./losses.ts";
import { parsePosition } from "./position.ts";
import { Puller } from "./puller.ts";

/** How often the server is asked whether anything is left, while nothing comes. */
const LOOK_MS = 500;
/** And how soon again, when something was still on its way. */
const LOOK_AGAIN_MS = 50;
const MIN_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;
const ACK = Buffer.from("+ACK");

export interface JetStreamOptions {
  /** Name of the durable consumer. */
  readonly consumer: string;
  readonly log: Log;
  readonly clock: Clock;
  /** From 0 to below 1, for the waits between two tries. */
  readonly random: () => number;
  /** Whether a newer process has opened the state: then its consumer is not to be touched. */
  readonly isReplaced: () => Promise<boolean>;
}

/** A consumer on the server, and who reads from it. */
interface Reader {
  readonly consumer: Consumer;
  readonly puller: Puller;
  /** The life of the connection it was made on. */
  readonly life: number;
}

/**
 * Messages of a stream, each handed out once, in the order of their sequences.
 *
 * The consumer on the server is a means of getting at them and no more: it begins at the lowest sequence
 * that is not committed whenever it is made, which is at the start, after every lost connection, and
 * whenever it is gone or misses something. What was handed out before is known by its sequence.
 */
export class JetStreamSource implements LogSource {
  readonly name: string;
  // The runtime publishes each event from a task of its own.
  readonly keepsOrder = false;
  readonly timed = true;
  readonly #link: NatsLink;
  readonly #options: JetStreamOptions;
  #prepared: Promise<void> | undefined;
  #linked: Linked | undefined;
  #stopListening = () => {};
  #ledger = new Ledger({ stream: "", life: 0, next: 1, unused: [], appendedMs: 0 });
  #stream: StreamFacts | undefined;
  #reader: Reader | undefined;
  #caughtUpMs = 0;
  #lookDueMs = 0;
  #failures = 0;
  #retryMs = 0;
  /** The last sequence that the server handed out to an earlier life. */
  #handedOutBefore = 0;
  #redelivered = 0;
  readonly #losses: Losses;
  readonly #bell = new Bell();
  #isClosed = false;

  constructor(link: NatsLink, options: JetStreamOptions) {
    this.name = `${link.server}/${link.spec.stream}/${options.consumer}`;
    this.#link = link;
    this.#options = options;
    this.#losses = new Losses(this.name, options);
  }

  /** Messages that were gone before they could be handed out; at most so many where others share the stream. */
  get lost(): number {
    return this.#losses.count;
  }

  get redelivered(): number {
    return this.#redelivered;
  }

  prepare(): Promise<void> {
    this.#prepared ??= this.#opening(async () => {
      const linked = await this.#link.hold();
      this.#linked = linked;
      this.#stopListening = this.#link.onChange(() => this.#bell.ring());
      const stream = await streamInfo(this.#link, linked.manager, this.#options.log);
      const fault = subjectFault(stream, this.#link.spec.subject);
      if (fault !== undefined) throw new BridgeError("BEHEST_SOURCE_OPEN", `${this.name}: ${fault}`);
      await tryConsumer(this.#link, linked, { name: this.#options.consumer, stream });
    });
    return this.#prepared;
  }

  async open(position?: string): Promise<void> {
    const known = position === undefined ? undefined : parsePosition(position, this.name);
    await this.prepare();
    const linked = this.#linked;
    if (linked === undefined) throw new BridgeError("BEHEST_SOURCE_OPEN", `${this.name}: it was closed`);
    const { spec } = this.#link;
    await this.#opening(async () => {
      const info = await streamInfo(this.#link, linked.manager, this.#options.log);
      const { created, firstSequence } = streamFacts(info, spec.subject);
      this.#ledger = new Ledger(
        known ?? { stream: created, life: 0, next: firstSequence, unused: [], appendedMs: 0 },
      );
      const before = await consumerInfo(this.#link, linked.manager, this.#options.consumer);
      this.#handedOutBefore = before?.delivered.stream_seq ?? 0;
      this.#reader = await this.#make(linked, info);
    });
  }

  async next(signal: AbortSignal): Promise<Reading | undefined> {
    while (!signal.aborted && !this.#isClosed) {
      this.#bell.listen();
      const reading = await unlessAborted(this.#step(), signal);
      if (signal.aborted || this.#isClosed) break;
      if (reading !== undefined) return reading;
      await this.#bell.wait(signal, { clock: this.#options.clock, ms: this.#pauseMs() });
    }
    return undefined;
  }

  positionOf(last: string | undefined, unused: readonly string[]): string {
    return this.#ledger.positionOf(last, unused);
  }

  async lag(): Promise<number | undefined> {
    const [linked, reader] = [this.#linked, this.#reader];
    if (linked === undefined || reader === undefined || !this.#link.isUp) return undefined;
    try {
      const info = await this.#ask(() =>
        linked.manager.consumers.info(this.#link.spec.stream, reader.consumer.name),
      );
      // Below 0 when they came after the server said so.
      const onTheirWay = info.delivered.consumer_seq - reader.puller.delivered;
      return Math.max(0, info.num_pending + onTheirWay + reader.puller.waiting);
    } catch {
      return undefined;
    }
  }

  /** Tells the server that these are committed. What gets lost of that is skipped when it comes again. */
  acknowledge(ids: readonly string[]): void {
    for (const id of ids) {
      const reply = this.#ledger.commit(id);
      if (reply !== undefined) this.#link.send(reply, ACK);
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#reader?.puller.stop();
    this.#stopListening();
    this.#bell.ring();
    if (this.#linked === undefined) return;
    this.#linked = undefined;
    await this.#link.release();
  }

  /** Lets go of everything when `work` fails. */
  async #opening(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      await this.close();
      if (error instanceof BridgeError) throw error;
      throw new BridgeError("BEHEST_SOURCE_OPEN", `${this.name}: ${natsReason(error)}`, { cause: error });
    }
  }

  /** One try at something to hand out. Rejects only when there will never be any more. */
  async #step(): Promise<Reading | undefined> {
    const linked = this.#linked;
    if (this.#link.endedBy !== undefined) {
      throw new BridgeError("BEHEST_SOURCE_READ", `${this.name}: ${this.#link.endedBy}`);
    }
    if (linked === undefined || !this.#link.isUp) return undefined;
    try {
      const reader = await this.#sound(linked);
      if (reader === undefined) return undefined;
      const deliveries = await this.#take(linked, reader);
      if (deliveries.length > 0) return { kind: "deliveries", deliveries };
      return await this.#look(linked, reader);
    } catch (error) {
      if (error instanceof BridgeError) throw error;
      this.#retryLater(natsReason(error));
      return undefined;
    }
  }

  /** The reader, made again where it has to be; undefined when it is too early for that. */
  async #sound(linked: Linked): Promise<Reader | undefined> {
    if (this.#reader?.life === this.#link.lives) {
      const { fault } = this.#reader.puller;
      if (fault === undefined) return this.#reader;
      this.#retryLater(fault);
    }
    if (this.#options.clock.now() < this.#retryMs) return undefined;
    this.#reader?.puller.stop();
    this.#reader = undefined;
    if (await this.#options.isReplaced()) {
      throw new BridgeError("BEHEST_STATE_REPLACED", `${this.name}: replaced by a newer process`);
    }
    const info = await streamInfo(this.#link, linked.manager, this.#options.log);
    this.#reader = await this.#make(linked, info);
    return this.#reader;
  }

  async #make(linked: Linked, info: StreamInfo): Promise<Reader | undefined> {
    const { spec, lives: life } = this.#link;
    const { consumer: name, clock } = this.#options;
    this.#stream = streamFacts(info, spec.subject);
    this.#beginAnewWhere(this.#stream);
    const startSequence = this.#ledger.lowest;
    this.#countLost(this.#ledger.skipTo(this.#stream.firstSequence - 1));
    const consumer = await makeConsumer(this.#link, linked.manager, {
      name,
      stream: info,
      startSequence,
      clock,
    });
    const puller = new Puller(linked.connection, {
      stream: spec.stream,
      consumer: name,
      inbox: linked.newInbox(),
      clock,
      onNews: () => this.#bell.ring(),
    });
    // An older process may have made it anew in between, beginning elsewhere. To do that later, it would have to
    // end the request, which is noticed. For one message only, so that the answer does not wait behind many.
    puller.ask(1);
    const { created } = await this.#ask(() => linked.manager.consumers.info(spec.stream, name));
    if (created === consumer.created && !this.#isClosed) return { consumer, puller, life };
    puller.stop();
    this.#retryLater("another process has made the consumer at the same time");
    return undefined;
  }

  /** A stream of the same name may be another one, or have lost its end with the server's disk. */
  #beginAnewWhere({ created, firstSequence, lastSequence }: StreamFacts): void {
    const { position, cursor } = this.#ledger;
    if (created !== position.stream) {
      this.#options.log.warn(
        "the stream was deleted and made again: reading the new one from its beginning",
        this.#facts(),
      );
      this.#handedOutBefore = 0;
      this.#ledger = new Ledger({
        stream: created,
        life: position.life + 1,
        next: firstSequence,
        unused: [],
        appendedMs: this.#ledger.appendedMs,
      });
    } else if (lastSequence < Math.max(cursor, position.next - 1)) {
      this.#options.log.warn(
        "the stream has gone back behind what was read: new messages will have old sequences",
        { ...this.#facts(), last: lastSequence },
      );
      this.#handedOutBefore = lastSequence;
      this.#ledger = new Ledger({
        stream: created,
        life: position.life + 1,
        next: lastSequence + 1,
        unused: this.#ledger.uncommittedUpTo(lastSequence),
        appendedMs: position.appendedMs,
      });
    }
  }

  async #take(linked: Linked, { puller }: Reader): Promise<readonly Delivery[]> {
    const pulled = puller.take();
    const gaps: (readonly [after: number, before: number])[] = [];
    let { cursor } = this.#ledger;
    for (const { sequence } of pulled) {
      if (sequence > cursor + 1) gaps.push([cursor, sequence]);
      cursor = Math.max(cursor, sequence);
    }
    // Asked first: what is counted as lost and what the position is behind are the same at any moment.
    const dropped = gaps.length > 0 ? await this.#droppedBelow(linked) : 0;
    for (const [after, before] of gaps) {
      this.#countLost(this.#ledger.missing(after, Math.min(before, dropped)));
    }
    const deliveries: Delivery[] = [];
    for (const { sequence, appendedMs, message } of pulled) {
      if (sequence <= Math.max(this.#ledger.cursor, this.#handedOutBefore)) this.#redelivered += 1;
      const reply = message.reply ?? "";
      const verdict = this.#ledger.take({ sequence, appendedMs, reply });
      if (verdict.kind === "used") this.#link.send(reply, ACK);
      if (verdict.kind !== "new") continue;
      const { buffer, byteOffset, length } = message.data;
      deliveries.push({
        id: verdict.id,
        appendedMs: verdict.appendedMs,
        payload: Buffer.from(buffer, byteOffset, length),
        outside: outsideOf(message.headers),
      });
    }
    if (deliveries.length > 0) this.#noteSuccess();
    return deliveries;
  }

  /** Where others have a part in the stream, sequences may be theirs: only what it has dropped can be ours. */
  async #droppedBelow(linked: Linked): Promise<number> {
    if (this.#stream?.isAllOurs !== false) return Number.POSITIVE_INFINITY;
    const { spec } = this.#link;
    const info = await this.#ask(() => linked.manager.streams.info(spec.stream)).catch(() => undefined);
    return info === undefined ? 0 : streamFacts(info, spec.subject).firstSequence;
  }

  /** Asks the server whether anything is left, and says so when there is not. */
  async #look(linked: Linked, { consumer, puller }: Reader): Promise<Reading | undefined> {
    const { spec } = this.#link;
    const askedMs = this.#options.clock.now();
    if (askedMs < this.#lookDueMs) return undefined;
    this.#lookDueMs = askedMs + LOOK_AGAIN_MS;
    let isEmpty = false;
    // Servers before 2.10 do not say when they answered.
    let nowMs = askedMs + consumer.serverAheadMs;
    try {
      const info: StreamInfo & { readonly ts?: string } = await this.#ask(() =>
        linked.manager.streams.info(spec.stream),
      );
      this.#stream = streamFacts(info, spec.subject);
      if (info.ts !== undefined) nowMs = Date.parse(info.ts);
      if (puller.waiting === 0) this.#countLost(this.#ledger.skipTo(this.#stream.firstSequence - 1));
      isEmpty = this.#stream.lastSequence <= this.#ledger.cursor;
      if (!isEmpty) {
        // Messages that are not ours come last, or ours are on their way.
        const state = await this.#ask(() => linked.manager.consumers.info(spec.stream, consumer.name));
        isEmpty = state.num_pending === 0 && state.delivered.consumer_seq === puller.delivered;
      }
    } catch (error) {
      // A server that is slow to answer may deliver all the same; one that does not falls silent as well.
      if (apiCode(error) === STREAM_NOT_FOUND) throw error;
      return undefined;
    }
    if (!isEmpty || puller.waiting > 0 || puller.fault !== undefined || !this.#link.isUp) return undefined;
    this.#noteSuccess();
    this.#lookDueMs = askedMs + LOOK_MS;
    this.#caughtUpMs = Math.max(this.#caughtUpMs, this.#ledger.appendedMs, nowMs);
    return { kind: "caught_up", nowMs: this.#caughtUpMs };
  }

  #countLost(count: number): void {
    this.#losses.add(count, this.#stream?.isAllOurs !== false);
  }

  #retryLater(reason: string): void {
    this.#reader?.puller.stop();
    this.#reader = undefined;
    const longestMs = Math.min(MIN_BACKOFF_MS * 2 ** this.#failures, MAX_BACKOFF_MS);
    this.#retryMs = this.#options.clock.now() + longestMs * (0.5 + this.#options.random() / 2);
    if (this.#failures === 0) {
      this.#options.log.warn("cannot read on, beginning again at the last commit", this.#facts(reason));
    }
    this.#failures += 1;
  }

  #ask<T>(request: () => Promise<T>): Promise<T> {
    return this.#link.ask(request);
  }

  #noteSuccess(): void {
    if (this.#failures > 0) this.#options.log.info("reading again", this.#facts());
    this.#failures = 0;
  }

  #facts(reason?: string): Record<string, string | undefined> {
    return { source: this.name, reason };
  }

  /** How long to wait for news before looking again. */
  #pauseMs(): number {
    const dueMs = (this.#failures > 0 ? this.#retryMs : this.#lookDueMs) - this.#options.clock.now();
    return Math.min(Math.max(dueMs, LOOK_AGAIN_MS), LOOK_MS);
  }
}
