import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as after } from "node:timers/promises";

import { afterAll, beforeAll, expect, test } from "vitest";

import type { Report } from "../../src/report.ts";
import { SEED } from "../bridge/seeded.ts";
import { temporary, type Ended, type Started } from "../cli/program.ts";
import { countedIn, startBridge } from "../e2e/crash.ts";
import { eventually } from "../e2e/running.ts";
import { take, type HttpAct } from "../otel/otlp-server.ts";
import { randomOf } from "../run/random.ts";
import { startBrokers, type Brokers } from "./brokers.ts";
import { Clients } from "./clients.ts";
import { Load, type Send } from "./load.ts";
import { MB, Samples, SOAK_SECONDS } from "./samples.ts";
import { Sink } from "./sink.ts";
import { SpanBook } from "./span-book.ts";
import { Truth } from "./truth.ts";

const TOTAL_MS = SOAK_SECONDS * 1_000;
const SILENCES = { runIdleMs: 8_000, toolIdleMs: 12_000, rememberMs: 30_000 };
const WINDOW_MS = 4_000;
/** Later than this a line may be sent, and still be in the reorder window and keep its run from expiring. */
const TOO_LATE_MS = 3_000;
const SAMPLES = Math.min(600, SOAK_SECONDS * 2);
/** A batch whose answer was lost comes again sooner. */
const TWIN_MS = 60_000;
/** What the engine may still take until it has settled, which it has not in the first minutes. */
const SETTLING_MB = SOAK_SECONDS < 300 ? 96 : 32;
/** One round of the backend's moods. */
const ROUND_MS = Math.min(60_000, TOTAL_MS);

const random = randomOf(SEED);
const truth = new Truth();
const book = new SpanBook();
const samples = new Samples([
  // Garbage is collected when the engine finds it worth it: a leak of bytes is for the other soak to find.
  { name: "resident, MB", digits: 1, margin: (middle) => 0.1 * middle + SETTLING_MB },
  { name: "open files and sockets", of: "quartile", margin: () => 2, below: 128 },
  { name: "threads", margin: () => 1, below: 32 },
  { name: "runs open" },
]);

const closers: (() => Promise<void>)[] = [];
let brokers: Brokers;
let sink: Sink;
let bridge: Started;
let clients: Clients;
let ended: Ended;
let report: Report;
let left = Infinity;
let latestMs = 0;
/** When the bridge took events. */
let beganMs = Infinity;
/** Answers to health checks that were not 200. */
const unwell: string[] = [];
let checks = 0;

beforeAll(async () => {
  brokers = await startBrokers();
  closers.push(async () => brokers[Symbol.asyncDispose]());
  sink = await Sink.start(book, mood);
  closers.push(async () => sink[Symbol.asyncDispose]());
  const directory = temporary();
  closers.push(async () => rmSync(directory, { recursive: true, force: true }));
  const reportFile = join(directory, "report.json");
  const others = [
    "--from",
    brokers.natsFrom,
    "--from",
    "http://127.0.0.1:0/v1/events",
    "--state-dir",
    directory,
  ];
  const silences = ["--run-idle-timeout", "8s", "--tool-idle-timeout", "12s", "--remember", "30s"];
  const outputs = ["--health", "127.0.0.1:0", "--report", reportFile];
  bridge = startBridge({
    from: brokers.redisFrom,
    otlp: sink.url,
    args: [...others, "--reorder-window", `${WINDOW_MS}ms`, ...silences, ...outputs],
    env: { OTEL_METRIC_EXPORT_INTERVAL: "1000" },
  });
  closers.push(async () => void bridge.child.kill("SIGKILL"));
  await bridge.says("taking events from");
  const [, http = ""] = /taking events from .*(http:\/\/[^\s,;]+);/.exec(bridge.stderr) ?? [];
  const [, health = ""] = /health checks on (http:\/\/[^\s]+\/healthz)/.exec(bridge.stderr) ?? [];
  clients = new Clients(http, random);
  beganMs = Date.now();
  const stop = new AbortController();
  const meanwhile = [scrape(health, stop.signal), annoy(stop.signal), sample(stop.signal)];
  await produce().finally(() => stop.abort());
  await Promise.all(meanwhile);
  // The tests say what is missing.
  await eventually("all is delivered", isAll, 60_000).catch(() => {});
  // What the last metrics said is acknowledged by now.
  left = await brokers.left();
  clients.close();
  bridge.child.kill("SIGTERM");
  ended = await bridge.ended;
  report = JSON.parse(readFileSync(reportFile, "utf8")) as Report;
  console.log(
    `${SOAK_SECONDS} s (SEED=${SEED}): ${truth.runsBegun} runs, ${truth.received} events, at most ` +
      `${Math.round(latestMs)} ms late, ${book.taken} spans, ${book.twins} of them twice, ${sink.readings} readings ` +
      `of metrics, ${sink.refused} requests refused by the backend, ${checks} health checks, ${clients.taken} bodies ` +
      `over HTTP, ${clients.rude} rude clients, ${samples.count} samples\n${samples.table()}`,
  );
}, TOTAL_MS + 180_000);

afterAll(async () => {
  for (const close of closers.toReversed()) await close();
});

test("nothing grows", () => {
  expect(samples.grown()).toEqual([]);
});

test("it is well all along, and ends with status 0 and nothing pending", () => {
  expect(unwell).toEqual([]);
  expect(checks).toBeGreaterThan(SOAK_SECONDS / 2);
  expect(ended.status, ended.stderr).toBe(0);
  expect(left).toBe(0);
  expect(sink.total("behest.bridge.source.pending")).toBe(0);
});

test("every span of every run is there as its events say, and no other", ({ skip }) => {
  skip(...tooSlow());
  expect(book.someMissing()).toEqual([]);
  expect(book.faults).toEqual([]);
  expect(book.taken).toBe(truth.exported);
});

test("every counter is that of the events", ({ skip }) => {
  expect(sink.faults).toEqual([]);
  expect(sink.instances.size).toBe(1);
  expect(report.events.received).toBe(truth.received);
  skip(...tooSlow());
  expect(countedIn(sink.points)).toEqual(truth.counts());
});

/** Says no for some seconds of every round, and cuts connections for some others. */
function mood(): HttpAct {
  const atMs = (Date.now() - beganMs) % ROUND_MS;
  if (atMs > 0.3 * ROUND_MS && atMs < 0.3 * ROUND_MS + 5_000) return { act: "answer", status: 503 };
  const isCutting = atMs > 0.6 * ROUND_MS && atMs < 0.6 * ROUND_MS + 8_000;
  if (!isCutting || random.chance(0.7)) return take;
  return random.chance(0.5) ? { act: "cut" } : { act: "hang up" };
}

/** Every run comes over one of three ways; each line when it is due. */
async function produce(): Promise<void> {
  const load = new Load({
    random: randomOf(SEED + 1),
    startMs: beganMs,
    // Some four hundred events in a second.
    everyMs: 65,
    silences: SILENCES,
    longestMs: 20_000,
    truth,
    book,
  });
  const ways = [brokers.toRedis, brokers.toNats, (lines: readonly string[]) => clients.post(lines)];
  const queues = ways.map((): Send[] => []);
  const end = new AbortController();
  const pump = async (publish: (typeof ways)[number], queue: Send[]) => {
    while (!end.signal.aborted || queue.length > 0) {
      const some = queue.splice(0, 500);
      if (some.length > 0) {
        await publish(some.map(({ line }) => line));
        latestMs = Math.max(latestMs, Date.now() - some[0]!.dueMs);
      }
      await after(50);
    }
  };
  const pumps = ways.map((publish, index) => pump(publish, queues[index]!));
  for (let nowMs = 0; nowMs < beganMs + TOTAL_MS || nowMs <= load.lastDueMs;) {
    await after(20);
    nowMs = Date.now();
    if (nowMs > beganMs + TOTAL_MS) load.end();
    const sends = load.due(nowMs, Infinity);
    for (const send of sends) queues[send.run % ways.length]!.push(send);
    load.took(sends.length);
    book.forget(TWIN_MS);
  }
  end.abort();
  await Promise.all(pumps);
}

function isAll(): boolean {
  const isCounted = sink.total("behest.bridge.events.received") === truth.received;
  const isAcknowledged = sink.total("behest.bridge.source.pending") === 0;
  const isExported = sink.total("behest.bridge.spans.exported") === truth.exported;
  return isExported && isCounted && isAcknowledged && sink.total("behest.run.active") === 0;
}

async function scrape(url: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const answer = await fetch(url).catch((error: Error) => error);
    checks += 1;
    if (answer instanceof Error) unwell.push(answer.message);
    else if (answer.status !== 200) unwell.push(String(answer.status));
    else await answer.text();
    await after(1_000);
  }
}

/** Clients that nobody invited, several at once. */
async function annoy(signal: AbortSignal): Promise<void> {
  const one = async () => {
    while (!signal.aborted) {
      await clients.beRude();
      await after(random.between(50, 400));
    }
  };
  await Promise.all([one(), one(), one()]);
}

/** Looks at the process from outside. */
async function sample(signal: AbortSignal): Promise<void> {
  const process = `/proc/${bridge.child.pid}`;
  while (!signal.aborted && Date.now() < beganMs + TOTAL_MS) {
    await after(TOTAL_MS / SAMPLES);
    const status = readFileSync(join(process, "status"), "utf8");
    const kib = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]);
    const threads = Number(/^Threads:\s+(\d+)/m.exec(status)?.[1]);
    const files = readdirSync(join(process, "fd")).length;
    samples.add((kib * 1024) / MB, files, threads, sink.total("behest.run.active"));
  }
}

/** The truth is that of a machine that sends in time. */
function tooSlow(): [boolean, string] {
  return [latestMs > TOO_LATE_MS, `this machine was too slow: sent up to ${Math.round(latestMs)} ms late`];
}
