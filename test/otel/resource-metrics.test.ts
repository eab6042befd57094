import { ValueType } from "@opentelemetry/api";
import { JsonMetricsSerializer, ProtobufMetricsSerializer } from "@opentelemetry/otlp-transformer";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { AggregationTemporality, MeterProvider } from "@opentelemetry/sdk-metrics";
import { afterEach, describe, expect, test, vi } from "vitest";

import { fromMillis } from "../../src/event/time.ts";
import { Ledger } from "../../src/metric/ledger.ts";
import type { Snapshot } from "../../src/metric/snapshot.ts";
import { resourceMetrics, type ResourceMetricsOptions } from "../../src/otel/resource-metrics.ts";
import { chunk, failed, model, run } from "../metric/ops.ts";
import { AskedReader, sorted } from "./metric-reader.ts";

const START_MS = 1_795_341_600_123;
const NOW_MS = START_MS + 10_000;
const resource = resourceFromAttributes({ "service.name": "behest", "service.instance.id": "i-1" });
const scope = { name: "behest-otel", version: "1.2.3" };

function options(snapshot: Snapshot, more: Partial<ResourceMetricsOptions> = {}): ResourceMetricsOptions {
  return {
    resource,
    scope,
    temporality: "cumulative",
    start: fromMillis(START_MS),
    now: { snapshot, time: fromMillis(NOW_MS) },
    accepted: undefined,
    ...more,
  };
}

afterEach(() => {
  vi.useRealTimers();
});

describe("bytes", () => {
  test.each([
    ["protobuf", ProtobufMetricsSerializer],
    ["JSON", JsonMetricsSerializer],
  ] as const)("as %s are those of a meter provider with the same recordings", async (_, serializer) => {
    const expected = serializer.serializeRequest(await bySdk());
    const found = serializer.serializeRequest(byLedger());
    expect(Buffer.from(found ?? []).toString("latin1")).toBe(Buffer.from(expected ?? []).toString("latin1"));
    expect(found?.length).toBeGreaterThan(500);
  });

  test("are the same for the same reading, however often it is sent", () => {
    const ledger = new Ledger();
    ledger.apply(chunk(0.5));
    const now = options(ledger.snapshot("dup"));
    const [once, again] = [now, now].map((each) =>
      ProtobufMetricsSerializer.serializeRequest(resourceMetrics(each)),
    );
    expect(Buffer.from(once ?? []).equals(again ?? Buffer.of())).toBe(true);
  });
});

describe("a cumulative export", () => {
  test("starts every point at the start of the state and ends it now, to the nanosecond", () => {
    const ledger = new Ledger();
    ledger.apply(run(failed("doom_loop")));
    const { scopeMetrics } = resourceMetrics(
      options([], {
        start: [1_795_341_600, 123_456_789],
        now: { snapshot: ledger.snapshot("dup"), time: [1_795_341_610, 987_654_321] },
      }),
    );
    const points = scopeMetrics.flatMap(({ metrics }) =>
      metrics.flatMap(({ dataPoints }) => [...dataPoints]),
    );
    expect(points.length).toBeGreaterThan(50);
    expect(new Set(points.map(({ startTime, endTime }) => JSON.stringify([startTime, endTime])))).toEqual(
      new Set(["[[1795341600,123456789],[1795341610,987654321]]"]),
    );
  });

  test("has the one resource and the one scope it was given", () => {
    const given = resourceMetrics(options(new Ledger().snapshot("released")));
    expect(given.resource).toBe(resource);
    expect(given.scopeMetrics.map((each) => each.scope)).toEqual([scope]);
    expect(given.scopeMetrics[0]?.scope).toBe(scope);
  });

  test("does not ask what was accepted before", () => {
    const ledger = new Ledger();
    ledger.spanExported(3);
    const snapshot = ledger.snapshot("released");
    const accepted = { snapshot, time: fromMillis(START_MS + 1) };
    expect(resourceMetrics(options(snapshot, { accepted }))).toEqual(resourceMetrics(options(snapshot)));
  });
});

describe.each(["delta", "lowmemory"] as const)("a %s export", (temporality) => {
  test("has counters and histograms since what was accepted, and gauges as they are", () => {
    const ledger = new Ledger();
    ledger.spanExported(3);
    ledger.apply(chunk(0.5));
    ledger.setGauge("eventsWaiting", 4);
    const accepted = { snapshot: ledger.snapshot("released"), time: fromMillis(START_MS + 5000) };
    ledger.spanExported(2);
    ledger.apply(chunk(0.25));
    const given = resourceMetrics(options(ledger.snapshot("released"), { temporality, accepted }));
    const [since, end] = [fromMillis(START_MS + 5000), fromMillis(NOW_MS)];
    expect(metricOf(given, "behest.bridge.spans.exported")).toMatchObject({
      aggregationTemporality: AggregationTemporality.DELTA,
      isMonotonic: true,
      dataPoints: [{ value: 2, startTime: since, endTime: end }],
    });
    const chunks = metricOf(given, "gen_ai.client.operation.time_per_output_chunk");
    expect(chunks).toMatchObject({
      aggregationTemporality: AggregationTemporality.DELTA,
      dataPoints: [{ value: { count: 1, sum: 0.25 }, startTime: since, endTime: end }],
    });
    expect(chunks?.dataPoints[0]?.value).not.toHaveProperty("min");
    expect(metricOf(given, "behest.bridge.events.waiting")).toMatchObject({
      aggregationTemporality: AggregationTemporality.CUMULATIVE,
      dataPoints: [{ value: 4, startTime: fromMillis(START_MS), endTime: end }],
    });
  });

  test("begins at the start of the state while nothing was accepted, so that a failed one loses nothing", () => {
    const ledger = new Ledger();
    ledger.spanExported(3);
    // This reading was sent and not accepted.
    ledger.snapshot("released");
    ledger.spanExported(2);
    const given = resourceMetrics(options(ledger.snapshot("released"), { temporality }));
    expect(metricOf(given, "behest.bridge.spans.exported")).toMatchObject({
      dataPoints: [{ value: 5, startTime: fromMillis(START_MS), endTime: fromMillis(NOW_MS) }],
    });
  });

  test("of histograms is serialized without the least and greatest values it cannot know", () => {
    const ledger = new Ledger();
    ledger.apply(chunk(0.5));
    const accepted = { snapshot: ledger.snapshot("released"), time: fromMillis(START_MS + 5000) };
    ledger.apply(chunk(0.25));
    const given = resourceMetrics(options(ledger.snapshot("released"), { temporality, accepted }));
    const text = Buffer.from(JsonMetricsSerializer.serializeRequest(given) ?? []).toString();
    expect(text).toContain('"sum":0.25');
    expect(text).not.toMatch(/"(min|max)"/);
  });
});

/** The same recordings on a real meter provider, its clock held at the two moments. */
async function bySdk() {
  vi.useFakeTimers({ now: START_MS, toFake: ["Date"] });
  const reader = new AskedReader();
  const meter = new MeterProvider({ resource, readers: [reader] }).getMeter(scope.name, scope.version);
  const bounds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
  const duration = meter.createHistogram("gen_ai.client.operation.duration", {
    unit: "s",
    description: "Duration of model calls",
    advice: { explicitBucketBoundaries: bounds },
  });
  const openai = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-5",
  };
  duration.record(0.64, openai);
  duration.record(0.641, openai);
  duration.record(100, { ...openai, "error.type": "provider_timeout" });
  const exported = meter.createCounter("behest.bridge.spans.exported", {
    unit: "{span}",
    description: "Spans the backend took",
    valueType: ValueType.INT,
  });
  exported.add(2 ** 40);
  const lag = meter.createGauge("behest.bridge.source.lag", {
    unit: "{event}",
    description: "Events in the source that were not read yet",
    valueType: ValueType.INT,
  });
  lag.record(17, { source: "redis" });
  const age = meter.createGauge("behest.bridge.source.age", {
    unit: "s",
    description: "Age of the newest event that was read",
  });
  age.record(0.25, { source: "redis" });
  vi.setSystemTime(NOW_MS);
  return sorted(await reader.read());
}

function byLedger() {
  const ledger = new Ledger({ source: "redis" });
  ledger.apply(model({ seconds: 0.64 }));
  ledger.apply(model({ seconds: 0.641 }));
  ledger.apply(model({ seconds: 100, failure: { errorType: "provider_timeout", message: undefined } }));
  ledger.spanExported(2 ** 40);
  ledger.setGauge("sourceLag", 17);
  ledger.setGauge("sourceAge", 0.25);
  const wanted = ["operation.duration", "spans.exported", "source.lag", "source.age"];
  const snapshot = ledger
    .snapshot("released")
    .filter((point) => wanted.some((end) => point.metric.endsWith(end)));
  return sorted(resourceMetrics(options(snapshot)));
}

function metricOf(given: ReturnType<typeof resourceMetrics>, name: string) {
  return given.scopeMetrics[0]?.metrics.find(({ descriptor }) => descriptor.name === name);
}
