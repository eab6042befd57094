import type { Msg, NatsConnection, Subscription } from "@nats-io/transport-node";

import type { Clock } from "../../clock.ts";
import { parseReply, type Arrival } from "./answer.ts";

export interface Pulled extends Arrival {
  readonly message: Msg;
}

/** Messages asked for at once. */
const BATCH = 512;
/** And bytes of them: or two of the largest that the server takes, for one that is larger would never come. */
const BATCH_BYTES = 4 * 1024 * 1024;
const EXPIRES_NS = 30 * 1e9;
const HEARTBEAT_MS = 5_000;
/** The server promised to say something every heartbeat while it is asked. */
const SILENCE_MS = 3 * HEARTBEAT_MS;

/**
 * Asks a consumer for messages, so that some are here before they are needed, and never more than two
 * batches. The numbering of what a consumer delivers shows at once when one is missing: it was lost on
 * the way, or somebody else reads from the same consumer. Then nothing behind it is handed out.
 *
 * The client's own pull consumers do the same but for the numbering, hide the end of a request, and
 * mend a consumer that is gone in ways of their own.
 */
export class Puller {
  readonly #connection: NatsConnection;
  readonly #subject: string;
  readonly #inbox: string;
  readonly #subscription: Subscription;
  readonly #clock: Clock;
  readonly #onNews: () => void;
  readonly #maxBytes: number;
  readonly #ready: Pulled[] = [];
  #request = 0;
  /** Messages still to come for the request under way; 0: none is. */
  #due = 0;
  #delivered = 0;
  #heardMs = 0;
  #fault: string | undefined;

  constructor(
    connection: NatsConnection,
    options: {
      readonly stream: string;
      readonly consumer: string;
      readonly inbox: string;
      readonly clock: Clock;
      readonly onNews: () => void;
    },
  ) {
    this.#connection = connection;
    this.#subject = `$JS.API.CONSUMER.MSG.NEXT.${options.stream}.${options.consumer}`;
    this.#inbox = options.inbox;
    this.#clock = options.clock;
    this.#onNews = options.onNews;
    this.#maxBytes = Math.max(BATCH_BYTES, 2 * (connection.info?.max_payload ?? 0));
    this.#subscription = connection.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (error === null) this.#take(message);
        else this.#fail(error.message);
        this.#onNews();
      },
    });
  }

  /** Why this can go on no further; undefined as long as it can. */
  get fault(): string | undefined {
    if (this.#fault === undefined && this.#due > 0 && this.#clock.now() - this.#heardMs > SILENCE_MS) {
      this.#fail("the server fell silent");
    }
    return this.#fault;
  }

  /** Messages that are here and were not taken. */
  get waiting(): number {
    return this.#ready.length;
  }

  /** The number that the consumer gave the last message that came, from 1. */
  get delivered(): number {
    return this.#delivered;
  }

  /** Everything that came since, in the order of the consumer; asks for more. */
  take(): Pulled[] {
    const taken = this.#ready.splice(0);
    this.ask();
    return taken;
  }

  /** Asks for so many, unless that was done or enough is here. */
  ask(batch = BATCH): void {
    if (this.#due > 0 || this.#fault !== undefined || this.#ready.length >= BATCH) return;
    this.#due = batch;
    this.#request += 1;
    this.#heardMs = this.#clock.now();
    const request = {
      batch,
      max_bytes: this.#maxBytes,
      expires: EXPIRES_NS,
      idle_heartbeat: HEARTBEAT_MS * 1e6,
    };
    this.#connection.publish(this.#subject, JSON.stringify(request), {
      reply: `${this.#inbox}.${this.#request}`,
    });
  }

  stop(): void {
    this.#fail("stopped");
    this.#ready.length = 0;
    if (!this.#connection.isClosed()) this.#subscription.unsubscribe();
  }

  #take(message: Msg): void {
    this.#heardMs = this.#clock.now();
    if (this.#fault !== undefined) return;
    if (message.subject.startsWith(this.#inbox)) return this.#takeStatus(message);
    const arrival = parseReply(message.reply ?? "");
    if (arrival === undefined) return this.#fail("a message came that is none of a consumer");
    if (arrival.delivered !== this.#delivered + 1) return this.#fail("a message of the consumer is missing");
    this.#delivered = arrival.delivered;
    this.#due = Math.max(0, this.#due - 1);
    this.#ready.push({ ...arrival, message });
    if (this.#due === 0) this.ask();
  }

  /** What the server says instead of a message (ADR-13): 100 it lives, 408 and most 409 that a request is over. */
  #takeStatus({ subject, headers }: Msg): void {
    if (headers === undefined || headers.code === 100) return;
    const description = headers.description.toLowerCase();
    const isOver =
      headers.code === 404 || headers.code === 408 || /^(message size|batch completed)/.test(description);
    if (!isOver) return this.#fail(`${headers.description || "no answer"} (${headers.code})`);
    if (subject !== `${this.#inbox}.${this.#request}`) return;
    this.#due = 0;
    this.ask();
  }

  #fail(reason: string): void {
    this.#fault ??= reason;
  }
}
