import { afterEach, describe, expect, test } from "vitest";

import { BridgeError } from "../../src/errors.ts";
import { Ledger } from "../../src/metric/ledger.ts";
import type { LedgerData } from "../../src/metric/saved.ts";
import { startHttpBackend, take, type OtlpServer } from "../otel/otlp-server.ts";
import { envFor, runOver, type BridgeRun, type BridgeRunOptions } from "./bridge-run.ts";
import { memoryLog, replaced, type Entry, type MemoryLog } from "./memory-log.ts";
import { pointsOf } from "./served-metrics.ts";
import { until } from "./turns.ts";
import { completed, delta, linesOf, model, ORIGIN_MS, standardRun, started, teller } from "./wire-runs.ts";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function backendOf(act: Parameters<typeof startHttpBackend>[0] = () => take): Promise<OtlpServer> {
  const backend = await startHttpBackend(act);
  closers.push(backend.close);
  return backend;
}

/** Each line appended a millisecond after the one before it. */
function entriesOf(events: readonly object[]): Entry[] {
  return linesOf(events).map((line, index) => ({ line, appendedMs: ORIGIN_MS + index }));
}

interface Life extends Partial<BridgeRunOptions> {
  readonly onCommit?: (moment: "before" | "after") => Error | undefined;
  /** Entries that are read at once. */
  readonly batch?: number;
}

/** A life on the log; `stop` ends it as SIGTERM does. */
function begin(log: MemoryLog, url: string, life: Life = {}): { stop: () => void; end: Promise<BridgeRun> } {
  const { onCommit, batch = 100, ...options } = life;
  const stop = new AbortController();
  const end = runOver({
    from: [log.begin({ batch: () => batch, ...(onCommit && { onCommit }) })],
    env: { ...envFor(url), OTEL_METRICS_EXPORTER: "none" },
    heart: { reorderWindowMs: 0, runIdleMs: 100 * 86_400_000 },
    commitIntervalMs: 1,
    signal: stop.signal,
    ...options,
  });
  return { stop: () => stop.abort(), end };
}

const halfRun = () => {
  const run = teller(1);
  return [started(run), model(run), delta(run), delta(run), delta(run), completed(run)];
};

/** A run that is still open. */
const halfRunOf = (n: number) => {
  const run = teller(n);
  return [started(run), model(run), delta(run)];
};

describe("a stop with state", () => {
  test("ends no run: the next process goes on where it was, as if nothing had been", async () => {
    const backend = await backendOf();
    const entries = entriesOf(halfRun());
    const half = memoryLog(entries.slice(0, 4));
    const first = begin(half, backend.url);
    await half.done;
    first.stop();
    expect(await first.end).toMatchObject({ delivered: true, report: { runs: { incomplete: 0 } } });
    expect(backend.taken).toEqual([]);

    const rest = memoryLog(entries);
    for (const [key, value] of half.records) (rest.records as Map<string, string>).set(key, value);
    const second = begin(rest, backend.url);
    await until(() => rest.acknowledged.length === 2, "the rest is acknowledged");
    second.stop();
    expect(await second.end).toMatchObject({
      report: { events: { received: 6, used: 6 }, runs: { completed: 1 } },
    });
    expect(backend.taken.map(({ name }) => name)).toEqual(["chat gpt-4o", "invoke_agent"]);
  });

  test("leaves unacknowledged what waits in the reorder window", async () => {
    const backend = await backendOf();
    const log = memoryLog(entriesOf(halfRun()));
    let reads = 0;
    const life = begin(log, backend.url, {
      heart: { reorderWindowMs: 100 * 86_400_000 },
      onProgress: () => (reads += 1),
    });
    await until(() => reads === 6, "everything is read");
    life.stop();
    expect(await life.end).toMatchObject({ delivered: true, report: { events: { received: 0 } } });
    expect(log.acknowledged).toEqual([]);
  });
});

describe("nothing is acknowledged", () => {
  test("whose spans the backend has not taken, and the exit says so", async () => {
    const backend = await backendOf(() => ({ act: "answer", status: 503 }));
    const log = memoryLog(entriesOf(standardRun(1, { deltas: 1 })));
    const life = begin(log, backend.url, { flushTimeoutMs: 1 });
    await until(() => backend.requests.length > 0, "something is sent");
    life.stop();
    expect(await life.end).toMatchObject({ delivered: false, comesAgain: true, failure: undefined });
    expect(log.acknowledged).toEqual([]);
    // What it began with: no run and no position.
    expect([...log.records.keys()].toSorted()).toEqual(["birth", "exports", "ledger", "time"]);
  });

  test("while the state cannot be written; it is said once, and goes on when it can be", async () => {
    const backend = await backendOf();
    const log = memoryLog(entriesOf(standardRun(1, { deltas: 1 })));
    let failures = 0;
    const life = begin(log, backend.url, {
      onCommit: (moment) => {
        if (moment === "after" || failures === 5) return undefined;
        failures += 1;
        expect(log.acknowledged).toEqual([]);
        return new BridgeError("BEHEST_STATE_COMMIT", "the disk is full");
      },
    });
    await log.done;
    life.stop();
    const { logged, delivered } = await life.end;
    expect(delivered).toBe(true);
    expect(logged.filter((line) => line.includes("state"))).toEqual([
      "ERROR the state cannot be written, nothing is acknowledged: the disk is full source=log",
      "INFO  the state is written again source=log",
    ]);
  });

  test("when it cannot be written until the end, which is no success", async () => {
    const backend = await backendOf();
    const log = memoryLog(entriesOf(standardRun(1, { deltas: 1 })));
    let refused = 0;
    const life = begin(log, backend.url, {
      onCommit: () => {
        refused += 1;
        return new BridgeError("BEHEST_STATE_COMMIT", "the disk is full");
      },
    });
    await until(() => refused > 2 && backend.taken.length === 7, "all is sent");
    life.stop();
    expect(await life.end).toMatchObject({ delivered: false, comesAgain: true });
    expect(log.acknowledged).toEqual([]);
  });

  test("after a newer process has taken the state over", async () => {
    const backend = await backendOf();
    const log = memoryLog(entriesOf(standardRun(1, { deltas: 1 })));
    const life = begin(log, backend.url, { onCommit: () => replaced() });
    const { failure, comesAgain } = await life.end;
    expect(failure).toMatchObject({ code: "BEHEST_STATE_REPLACED" });
    expect(comesAgain).toBe(false);
    expect(log.acknowledged).toEqual([]);
  });
});

test("metrics that nobody takes are no events that come again", async () => {
  const backend = await backendOf(({ signal }) =>
    signal === "metrics" ? { act: "answer", status: 400 } : take,
  );
  const log = memoryLog(entriesOf(standardRun(1, { deltas: 1 })));
  const life = begin(log, backend.url, { env: envFor(backend.url) });
  await log.done;
  life.stop();
  expect(await life.end).toMatchObject({ delivered: false, comesAgain: false });
});

test("spans that the backend refused for good are acknowledged, and do not come again", async () => {
  const backend = await backendOf(() => ({ act: "answer", status: 400 }));
  const log = memoryLog(entriesOf(standardRun(1, { deltas: 1 })));
  const life = begin(log, backend.url);
  await log.done;
  life.stop();
  expect(await life.end).toMatchObject({ delivered: false, comesAgain: false });
});

test("a state that somebody emptied is written again, whole, with what was acknowledged before", async () => {
  const backend = await backendOf();
  const log = memoryLog(entriesOf([...standardRun(1, { deltas: 1 }), ...halfRunOf(2)]));
  let commits = 0;
  const life = begin(log, backend.url, {
    batch: 10,
    onCommit: (moment) => {
      if (moment === "after" && (commits += 1) === 1) log.empty();
      return undefined;
    },
  });
  await log.done;
  life.stop();
  await life.end;
  const unharmed = memoryLog(entriesOf([...standardRun(1, { deltas: 1 }), ...halfRunOf(2)]));
  const other = begin(unharmed, backend.url);
  await unharmed.done;
  other.stop();
  await other.end;
  const told = ({ records }: MemoryLog) =>
    [...records]
      .filter(([key]) => key !== "birth" && key !== "exports")
      .map(String)
      .toSorted();
  expect(told(log)).toEqual(told(unharmed));
  expect(log.records.get("birth")).toBeDefined();
  expect(log.records.get("exports")).toBeDefined();
});

test("no more is taken than 65,536 deliveries that no commit covers, until one does", async () => {
  const backend = await backendOf();
  const log = memoryLog(entriesOf(Array.from({ length: 66_000 }, () => ({ NotKnown: {} }))));
  let [reads, mended, tries] = [0, false, 0];
  const life = begin(log, backend.url, {
    onProgress: () => (reads += 1),
    onCommit: () => {
      tries += 1;
      return mended ? undefined : new BridgeError("BEHEST_STATE_COMMIT", "the disk is full");
    },
  });
  await until(() => reads >= 65_536, "so many are taken");
  const before = tries;
  await until(() => tries > before + 3, "commits are tried again");
  // The reading that reached the limit was taken whole.
  expect(reads).toBe(65_600);
  mended = true;
  await log.done;
  life.stop();
  expect(await life.end).toMatchObject({ delivered: true, report: { events: { received: 66_000 } } });
});

test("an idle bridge writes nothing", async () => {
  const backend = await backendOf();
  const log = memoryLog(entriesOf(standardRun(1, { deltas: 1 })));
  const life = begin(log, backend.url);
  await log.done;
  await until(() => backend.taken.length === 7, "all is sent");
  const before = log.commits;
  // The times of commits count themselves, and must not be the reason for the next one.
  for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  life.stop();
  await life.end;
  expect(log.commits - before).toBeLessThanOrEqual(1);
});

test("a process that was replaced finds out before it sends metrics again, however idle", async () => {
  const backend = await backendOf();
  const log = memoryLog(entriesOf(standardRun(1, { deltas: 1 })));
  const life = begin(log, backend.url, {
    env: { ...envFor(backend.url), OTEL_METRIC_EXPORT_INTERVAL: "1" },
    // Nothing but its metrics makes it ask.
    commitIntervalMs: 60_000,
  });
  const sent = () => backend.requests.filter(({ signal }) => signal === "metrics").length;
  await until(() => sent() > 2, "metrics are sent");
  await log.begin().store.open();
  const before = sent();
  expect((await life.end).failure).toMatchObject({ code: "BEHEST_STATE_REPLACED" });
  // One may have been asked for, and answered, just before.
  expect(sent() - before).toBeLessThanOrEqual(1);
});

test("an idle bridge gives a sign of life: its commits are counted from one export of metrics to the next", async () => {
  const backend = await backendOf();
  const log = memoryLog(entriesOf(standardRun(1, { deltas: 1 })));
  const life = begin(log, backend.url, { env: { ...envFor(backend.url), OTEL_METRIC_EXPORT_INTERVAL: "1" } });
  await log.done;
  const commits = () => {
    const last = backend.requests.findLast(({ signal }) => signal === "metrics");
    const points = last === undefined ? [] : pointsOf(last);
    return points.find(({ metric }) => metric === "behest.bridge.commit.duration")?.count ?? 0;
  };
  for (const more of [1, 2, 3]) {
    const before = commits();
    await until(() => commits() > before, `commit ${more} is told`);
  }
  life.stop();
  await life.end;
});

test("of the times of commits no more is told than was saved", async () => {
  const backend = await backendOf();
  const log = memoryLog(entriesOf(standardRun(1, { deltas: 1 })));
  const life = begin(log, backend.url, { env: { ...envFor(backend.url), OTEL_METRIC_EXPORT_INTERVAL: "1" } });
  await log.done;
  const sent = () => backend.requests.filter(({ signal }) => signal === "metrics");
  const enough = sent().length + 5;
  await until(() => sent().length > enough, "metrics are sent");
  life.stop();
  await life.end;
  const kept = Ledger.restore(JSON.parse(log.records.get("exports")!) as LedgerData).snapshot("released");
  const saved = kept.find(({ metric }) => metric === "behest.bridge.commit.duration")?.value;
  const told = pointsOf(sent().at(-1)!).find(({ metric }) => metric === "behest.bridge.commit.duration");
  expect(told?.count).toBe(typeof saved === "object" ? saved.count : undefined);
});

test("metrics are told what is committed, and nothing before", async () => {
  const backend = await backendOf();
  const log = memoryLog(entriesOf(standardRun(1, { deltas: 1 })));
  const sent = () => backend.requests.filter(({ signal }) => signal === "metrics").length;
  let tries = 0;
  const life = begin(log, backend.url, {
    env: { ...envFor(backend.url), OTEL_METRIC_EXPORT_INTERVAL: "1" },
    onCommit: (moment) => {
      if (moment === "after" || (tries += 1) > 20) return undefined;
      return new BridgeError("BEHEST_STATE_COMMIT", "the disk is full");
    },
  });
  await until(() => sent() > 3, "metrics are sent");
  const early = pointsOf(backend.requests.filter(({ signal }) => signal === "metrics").at(2)!);
  expect(early.length).toBeGreaterThan(0);
  // Levels and times are those of now.
  const counted = early.filter(({ value, metric }) => (value ?? 0) > 0 && !metric.endsWith("age"));
  expect(counted).toEqual([]);
  await log.done;
  life.stop();
  const { report } = await life.end;
  expect(report.events.used).toBe(log.acknowledged.length);
});

test("two shards share the runs, and each counts its own only", async () => {
  const backend = await backendOf();
  const events = [1, 2, 3, 4, 5, 6, 7, 8].flatMap((n) => standardRun(n, { deltas: 1 }));
  const entries = entriesOf([...events, { NotKnown: {} }]);
  let received = 0;
  for (const index of [0, 1]) {
    const log = memoryLog(entries);
    const life = begin(log, backend.url, { shard: { index, count: 2 } });
    await log.done;
    life.stop();
    const { report } = await life.end;
    expect(report.runs.completed).toBeGreaterThan(0);
    received += report.events.received;
  }
  expect(received).toBe(entries.length);
  expect(new Set(backend.taken.map(({ spanId }) => spanId)).size).toBe(8 * 7);
  expect(backend.taken).toHaveLength(8 * 7);
});
