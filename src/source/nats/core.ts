import type { Msg, Subscription } from "@nats-io/transport-node";

import { BridgeError } from "../../errors.ts";
import type { Delivery, Reading, Source } from "../source.ts";
import { natsReason, outsideOf } from "./answer.ts";
import { Bell } from "../bell.ts";
import { NatsLink, type Linked, type LinkOptions } from "./link.ts";
import type { NatsSpec } from "./spec.ts";

export interface CoreLimits {
  /** Events that may wait to be asked for; beyond either the newest are dropped. */
  readonly maxWaiting?: number;
  readonly maxWaitingBytes?: number;
}

const LOOK_MS = 500;
const MAX_WAITING = 65_536;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
/** Least time between two warnings about dropped events. */
const DROP_WARNING_MS = 10_000;

/**
 * What is published while it listens, at most once: nobody keeps it, and nothing can hold up who
 * publishes. What comes faster than it is asked for waits here up to a limit, and is then dropped.
 */
export function natsCoreSource(spec: NatsSpec, options: LinkOptions & CoreLimits): CoreSource {
  return new CoreSource(spec, options);
}

class CoreSource implements Source {
  readonly name: string;
  readonly keepsOrder = false;
  readonly timed = true;
  readonly #link: NatsLink;
  readonly #options: LinkOptions & CoreLimits;
  #prepared: Promise<void> | undefined;
  #linked: Linked | undefined;
  #subscription: Subscription | undefined;
  #stopListening = () => {};
  #waiting: Delivery[] = [];
  #waitingBytes = 0;
  #count = 0;
  #openedMs = 0;
  #latestMs = 0;
  #saidMs = 0;
  #dropped = 0;
  #droppedTold = 0;
  #droppedToldMs = Number.NEGATIVE_INFINITY;
  #fault: string | undefined;
  readonly #bell = new Bell();
  #isClosed = false;

  constructor(spec: NatsSpec, options: LinkOptions & CoreLimits) {
    this.#link = new NatsLink(spec, options);
    this.#options = options;
    this.name = `${this.#link.server}/${spec.subject}`;
  }

  /** Events that came and were dropped because too many waited. */
  get lost(): number {
    return this.#dropped;
  }

  prepare(): Promise<void> {
    this.#prepared ??= this.#connect();
    return this.#prepared;
  }

  async open(): Promise<void> {
    await this.prepare();
    this.#openedMs = this.#options.clock.now();
    this.#subscription = await this.#subscribe((message) => this.#take(message));
    this.#options.log.warn(
      "core NATS keeps nothing: events that are published while this program or its connection is down are lost",
      { source: this.name },
    );
  }

  async next(signal: AbortSignal): Promise<Reading | undefined> {
    while (!signal.aborted && !this.#isClosed) {
      this.#bell.listen();
      const fault = this.#fault ?? this.#link.endedBy;
      const deliveries = this.#waiting;
      if (deliveries.length > 0) {
        this.#waiting = [];
        this.#waitingBytes = 0;
        return { kind: "deliveries", deliveries };
      }
      if (fault !== undefined) throw new BridgeError("BEHEST_SOURCE_READ", `${this.name}: ${fault}`);
      const nowMs = this.#now();
      if (this.#link.isUp && nowMs - this.#saidMs >= LOOK_MS) {
        this.#saidMs = nowMs;
        return { kind: "caught_up", nowMs };
      }
      await this.#bell.wait(signal, { clock: this.#options.clock, ms: LOOK_MS });
    }
    return undefined;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopListening();
    this.#bell.ring();
    if (this.#linked === undefined) return;
    const { connection } = this.#linked;
    this.#linked = undefined;
    if (!connection.isClosed()) this.#subscription?.unsubscribe();
    await this.#link.release();
  }

  async #connect(): Promise<void> {
    this.#linked = await this.#link.hold();
    this.#stopListening = this.#link.onChange(() => this.#bell.ring());
    // What comes now is not asked for yet.
    const trial = await this.#subscribe(() => {});
    trial.unsubscribe();
  }

  /** Rejects with `BEHEST_SOURCE_OPEN` when the server refuses it. */
  async #subscribe(take: (message: Msg) => void): Promise<Subscription> {
    const linked = this.#linked;
    if (linked === undefined) throw new BridgeError("BEHEST_SOURCE_OPEN", `${this.name}: it was closed`);
    const subscription = linked.connection.subscribe(this.#link.spec.subject, {
      callback: (error, message) => {
        if (error === null) take(message);
        else this.#fault = natsReason(error);
        this.#bell.ring();
      },
    });
    // The server's answer comes behind its refusal.
    await linked.connection.flush();
    if (this.#fault === undefined) return subscription;
    const fault = this.#fault;
    await this.close();
    throw new BridgeError("BEHEST_SOURCE_OPEN", `${this.name}: ${fault}`);
  }

  #take(message: Msg): void {
    const { maxWaiting = MAX_WAITING, maxWaitingBytes = MAX_WAITING_BYTES } = this.#options;
    const { buffer, byteOffset, length } = message.data;
    if (this.#waiting.length >= maxWaiting || this.#waitingBytes + length > maxWaitingBytes) {
      this.#dropped += 1;
      this.#tellDropped();
      return;
    }
    this.#count += 1;
    this.#waitingBytes += length;
    this.#waiting.push({
      // Unique over all lives of the program.
      id: `${this.#openedMs}-${this.#count}`,
      appendedMs: this.#now(),
      payload: Buffer.from(buffer, byteOffset, length),
      outside: outsideOf(message.headers),
    });
  }

  #tellDropped(): void {
    const nowMs = this.#now();
    if (nowMs - this.#droppedToldMs < DROP_WARNING_MS) return;
    this.#options.log.error("events come faster than they are taken, and are dropped", {
      source: this.name,
      count: this.#dropped - this.#droppedTold,
    });
    this.#droppedTold = this.#dropped;
    this.#droppedToldMs = nowMs;
  }

  #now(): number {
    this.#latestMs = Math.max(this.#latestMs, this.#options.clock.now());
    return this.#latestMs;
  }
}
