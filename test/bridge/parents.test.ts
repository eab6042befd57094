import { ROOT_CONTEXT } from "@opentelemetry/api";
import { SamplingDecision, TraceIdRatioBasedSampler } from "@opentelemetry/sdk-trace";
import { afterEach, beforeEach, expect, test } from "vitest";

import { startGrpcBackend, startHttpBackend, type OtlpServer } from "../otel/otlp-server.ts";
import { envFor, runOver } from "./bridge-run.ts";
import { linewise } from "./feed.ts";
import { spanIdOf } from "./raw-truth.ts";
import { lastPoints, total } from "./served-metrics.ts";
import * as wire from "./wire-runs.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SHAPE = { modelCalls: 1, deltas: 2 };

let backend: OtlpServer;
beforeEach(async () => {
  backend = await startHttpBackend();
});
afterEach(() => backend.close());

/** A run whose RunStarted names a span of another process. */
function under(n: number, flags: "00" | "01"): string[] {
  const beside = { traceparent: `00-${TRACE}-00f067aa0ba902b7-${flags}`, tracestate: "vendor=a,other=b" };
  return wire.linesOf(
    wire.standardRun(n, SHAPE).map((event, index) => (index === 0 ? { ...event, ...beside } : event)),
  );
}

test("a run with a remote parent is in its trace, under its span, with ids of its own and its state on every span", async () => {
  for (const protocol of ["http/protobuf", "grpc"] as const) {
    if (protocol === "grpc") {
      await backend.close();
      backend = await startGrpcBackend();
    }
    await runOver({ from: [linewise(under(1, "01"))], env: envFor(backend.url, protocol) });
    const runSpan = spanIdOf(wire.runIdOf(1), "", "run", "", 0);
    const has = (name: string) => backend.taken.find((span) => span.name === name);
    expect(has("invoke_agent")).toMatchObject({
      spanId: runSpan,
      parentSpanId: "00f067aa0ba902b7",
      flags: 0x301,
    });
    expect(has("chat gpt-4o")).toMatchObject({
      spanId: spanIdOf(wire.runIdOf(1), "", "model", "1", 0),
      parentSpanId: runSpan,
      flags: 0x101,
    });
    for (const span of backend.taken) {
      expect(span).toMatchObject({ traceId: TRACE, traceState: "vendor=a,other=b" });
      expect(Object.fromEntries(span.attributes)["behest.run.id"]).toBe(wire.runIdOf(1));
    }
  }
});

test("a run whose parent is not sampled sends nothing, and counts all the same", async () => {
  const { report } = await runOver({
    from: [linewise([...under(1, "00"), ...wire.linesOf(wire.standardRun(2, SHAPE))])],
    env: envFor(backend.url),
  });
  expect(new Set(backend.taken.map(({ traceId }) => traceId))).toEqual(
    new Set([wire.runIdOf(2).replaceAll("-", "")]),
  );
  expect(report).toMatchObject({ runs: { completed: 2 }, spans: { exported: 3, failed: 0 } });
  expect(total(lastPoints(backend.requests), "gen_ai.client.operation.duration")).toBe(2);
});

test("a sampler by ratio takes whole runs, the same ones again", async () => {
  const lines = Array.from({ length: 60 }, (_, n) => {
    const id = `${(n * 0x4000001).toString(16).padStart(8, "0")}-0000-4000-8000-000000000001`;
    return wire.linesOf(wire.standardRun(0, SHAPE)).map((line) => line.replaceAll(wire.runIdOf(0), id));
  }).flat();
  const env = { ...envFor(backend.url), OTEL_TRACES_SAMPLER: "traceidratio", OTEL_TRACES_SAMPLER_ARG: "0.5" };
  const { report } = await runOver({ from: [linewise(lines)], env });
  const traces = Map.groupBy(backend.taken, ({ traceId }) => traceId);
  expect(traces.size).toBeGreaterThan(10);
  expect(traces.size).toBeLessThan(50);
  for (const spans of traces.values()) expect(spans).toHaveLength(3);
  expect(report).toMatchObject({ runs: { completed: 60 }, spans: { exported: 3 * traces.size, failed: 0 } });
  const first = backend.taken.slice();
  await runOver({ from: [linewise(lines)], env });
  expect(backend.taken.slice(first.length)).toEqual(first);
});

test("a sampler by ratio goes by the trace that a run is in", async () => {
  const env = { ...envFor(backend.url), OTEL_TRACES_SAMPLER: "traceidratio", OTEL_TRACES_SAMPLER_ARG: "0.9" };
  const sampler = new TraceIdRatioBasedSampler(0.9);
  const isTaken = (n: number) =>
    sampler.shouldSample(ROOT_CONTEXT, wire.runIdOf(n).replaceAll("-", "")).decision !==
    SamplingDecision.NOT_RECORD;
  const alone = Array.from({ length: 500 }, (_, n) => n)
    .filter((n) => !isTaken(n))
    .slice(0, 3);
  expect(alone).toHaveLength(3);
  await runOver({ from: [linewise(alone.flatMap((n) => under(n, "01")))], env });
  expect(backend.taken.map(({ traceId }) => traceId)).toEqual(Array.from({ length: 9 }, () => TRACE));
});
