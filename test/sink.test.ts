import {
  context,
  ROOT_CONTEXT,
  SpanStatusCode,
  trace,
  TraceFlags,
  type SpanContext,
} from "@opentelemetry/api";
import { AlwaysOffSampler, SamplingDecision, type ReadableSpan } from "@opentelemetry/sdk-trace";
import { afterEach, describe, expect, test } from "vitest";

import { behestIdGenerator } from "../src/otel/id-generator.ts";
import { hostSdk, saidBy, type HostSdk } from "./bridge/host-sdk.ts";
import { linesOf, nameOf, recordingsOf } from "./bridge/recordings.ts";
import { secretRun } from "./bridge/secret-run.ts";
import { closeSinksAfterEach, emitAll, exported, resumed, sinkOn } from "./bridge/sinks.ts";
import * as wire from "./bridge/wire-runs.ts";

closeSinksAfterEach();

const TAKEN = { decision: SamplingDecision.RECORD_AND_SAMPLED };
const LEFT = { decision: SamplingDecision.NOT_RECORD };
const isSampled = ({ traceFlags }: SpanContext) => (traceFlags & 1) === 1;

/** A run that hangs under a span of another process, whose state is passed on. */
function underParent(): object[] {
  const beside = {
    traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    tracestate: "vendor=a",
  };
  return wire.standardRun(7, { deltas: 2 }).map((event) => ({ ...event, ...beside }));
}

describe("with our ids in the host's SDK a sink's spans are those of the exporter way", () => {
  const runs: (readonly [string, readonly object[]])[] = [
    ...recordingsOf("").map(
      (one) => [nameOf(one), linesOf(one.path).map((line) => JSON.parse(line) as object)] as const,
    ),
    ["a run of every variant", secretRun().events],
    ["a run under a remote parent", underParent()],
    ["a run that is resumed", resumed()],
  ];

  test.each(runs)("%s", async (_, events) => {
    const host = hostSdk({ idGenerator: behestIdGenerator });
    const sink = sinkOn(host);
    emitAll(sink, events);
    await sink.close();
    expect(host.ended.map(saidBy)).toEqual(exported(events).map(saidBy));
    expect(sink.stats.spans).toEqual({ exported: host.ended.length, failed: 0 });
  });

  test("with content as well", async () => {
    const host = hostSdk({ idGenerator: behestIdGenerator });
    const { events, content, secrets } = secretRun();
    const sink = sinkOn(host, { content: "span" });
    emitAll(sink, events);
    await sink.close();
    expect(host.ended.map(saidBy)).toEqual(exported(events, "span").map(saidBy));
    const text = JSON.stringify(host.ended.map(saidBy));
    expect(content.some((word) => text.includes(word))).toBe(true);
    expect(secrets.filter((word) => text.includes(word))).toEqual([]);
  });
});

test("a span that the host's own processor starts while ours starts has ids of its own", async () => {
  const inner: ReadableSpan[] = [];
  const host: HostSdk = hostSdk({
    idGenerator: behestIdGenerator,
    onStart: (span) => {
      if (span.name === "inner") return;
      const own = host.tracerProvider.getTracer("host").startSpan("inner", { root: true });
      own.end();
      inner.push(own as unknown as ReadableSpan);
    },
  });
  const sink = sinkOn(host);
  const events = wire.standardRun(1, { deltas: 1 });
  emitAll(sink, events);
  await sink.close();
  expect(inner).toHaveLength(7);
  const ids = host.ended.map((span) => span.spanContext().spanId);
  expect(new Set(ids).size).toBe(14);
  expect(inner.filter((span) => span.spanContext().traceId === wire.runIdOf(1).replaceAll("-", ""))).toEqual(
    [],
  );
  const ours = host.ended.filter(({ name }) => name !== "inner");
  expect(ours.map(saidBy)).toEqual(exported(events).map(saidBy));
});

describe("in a host's SDK with ids of its own", () => {
  test("every span stands under its run's, in one trace, and that one under nothing", async () => {
    const host = hostSdk();
    const sink = sinkOn(host);
    for (let n = 0; n < 5; n += 1) emitAll(sink, wire.standardRun(n, { deltas: 2 }));
    await sink.close();
    const runs = host.ended.filter(({ name }) => name === "invoke_agent");
    expect(runs).toHaveLength(5);
    for (const run of runs) {
      const { traceId, spanId } = run.spanContext();
      expect(run.parentSpanContext).toBeUndefined();
      const children = host.ended.filter((span) => span.parentSpanContext?.spanId === spanId);
      expect(children).toHaveLength(6);
      expect(new Set(children.map((span) => span.spanContext().traceId))).toEqual(new Set([traceId]));
    }
    expect(new Set(host.ended.map((span) => span.spanContext().spanId)).size).toBe(35);
  });

  test("a finish that comes after the end of its run stands under that run's span", async () => {
    const host = hostSdk();
    const sink = sinkOn(host);
    emitAll(sink, resumed());
    await sink.close();
    const late = host.ended.find(({ attributes }) => attributes["gen_ai.tool.call.id"] === "call_2")!;
    const runs = host.ended.filter(({ name }) => name === "invoke_agent");
    expect(late.parentSpanContext?.spanId).toBe(runs.at(-1)!.spanContext().spanId);
    // The second segment points at the first one, by the id that it really has.
    expect(runs[1]!.links.map((link) => link.context.spanId)).toEqual([runs[0]!.spanContext().spanId]);
  });

  test("a remote parent is the run's parent, with its trace and its state", async () => {
    const host = hostSdk();
    const sink = sinkOn(host);
    emitAll(sink, underParent());
    await sink.close();
    const run = host.ended.find(({ name }) => name === "invoke_agent")!;
    expect(run.parentSpanContext).toMatchObject({ spanId: "00f067aa0ba902b7", isRemote: true });
    expect(new Set(host.ended.map((span) => span.spanContext().traceId))).toEqual(
      new Set(["4bf92f3577b34da6a3ce929d0e0e4736"]),
    );
    expect(run.spanContext().traceState?.get("vendor")).toBe("a");
  });
});

describe("the run's own span", () => {
  test("is started with its first child and ended last, and nothing else is ever left open", async () => {
    const host = hostSdk();
    const sink = sinkOn(host);
    const events = wire.standardRun(1, { modelCalls: 2, deltas: 1 });
    emitAll(sink, events.slice(0, 3));
    expect(host.happened).toEqual([]);
    emitAll(sink, events.slice(3));
    await sink.close();
    const child = ["chat gpt-4o", "execute_tool search"];
    expect(host.happened).toEqual([
      "start invoke_agent",
      ...[...child, ...child].flatMap((name) => [`start ${name}`, `end ${name}`]),
      "end invoke_agent",
    ]);
  });

  test("of a run without any child is started and ended at once", async () => {
    const host = hostSdk();
    const sink = sinkOn(host);
    const run = wire.teller(1);
    emitAll(sink, [wire.started(run), wire.failed(run)]);
    expect(host.happened).toEqual(["start invoke_agent", "end invoke_agent"]);
    expect(host.ended[0]!.status.code).toBe(SpanStatusCode.ERROR);
  });

  test("is what the host's sampler is asked about, once per run, and its children follow", async () => {
    const asked: string[] = [];
    const host = hostSdk({
      idGenerator: behestIdGenerator,
      sampler: {
        shouldSample: (above, _traceId, name, _kind, attributes) => {
          const parent = trace.getSpanContext(above);
          if (parent !== undefined) return isSampled(parent) ? TAKEN : LEFT;
          asked.push(`${name} ${String(attributes["behest.run.id"])}`);
          const isOdd = /[13579]$/.test(String(attributes["behest.run.id"]));
          return isOdd ? TAKEN : LEFT;
        },
        toString: () => "odd runs",
      },
    });
    const sink = sinkOn(host);
    for (let n = 0; n < 10; n += 1) emitAll(sink, wire.standardRun(n, { deltas: 2 }));
    await sink.close();
    expect(asked).toEqual(Array.from({ length: 10 }, (_, n) => `invoke_agent ${wire.runIdOf(n)}`));
    expect(host.ended).toHaveLength(5 * 7);
    expect(sink.stats.spans).toEqual({ exported: 5 * 7, failed: 0 });
    expect(sink.stats.runs.completed).toBe(10);
  });
});

describe("contextOf", () => {
  test("nests a host's own span under a tool whose span is exported later", async () => {
    const host = hostSdk({ idGenerator: behestIdGenerator });
    const sink = sinkOn(host);
    const events = wire.standardRun(1, { modelCalls: 1, deltas: 1 });
    const finish = events.findIndex((event) => "ToolExecutionFinished" in event);
    emitAll(sink, events.slice(0, finish));
    const tracer = host.tracerProvider.getTracer("host");
    for (const [target, name] of [
      [{ tool: "call_1" }, "in the tool"],
      [{ model: 1 }, "in the call"],
      [undefined, "in the run"],
    ] as const) {
      context.with(ROOT_CONTEXT, () =>
        tracer.startSpan(name, {}, sink.contextOf(wire.runIdOf(1), target)).end(),
      );
    }
    expect(host.ended).toHaveLength(3);
    emitAll(sink, events.slice(finish));
    await sink.close();
    const idOf = (name: string) => host.ended.find((span) => span.name === name)!.spanContext();
    const parentOf = (name: string) => host.ended.find((span) => span.name === name)!.parentSpanContext!;
    expect(parentOf("in the tool").spanId).toBe(idOf("execute_tool search").spanId);
    expect(parentOf("in the call").spanId).toBe(idOf("chat gpt-4o").spanId);
    expect(parentOf("in the run").spanId).toBe(idOf("invoke_agent").spanId);
    expect(new Set(host.ended.map((span) => span.spanContext().traceId)).size).toBe(1);
    // The host's spans have ids of their own.
    expect(new Set(host.ended.map((span) => span.spanContext().spanId)).size).toBe(host.ended.length);
  });

  test("is that of a run before its first event, in either case of its id", () => {
    const sink = sinkOn(hostSdk({ idGenerator: behestIdGenerator }));
    const id = wire.runIdOf(1);
    const before = trace.getSpanContext(sink.contextOf(id))!;
    expect(before.traceId).toBe(id.replaceAll("-", ""));
    expect(trace.getSpanContext(sink.contextOf(id.toUpperCase()))).toEqual(before);
    emitAll(sink, wire.standardRun(1).slice(0, 5));
    expect(trace.getSpanContext(sink.contextOf(id))).toEqual(before);
  });

  test("is sampled as the run is, once that is decided", () => {
    const sink = sinkOn(hostSdk({ sampler: new AlwaysOffSampler() }));
    emitAll(sink, wire.standardRun(1, { deltas: 1 }).slice(0, -1));
    expect(trace.getSpanContext(sink.contextOf(wire.runIdOf(1)))?.traceFlags).toBe(TraceFlags.NONE);
  });

  test.each([undefined, null, 5, "", "no id", {}, Symbol("x"), 10n])("of %o is the root context", (id) => {
    const sink = sinkOn(hostSdk());
    expect(sink.contextOf(id as never)).toBe(ROOT_CONTEXT);
  });
});

describe("metrics", () => {
  test("are the host's to collect: counters of all runs, histograms of their durations", async () => {
    const host = hostSdk({ sampler: new AlwaysOffSampler() });
    const sink = sinkOn(host, { agentName: "researcher" });
    for (let n = 0; n < 3; n += 1) emitAll(sink, wire.standardRun(n, { deltas: 4 }));
    const { scopeMetrics } = await host.reader.read();
    const metrics = new Map(
      scopeMetrics[0]!.metrics.map((metric) => [metric.descriptor.name, metric.dataPoints]),
    );
    const counted = (name: string) =>
      metrics
        .get(name)!
        .map(
          ({ attributes, value }) => [attributes, typeof value === "number" ? value : value.count] as const,
        );
    expect(counted("behest.run.ended")).toContainEqual([
      { "behest.run.outcome": "completed", "gen_ai.agent.name": "researcher" },
      3,
    ]);
    expect(counted("gen_ai.client.operation.duration").map(([, count]) => count)).toEqual([9]);
    expect(counted("gen_ai.client.operation.time_per_output_chunk").map(([, count]) => count)).toEqual([27]);
    expect(counted("gen_ai.invoke_agent.duration").map(([, count]) => count)).toEqual([3]);
    expect(host.ended).toEqual([]);
    expect(sink.stats.spans).toEqual({ exported: 0, failed: 0 });
  });
});

describe("OTEL_SDK_DISABLED", () => {
  afterEach(() => {
    delete process.env["OTEL_SDK_DISABLED"];
  });

  test.each(["true", "TRUE"])("%s makes a sink that does nothing", async (value) => {
    process.env["OTEL_SDK_DISABLED"] = value;
    const host = hostSdk();
    const sink = sinkOn(host);
    emitAll(sink, wire.standardRun(1));
    await sink.close();
    expect([host.ended, sink.stats.events.received]).toEqual([[], 0]);
    expect(sink.contextOf(wire.runIdOf(1))).toBe(ROOT_CONTEXT);
  });

  test("any other word does not", () => {
    process.env["OTEL_SDK_DISABLED"] = "1";
    const sink = sinkOn(hostSdk());
    emitAll(sink, wire.standardRun(1, { deltas: 1 }));
    expect(sink.stats.runs.completed).toBe(1);
  });
});

test("where no SDK is registered a sink counts, and says that no span left", async () => {
  const sink = sinkOn({});
  emitAll(sink, wire.standardRun(1, { deltas: 1 }));
  await sink.close();
  expect(sink.stats.runs.completed).toBe(1);
  expect(sink.stats.spans).toEqual({ exported: 0, failed: 0 });
});
