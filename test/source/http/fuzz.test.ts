import * as zlib from "node:zlib";

import { expect, test } from "vitest";

import type { Delivery } from "../../../src/source/source.ts";
import { randomOf, seedFromEnvironment, trialMs, type Random } from "../../run/random.ts";
import { serveJournaled, type JournaledServed } from "./journaled-served.ts";
import { event, NDJSON, postOf, serve, statuses, type Served } from "./served.ts";
import { heldMemory } from "../../held-memory.ts";

const LIMITS = { maxBodyBytes: 20_000, maxEvents: 50 };
const JOURNAL_BYTES = 1_000_000;

/** What may be held at the end more than after the first quarter: half a kilobyte for each connection of five minutes. */
const GROWTH_BYTES = 32 * 1024 * 1024;

/** Everything that may be answered to whatever is sent. */
const ANSWERS = new Set([100, 200, 202, 400, 403, 404, 405, 408, 413, 415, 417, 431, 501]);

const ENCODERS: Readonly<Record<string, (text: string) => Buffer>> = {
  "": (text) => Buffer.from(text),
  gzip: (text) => zlib.gzipSync(text),
  deflate: (text) => zlib.deflateSync(text),
  br: (text) => zlib.brotliCompressSync(text),
  zstd: (text) => zlib.zstdCompressSync(text),
};

interface Sent {
  readonly bytes: Buffer;
  /** Whether the connection goes on behind it. */
  readonly isLast: boolean;
}

let serial = 0;

interface Attacked {
  readonly text: string;
  /** Requests that are answered for certain; undefined where nothing is. */
  readonly answers: number | undefined;
}

/** A request as a sender may make it; now and then one that asks for something else. */
function wellFormed(random: Random): Sent {
  if (random.chance(0.1)) {
    const path = random.pick(["/healthz", "/readyz", "/v1/events", "/", "/%zz", "/v1/events?a=%"]);
    const method = random.pick(["GET", "HEAD", "OPTIONS", "BREW"]);
    return { bytes: Buffer.from(`${method} ${path} HTTP/1.1\r\nhost: x\r\n\r\n`), isLast: method === "BREW" };
  }
  const lines = Array.from({ length: random.below(8) }, () => event((serial += 1)));
  const odd = random.pick(["", "", "x", "[]", '"', "{}"]);
  const elements = [...lines, ...(odd === "" ? [] : [odd])];
  const text = random.chance(0.3) ? `[${elements.join(" ,")}]` : [...lines, odd].join("\n");
  const encoding = random.pick(Object.keys(ENCODERS));
  const body = ENCODERS[encoding]?.(text) ?? Buffer.from(text);
  const expects = random.chance(0.2);
  const headers = {
    "content-type": random.pick(["application/json", "application/x-ndjson", "", "text/plain"]),
    "content-encoding": encoding,
    "behest-agent": random.pick(["", "a", "é"]),
    traceparent: random.pick(["", "00-x", `00-${"1".repeat(32)}-${"2".repeat(16)}-01`]),
    expect: expects ? "100-continue" : "",
  };
  const [length, bytes] = random.chance(0.4)
    ? [{ "content-length": "", "transfer-encoding": "chunked" }, chunked(random, body)]
    : [{ "content-length": String(body.length) }, body];
  return {
    bytes: Buffer.concat([Buffer.from(postOf("", { ...headers, ...length })), bytes]),
    isLast: expects,
  };
}

function chunked(random: Random, body: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < body.length;) {
    const part = body.subarray(at, (at += random.between(1, 300)));
    parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from("\r\n"));
  }
  return Buffer.concat([...parts, Buffer.from("0\r\n\r\n")]);
}

/** Bytes flipped, left out, doubled or made up, mostly few. */
function spoiled(random: Random, bytes: Buffer): Buffer {
  const spots = random.pick([1, 1, 2, 8]);
  let result = Buffer.from(bytes);
  for (let n = 0; n < spots; n += 1) {
    const at = random.below(result.length + 1);
    const length = random.pick([0, 1, 1, 5, 50]);
    const instead = random.pick([
      Buffer.from([random.below(256)]),
      Buffer.from("\r\n"),
      Buffer.from("\r\n\r\n"),
      Buffer.from("999999999999"),
      result.subarray(at, at + length * 2),
      Buffer.alloc(0),
    ]);
    result = Buffer.concat([result.subarray(0, at), instead, result.subarray(at + length)]);
  }
  return result;
}

/** One connection with some requests on it. */
async function attack(served: Served, random: Random): Promise<Attacked> {
  const raw = await served.connect();
  let isClean = true;
  const requests = random.between(1, 4);
  for (let n = 0; n < requests; n += 1) {
    const { bytes, isLast } = wellFormed(random);
    const wire = random.chance(0.4) ? spoiled(random, bytes) : bytes;
    const end = random.chance(0.1) ? random.below(wire.length + 1) : wire.length;
    isClean &&= !isLast && wire === bytes && end === wire.length;
    for (let at = 0; at < end;) {
      const part = wire.subarray(at, Math.min(end, (at += random.pick([1_000_000, 1_000_000, 400, 37]))));
      raw.send(part);
      if (random.chance(0.3)) await new Promise(setImmediate);
    }
  }
  switch (random.below(5)) {
    case 0:
      raw.socket.destroy();
      return { text: await raw.ended, answers: undefined };
    case 1:
      raw.socket.resetAndDestroy();
      return { text: await raw.ended, answers: undefined };
    case 2:
      raw.socket.end();
      return { text: await raw.ended, answers: isClean ? requests : undefined };
    default: {
      const last = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
      if (isClean) raw.send(last);
      // The spoiled one may wait for more, and is told that nothing comes.
      else raw.socket.end(last);
      return { text: await raw.ended, answers: isClean ? requests + 1 : undefined };
    }
  }
}

/** Where what is taken goes to. */
const DEPOSITS: Readonly<Record<string, () => Promise<JournaledServed>>> = {
  memory: async () => {
    const served = await serve({ limits: LIMITS });
    return { served, commit: () => Promise.resolve(), close: () => served.close() };
  },
  "a journal": () => serveJournaled(LIMITS, JOURNAL_BYTES),
};

/** Bytes that are held when nothing is waiting to be collected. */
async function heldBytes(): Promise<number> {
  const { heapUsed, external } = await heldMemory();
  return heapUsed + external;
}

/** Some connections at once, and after them a sender who does nothing wrong. */
async function round(served: Served, random: Random): Promise<{ accepted: number; deliveries: Delivery[] }> {
  let accepted = 0;
  const seeds = Array.from({ length: 8 }, () => random.below(2 ** 31));
  const attacks = await Promise.all(seeds.map((seed) => attack(served, randomOf(seed))));
  for (const { text, answers } of attacks) {
    expect(statuses(text).filter((status) => !ANSWERS.has(status))).toEqual([]);
    if (answers !== undefined) expect(statuses(text)).toHaveLength(answers);
    for (const [, count] of text.matchAll(/\{"accepted":(\d+)/g)) accepted += Number(count);
  }
  const alone = event((serial += 1));
  expect((await served.post(alone, NDJSON)).json).toEqual({ accepted: 1, rejected: [] });
  const deliveries = await served.waiting();
  expect(deliveries.filter(({ payload }) => payload.toString() === alone)).toHaveLength(1);
  expect(new Set(deliveries.map(({ id }) => id)).size).toBe(deliveries.length);
  return { accepted, deliveries };
}

test.each(Object.keys(DEPOSITS))(
  "into %s: whatever is sent, every answer is one of those there are, what was said to be taken is, and others are served",
  async (deposit) => {
    const seed = seedFromEnvironment();
    console.error(`http into ${deposit}: SEED=${seed}, ${trialMs(0.5) / 1_000} s`);
    const { served, commit, close } = await DEPOSITS[deposit]!();
    const random = randomOf(seed);
    const begun = Date.now();
    let [accepted, handedOut, rounds] = [0, 0, 0];
    let before: number | undefined;
    while (Date.now() < begun + trialMs(0.5)) {
      const one = await round(served, random);
      await commit(one.deliveries);
      accepted += one.accepted;
      handedOut += one.deliveries.length - 1;
      rounds += 1;
      // Whatever is loaded or made once is there by now.
      if (Date.now() > begun + trialMs(0.125)) before ??= await heldBytes();
    }
    const growth = (await heldBytes()) - (before ?? Infinity);
    console.error(
      `http into ${deposit}: ${8 * rounds} connections, ${accepted} events, ${growth} bytes more`,
    );
    // More may have been taken than was seen to be: some did not wait for their answers.
    expect(handedOut).toBeGreaterThanOrEqual(accepted);
    expect(accepted).toBeGreaterThan((8 * rounds) / 10);
    expect(growth).toBeLessThan(GROWTH_BYTES);
    expect(served.log.filter((line) => line.includes("ERROR"))).toEqual([]);
    await close();
  },
);
