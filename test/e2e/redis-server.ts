import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, connect, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { createClient } from "redis";

import { systemClock, type Clock } from "../../src/clock.ts";
import type { Log, LogFacts } from "../../src/log.ts";
import { redisInput } from "../../src/source/redis/input.ts";
import { parseRedisUrl } from "../../src/source/redis/url.ts";
import type { Delivery, Reading } from "../../src/source/source.ts";
import { eventually } from "./running.ts";
import { takeAllFrom, takeFrom } from "./taking.ts";

/** Nothing that a test began outlives the test's process, however that ends. */
const children = new Set<ChildProcess>();
process.on("exit", () => children.forEach((child) => child.kill("SIGKILL")));

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => {
    server.close(resolve);
  });
  return port;
}

export type Admin = ReturnType<typeof adminOf>;

function adminOf(port: number, password: string | undefined) {
  return createClient({
    RESP: 2,
    socket: { host: "127.0.0.1", port, reconnectStrategy: 50 },
    ...(password === undefined ? {} : { password }),
  });
}

/** A real redis-server with a directory of its own: it can be killed and started again with the same data. */
export class RedisServer {
  readonly port: number;
  readonly dir: string;
  readonly #args: readonly string[];
  #child: ChildProcess | undefined;
  #admin: Admin | undefined;
  #output = "";

  private constructor(port: number, args: readonly string[]) {
    this.port = port;
    this.dir = mkdtempSync(join(tmpdir(), "behest-otel-redis-"));
    this.#args = args;
  }

  static async start(...args: string[]): Promise<RedisServer> {
    if (spawnSync("redis-server", ["--version"]).error !== undefined) {
      throw new Error("redis-server is missing: install it, as with apt-get install redis-server");
    }
    const server = new RedisServer(await freePort(), args);
    await server.start();
    return server;
  }

  /** A sentinel, which keeps what it learns in its configuration file. */
  static async startSentinel(lines: readonly string[]): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), ["--sentinel"]);
    writeFileSync(join(server.dir, "sentinel.conf"), `${lines.join("\n")}\n`);
    await server.start();
    return server;
  }

  /** A client that does what the test says. */
  get admin(): Admin {
    if (this.#admin === undefined) throw new Error("the server was not started");
    return this.#admin;
  }

  async start(): Promise<void> {
    const isSentinel = this.#args.includes("--sentinel");
    const place = ["--port", String(this.port), "--bind", "127.0.0.1", "--dir", this.dir];
    const args = isSentinel ? [join(this.dir, "sentinel.conf"), ...place] : [...place, "--save", ""];
    const child = spawn("redis-server", [...args, ...this.#args], { stdio: ["ignore", "pipe", "pipe"] });
    children.add(child);
    child.once("exit", () => children.delete(child));
    child.stdout.on("data", (data: Buffer) => (this.#output += String(data)));
    this.#child = child;
    const isReady = () => {
      if (child.exitCode !== null) throw new Error(`redis-server ended:\n${this.#output}`);
      return isListening(this.port);
    };
    await eventually("redis-server listens", isReady);
    if (this.#admin !== undefined || isSentinel) return;
    this.#admin = adminOf(this.port, undefined);
    this.#admin.on("error", () => {});
    await this.#admin.connect();
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#child;
    if (child === undefined || !children.has(child)) return;
    const ended = new Promise((resolve) => {
      child.once("exit", resolve);
    });
    child.kill(signal);
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#admin?.isOpen === true) this.#admin.destroy();
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Any command, answered as the server says it. */
  async ask(...command: string[]): Promise<unknown> {
    return this.admin.sendCommand(command);
  }

  /** Appends entries with a field `event` and gives their ids. */
  async append(count: number, text = (at: number) => `{"n":${at}}`): Promise<string[]> {
    const all = Array.from({ length: count }, (_, at) =>
      this.admin.sendCommand<string>(["XADD", STREAM, "*", "event", text(at)]),
    );
    return Promise.all(all);
  }

  async pending(group = "behest-otel"): Promise<number> {
    const [count] = (await this.ask("XPENDING", STREAM, group)) as [number];
    return count;
  }
}

export const STREAM = "behest:events";

async function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** A way to the server that can be cut in the middle. */
export class Cable {
  readonly port: number;
  readonly #server: ReturnType<typeof createServer>;
  readonly #sockets = new Set<Socket>();
  /** Looks at what the client sends: passes it on, loses it or its second half, or loses the answer to it. */
  fate: (sent: string) => "pass" | "lose" | "lose half" | "lose answer" = () => "pass";
  /** Has something done before what the client sends is passed on. */
  before: (sent: string) => Promise<unknown> | undefined = () => undefined;
  /** Answers in the server's place. */
  answer: ((sent: string) => string | undefined) | undefined;

  private constructor(server: ReturnType<typeof createServer>, target: number) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    server.on("connection", (near) => this.#join(near, connect(target, "127.0.0.1")));
  }

  static async to(target: number): Promise<Cable> {
    const server = createServer();
    await new Promise<void>((resolve) => {
      server.listen(0, "127.0.0.1", resolve);
    });
    return new Cable(server, target);
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }

  #join(near: Socket, far: Socket): void {
    let answers = true;
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(one);
      one.on("error", () => {});
      one.on("close", () => {
        this.#sockets.delete(one);
        other.destroy();
      });
    }
    near.on("data", (data) => {
      const sent = data.toString("latin1");
      const instead = this.answer?.(sent);
      if (instead !== undefined) return void near.write(instead);
      const fate = this.fate(sent);
      if (fate === "lose") return void near.destroy();
      if (fate === "lose half") {
        return void far.write(data.subarray(0, data.length / 2), () => near.destroy());
      }
      if (fate === "lose answer") answers = false;
      const first = this.before(sent);
      if (first === undefined) return void far.write(data);
      near.pause();
      return void first.then(() => near.resume() && far.write(data));
    });
    far.on("data", (data) => {
      if (answers) near.write(data);
      else near.destroy();
    });
  }
}

/** A log that is kept. */
export class Said {
  readonly lines: string[] = [];
  readonly log: Log = {
    error: (message, facts) => this.#add("error", message, facts),
    warn: (message, facts) => this.#add("warn", message, facts),
    info: (message, facts) => this.#add("info", message, facts),
    debug: (message, facts) => this.#add("debug", message, facts),
  };

  count(start: string): number {
    return this.lines.filter((line) => line.startsWith(start)).length;
  }

  #add(level: string, message: string, facts: LogFacts = {}): void {
    this.lines.push(`${level} ${message} ${JSON.stringify(facts)}`);
  }
}

export interface InputOptions {
  readonly shard?: number;
  readonly clock?: Clock;
  readonly env?: Record<string, string>;
  readonly scheme?: string;
}

/** A source and its store, as a process has them. `more` is the rest of the URL's query. */
export function inputOf(port: number | string, more = "", options: InputOptions = {}) {
  const host = typeof port === "string" ? port : `127.0.0.1:${port}`;
  const text = `${options.scheme ?? "redis"}://${host}?stream=${STREAM}&group=behest-otel${more}`;
  const spec = parseRedisUrl(text);
  if (typeof spec === "string") throw new Error(`${text} ${spec}`);
  const said = new Said();
  const { shard, clock = systemClock, env = {} } = options;
  const input = redisInput(spec, { shard, clock, env, log: said.log, random: Math.random });
  return new Life(input, said);
}

/** One life of a process: opened, read, perhaps committed, and ended. */
export class Life {
  readonly source: ReturnType<typeof redisInput>["source"];
  readonly store: ReturnType<typeof redisInput>["store"];
  readonly said: Said;
  readonly records = new Map<string, string>();
  /** Repeated keys of what the store gave. */
  repeated = 0;
  #ending = new AbortController();

  constructor(input: ReturnType<typeof redisInput>, said: Said) {
    this.source = input.source;
    this.store = input.store;
    this.said = said;
  }

  async open(): Promise<this> {
    for await (const [key, value] of await this.store.open()) {
      if (this.records.has(key)) this.repeated += 1;
      this.records.set(key, value);
    }
    await this.source.open(this.records.get("position"));
    return this;
  }

  async next(): Promise<Reading | undefined> {
    return this.source.next(this.#ending.signal);
  }

  /** Reads until it has so many deliveries. */
  take(count: number): Promise<Delivery[]> {
    return takeFrom(() => this.next(), count);
  }

  /** Reads until nothing is left. */
  takeAll(): Promise<Delivery[]> {
    return takeAllFrom(() => this.next());
  }

  async commit(puts: Record<string, string>, used: readonly string[] = [], whole = false): Promise<void> {
    await this.store.commit({ puts: new Map(Object.entries(puts)), removes: [], used, whole });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.source.close();
    await this.store.close();
  }
}

export const idsOf = (deliveries: readonly Delivery[]) => deliveries.map(({ id }) => id);
export const textsOf = (deliveries: readonly Delivery[]) =>
  deliveries.map(({ payload }) => payload.toString());
