import { context, metrics, propagation, trace } from "@opentelemetry/api";
import { afterEach, describe, expect, test } from "vitest";

import { createSink } from "../src/sink.ts";
import { startTelemetry, type Telemetry, type TelemetryOptions } from "../src/telemetry.ts";
import { startHttpBackend, take, type HttpAct, type OtlpServer, type Served } from "./otel/otlp-server.ts";
import { envFor } from "./bridge/bridge-run.ts";
import { restoreEnvironmentAfterEach, setEnvironment } from "./bridge/environment.ts";
import { spanIdOf } from "./bridge/raw-truth.ts";
import { lastPoints, valuesBy } from "./bridge/served-metrics.ts";
import * as wire from "./bridge/wire-runs.ts";

restoreEnvironmentAfterEach();

let backend: OtlpServer;
const started: Telemetry[] = [];
afterEach(async () => {
  await Promise.allSettled(started.splice(0).map((telemetry) => telemetry.shutdown()));
  await backend.close();
  // What is registered stays so; the next test registers its own.
  for (const api of [trace, metrics, context, propagation]) api.disable();
});

/** The backend decides about the n-th request of spans, and takes everything else. */
async function startBackend(
  act: (request: Served) => HttpAct | Promise<HttpAct> = () => take,
): Promise<void> {
  backend = await startHttpBackend((request) => (request.signal === "traces" ? act(request) : take));
  setEnvironment({ ...envFor(backend.url), OTEL_LOGS_EXPORTER: "none" });
}

async function start(options: TelemetryOptions = {}): Promise<Telemetry> {
  const telemetry = await startTelemetry(options);
  started.push(telemetry);
  return telemetry;
}

const emitAll = (sink: ReturnType<typeof createSink>, events: readonly object[]) => {
  for (const event of events) sink.emit(event as never);
};

test("two lines are enough: spans with their own ids and the counters of the runs arrive", async () => {
  await startBackend();
  const telemetry = await start();
  const sink = createSink();
  emitAll(sink, wire.standardRun(1, { deltas: 2 }));
  await sink.close();
  await telemetry.shutdown();

  expect(backend.taken).toHaveLength(7);
  const run = backend.taken.find(({ name }) => name === "invoke_agent")!;
  expect(run).toMatchObject({
    traceId: wire.runIdOf(1).replaceAll("-", ""),
    spanId: spanIdOf(wire.runIdOf(1), "", "run", "", 0),
    parentSpanId: "",
    scope: { name: "behest-otel" },
  });
  const children = backend.taken.filter(({ name }) => name !== "invoke_agent");
  expect(new Set(children.map(({ parentSpanId }) => parentSpanId))).toEqual(new Set([run.spanId]));
  const points = lastPoints(backend.requests);
  expect(valuesBy(points, "behest.run.ended", ["behest.run.outcome"])).toEqual({ completed: 1 });
  expect(valuesBy(points, "behest.token.usage", ["gen_ai.token.type"])).toEqual({
    input: 3_006,
    output: 240,
  });
});

test("the resource has the service's name, and neither arguments nor a process id", async () => {
  await startBackend();
  setEnvironment({
    OTEL_SERVICE_NAME: "support-bot",
    OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test",
  });
  const telemetry = await start();
  const sink = createSink();
  emitAll(sink, wire.standardRun(1, { deltas: 2 }));
  await sink.close();
  await telemetry.shutdown();
  const [{ resource }] = backend.taken as [(typeof backend.taken)[number]];
  expect(Object.fromEntries(resource)).toMatchObject({
    "service.name": "support-bot",
    "deployment.environment.name": "test",
  });
  expect(resource.map(([key]) => key).filter((key) => /^(process|host|os)\./.test(key))).toEqual([]);
});

test("a host's own spans go the same way, with ids of their own", async () => {
  await startBackend();
  const telemetry = await start();
  const sink = createSink();
  const events = wire.standardRun(1, { modelCalls: 1, deltas: 2 });
  emitAll(sink, events.slice(0, 8));
  const inTool = trace
    .getTracer("host")
    .startSpan("lookup", {}, sink.contextOf(wire.runIdOf(1), { tool: "call_1" }));
  inTool.end();
  emitAll(sink, events.slice(8));
  await sink.close();
  await telemetry.shutdown();
  const [lookup, tool] = ["lookup", "execute_tool search"].map((name) =>
    backend.taken.find((span) => span.name === name)!,
  );
  expect(lookup!.parentSpanId).toBe(tool!.spanId);
  expect(new Set(backend.taken.map(({ spanId }) => spanId)).size).toBe(4);
});

describe("delivery", () => {
  test("2,000 standard runs through the API all arrive at a backend that answers slowly", async () => {
    await startBackend(async () => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      return take;
    });
    const telemetry = await start({ flushTimeoutMs: 60_000 });
    const sink = createSink();
    const template = wire.linesOf(wire.standardRun(0)).join("\n");
    for (let n = 0; n < 2_000; n += 1) {
      const events = template.replaceAll(wire.runIdOf(0), wire.runIdOf(n)).split("\n");
      emitAll(
        sink,
        events.map((line) => JSON.parse(line) as object),
      );
    }
    await sink.close();
    await telemetry.shutdown();
    expect(sink.stats.spans).toEqual({ exported: 14_000, failed: 0 });
    expect([backend.taken.length, new Set(backend.taken.map(({ spanId }) => spanId)).size]).toEqual([
      14_000, 14_000,
    ]);
  });

  test("a backend that comes back loses nothing, and shutdown resolves", async () => {
    let requests = 0;
    await startBackend(() => (++requests <= 3 ? { act: "answer", status: 503 } : take));
    const telemetry = await start();
    const sink = createSink();
    emitAll(sink, wire.standardRun(1, { deltas: 2 }));
    await sink.close();
    await telemetry.shutdown();
    expect(new Set(backend.taken.map(({ spanId }) => spanId)).size).toBe(7);
  });

  test("shutdown rejects with how much was lost, once and in time, when nobody took it", async () => {
    await startBackend(() => ({ act: "answer", status: 503 }));
    const telemetry = await start({ flushTimeoutMs: 200 });
    const sink = createSink();
    emitAll(sink, wire.standardRun(1, { deltas: 2 }));
    await sink.close();
    const begun = Date.now();
    const ending = telemetry.shutdown();
    expect(telemetry.shutdown()).toBe(ending);
    await expect(ending).rejects.toThrow("7 spans were not delivered and 0 were dropped");
    expect(Date.now() - begun).toBeLessThan(5_000);
  });

  test("beyond what may wait the newest are dropped and counted, a run's own span last", async () => {
    const gate = Promise.withResolvers<HttpAct>();
    await startBackend(() => gate.promise);
    const telemetry = await start({ maxWaitingBytes: 60_000 });
    const sink = createSink();
    for (let n = 0; n < 100; n += 1) emitAll(sink, wire.standardRun(n, { modelCalls: 1, deltas: 1 }));
    await sink.close();
    gate.resolve(take);
    const told = await telemetry.shutdown().catch(String);
    expect(told).toContain(`0 spans were not delivered and ${300 - backend.taken.length} were dropped`);
    const runs = new Set(
      backend.taken.filter(({ name }) => name === "invoke_agent").map(({ spanId }) => spanId),
    );
    const orphans = backend.taken.filter(
      ({ parentSpanId }) => parentSpanId !== "" && !runs.has(parentSpanId),
    );
    expect(orphans).toEqual([]);
    expect(backend.taken.length).toBeLessThan(200);
    expect(backend.taken.length).toBeGreaterThan(60);
    expect(runs.size).toBeGreaterThan((backend.taken.length - runs.size) / 2);
  });
});

describe("configuration", () => {
  test("that is wrong is told whole", async () => {
    await startBackend();
    setEnvironment({ OTEL_EXPORTER_OTLP_PROTOCOL: "http", OTEL_TRACES_SAMPLER: "sometimes" });
    await expect(startTelemetry()).rejects.toThrow(RangeError);
    await expect(startTelemetry()).rejects.toThrow(/OTEL_TRACES_SAMPLER.*\n.*OTEL_EXPORTER_OTLP_PROTOCOL/);
  });

  test("OTEL_SDK_DISABLED=true starts nothing", async () => {
    await startBackend();
    setEnvironment({ OTEL_SDK_DISABLED: "true" });
    const telemetry = await start();
    trace.getTracer("host").startSpan("own").end();
    await telemetry.shutdown();
    expect(backend.requests).toEqual([]);
  });

  test("a sampler of the environment decides about runs, and the metrics count all of them", async () => {
    await startBackend();
    setEnvironment({ OTEL_TRACES_SAMPLER: "always_off" });
    const telemetry = await start();
    const sink = createSink();
    emitAll(sink, wire.standardRun(1, { deltas: 2 }));
    await sink.close();
    await telemetry.shutdown();
    expect(backend.taken).toEqual([]);
    expect(sink.stats.runs.completed).toBe(1);
    const points = lastPoints(backend.requests);
    expect(valuesBy(points, "behest.run.ended", ["behest.run.outcome"])).toEqual({ completed: 1 });
  });

  test("OTEL_TRACES_EXPORTER=none sends no spans", async () => {
    await startBackend();
    setEnvironment({ OTEL_TRACES_EXPORTER: "none" });
    const telemetry = await start();
    const sink = createSink();
    emitAll(sink, wire.standardRun(1, { deltas: 2 }));
    await sink.close();
    await telemetry.shutdown();
    expect(backend.requests.filter(({ signal }) => signal === "traces")).toEqual([]);
  });
});
