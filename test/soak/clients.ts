import { randomUUID } from "node:crypto";
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { setTimeout as after } from "node:timers/promises";

import type { Random } from "../run/random.ts";

/** How a client that is welcome sends a body. */
const WAYS = ["keeps its connection", "comes once", "closes its half"] as const;

/** How one that is not goes away again. Nothing that it says may be taken. */
const RUDE: readonly { readonly says: (path: string) => string; readonly stays: boolean }[] = [
  { says: () => "", stays: false },
  { says: (path) => `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-`, stays: false },
  {
    says: (path) => `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{"RunStarted":`,
    stays: false,
  },
  {
    says: (path) =>
      `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ncontent-length: 2\r\n\r\n{}`,
    stays: true,
  },
  { says: (path) => `POST ${path}/nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}`, stays: true },
  { says: (path) => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`, stays: true },
  { says: () => "this is no HTTP\r\n\r\n", stays: true },
];

/** Clients of an HTTP source, which come and go. */
export class Clients {
  readonly #url: URL;
  readonly #random: Random;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 4 });
  /** Clients that were refused, or went away by themselves. */
  rude = 0;
  /** Bodies that were taken. */
  taken = 0;

  constructor(url: string, random: Random) {
    this.#url = new URL(url);
    this.#random = random;
  }

  /** Resolves when all are taken: one that is told to come again does, under the same key. */
  async post(lines: readonly string[]): Promise<void> {
    const body = Buffer.from(`${lines.join("\n")}\n`);
    const key = randomUUID();
    for (;;) {
      const status = await this.#send(body, key).catch(() => 0);
      if (status === 202) break;
      if (![0, 429, 503].includes(status)) throw new Error(`a body was answered with ${status}`);
      await after(200);
    }
    this.taken += 1;
  }

  /** Comes, is refused or says half of something, and is gone. */
  async beRude(): Promise<void> {
    const { says, stays } = this.#random.pick(RUDE);
    const answer = await this.#say(Buffer.from(says(this.#url.pathname)), stays ? 5_000 : 50);
    if (stays && !/^HTTP\/1\.1 4\d\d /.test(answer)) {
      throw new Error(`expected a refusal, found ${answer.slice(0, 100)}`);
    }
    this.rude += 1;
  }

  close(): void {
    this.#agent.destroy();
  }

  async #send(body: Buffer, key: string): Promise<number> {
    const way = this.#random.pick(WAYS);
    const headers = {
      "content-type": "application/x-ndjson",
      "content-length": String(body.length),
      "idempotency-key": key,
    };
    if (way === "closes its half") {
      const told = Object.entries({ host: this.#url.host, connection: "close", ...headers });
      const head = [
        `POST ${this.#url.pathname} HTTP/1.1`,
        ...told.map(([name, value]) => `${name}: ${value}`),
      ];
      const answer = await this.#say(
        Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), body]),
        10_000,
      );
      return Number(/^HTTP\/1\.1 (\d+) /.exec(answer)?.[1] ?? 0);
    }
    return new Promise((resolve, reject) => {
      const agent = way === "comes once" ? false : this.#agent;
      const sent = request(this.#url, { method: "POST", headers, agent }, (response) => {
        response.resume().on("end", () => resolve(response.statusCode ?? 0));
        response.on("error", reject);
      });
      sent.on("error", reject).end(body);
    });
  }

  /** Says something, closes its half when it waits for an answer, and leaves when it has one or is out of patience. */
  #say(bytes: Buffer, patienceMs: number): Promise<string> {
    return new Promise((resolve) => {
      let answer = "";
      const socket = connect({ port: Number(this.#url.port), host: this.#url.hostname, allowHalfOpen: true });
      const timer = setTimeout(() => socket.destroy(), patienceMs);
      socket.setEncoding("latin1");
      socket.on("connect", () => (patienceMs > 1_000 ? socket.end(bytes) : socket.write(bytes)));
      socket.on("data", (text: string) => (answer += text));
      socket.on("end", () => socket.destroy());
      socket.on("error", () => {});
      socket.on("close", () => {
        clearTimeout(timer);
        resolve(answer);
      });
    });
  }
}
