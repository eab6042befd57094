import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { BridgeError } from "../../src/errors.ts";
import { startHttpBackend, take, type OtlpServer, type Served } from "../otel/otlp-server.ts";
import { envFor, runOver, type BridgeRun, type BridgeRunOptions } from "./bridge-run.ts";
import { feed } from "./feed.ts";
import { memoryLog, type Entry } from "./memory-log.ts";
import { pointsOf, total } from "./served-metrics.ts";
import { until } from "./turns.ts";
import { completed, delta, linesOf, model, ORIGIN_MS, standardRun, started, teller } from "./wire-runs.ts";

let backend: OtlpServer;
beforeEach(async () => {
  backend = await startHttpBackend(() => take);
});
afterEach(async () => {
  await backend.close();
});

const entriesOf = (events: readonly object[]): Entry[] =>
  linesOf(events).map((line, index) => ({ line, appendedMs: ORIGIN_MS + index }));

/** A life over sources; metrics are sent all the time, and `stop` ends it as SIGTERM does. */
function begin(
  from: BridgeRunOptions["from"],
  options: Partial<BridgeRunOptions> = {},
): { stop: () => void; end: Promise<BridgeRun> } {
  const stop = new AbortController();
  const end = runOver({
    from,
    env: { ...envFor(backend.url), OTEL_METRIC_EXPORT_INTERVAL: "1" },
    heart: { reorderWindowMs: 0, runIdleMs: 100 * 86_400_000 },
    commitIntervalMs: 1,
    signal: stop.signal,
    ...options,
  });
  return { stop: () => stop.abort(), end };
}

const readings = () => backend.requests.filter(({ signal }) => signal === "metrics");

/** `service.instance.id` of a reading: there is one resource in each. */
function instanceOf({ json }: Served): string {
  const [resource] = json["resourceMetrics"] as { resource: { attributes: Attribute[] } }[];
  const found = resource?.resource.attributes.find(({ key }) => key === "service.instance.id");
  return found?.value.stringValue ?? "";
}

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue?: string };
}

const RECEIVED = "behest.bridge.events.received";
const received = (reading: Served) => total(pointsOf(reading), RECEIVED);

/** What the newest reading of each instance says. */
const newest = () =>
  [...Map.groupBy(readings(), instanceOf)].map(([instance, all]) => ({
    instance,
    points: pointsOf(all.at(-1)!),
  }));

describe("events that all wait for others", () => {
  test("are more than may be taken uncommitted, and are committed all the same", async () => {
    const run = teller(1);
    const deltas = Array.from({ length: 70_000 }, () => delta(run));
    // Appended in one moment: nothing says that the window is over, but that nothing more comes.
    const entries = linesOf([started(run), model(run), ...deltas, completed(run)]);
    const log = memoryLog(entries.map((line) => ({ line, appendedMs: ORIGIN_MS })));
    const life = begin([log.begin({ batch: () => 1_000 })], {
      env: { ...envFor(backend.url), OTEL_METRICS_EXPORTER: "none" },
      heart: { reorderWindowMs: 2_000 },
      commitIntervalMs: 100,
    });
    await log.done;
    life.stop();
    expect(await life.end).toMatchObject({ delivered: true, report: { events: { used: 70_003 } } });
  });
});

describe("delta temporality", () => {
  const env = () => ({
    ...envFor(backend.url),
    OTEL_METRIC_EXPORT_INTERVAL: "1",
    OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: "delta",
  });

  test("adds up to the truth over lives that are killed: what the backend took is part of the state", async () => {
    const events = [1, 2, 3].flatMap((n) => standardRun(n, { deltas: 1 }));
    const log = memoryLog(entriesOf(events));
    const third = Math.floor(events.length / 3);
    for (const upTo of [third, 2 * third]) {
      let left = upTo - log.acknowledged.length;
      const life = log.begin({ batch: () => Math.min(left, 5) });
      const next = life.source.next.bind(life.source);
      // No more is there until the next life.
      life.source.next = async (signal) => {
        const reading = left > 0 ? await next(signal) : await forever(signal);
        if (reading?.kind === "deliveries") left -= reading.deliveries.length;
        return reading;
      };
      const bridge = begin([life], { env: env() });
      await until(() => log.acknowledged.length === upTo, "so much is acknowledged");
      await until(() => summed() === upTo, "and told");
      await until(() => timeTold() >= lastTime(), "and that is written down");
      life.kill();
      bridge.stop();
      await bridge.end;
    }
    const last = begin([log.begin({ batch: () => 5 })], { env: env() });
    await log.done;
    last.stop();
    expect((await last.end).delivered).toBe(true);
    expect(summed()).toBe(events.length);
    expect(new Set(readings().map(instanceOf)).size).toBe(1);

    function timeTold(): number {
      return (JSON.parse(log.records.get("told") ?? "{}") as { timeMs?: number }).timeMs ?? 0;
    }
    function lastTime(): number {
      const points = readings().flatMap(pointsOf);
      const told = points.filter(({ metric, value = 0 }) => metric === RECEIVED && value > 0);
      return Math.max(...told.map(({ time }) => Number(BigInt(time) / 1_000_000n)));
    }
  });

  test("adds up to the truth when metrics are taken and spans are not, until the stop", async () => {
    let away: "metrics" | "traces" | undefined = "metrics";
    const taken: Served[] = [];
    await backend.close();
    backend = await startHttpBackend((request) => {
      if (request.signal === away) return { act: "answer", status: 503, headers: { "retry-after": "0" } };
      if (request.signal === "metrics") taken.push(request);
      return take;
    });
    const sum = () => taken.reduce((all, reading) => all + received(reading), 0);
    const [first, second] = [standardRun(1, { deltas: 1 }), standardRun(2, { deltas: 1 })];
    const log = memoryLog(entriesOf(first));
    const life = begin([log.begin({ batch: () => 5 })], { env: env(), flushTimeoutMs: 1 });
    await log.done;
    const spans = backend.requests.length;
    away = "traces";
    for (const entry of entriesOf(second)) log.append(entry);
    await until(
      () => backend.requests.slice(spans).some(({ signal }) => signal === "traces"),
      "the spans of the second run are sent",
    );
    await until(() => sum() >= first.length, "the first run is told");
    await until(() => log.records.has("told"), "and that is written down");
    life.stop();
    expect(await life.end).toMatchObject({ delivered: false, comesAgain: true });
    away = undefined;
    const next = begin([log.begin({ batch: () => 5 })], { env: env() });
    await until(() => log.acknowledged.length === first.length + second.length, "all is acknowledged");
    next.stop();
    expect((await next.end).delivered).toBe(true);
    expect(sum()).toBe(first.length + second.length);
  });

  const summed = () => readings().reduce((sum, reading) => sum + received(reading), 0);
});

describe("a state that cannot be asked", () => {
  test("may be another process's: no counter is sent, only what can be read off", async () => {
    const log = memoryLog(entriesOf(standardRun(1, { deltas: 1 })));
    let cutOff = false;
    const lost = () => (cutOff ? new BridgeError("BEHEST_STATE_COMMIT", "cannot be reached") : undefined);
    const bridge = begin([log.begin({ batch: () => 5, onCommit: lost })]);
    await log.done;
    await until(() => received(readings().at(-1)!) > 0, "counters are sent");
    cutOff = true;
    const known = readings().length;
    await until(() => readings().length > known + 4, "metrics are sent");
    // One may have been on its way.
    const blind = readings().slice(known + 1);
    expect(blind.flatMap(pointsOf).filter(({ metric }) => metric === RECEIVED)).toEqual([]);
    expect(pointsOf(blind.at(-1)!).map(({ metric }) => metric)).toContain("behest.bridge.source.age");
    cutOff = false;
    await until(() => received(readings().at(-1)!) > 0, "counters are sent again");
    bridge.stop();
    expect((await bridge.end).delivered).toBe(true);
  });

  test("and never answers, does not hold up the stop, nor what other sources have to deliver", async () => {
    const well = memoryLog(entriesOf(standardRun(1, { deltas: 1 })));
    const ill = memoryLog(entriesOf(standardRun(2, { deltas: 1 })));
    const life = ill.begin({ name: "ill", batch: () => 5 });
    let hangs = false;
    const commit = life.store.commit.bind(life.store);
    life.store.commit = (change) => (hangs ? new Promise(() => {}) : commit(change));
    const bridge = begin([life, well.begin({ name: "well", batch: () => 5 })], { flushTimeoutMs: 50 });
    await ill.done;
    hangs = true;
    await well.done;
    bridge.stop();
    const { delivered, failure } = await bridge.end;
    expect({ delivered, failure }).toEqual({ delivered: false, failure: undefined });
    expect(well.records.get("position")).toBeDefined();
  });
});

describe("sources with and without a state", () => {
  test("count under an instance each: no counter falls when one begins anew", async () => {
    const log = memoryLog(entriesOf(standardRun(1, { deltas: 1 })));
    const whole = standardRun(1, { deltas: 1 });
    for (const events of [whole, whole.slice(0, 3)]) {
      const other = feed("other");
      const bridge = begin([log.begin({ batch: () => 5 }), other]);
      await log.done;
      other.push(...linesOf(events));
      await other.hungry();
      bridge.stop();
      expect((await bridge.end).delivered).toBe(true);
    }
    const byInstance = Map.groupBy(readings(), instanceOf);
    // The log's, which goes on, and one for each life of the other.
    expect(byInstance.size).toBe(3);
    const lengths = newest().map(({ points }) => total(points, RECEIVED));
    expect(lengths.toSorted((a, b) => a - b)).toEqual([3, whole.length, whole.length]);
    for (const all of byInstance.values()) {
      const counts = all.map(received);
      expect(counts).toEqual(counts.toSorted((a, b) => a - b));
    }
  });
});

describe("several sources with a state each", () => {
  test.each(["first", "second"])(
    "have all their spans counted once, when the %s was not committed before a kill",
    async (unlucky) => {
      const logs = {
        first: memoryLog(entriesOf(standardRun(1, { deltas: 1 }))),
        second: memoryLog(entriesOf(standardRun(2, { deltas: 1 }))),
      };
      let isBroken = false;
      const lives = (["first", "second"] as const).map((name) =>
        logs[name].begin({
          name,
          batch: () => 5,
          onCommit: () =>
            isBroken && name === unlucky ? new BridgeError("BEHEST_STATE_COMMIT", "full") : undefined,
        }),
      );
      isBroken = true;
      const bridge = begin(lives);
      const lucky = unlucky === "first" ? logs.second : logs.first;
      await lucky.done;
      await until(() => backend.taken.length === 14, "all spans are taken");
      for (const life of lives) life.kill();
      bridge.stop();
      await bridge.end;
      const again = begin([logs.first.begin({ name: "first" }), logs.second.begin({ name: "second" })]);
      await Promise.all([logs.first.done, logs.second.done]);
      again.stop();
      const { report, delivered } = await again.end;
      expect(delivered).toBe(true);
      expect(report.spans).toEqual({ exported: 14, failed: 0 });
    },
  );
});

describe("a source that ends beside one that goes on", () => {
  test("has what waited used and its open runs ended at once", async () => {
    const [finite, living] = [feed("finite"), feed("living")];
    finite.push(...linesOf([...standardRun(1, { deltas: 1 }), ...halfRun(2)]));
    finite.end();
    const bridge = begin([finite, living], {
      env: { ...envFor(backend.url), OTEL_METRICS_EXPORTER: "none" },
      heart: { reorderWindowMs: 60_000 },
    });
    await until(() => backend.taken.length === 9, "the spans of both runs are taken");
    bridge.stop();
    const { report } = await bridge.end;
    expect(report.runs).toMatchObject({ completed: 1, incomplete: 1 });
  });

  const halfRun = (n: number) => {
    const run = teller(n);
    return [started(run), model(run), delta(run)];
  };
});

function forever(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
    if (signal.aborted) resolve(undefined);
  });
}
