import type { JetStreamClient, JetStreamManager, StreamInfo } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";

import type { Clock } from "../../clock.ts";
import { BridgeError } from "../../errors.ts";
import type { Log } from "../../log.ts";
import { apiCode, isUnheard, natsReason, STREAM_NOT_FOUND, SUBJECTS_OVERLAP } from "./answer.ts";
import { loginOptions, type Environment } from "./login.ts";
import { serverText, type NatsSpec } from "./spec.ts";

export interface LinkOptions {
  readonly log: Log;
  readonly clock: Clock;
  /** Has what is secret and does not stand in the URL. */
  readonly env: Environment;
  /** From 0 to below 1, for the waits between two tries. */
  readonly random: () => number;
}

/** A connection with what JetStream needs on top of it. */
export interface Linked {
  readonly connection: NatsConnection;
  readonly jetstream: JetStreamClient;
  readonly manager: JetStreamManager;
  /** A subject that nobody else has. */
  readonly newInbox: () => string;
}

/** Longest wait for an answer of the server, in milliseconds. */
export const REQUEST_TIMEOUT_MS = 5_000;
const HEARD_AGAIN_MS = 20;
const CONNECT_TIMEOUT_MS = 5_000;
const CLOSE_TIMEOUT_MS = 2_000;
/** A server that is gone without a word is noticed after two of these. */
const PING_INTERVAL_MS = 5_000;
const LOST = "the connection was lost";
const MIN_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;

/** Of a stream made by us: a week, and 4 GiB, whichever is reached first; then the oldest go. */
const STREAM_MAX_AGE_NS = 7 * 24 * 3_600 * 1e9;
const STREAM_MAX_BYTES = 4 * 1024 ** 3;

/**
 * The one connection of a source and its state. It connects when it is first needed, again whenever it is
 * lost, and is closed when nobody holds it any more.
 */
export class NatsLink {
  readonly spec: NatsSpec;
  readonly server: string;
  readonly #options: LinkOptions;
  readonly #listeners = new Set<() => void>();
  #connection: NatsConnection | undefined;
  #linked: Promise<Linked> | undefined;
  #holders = 0;
  #isUp = false;
  #lives = 0;
  #lostAtMs = 0;
  #endedBy: string | undefined;

  constructor(spec: NatsSpec, options: LinkOptions) {
    this.spec = spec;
    this.server = serverText(spec);
    this.#options = options;
  }

  /** Connects, or joins who did; to be released once. Rejects with `BEHEST_SOURCE_OPEN`. */
  async hold(): Promise<Linked> {
    this.#holders += 1;
    this.#linked ??= this.#connect();
    try {
      return await this.#linked;
    } catch (error) {
      this.#holders -= 1;
      this.#linked = undefined;
      throw error;
    }
  }

  async release(): Promise<void> {
    this.#holders -= 1;
    if (this.#holders > 0) return;
    const linked = this.#linked;
    const wasUp = this.#isUp;
    this.#linked = undefined;
    this.#isUp = false;
    const { connection } = (await linked) ?? {};
    if (connection === undefined || connection.isClosed()) return;
    // What was acknowledged last is still to be sent.
    if (wasUp) await within(connection.drain(), CLOSE_TIMEOUT_MS, this.#options.clock);
    await connection.close();
  }

  /** False while the server cannot be asked. */
  get isUp(): boolean {
    return this.#isUp;
  }

  /** Goes up with every connection that was made: what the server knew of the one before is gone. */
  get lives(): number {
    return this.#lives;
  }

  /** Why there will be no other connection; undefined as long as there will. */
  get endedBy(): string | undefined {
    return this.#endedBy;
  }

  /** Asks the server something. Rejects at once when the connection is lost, for then no answer will come. */
  async ask<T>(request: () => Promise<T>): Promise<T> {
    if (!this.#isUp) throw new Error(LOST);
    let forget = () => {};
    const lost = new Promise<never>((_, reject) => {
      forget = this.onChange(() => {
        if (!this.#isUp) reject(new Error(LOST));
      });
    });
    try {
      return await Promise.race([request(), lost]);
    } finally {
      forget();
    }
  }

  /**
   * Makes a stream, where another process may be making the same one: whichever comes second is refused for what it
   * has in common with the first, and not when it asks again.
   */
  async make<T>(add: () => Promise<T>): Promise<T> {
    try {
      return await this.ask(add);
    } catch (error) {
      if (apiCode(error) !== SUBJECTS_OVERLAP) throw error;
      return this.ask(add);
    }
  }

  /** Does what asks a stream for the first time. As long as the process that makes it is not done, nobody listens there. */
  async untilHeard<T>(work: () => Promise<T>): Promise<T> {
    const { clock } = this.#options;
    const giveUpMs = clock.now() + REQUEST_TIMEOUT_MS;
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!isUnheard(error) || clock.now() >= giveUpMs) throw error;
      }
      await new Promise<void>((resolve) => {
        clock.after(HEARD_AGAIN_MS, resolve);
      });
    }
  }

  /** Sends a word that nobody waits for; it is lost while the connection is. */
  send(subject: string, word: Uint8Array): void {
    if (this.#isUp && this.#connection?.isClosed() === false) this.#connection.publish(subject, word);
  }

  /** Calls back whenever `isUp` or `endedBy` changes, until the function returned is called. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #connect(): Promise<Linked> {
    const { env } = this.#options;
    const [client, streams] = await Promise.all([
      import("@nats-io/transport-node"),
      import("@nats-io/jetstream"),
    ]);
    const { host, port } = this.spec;
    const options = await loginOptions(this.spec, env, client);
    try {
      const connection = await client.connect({
        ...options,
        servers: `${host.includes(":") ? `[${host}]` : host}:${port}`,
        name: "behest-otel",
        timeout: CONNECT_TIMEOUT_MS,
        pingInterval: PING_INTERVAL_MS,
        maxReconnectAttempts: -1,
        ignoreAuthErrorAbort: true,
        noAsyncTraces: true,
        reconnectDelayHandler: () => this.#pauseMs(),
      });
      this.#connection = connection;
      this.#isUp = true;
      this.#lives += 1;
      void this.#watch(connection);
      const api = { checkAPI: false, timeout: REQUEST_TIMEOUT_MS };
      const jetstream = streams.jetstream(connection, api);
      const manager = await streams.jetstreamManager(connection, api);
      return { connection, jetstream, manager, newInbox: () => client.createInbox() };
    } catch (error) {
      throw new BridgeError("BEHEST_SOURCE_OPEN", `${this.server}: ${natsReason(error)}`, { cause: error });
    }
  }

  /** The longer it is gone the longer the pause, which makes it grow as powers do; never in step with others. */
  #pauseMs(): number {
    const { clock, random } = this.#options;
    const goneMs = this.#isUp ? 0 : clock.now() - this.#lostAtMs;
    return Math.min(Math.max(goneMs, MIN_BACKOFF_MS), MAX_BACKOFF_MS) * (0.5 + random() / 2);
  }

  async #watch(connection: NatsConnection): Promise<void> {
    const { log, clock } = this.#options;
    for await (const { type } of connection.status()) {
      if (type === "disconnect" && this.#isUp) {
        this.#isUp = false;
        this.#lostAtMs = clock.now();
        if (this.#linked !== undefined) {
          log.warn("lost the connection to NATS, connecting again", { server: this.server });
        }
        this.#tell();
      } else if (type === "reconnect") {
        this.#isUp = true;
        this.#lives += 1;
        log.info("connected to NATS again", { server: this.server });
        this.#tell();
      }
    }
    const error = await connection.closed();
    if (this.#linked !== undefined) this.#endedBy = natsReason(error);
    this.#isUp = false;
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}

/** What the server knows of the stream; made first where that is asked for. */
export async function streamInfo(link: NatsLink, manager: JetStreamManager, log: Log): Promise<StreamInfo> {
  const { stream, subject, create } = link.spec;
  try {
    return await link.ask(() => manager.streams.info(stream));
  } catch (error) {
    if (!create || apiCode(error) !== STREAM_NOT_FOUND) throw error;
  }
  const config: Parameters<typeof manager.streams.add>[0] = {
    name: stream,
    subjects: [subject],
    retention: "limits",
    storage: "file",
    discard: "old",
    max_age: STREAM_MAX_AGE_NS,
    max_bytes: STREAM_MAX_BYTES,
  };
  const made = await link.make(() => manager.streams.add(config));
  log.info("made a stream, which keeps a week and at most 4 GiB of events", { stream, subject });
  return made;
}

/** Waits for the promise, but no longer than this, and for nothing that it says. */
async function within(promise: Promise<unknown>, ms: number, clock: Clock): Promise<void> {
  let cancel = () => {};
  const timeout = new Promise<void>((resolve) => {
    cancel = clock.after(ms, resolve);
  });
  await Promise.race([promise.catch(() => {}), timeout]);
  cancel();
}
