import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import {
  jetstream,
  jetstreamManager,
  type ConsumerInfo,
  type JetStreamClient,
  type JetStreamManager,
} from "@nats-io/jetstream";
import { connect, type ConnectionOptions, type NatsConnection } from "@nats-io/transport-node";

import { systemClock, type Clock } from "../../src/clock.ts";
import { natsInput } from "../../src/source/nats/input.ts";
import { parseNatsSpec } from "../../src/source/nats/spec.ts";
import type { Delivery, Reading } from "../../src/source/source.ts";
import { program } from "./programs.ts";
import { freePort, Said } from "./redis-server.ts";
import { eventually, RunningProgram } from "./running.ts";
import { takeAllFrom, takeFrom } from "./taking.ts";

export const STREAM = "BEHEST";
export const SUBJECT = "behest.events";
/** Where the states of those who read the stream are. */
export const BUCKET = `KV_behest-otel-${STREAM}`;

/** A real nats-server with a directory of its own: it can be killed and started again with the same data. */
export class NatsServer {
  readonly port: number;
  readonly dir: string;
  readonly #program: RunningProgram;
  #connection: NatsConnection | undefined;
  #manager: JetStreamManager | undefined;

  private constructor(port: number, dir: string, started: RunningProgram) {
    this.port = port;
    this.dir = dir;
    this.#program = started;
  }

  /** Starts one with JetStream, or with what `config` says, and logs in as the test's own user. */
  static async start(config = "jetstream {}", login: ConnectionOptions = {}): Promise<NatsServer> {
    const dir = mkdtempSync(join(tmpdir(), "behest-otel-nats-"));
    const [port, monitor] = [await freePort(), await freePort()];
    const file = join(dir, "server.conf");
    writeFileSync(file, `${config}\n`);
    const place = ["-a", "127.0.0.1", "-p", String(port), "-m", String(monitor), "-sd", join(dir, "data")];
    const started = new RunningProgram({
      name: "nats-server",
      executable: program("nats-server"),
      args: ["-c", file, ...place, "-P", join(dir, "pid")],
      env: {},
      readyUrl: `http://127.0.0.1:${monitor}/healthz`,
      logFile: join(dir, "log"),
    });
    const server = new NatsServer(port, dir, started);
    await started.start();
    await server.#connect(login);
    return server;
  }

  get connection(): NatsConnection {
    if (this.#connection === undefined) throw new Error("the server was not started");
    return this.#connection;
  }

  get manager(): JetStreamManager {
    if (this.#manager === undefined) throw new Error("the server was not started");
    return this.#manager;
  }

  get jetstream(): JetStreamClient {
    return jetstream(this.connection);
  }

  async restart(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    await this.#program.kill(signal);
    await this.start();
  }

  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    process.kill(this.#pid(), signal);
  }

  async kill(): Promise<void> {
    await this.#program.kill("SIGKILL");
  }

  async start(): Promise<void> {
    await this.#program.start();
    // Nobody answers, which the server says at once.
    const isThere = async () =>
      this.connection.request("nobody", "", { timeout: 500 }).then(
        () => true,
        (error: Error) => error.name !== "TimeoutError",
      );
    await eventually("the test is connected again", isThere);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection?.close();
    await this.#program.kill("SIGKILL");
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** As on the first day: no streams, no states. */
  async clear(): Promise<void> {
    for await (const { config } of this.manager.streams.list()) {
      await this.manager.streams.delete(config.name);
    }
  }

  async makeStream(more: Parameters<JetStreamManager["streams"]["add"]>[0] | object = {}): Promise<void> {
    await this.manager.streams.add({ name: STREAM, subjects: [SUBJECT], storage: "file", ...more });
  }

  async hasMessages(stream: string): Promise<boolean> {
    for await (const { config, state } of this.manager.streams.list()) {
      if (config.name === stream) return state.messages > 0;
    }
    return false;
  }

  /** Appends events and gives their sequences as texts. */
  async append(count: number, text = (at: number) => `{"n":${at}}`, subject = SUBJECT): Promise<string[]> {
    const ids: string[] = [];
    for (let at = 0; at < count; at += 1_000) {
      const some = Array.from({ length: Math.min(1_000, count - at) }, async (_, index) => {
        const { seq } = await this.jetstream.publish(subject, text(at + index), { timeout: 30_000 });
        return String(seq);
      });
      ids.push(...(await Promise.all(some)));
    }
    return ids;
  }

  async consumer(name = "behest-otel"): Promise<ConsumerInfo> {
    return this.manager.consumers.info(STREAM, name);
  }

  #pid(): number {
    return Number(readFileSync(join(this.dir, "pid"), "utf8"));
  }

  async #connect(login: ConnectionOptions): Promise<void> {
    this.#connection = await connect({
      servers: `127.0.0.1:${this.port}`,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 50,
      ...login,
    });
    this.#manager = await jetstreamManager(this.#connection, { checkAPI: false });
  }
}

export interface InputOptions {
  readonly shard?: number;
  readonly clock?: Clock;
  readonly env?: Record<string, string>;
  readonly scheme?: string;
  readonly stream?: string;
}

/** A source and its store, as a process has them. `more` is the rest of the URL's query. */
export function inputOf(place: number | string, more = "", options: InputOptions = {}): Life {
  const host = typeof place === "string" ? place : `127.0.0.1:${place}`;
  const text = `${options.scheme ?? "nats"}://${host}?subject=${SUBJECT}&stream=${options.stream ?? STREAM}${more}`;
  const spec = parseNatsSpec(new URL(text));
  if (typeof spec === "string") throw new Error(`${text} ${spec}`);
  const said = new Said();
  const { shard, clock = systemClock, env = {} } = options;
  return new Life(natsInput(spec, { shard, clock, env, log: said.log, random: Math.random }), said);
}

type Input = ReturnType<typeof natsInput>;

/** One life of a process: opened, read, perhaps committed, and ended. */
export class Life {
  readonly source: Input["source"];
  readonly store: Input["store"];
  readonly said: Said;
  readonly records = new Map<string, string>();
  /** Repeated keys of what the store gave. */
  repeated = 0;
  readonly ending = new AbortController();

  constructor(input: Input, said: Said) {
    this.source = input.source;
    this.store = input.store;
    this.said = said;
  }

  async openStore(): Promise<this> {
    for await (const [key, value] of await this.store.open()) {
      if (this.records.has(key)) this.repeated += 1;
      this.records.set(key, value);
    }
    return this;
  }

  async open(): Promise<this> {
    await this.openStore();
    await this.source.open(this.records.get("position"));
    return this;
  }

  async next(): Promise<Reading | undefined> {
    return this.source.next(this.ending.signal);
  }

  /** Reads until it has so many deliveries. */
  take(count: number): Promise<Delivery[]> {
    return takeFrom(() => this.next(), count);
  }

  /** Reads until nothing is left. */
  takeAll(): Promise<Delivery[]> {
    return takeAllFrom(() => this.next());
  }

  /** Commits all of these but the unused ones, with the position that says so. */
  async use(deliveries: readonly Delivery[], unused: readonly string[] = []): Promise<void> {
    const last = deliveries.at(-1)?.id;
    if (last === undefined) return;
    const used = deliveries.map(({ id }) => id).filter((id) => !unused.includes(id));
    await this.commit({ position: this.source.positionOf(last, unused) }, used);
  }

  async commit(puts: Record<string, string>, used: readonly string[] = [], removes: readonly string[] = []) {
    await this.store.commit({ puts: new Map(Object.entries(puts)), removes, used });
  }

  /** As a kill does: nothing more is said to the server. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.ending.abort();
    await this.source.close();
    await this.store.close();
  }
}

export const idsOf = (deliveries: readonly Delivery[]) => deliveries.map(({ id }) => id);
export const textsOf = (deliveries: readonly Delivery[]) =>
  deliveries.map(({ payload }) => payload.toString());
