import { readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as after } from "node:timers/promises";

import { afterAll, beforeAll, expect, test } from "vitest";

import { runBridge, type BridgeEnd } from "../../src/bridge.ts";
import type { Clock } from "../../src/clock.ts";
import { openDeadLetter } from "../../src/dead-letter.ts";
import { openKeep } from "../../src/kept-state.ts";
import { createLog } from "../../src/log.ts";
import { HEART_DEFAULTS } from "../../src/run/limits.ts";
import { journalEntry } from "../../src/source/journal.ts";
import { journaledInput, type Inflow } from "../../src/source/journaled.ts";
import { hurriedClock } from "../bridge/clocks.ts";
import { envFor } from "../bridge/bridge-run.ts";
import { SEED } from "../bridge/seeded.ts";
import { temporary } from "../cli/program.ts";
import { countedIn } from "../e2e/crash.ts";
import { eventually } from "../e2e/running.ts";
import { configOf } from "../otel/export-setup.ts";
import { take, type HttpAct } from "../otel/otlp-server.ts";
import { randomOf } from "../run/random.ts";
import { Load } from "./load.ts";
import { MB, Samples, SOAK_SECONDS } from "./samples.ts";
import { Sink } from "./sink.ts";
import { SpanBook } from "./span-book.ts";
import { Truth } from "./truth.ts";

/** A day of source time takes ten minutes. */
const PACE = 144;
const HOUR = 3_600_000;
const TOTAL_MS = SOAK_SECONDS * 1_000 * PACE;
/** What waits for hours of a day waits for as much of a shorter one, so that all is in balance after a third of it. */
const SHARE = TOTAL_MS / (24 * HOUR);
const SILENCES = { runIdleMs: (SHARE * HOUR) / 6, toolIdleMs: SHARE * HOUR, rememberMs: SHARE * HOUR };
const LONGEST_MS = 3 * SHARE * HOUR;
/** One that leaks at each has eight more in one third than in the one before. */
const RESTARTS = 24;
const SAMPLES = Math.min(150, SOAK_SECONDS * 2);
/** A batch whose answer was lost comes again much sooner. */
const TWIN_MS = 5_000;
/** Half of what a leak has that has to be found. */
const LEAK_BYTES = 50;

/** What the backend does instead of taking a request, every now and then. */
const REFUSALS: readonly HttpAct[] = [{ act: "answer", status: 503 }, { act: "cut" }, { act: "hang up" }];

/** A clock that may also jump, and a load that knows what was appended. */
const hurried = hurriedClock(PACE);
let skippedMs = 0;
const clock: Clock = { now: () => hurried.now() + skippedMs, after: hurried.after };
const truth = new Truth();
const book = new SpanBook();
const load = new Load({
  random: randomOf(SEED),
  startMs: clock.now(),
  // About two thousand events in a second on the wall.
  everyMs: 2_000,
  silences: SILENCES,
  longestMs: LONGEST_MS,
  truth,
  book,
});
/** All that was due up to here is appended. */
let appendedMs = clock.now();
const logClock: Clock = { now: () => appendedMs, after: clock.after };

/** Events as they fall due, on their way into the journal. Their time is when they were due, however late they come. */
const inflow: Inflow = {
  name: "load",
  keepsOrder: false,
  prepare: () => Promise.resolve(),
  close: () => Promise.resolve(),
  async fill(journal, signal) {
    while (!signal.aborted) {
      const nowMs = clock.now();
      const sends = load.due(nowMs, 1_000);
      const entries = sends.map(({ line, dueMs }) =>
        journalEntry({ payload: Buffer.from(line), outside: undefined, appendedMs: dueMs }),
      );
      if (entries.length === 0) appendedMs = nowMs;
      else if ((await journal.append(entries)) === "appended") load.took(entries.length);
      await after(5);
    }
  },
};

const directory = temporary();
const errors: string[] = [];
const log = createLog({
  level: "error",
  format: "text",
  now: () => new Date(),
  write: (line) => errors.push(line),
});
const ends: BridgeEnd[] = [];
let sink: Sink;
let eventsInThird = 0;
const samples = new Samples([
  { name: "heap in use, MB", digits: 2, margin: () => 0.5 + (LEAK_BYTES * eventsInThird) / MB },
  { name: "memory outside of the heap, MB", digits: 2, margin: () => 2 },
  // The engine takes and gives back as much by itself.
  { name: "resident, MB", digits: 1, margin: () => 64 },
  { name: "open files and sockets", of: "quartile", margin: () => 2 },
  { name: "timers", of: "quartile", margin: () => 3 },
  { name: "other active resources", of: "quartile", margin: () => 3 },
  { name: "state and journal on disk, MB", digits: 1, below: 48 },
  { name: "runs open", margin: (middle) => 0.2 * middle + 10 },
  { name: "runs in the state", margin: (middle) => 0.1 * middle + 10 },
  { name: "age of the oldest open run, s", below: (LONGEST_MS * 1.2 + SILENCES.toolIdleMs + 60_000) / 1_000 },
  // Source time goes with the time on the wall: a second is 7 ms of it here.
  { name: "age of the newest event read, s", digits: 1, margin: (middle) => 120 - middle },
]);

beforeAll(
  async () => {
    const moods = randomOf(SEED + 1);
    sink = await Sink.start(book, () => (moods.chance(0.04) ? moods.pick(REFUSALS) : take));
    const beganMs = performance.now();
    const isOver = () => performance.now() - beganMs > SOAK_SECONDS * 1_000;
    const sampling = sampleUntil(isOver);
    while (!isOver()) {
      const stop = new AbortController();
      const living = live(stop.signal);
      await Promise.race([living, after((SOAK_SECONDS * 1_000) / RESTARTS)]);
      stop.abort();
      ends.push(await living);
    }
    await sampling;
    await comeToAnEnd();
    console.log(
      `${(TOTAL_MS / HOUR).toFixed(1)} hours in ${SOAK_SECONDS} s (SEED=${SEED}): ${truth.runsBegun} runs, ` +
        `${truth.received} events, ${book.taken} spans, ${book.twins} of them twice, ${sink.readings} readings of ` +
        `metrics, ${ends.length - 1} restarts, ${samples.count} samples\n${samples.table()}`,
    );
  },
  SOAK_SECONDS * 1_000 + 120_000,
);

afterAll(async () => {
  await sink[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

test("nothing grows", () => {
  expect(samples.grown()).toEqual([]);
});

test("every life ends in peace, with all that it took delivered", () => {
  expect(ends.length).toBeGreaterThanOrEqual(RESTARTS);
  expect(ends.filter(({ delivered, failure }) => !delivered || failure !== undefined)).toEqual([]);
  expect(errors).toEqual([]);
});

test("every span of every run is there as its events say, and no other", () => {
  expect(book.someMissing()).toEqual([]);
  expect(book.faults).toEqual([]);
  expect(book.taken).toBe(truth.exported);
});

test("every counter is that of the events, over all lives", () => {
  expect(sink.faults).toEqual([]);
  expect(sink.instances.size).toBe(1);
  expect(countedIn(sink.points)).toEqual(truth.counts());
  expect(ends.at(-1)?.report.events.received).toBe(truth.received);
});

test("nothing is open or remembered when all of it is over", () => {
  expect(sink.total("behest.run.active")).toBe(0);
  expect(sink.total("behest.bridge.state.runs")).toBe(0);
});

/** A process on the state that the one before it left, as `run` has it. */
async function live(signal: AbortSignal): Promise<BridgeEnd> {
  const state = { stateDir: join(directory, "state"), stateName: inflow.name };
  const { source, store } = journaledInput(inflow, { ...state, maxBytes: 16 * MB, clock: logClock, log });
  const deadLetter = await openDeadLetter(join(directory, "dead-letters"), log);
  try {
    const keep = await openKeep(store, { nowMs: clock.now(), shards: 1 });
    await source.open(keep.kept?.position);
    return await runBridge(
      {
        inputs: [{ source, keep }],
        decoder: {},
        heart: { ...HEART_DEFAULTS, ...SILENCES },
        exports: configOf({ ...envFor(sink.url), OTEL_METRIC_EXPORT_INTERVAL: "30000" }),
        flushTimeoutMs: 10_000 * PACE,
        commitIntervalMs: 10_000,
      },
      {
        clock,
        random: Math.random,
        log,
        deadLetter,
        signal,
        write: () => Promise.reject(new Error("nothing goes to the console")),
      },
    );
  } finally {
    await source.close();
    await store.close();
    await deadLetter.close();
  }
}

async function sampleUntil(isOver: () => boolean): Promise<void> {
  const { gc } = globalThis;
  if (gc === undefined) throw new Error("expected node --expose-gc");
  for (let beforeThird = 0; !isOver(); eventsInThird = (truth.received - beforeThird) / 2) {
    await after((SOAK_SECONDS * 1_000) / SAMPLES);
    book.forget(TWIN_MS);
    gc();
    const { heapUsed, external, rss } = process.memoryUsage();
    const resources = process.getActiveResourcesInfo();
    const timers = resources.filter((kind) => kind === "Timeout").length;
    samples.add(
      heapUsed / MB,
      external / MB,
      rss / MB,
      readdirSync("/proc/self/fd").length,
      timers,
      resources.length - timers,
      bytesIn(join(directory, "state")) / MB,
      sink.total("behest.run.active"),
      sink.total("behest.bridge.state.runs"),
      sink.total("behest.run.oldest_active_age"),
      sink.total("behest.bridge.source.age"),
    );
    if (samples.count <= SAMPLES / 3) beforeThird = truth.received;
  }
}

/** No run begins any more, and so much time passes that none is open or remembered. */
async function comeToAnEnd(): Promise<void> {
  load.end();
  const stop = new AbortController();
  const living = live(stop.signal);
  skippedMs += Math.max(0, load.lastDueMs - clock.now()) + SILENCES.toolIdleMs + 60_000;
  const isCounted = () => sink.total("behest.bridge.events.received") === truth.received;
  const isExported = () => sink.total("behest.bridge.spans.exported") === truth.exported;
  const isAll = () => isExported() && isCounted() && sink.total("behest.run.active") === 0;
  // The tests say what is missing.
  await eventually("all is delivered", isAll, 60_000).catch(() => {});
  skippedMs += SILENCES.rememberMs + 60_000;
  await eventually("nothing is remembered", () => sink.total("behest.bridge.state.runs") === 0).catch(
    () => {},
  );
  stop.abort();
  ends.push(await living);
}

function bytesIn(folder: string): number {
  try {
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile());
    return files.reduce((sum, file) => sum + statSync(join(file.parentPath, file.name)).size, 0);
  } catch (error) {
    // Files come and go.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return 0;
    throw error;
  }
}
