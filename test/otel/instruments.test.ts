import { readFileSync } from "node:fs";

import type { Meter, MeterProvider as MeterProviderApi } from "@opentelemetry/api";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { MeterProvider, type MetricData, type ResourceMetrics } from "@opentelemetry/sdk-metrics";
import { describe, expect, test } from "vitest";

import { Ledger } from "../../src/metric/ledger.ts";
import type { SemconvMode } from "../../src/metric/table.ts";
import { openInstruments, type Instruments } from "../../src/otel/instruments.ts";
import { resourceMetrics } from "../../src/otel/resource-metrics.ts";
import { chunk, facts, failed, failure, model, opened, run, tool, used } from "../metric/ops.ts";
import { AskedReader, sorted } from "./metric-reader.ts";

const scope = { name: "behest-otel", version: "1.2.3" };
const resource = resourceFromAttributes({ "service.name": "host" });

interface Host {
  readonly reader: AskedReader;
  readonly ledger: Ledger;
  readonly instruments: Instruments;
}

/** A host with an SDK of its own, our instruments on it, and a ledger that feeds them. */
function host(mode: SemconvMode): Host {
  const reader = new AskedReader();
  const meterProvider = new MeterProvider({ resource, readers: [reader] });
  const instruments = openInstruments({ meterProvider, scope, mode, read: () => ledger.snapshot(mode) });
  const ledger: Ledger = new Ledger({ source: "sink", onRecord: instruments.onRecord });
  return { reader, ledger, instruments };
}

function work(ledger: Ledger): void {
  const usage = { input: 100, output: 20, cacheRead: 60, cacheWrite: undefined };
  ledger.apply(opened("billing"));
  for (const type of ["RunStarted", "TextDelta", "TextDelta"] as const) ledger.apply(used(type));
  ledger.apply({ op: "dropped", type: "TextDelta", reason: "late" });
  for (const seconds of [0.02, 0.03, 0.5]) ledger.apply(chunk(seconds));
  ledger.apply(chunk(1, "anthropic", "claude"));
  ledger.apply(model({ agent: "billing", seconds: 2, timeToFirstChunk: 0.25, usage }));
  ledger.apply(model({ agent: "other", seconds: 90, failure: failure("provider_timeout"), usage }));
  ledger.apply({ op: "late_usage", run: facts("billing"), provider: "openai", model: "gpt-5", usage });
  ledger.apply(tool({ agent: "billing", inferred: true }));
  ledger.apply(tool({ agent: "billing", failure: failure("tool_failed") }));
  ledger.apply(run({ outcome: "completed" }, { agent: "billing", modelCalls: 2, toolCalls: 1 }));
  ledger.apply(run(failed("doom_loop"), { agent: "billing", resumedFrom: "" }));
  ledger.rejected("BEHEST_DECODE_JSON");
  ledger.spanExported(7);
  ledger.exportDuration(0.125);
  ledger.setGauge("sourceAge", 0.5);
  ledger.setGauge("eventsWaiting", 3);
}

/** Everything but when: the SDK reads its own clock. */
function told(given: ResourceMetrics): unknown {
  const [own] = sorted(given).scopeMetrics;
  return own?.metrics.map((metric) => {
    const { name, unit, description, valueType } = metric.descriptor;
    return {
      descriptor: { name, unit, description, valueType },
      type: metric.dataPointType,
      temporality: metric.aggregationTemporality,
      monotonic: "isMonotonic" in metric && metric.isMonotonic,
      points: metric.dataPoints.map(({ attributes, value }) => ({ attributes, value })),
    };
  });
}

function named(given: ResourceMetrics, name: string): MetricData | undefined {
  return given.scopeMetrics[0]?.metrics.find(({ descriptor }) => descriptor.name === name);
}

describe.each(["released", "latest", "dup"] as const)("on a host's meter provider, mode %s", (mode) => {
  test("every data point is that of the ledger, name, unit, buckets and all", async () => {
    const { reader, ledger } = host(mode);
    work(ledger);
    const given = await reader.read();
    const now = { snapshot: ledger.snapshot(mode), time: [2, 0] as const };
    const own = resourceMetrics({
      resource,
      scope,
      temporality: "cumulative",
      start: [1, 0],
      now,
      accepted: undefined,
    });
    expect(told(given)).toEqual(told(own));
    expect(given.scopeMetrics[0]?.scope).toMatchObject(scope);
  });

  test("a second collection and more work count nothing twice", async () => {
    const { reader, ledger } = host(mode);
    work(ledger);
    await reader.read();
    await reader.read();
    work(ledger);
    const given = await reader.read();
    expect(named(given, "behest.bridge.spans.exported")?.dataPoints).toMatchObject([{ value: 14 }]);
    const duration =
      mode === "latest" ? "gen_ai.client.inference.duration" : "gen_ai.client.operation.duration";
    expect(named(given, duration)?.dataPoints).toMatchObject([
      { value: { count: 2 } },
      { value: { count: 2 } },
    ]);
  });

  test("counters exist at 0 before anything happened", async () => {
    const { reader } = host(mode);
    const given = await reader.read();
    expect(named(given, "behest.run.failures")?.dataPoints.length).toBeGreaterThan(20);
    expect(named(given, "behest.run.failures")?.dataPoints.every(({ value }) => value === 0)).toBe(true);
  });
});

describe("closing", () => {
  test("takes counters and gauges out of the host's collections", async () => {
    const { reader, ledger, instruments } = host("released");
    work(ledger);
    await reader.read();
    instruments.close();
    instruments.close();
    const before = named(await reader.read(), "behest.bridge.events.used")?.dataPoints ?? [];
    ledger.apply(used("TextDelta"));
    const after = named(await reader.read(), "behest.bridge.events.used")?.dataPoints ?? [];
    expect(after.map(({ value }) => value)).toEqual(before.map(({ value }) => value));
  });

  test("ends the recording of histograms", async () => {
    const { reader, ledger, instruments } = host("released");
    ledger.apply(chunk(0.5));
    instruments.close();
    ledger.apply(chunk(0.5));
    const given = await reader.read();
    expect(named(given, "gen_ai.client.operation.time_per_output_chunk")?.dataPoints).toMatchObject([
      { value: { count: 1 } },
    ]);
  });
});

describe("a host with an old API", () => {
  /** What a meter could do in API 1.3, and nothing that came later. */
  const METHODS_OF_1_3 = [
    "createHistogram",
    "createCounter",
    "createUpDownCounter",
    "createObservableGauge",
    "createObservableCounter",
    "createObservableUpDownCounter",
    "addBatchObservableCallback",
    "removeBatchObservableCallback",
  ] as const satisfies readonly (keyof Meter)[];

  test("needs no method that is newer than 1.3", async () => {
    const reader = new AskedReader();
    const meter = new MeterProvider({ resource, readers: [reader] }).getMeter(scope.name, scope.version);
    const old = Object.fromEntries(METHODS_OF_1_3.map((method) => [method, meter[method].bind(meter)]));
    const meterProvider: MeterProviderApi = { getMeter: () => old as unknown as Meter };
    const instruments = openInstruments({
      meterProvider,
      scope,
      mode: "dup",
      read: () => ledger.snapshot("dup"),
    });
    const ledger: Ledger = new Ledger({ onRecord: instruments.onRecord });
    work(ledger);
    const [own] = sorted(await reader.read()).scopeMetrics;
    const names = new Set(ledger.snapshot("dup").map(({ metric }) => metric));
    expect(new Set(own?.metrics.map(({ descriptor }) => descriptor.name))).toEqual(names);
    instruments.close();
  });

  test("is asked for nothing at run time: only types are imported from OpenTelemetry", () => {
    const source = readFileSync(new URL("../../src/otel/instruments.ts", import.meta.url), "utf8");
    const imports = source.matchAll(/^import (type )?[^;]*from "(@opentelemetry\/[^"]+)";$/gm);
    const found = [...imports].map(([, type, name]) => [type, name]);
    expect(found).toEqual([["type ", "@opentelemetry/api"]]);
  });
});
