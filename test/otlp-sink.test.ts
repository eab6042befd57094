import { ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { afterEach, describe, expect, test } from "vitest";

import { Decoder } from "../src/event/decode.ts";
import { Ledger } from "../src/metric/ledger.ts";
import { DEFAULT_SPAN_LIMITS } from "../src/otel/limits.ts";
import { createResource } from "../src/otel/resource.ts";
import { createSpanMapper, estimateBytes } from "../src/otel/spans.ts";
import { createOtlpSink, type OtlpSinkOptions } from "../src/otlp.ts";
import { Pipeline } from "../src/pipeline.ts";
import { Assembler } from "../src/run/assembler.ts";
import { HEART_DEFAULTS } from "../src/run/limits.ts";
import type { Sink } from "../src/sink-core.ts";
import { listeningLog, SCOPE } from "./otel/export-setup.ts";
import {
  startGrpcBackend,
  startHttpBackend,
  take,
  type HttpAct,
  type OtlpServer,
  type Served,
} from "./otel/otlp-server.ts";
import { runOver, envFor } from "./bridge/bridge-run.ts";
import { restoreEnvironmentAfterEach, setEnvironment } from "./bridge/environment.ts";
import { linewise } from "./bridge/feed.ts";
import { linesOf, recording } from "./bridge/recordings.ts";
import { secretRun } from "./bridge/secret-run.ts";
import { lastPoints, total, valuesBy } from "./bridge/served-metrics.ts";
import { until } from "./bridge/turns.ts";
import * as wire from "./bridge/wire-runs.ts";

restoreEnvironmentAfterEach();

let backend: OtlpServer;
const open: Sink[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((sink) => sink.close()));
  await backend.close();
});

async function startBackend(
  act?: (request: Served, index: number) => HttpAct | Promise<HttpAct>,
): Promise<void> {
  backend = await startHttpBackend(act);
  setEnvironment(envFor(backend.url));
}

function openSink(options: OtlpSinkOptions = {}): Sink {
  const sink = createOtlpSink({ log: listeningLog([]), ...options });
  open.push(sink);
  return sink;
}

const emitAll = (sink: Sink, events: readonly object[]) => {
  for (const event of events) sink.emit(event as never);
};
const ids = () => new Set(backend.taken.map(({ spanId }) => spanId));

describe("delivery", () => {
  test("2,000 standard runs emitted as fast as possible all arrive at a backend that answers slowly", async () => {
    await startBackend(async ({ signal }) => {
      if (signal === "traces") await new Promise((resolve) => setTimeout(resolve, 50));
      return take;
    });
    const sink = openSink({ flushTimeoutMs: 60_000 });
    const template = wire.linesOf(wire.standardRun(0)).join("\n");
    for (let n = 0; n < 2_000; n += 1) {
      const events = template.replaceAll(wire.runIdOf(0), wire.runIdOf(n)).split("\n");
      emitAll(
        sink,
        events.map((line) => JSON.parse(line) as object),
      );
    }
    await sink.close();
    expect(sink.stats.spans).toEqual({ exported: 14_000, failed: 0 });
    expect(sink.stats.runs).toEqual({ completed: 2_000, failed: 0, cancelled: 0, incomplete: 0 });
    expect([backend.taken.length, ids().size]).toEqual([14_000, 14_000]);
    expect(valuesBy(lastPoints(backend.requests), "behest.run.ended", ["behest.run.outcome"])).toEqual({
      completed: 2_000,
    });
    expect(total(lastPoints(backend.requests), "behest.bridge.spans.exported")).toBe(14_000);
  });

  test.each(["http/protobuf", "http/json", "grpc"] as const)(
    "over %s sends what the program sends",
    async (protocol) => {
      backend = protocol === "grpc" ? await startGrpcBackend() : await startHttpBackend();
      setEnvironment(envFor(backend.url, protocol));
      const lines = linesOf(recording("0.5.9", "parallel-tools").path);
      await runOver({ from: [linewise(lines)], env: envFor(backend.url, protocol) });
      const byProgram = backend.taken.slice();
      const sink = openSink();
      emitAll(
        sink,
        lines.map((line) => JSON.parse(line) as object),
      );
      await sink.close();
      expect(backend.taken.slice(byProgram.length)).toEqual(byProgram);
    },
  );

  test("over a backend that is down loses nothing while the sink is open, and says what it lost when it is not", async () => {
    let isDown = true;
    await startBackend(() => (isDown ? { act: "answer", status: 503 } : take));
    const logged: string[] = [];
    const sink = openSink({ log: listeningLog(logged) });
    emitAll(sink, wire.standardRun(1, { deltas: 1 }));
    await until(
      () => logged.some((line) => /^WARN +The traces cannot be delivered now/.test(line)),
      "it is told",
    );
    expect(sink.stats.spans).toEqual({ exported: 0, failed: 0 });
    isDown = false;
    await until(() => sink.stats.spans.exported === 7, "all arrived");

    isDown = true;
    const last = openSink({ flushTimeoutMs: 100 });
    emitAll(last, wire.standardRun(2, { deltas: 1 }));
    const begun = Date.now();
    await last.close();
    expect(Date.now() - begun).toBeLessThan(5_000);
    expect(last.stats.spans).toEqual({ exported: 0, failed: 7 });
    isDown = false;
  });

  test("holds nothing that models and tools said, and with content on the spans no secret", async () => {
    await startBackend();
    setEnvironment({ ...envFor(backend.url, "http/json"), OTEL_LOGS_EXPORTER: "otlp" });
    const { events, content, secrets } = secretRun();
    const sink = openSink();
    emitAll(sink, events);
    await sink.close();
    const sent = () => backend.requests.map(({ body }) => body.toString()).join("\n");
    expect([...content, ...secrets].filter((word) => sent().includes(word))).toEqual([]);
    setEnvironment({ OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT: "span_only" });
    const capturing = openSink();
    emitAll(capturing, events);
    await capturing.close();
    expect(content.filter((word) => sent().includes(word)).length).toBeGreaterThan(10);
    expect(secrets.filter((word) => sent().includes(word))).toEqual([]);
  });
});

describe("beyond what may wait", () => {
  /** One model call, one tool: three spans, handed out in that order when the run completes. */
  const run = (n: number) => wire.standardRun(n, { modelCalls: 1, deltas: 1 });

  /** Answers nothing until it is told to, so that all that is emitted waits. */
  async function startGate(): Promise<() => void> {
    const gate = Promise.withResolvers<HttpAct>();
    await startBackend(({ signal }) => (signal === "traces" ? gate.promise : take));
    return () => gate.resolve(take);
  }

  /** Names of the spans that arrive of one run, with so many bytes for all that waits. */
  async function arrivedWithin(maxWaitingBytes: number): Promise<string[]> {
    const openGate = await startGate();
    const sink = openSink({ maxWaitingBytes });
    emitAll(sink, run(1));
    openGate();
    await sink.close();
    const names = backend.taken.map(({ name }) => name.split(" ")[0]!);
    expect(sink.stats.spans).toEqual({ exported: names.length, failed: 3 - names.length });
    const failed = valuesBy(lastPoints(backend.requests), "behest.bridge.spans.failed", ["reason"]);
    expect(failed).toEqual(names.length === 3 ? {} : { queue_full: 3 - names.length });
    await backend.close();
    return names;
  }

  test("a child is dropped when nine tenths are full, the run's own span only when all is", async () => {
    // What waits when the tool's span and the run's are handed out: that of the model call.
    const waiting = bytesOfModelCall(run(1));
    const least = Array.from({ length: waiting }, (_, more) => waiting + more).find(
      (limit) => limit * 0.9 > waiting,
    )!;
    expect(await arrivedWithin(waiting)).toEqual(["chat"]);
    expect(await arrivedWithin(waiting + 1)).toEqual(["chat", "invoke_agent"]);
    expect(await arrivedWithin(least - 1)).toEqual(["chat", "invoke_agent"]);
    expect(await arrivedWithin(least)).toContain("execute_tool");
    expect(await arrivedWithin(10 * waiting)).toEqual(["chat", "execute_tool", "invoke_agent"]);
  });

  test("the newest are dropped, all of them counted, and no child arrives without its run", async () => {
    const openGate = await startGate();
    const sink = openSink({ maxWaitingBytes: 100_000 });
    for (let n = 0; n < 150; n += 1) emitAll(sink, run(n));
    openGate();
    await sink.close();
    const { exported, failed } = sink.stats.spans;
    expect(exported + failed).toBe(450);
    expect(failed).toBeGreaterThan(50);
    expect(backend.taken.length).toBe(exported);
    const tracesOf = (isRun: boolean) =>
      new Set(
        backend.taken.filter(({ name }) => (name === "invoke_agent") === isRun).map(({ traceId }) => traceId),
      );
    const [runs, withChildren] = [tracesOf(true), tracesOf(false)];
    const oldest = (count: number) =>
      new Set(Array.from({ length: count }, (_, n) => wire.runIdOf(n).replaceAll("-", "")));
    expect(runs).toEqual(oldest(runs.size));
    expect(withChildren).toEqual(oldest(withChildren.size));
    expect(runs.size).toBeGreaterThan(withChildren.size + 5);
    expect(sink.stats.events).toMatchObject({ dropped: {}, rejected: {} });
  });

  test("a run that is not sampled loses nothing by it", async () => {
    const openGate = await startGate();
    setEnvironment({ OTEL_TRACES_SAMPLER: "parentbased_always_off" });
    const sink = openSink({ maxWaitingBytes: 400 });
    // One whose parent is sampled fills what may wait.
    const beside = { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" };
    emitAll(
      sink,
      run(1).map((event) => ({ ...event, ...beside })),
    );
    const before = sink.stats.spans.failed;
    expect(before).toBeGreaterThan(0);
    for (let n = 2; n < 10; n += 1) emitAll(sink, run(n));
    expect(sink.stats.spans.failed).toBe(before);
    openGate();
    await sink.close();
  });
});

/** What the spans of the run's model call take, estimated as the queue does. */
function bytesOfModelCall(events: readonly object[]): number {
  let bytes = 0;
  const resource = createResource({ "service.name": "behest" });
  const map = createSpanMapper({ semconv: "released", limits: DEFAULT_SPAN_LIMITS, resource, scope: SCOPE });
  const pipeline = new Pipeline({
    decoder: new Decoder(),
    heart: new Assembler(HEART_DEFAULTS),
    ledger: new Ledger(),
    onOp: (op) => {
      if (op.op === "span" && op.span.kind === "model") bytes += estimateBytes(map(op.span));
    },
  });
  for (const event of events) pipeline.value(event, undefined, Date.now());
  return bytes;
}

describe("configuration", () => {
  test("that is wrong is told whole, at once", async () => {
    await startBackend();
    setEnvironment({
      OTEL_EXPORTER_OTLP_PROTOCOL: "http",
      OTEL_TRACES_SAMPLER: "sometimes",
      OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "0",
    });
    const wrong = () => createOtlpSink();
    expect(wrong).toThrow(RangeError);
    for (const name of [
      "OTEL_EXPORTER_OTLP_PROTOCOL",
      "OTEL_TRACES_SAMPLER",
      "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    ]) {
      expect(wrong).toThrow(name);
    }
  });

  test("OTEL_SDK_DISABLED=true makes a sink that does nothing", async () => {
    await startBackend();
    setEnvironment({ OTEL_SDK_DISABLED: "true" });
    const sink = openSink();
    emitAll(sink, wire.standardRun(1));
    await sink.close();
    expect([backend.requests.length, sink.stats.events.received]).toEqual([0, 0]);
    expect(sink.contextOf(wire.runIdOf(1))).toBe(ROOT_CONTEXT);
  });

  test("a sampler decides per run, the metrics count all, and contextOf has the run's flag", async () => {
    await startBackend();
    setEnvironment({ OTEL_TRACES_SAMPLER: "traceidratio", OTEL_TRACES_SAMPLER_ARG: "0.5" });
    const sink = openSink();
    const flags = new Map<string, number>();
    for (let n = 0; n < 40; n += 1) {
      const id = `${(n * 0x6000001).toString(16).padStart(8, "0")}-0000-4000-8000-000000000001`;
      const lines = wire
        .linesOf(wire.standardRun(0, { modelCalls: 1, deltas: 1 }))
        .map((line) => line.replaceAll(wire.runIdOf(0), id));
      emitAll(
        sink,
        lines.map((line) => JSON.parse(line) as object),
      );
      flags.set(id.replaceAll("-", ""), trace.getSpanContext(sink.contextOf(id))!.traceFlags);
    }
    await sink.close();
    const arrived = Map.groupBy(backend.taken, ({ traceId }) => traceId);
    expect(arrived.size).toBeGreaterThan(5);
    expect(arrived.size).toBeLessThan(35);
    for (const [traceId, flag] of flags) expect(arrived.get(traceId)?.length ?? 0).toBe(flag === 1 ? 3 : 0);
    expect(total(lastPoints(backend.requests), "behest.run.ended")).toBe(40);
  });
});
