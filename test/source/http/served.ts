import { connect, type Socket } from "node:net";

import { systemClock, type Clock } from "../../../src/clock.ts";
import type { Protection } from "../../../src/source/http/exposure.ts";
import { httpSource } from "../../../src/source/http/http.ts";
import type { HttpLimits } from "../../../src/source/http/limits.ts";
import { parseHttpUrl, type HttpSpec } from "../../../src/source/http/url.ts";
import type { Delivery, Reading, Source } from "../../../src/source/source.ts";
import { keptLog } from "../reader.ts";

export const NDJSON = { "content-type": "application/x-ndjson" };
export const JSON_TYPE = { "content-type": "application/json" };

/** The n-th of events that are all different, as a line. */
export function event(n = 0): string {
  const runId = `6f1f6d0e-3c51-4a7e-9b57-${n.toString(16).padStart(12, "0")}`;
  return `{"RunCancelled":{"run_id":"${runId}","timestamp":"2026-06-21T00:00:00Z"}}`;
}

export function events(count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, index) => event(from + index));
}

export interface ServeOptions {
  readonly url?: string;
  readonly limits?: Partial<HttpLimits>;
  readonly protection?: Partial<Protection>;
  readonly clock?: Clock;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly json: Readonly<Record<string, unknown>>;
}

/** A source that listens on a free port, and somebody who reads it when told to. */
export class Served {
  readonly source: Source;
  readonly log: readonly string[];
  readonly #stop = new AbortController();
  readonly #open = new Set<Raw>();

  constructor(source: Source, log: readonly string[]) {
    this.source = source;
    this.log = log;
  }

  get url(): string {
    return this.source.name;
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  async ask(path: string, init: RequestInit = {}): Promise<Answer> {
    const answer = await fetch(new URL(path, this.url), init);
    const text = await answer.text();
    const json = text === "" ? {} : (JSON.parse(text) as Answer["json"]);
    return { status: answer.status, headers: answer.headers, json };
  }

  post(body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = NDJSON): Promise<Answer> {
    return this.ask(this.url, { method: "POST", body, headers });
  }

  /** Asks the source once, as a lane does. */
  next(): Promise<Reading | undefined> {
    return this.source.next(this.#stop.signal);
  }

  /** Everything that waits. */
  async waiting(): Promise<Delivery[]> {
    const all: Delivery[] = [];
    for (;;) {
      const reading = await this.next();
      if (reading?.kind !== "deliveries") return all;
      all.push(...reading.deliveries);
    }
  }

  async texts(): Promise<string[]> {
    return (await this.waiting()).map(({ payload }) => payload.toString());
  }

  stop(): void {
    this.#stop.abort();
  }

  /** A connection of bare bytes. */
  async connect(): Promise<Raw> {
    const socket = connect({ port: this.port, host: "127.0.0.1", allowHalfOpen: true });
    const raw = new Raw(socket);
    this.#open.add(raw);
    void raw.ended.then(() => this.#open.delete(raw));
    await raw.connected;
    return raw;
  }

  /** Sends these bytes on a connection of their own; gives what comes back until its end. */
  async exchange(...parts: readonly (string | Buffer)[]): Promise<string> {
    const raw = await this.connect();
    for (const part of parts) raw.send(part);
    return raw.ended;
  }

  async close(): Promise<void> {
    for (const raw of this.#open) raw.socket.destroy();
    await this.source.close();
  }
}

/** One end of a connection, for what no HTTP client would send. */
export class Raw {
  readonly socket: Socket;
  readonly connected: Promise<void>;
  /** All that came, when nothing more comes; also where the connection was cut. */
  readonly ended: Promise<string>;
  text = "";

  constructor(socket: Socket) {
    this.socket = socket;
    const connected = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<string>();
    const end = () => {
      connected.resolve();
      ended.resolve(this.text);
      socket.destroy();
    };
    socket.setEncoding("latin1").on("connect", () => connected.resolve());
    socket.on("data", (text: string) => (this.text += text)).on("error", end);
    socket.on("end", end).on("close", end);
    this.connected = connected.promise;
    this.ended = ended.promise;
  }

  send(bytes: string | Buffer): this {
    if (this.socket.writable) this.socket.write(bytes);
    return this;
  }

  /** Resolves when this has come; rejects when it never will. */
  says(text: string): Promise<void> {
    return this.until((all) => all.includes(text), text);
  }

  /** Resolves when so many answers have come; rejects when they never will. */
  answers(count: number): Promise<void> {
    return this.until((all) => statuses(all).length >= count && all.endsWith("}"), `${count} answers`);
  }

  async until(holds: (text: string) => boolean, what: string): Promise<void> {
    while (!holds(this.text)) {
      const more = new Promise<undefined>((resolve) => this.socket.once("data", () => resolve(undefined)));
      const end = await Promise.race([more, this.ended]);
      if (end !== undefined && !holds(end)) throw new Error(`there never was ${what}: ${end}`);
    }
  }
}

/** The bytes of a POST with its body, which may be cut or too long. */
export function postOf(body: string, headers: Readonly<Record<string, string>> = {}): string {
  const lines = Object.entries({ host: "x", "content-length": String(Buffer.byteLength(body)), ...headers })
    .filter(([, value]) => value !== "")
    .map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST /v1/events HTTP/1.1\r\n${lines.join("")}\r\n${body}`;
}

export function statuses(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
}

export function specOf(url: string): HttpSpec {
  const spec = parseHttpUrl(url);
  if (typeof spec === "string") throw new Error(spec);
  return spec;
}

/** A source that is not open. */
export function unopened(options: ServeOptions = {}): Served {
  const { log, lines } = keptLog();
  const source = httpSource(specOf(options.url ?? "http://127.0.0.1:0"), {
    protection: { token: undefined, insecureListen: false, ...options.protection },
    clock: options.clock ?? systemClock,
    log,
    ...(options.limits && { limits: options.limits }),
  });
  return new Served(source, lines);
}

/** One that listens. */
export async function serve(options: ServeOptions = {}): Promise<Served> {
  const served = unopened(options);
  await served.source.open();
  return served;
}
