import { afterEach, describe, expect, test } from "vitest";

import { manualClock } from "../otel/clocks.ts";
import { startHttpBackend, take, type HttpAct, type OtlpServer, type Served } from "../otel/otlp-server.ts";
import { envFor, runOver, type BridgeRun } from "./bridge-run.ts";
import { feed, linewise } from "./feed.ts";
import { lastPoints, pointsOf, total, valuesBy } from "./served-metrics.ts";
import { passUntil } from "./turns.ts";
import * as wire from "./wire-runs.ts";

let backend: OtlpServer;
afterEach(() => backend.close());

const SLOW = { OTEL_EXPORTER_OTLP_TIMEOUT: "600000" };
const metricRequests = () => backend.requests.filter(({ signal }) => signal === "metrics");
const ended = (request: Served) => total(pointsOf(request), "behest.run.ended");

describe("counters", () => {
  test("balance in every snapshot, over everything that a line can be", async () => {
    backend = await startHttpBackend();
    const clock = manualClock(wire.ORIGIN_MS);
    const source = feed();
    const ending = runOver({ from: [source], env: envFor(backend.url), clock, commitIntervalMs: 1_000 });
    const [first, second] = [wire.teller(1), wire.teller(2)];
    const lines = [
      ...wire.linesOf([wire.started(first), wire.model(first), wire.usage(first)]),
      "no json",
      '{"RunStarted":{"run_id":"00000000-0000-0000-0000-000000000000"}}',
      JSON.stringify({ SomethingNew: { run_id: first.runId, timestamp: wire.stamp(4) } }),
      ...wire.linesOf([wire.started(second)]),
      "",
      "   ",
      JSON.stringify({ TextDelta: { run_id: first.runId, delta: 1, timestamp: wire.stamp(5) } }),
      `{"TextDelta":{"run_id":"${first.runId}","delta":"${"x".repeat(1_100_000)}"}}`,
      ...wire.linesOf([wire.completed(first)]),
      ...wire
        .linesOf([wire.model(first, 0)])
        .map((line) => line.replace(/"timestamp":"[^"]*"/, '"timestamp":"2025-06-01T12:00:00Z"')),
    ];
    for (const line of [...lines, ...lines]) {
      source.push(line);
      await source.hungry();
      const before = metricRequests().length;
      await passUntil(clock, () => metricRequests().length > before, "metrics came");
    }
    source.end();
    await clock.advance(0);
    const { report } = await ending;

    for (const request of metricRequests()) {
      const points = pointsOf(request);
      const parts = ["used", "dropped", "rejected"].map((part) =>
        total(points, `behest.bridge.events.${part}`),
      );
      expect(parts[0]! + parts[1]! + parts[2]!).toBe(total(points, "behest.bridge.events.received"));
    }
    expect(report.events).toEqual({
      received: 22,
      used: 5,
      dropped: { duplicate: 6, unknown_type: 2, late: 1 },
      rejected: {
        BEHEST_DECODE_JSON: 2,
        BEHEST_DECODE_RUN_ID: 2,
        BEHEST_DECODE_SCHEMA: 2,
        BEHEST_LINE_TOO_LONG: 2,
      },
    });
  });
});

describe("what is exported", () => {
  const run = () => {
    const one = wire.teller(1);
    return wire.linesOf([wire.started(one), wire.model(one), wire.usage(one), wire.completed(one)]);
  };

  test("never runs ahead of the traces: a run counts once its spans are taken", async () => {
    const gate = Promise.withResolvers<HttpAct>();
    backend = await startHttpBackend(({ signal }) => (signal === "traces" ? gate.promise : take));
    const clock = manualClock(wire.ORIGIN_MS);
    const source = feed();
    const ending = runOver({ from: [source], env: { ...envFor(backend.url), ...SLOW }, clock });
    source.push(...run());
    await source.hungry();
    await passUntil(clock, () => metricRequests().length >= 4, "four readings");
    expect(backend.requests.some(({ signal }) => signal === "traces")).toBe(true);
    expect(metricRequests().map(ended)).toEqual(metricRequests().map(() => 0));
    expect(total(lastPoints(backend.requests), "behest.bridge.events.used")).toBe(0);

    gate.resolve(take);
    await passUntil(clock, () => ended(metricRequests().at(-1)!) === 1, "the run is counted");
    expect(valuesBy(lastPoints(backend.requests), "behest.token.usage", ["gen_ai.token.type"])).toEqual({
      input: 100,
      output: 20,
    });
    source.end();
    expect(await ending).toMatchObject({ delivered: true, report: { spans: { exported: 2, failed: 0 } } });
  });

  test("has every outcome, drop reason and failure at 0 before anything happened", async () => {
    backend = await startHttpBackend();
    const clock = manualClock(wire.ORIGIN_MS);
    const source = feed();
    const ending = runOver({ from: [source], env: envFor(backend.url), clock });
    await source.hungry();
    await passUntil(clock, () => metricRequests().length > 0, "the first reading");
    const points = pointsOf(metricRequests()[0]!);
    const labels = (metric: string, key: string) =>
      points
        .filter((point) => point.metric === metric && point.value === 0)
        .map(({ attributes }) => String(attributes[key]));
    expect(labels("behest.run.ended", "behest.run.outcome").toSorted(byText)).toEqual([
      "cancelled",
      "completed",
      "failed",
      "incomplete",
    ]);
    expect(labels("behest.bridge.events.dropped", "reason").toSorted(byText)).toEqual([
      "closed",
      "duplicate",
      "faulted",
      "late",
      "limit",
      "unknown_type",
    ]);
    expect(labels("behest.run.failures", "error.type")).toContain("run_expired");
    expect(labels("behest.bridge.events.rejected", "code")).toContain("BEHEST_LINE_TOO_LONG");
    expect(labels("behest.run.doom_loops", "gen_ai.agent.name")).toEqual(["undefined"]);
    source.end();
    await ending;
  });

  test("is cumulative from one start under one instance id, and never falls", async () => {
    backend = await startHttpBackend();
    const clock = manualClock(wire.ORIGIN_MS);
    const source = feed();
    const ending = runOver({ from: [source], env: envFor(backend.url), clock });
    for (const line of run()) {
      source.push(line);
      await source.hungry();
      const before = metricRequests().length;
      await passUntil(clock, () => metricRequests().length > before, "a reading");
    }
    source.end();
    await ending;
    const readings = metricRequests().map((request) => pointsOf(request));
    const used = readings.map((points) => total(points, "behest.bridge.events.used"));
    expect(used).toEqual(used.toSorted((a, b) => a - b));
    expect(used.at(-1)).toBe(4);
    expect(new Set(readings.flat().map(({ start }) => start)).size).toBe(1);
    expect(new Set(metricRequests().map(instanceId)).size).toBe(1);
  });

  test("does not hold up the traces while the metrics backend is down, and is the newest when it is back", async () => {
    let isDown = true;
    backend = await startHttpBackend(({ signal }) =>
      signal === "metrics" && isDown ? { act: "answer", status: 503 } : take,
    );
    const clock = manualClock(wire.ORIGIN_MS);
    const source = feed();
    const ending = runOver({ from: [source], env: envFor(backend.url), clock });
    await source.hungry();
    // The first reading is on its way before there is anything to count.
    await passUntil(clock, () => metricRequests().length > 0, "the first reading");
    for (let n = 1; n <= 20; n += 1) {
      source.push(...wire.linesOf(wire.standardRun(n, { deltas: 2 })));
      await source.hungry();
      await passUntil(
        clock,
        () => backend.taken.length === n * wire.standardSpans(),
        `the spans of run ${n}`,
      );
    }
    // The next reading is due ten seconds after the last, a commit a second before it.
    const last = clock.now();
    await passUntil(clock, () => clock.now() > last + 12_000, "two more readings were due");
    isDown = false;
    const tried = metricRequests().length;
    await passUntil(clock, () => metricRequests().length > tried, "a reading that is taken");
    expect(ended(metricRequests()[tried]!)).toBe(20);
    source.end();
    expect(await ending).toMatchObject({ delivered: true });
  });

  test("with delta temporality adds up to everything, however many readings were refused on the way", async () => {
    const taken: Served[] = [];
    let isDown = false;
    backend = await startHttpBackend((request) => {
      if (request.signal !== "metrics") return take;
      if (isDown) return { act: "answer", status: 503 };
      taken.push(request);
      return take;
    });
    const clock = manualClock(wire.ORIGIN_MS);
    const source = feed();
    const env = { ...envFor(backend.url), OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: "delta" };
    const ending = runOver({ from: [source], env, clock });
    for (let n = 1; n <= 12; n += 1) {
      isDown = n > 3 && n < 9;
      source.push(...wire.linesOf(wire.standardRun(n, { deltas: 3 })));
      await source.hungry();
      // Longer than from one reading to the next.
      const before = clock.now();
      await passUntil(clock, () => clock.now() > before + 12_000, "time passed");
    }
    source.end();
    expect(await ending).toMatchObject({ delivered: true });
    const sum = (metric: string) => taken.reduce((all, request) => all + total(pointsOf(request), metric), 0);
    expect(taken.length).toBeGreaterThan(5);
    expect(sum("behest.run.ended")).toBe(12);
    expect(sum("gen_ai.client.operation.duration")).toBe(36);
    expect(sum("behest.bridge.events.used")).toBe(12 * wire.standardRun(1, { deltas: 3 }).length);
  });

  test("that nobody takes in the end is something undelivered, and the spans are none the less", async () => {
    backend = await startHttpBackend(({ signal }) =>
      signal === "metrics" ? { act: "answer", status: 503 } : take,
    );
    const end = await runOver({ from: [linewise(run())], env: envFor(backend.url), flushTimeoutMs: 300 });
    expect(end.report.spans).toEqual({ exported: 2, failed: 0 });
    expect(end.delivered).toBe(false);
  });

  test("is nothing with a backend that knows traces only, which is told once and fails nothing", async () => {
    backend = await startHttpBackend(({ signal }) =>
      signal === "metrics" ? { act: "answer", status: 404 } : take,
    );
    const end: BridgeRun = await runOver({ from: [linewise(run())], env: envFor(backend.url) });
    expect(end.delivered).toBe(true);
    expect(end.logged.filter((line) => line.includes("knows no metrics"))).toHaveLength(1);
  });
});

function byText(a: string, b: string): number {
  return a < b ? -1 : 1;
}

function instanceId({ json }: Served): unknown {
  const [{ resource }] = json["resourceMetrics"] as [
    { resource: { attributes: { key: string; value: object }[] } },
  ];
  const found = resource.attributes.find(({ key }) => key === "service.instance.id");
  return found && Object.values(found.value)[0];
}
