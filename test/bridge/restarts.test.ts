import { afterEach, beforeAll, describe, expect, test } from "vitest";

import type { BridgeEnd } from "../../src/bridge.ts";
import { BridgeError } from "../../src/errors.ts";
import { addSnapshots } from "../../src/metric/combine.ts";
import type { Snapshot } from "../../src/metric/snapshot.ts";
import { Ledger } from "../../src/metric/ledger.ts";
import type { LedgerData } from "../../src/metric/saved.ts";
import {
  startHttpBackend,
  take,
  type HttpAct,
  type OtlpServer,
  type ServedSpan,
} from "../otel/otlp-server.ts";
import { envFor, runOver } from "./bridge-run.ts";
import { timeOf } from "./lives.ts";
import { memoryLog, type Entry, type MemoryLog } from "./memory-log.ts";
import { truthOf } from "./raw-truth.ts";
import { trialMs } from "../run/random.ts";
import { linesOf, recordingsOf } from "./recordings.ts";
import { SEED, seeded, shuffledWithin } from "./seeded.ts";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function backendOf(act?: () => HttpAct): Promise<OtlpServer> {
  const backend = await startHttpBackend(act);
  closers.push(backend.close);
  return backend;
}

/** What was recorded, one after another, in an order that the reorder window mends, every tenth line twice. */
function entriesOf(lines: readonly string[], random: () => number): Entry[] {
  const shuffled = shuffledWithin(lines, 1_500, random, timeOf);
  const doubled = shuffled.flatMap((line) => (random() < 0.1 ? [line, line] : [line]));
  let newest = 0;
  return doubled.map((line) => {
    newest = Math.max(newest, Number(timeOf(line) / 1_000_000n));
    return { line, appendedMs: newest };
  });
}

interface LifeOptions {
  readonly url: string;
  readonly batch?: () => number;
  readonly onCommit?: (moment: "before" | "after") => Error | undefined;
  /** Given what ends this life at once; it is ended in peace when everything is acknowledged. */
  readonly onBegin?: (kill: () => void) => void;
}

async function live(log: MemoryLog, { url, onBegin, ...options }: LifeOptions): Promise<BridgeEnd> {
  const stop = new AbortController();
  const life = log.begin(options);
  onBegin?.(() => {
    life.kill();
    stop.abort();
  });
  void log.done.then(() => stop.abort());
  return runOver({
    from: [life],
    // Small batches: spans leave also between two commits.
    env: { ...envFor(url), OTEL_METRICS_EXPORTER: "none", OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "4" },
    signal: stop.signal,
    commitIntervalMs: 1,
    // What is not delivered when a life is over is not delivered by it.
    flushTimeoutMs: 1,
  });
}

/** What was counted in the end, as the state has it. */
function countsIn({ records }: MemoryLog): Snapshot {
  const ledger = Ledger.restore(JSON.parse(records.get("ledger")!) as LedgerData, { source: "log" });
  const exports = Ledger.restore(JSON.parse(records.get("exports")!) as LedgerData);
  const all = addSnapshots([ledger.snapshot("released"), exports.snapshot("released")]);
  // How long it took is nobody's truth.
  return all.filter(({ metric }) => !/^behest\.bridge\.(export|commit)\.duration$/.test(metric));
}

function byId(spans: readonly ServedSpan[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const span of spans) {
    const text = JSON.stringify(span);
    expect(found.get(span.spanId) ?? text).toBe(text);
    found.set(span.spanId, text);
  }
  return found;
}

function byTime(one: string, other: string): number {
  return Number(timeOf(one) - timeOf(other));
}

/** After how many of each a life is over. */
interface Countdowns {
  reads?: number;
  before?: number;
  after?: number;
}

describe(`a bridge that dies again and again (SEED=${SEED})`, () => {
  const random = seeded(SEED);
  const recordings = recordingsOf("").filter(({ version }) => version === "0.5.9");
  const lines = recordings.flatMap(({ path }) => linesOf(path)).toSorted(byTime);
  const entries = entriesOf(lines, random);
  let end: BridgeEnd;
  let truth: { readonly spans: Map<string, string>; readonly counts: Snapshot };

  beforeAll(async () => {
    const backend = await backendOf();
    const log = memoryLog(entries);
    end = await live(log, { url: backend.url });
    truth = { spans: byId(backend.taken), counts: countsIn(log) };
  });

  test("hands out in a life without a death what there is", () => {
    expect(end).toMatchObject({ delivered: true, failure: undefined });
    const expected = recordings.map(({ path }) => truthOf(linesOf(path)).spans.length);
    expect(truth.spans.size).toBe(expected.reduce((sum, count) => sum + count, 0));
  });

  test.each([
    ["while it reads", () => ({ reads: 1 + Math.floor(random() * 12) })],
    ["before a commit", () => ({ before: 1 + Math.floor(random() * 3) })],
    ["after a commit whose answer it does not get", () => ({ after: 1 + Math.floor(random() * 3) })],
  ])("%s: every span is there, its twins are the same, and every counter is true", async (_when, draw) => {
    const until = performance.now() + trialMs(1 / 5);
    do {
      await checkLives(draw);
    } while (performance.now() < until);
  });

  async function checkLives(draw: () => Countdowns): Promise<void> {
    let dead = false;
    const backend = await backendOf(() => (dead || random() < 0.1 ? { act: "hang up" } : take));
    const log = memoryLog(entries);
    let lives = 0;
    for (let over = false; !over; lives += 1) {
      const countdowns: Countdowns = lives < 30 ? draw() : {};
      dead = false;
      let kill = () => {};
      const isOver = (what: keyof Countdowns) => {
        const left = countdowns[what];
        if (left === undefined) return false;
        countdowns[what] = left - 1;
        if (left === 1) {
          dead = true;
          kill();
        }
        return left <= 1;
      };
      const { failure } = await live(log, {
        url: backend.url,
        onBegin: (die) => (kill = die),
        batch: () => (isOver("reads") ? 0 : 1 + Math.floor(random() * 40)),
        onCommit: (moment) =>
          isOver(moment) ? new BridgeError("BEHEST_STATE_COMMIT", "the connection was lost") : undefined,
      });
      over = failure === undefined && log.acknowledged.length === entries.length;
    }
    expect(lives).toBeGreaterThan(1);
    expect(byId(backend.taken)).toEqual(truth.spans);
    expect(countsIn(log)).toEqual(truth.counts);
    expect([...log.acknowledged].toSorted((a, b) => a - b)).toEqual([...entries.keys()]);
    await backend.close();
  }
});
