/**
 * In process, per standard run with all metrics: the sink against hand-written spans and metrics on
 * the raw SDK, CPU time with and without serialising and sending. Goal: at most half.
 *
 *   node bench/in-process.ts [runs]
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";

import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { TracerProvider, type ReadableSpan, type SpanProcessor } from "@opentelemetry/sdk-trace";

import type { AgentEvent } from "../src/event/schema.ts";
import { readEnvironment } from "../src/otel/environment.ts";
import { createResource } from "../src/otel/resource.ts";
import { createSpanMapper } from "../src/otel/spans.ts";
import { createOtlpSink } from "../src/otlp.ts";
import { openSinkCore } from "../src/sink-core.ts";
import { compare, cpuMs, tell } from "./measure.ts";
import { RawSdk } from "./raw-sdk.ts";
import { runIdOf, standardRun } from "./standard-run.ts";

const runs = Number(process.argv[2] ?? 1_000);
const batches: AgentEvent[][] = Array.from({ length: runs }, (_, n) =>
  standardRun(runIdOf(n), 1_800_000_000_000 + n * 300),
);
const resource = resourceFromAttributes({ "service.name": "bench" });

// A process of its own, so that what it costs to receive is not counted.
const server: ChildProcess = fork(new URL("sink-server.ts", import.meta.url), ["0"]);
const [port] = (await once(server, "message")) as [number];
process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = `http://127.0.0.1:${port}`;

const without = await compare(7, () => raw(discarding()), ours);
const sending = await compare(7, () => raw(exporting()), oursSending);
server.disconnect();

const perRun = (ms: number) => `${((ms / runs) * 1000).toFixed(0)} us`;
console.log(`without sending: raw SDK ${perRun(without.baseline)}, sink ${perRun(without.ours)} per run`);
console.log(`with sending:    raw SDK ${perRun(sending.baseline)}, sink ${perRun(sending.ours)} per run`);
tell(
  "in process, without sending",
  `${(without.ratio * 100).toFixed(0)} % of the CPU`,
  "at most 50 %",
  without.ratio <= 0.5,
);
tell(
  "in process, with sending",
  `${(sending.ratio * 100).toFixed(0)} % of the CPU`,
  "at most 50 %",
  sending.ratio <= 0.5,
);

/** A processor of the SDK's, and how to wait for what it sends. */
interface Way {
  readonly processor: SpanProcessor;
  readonly meters: MeterProvider;
  readonly flush: () => Promise<void>;
}

function discarding(): Way {
  const processor: SpanProcessor = {
    onStart: () => {},
    onEnd: () => {},
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
  };
  // A reader makes the instruments real; it never collects.
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter(),
    exportIntervalMillis: 3_600_000,
  });
  return {
    processor,
    meters: new MeterProvider({ resource, readers: [reader] }),
    flush: () => Promise.resolve(),
  };
}

/** Batches of 512, each delivered: the stock batch processor would drop most of them. */
function exporting(): Way {
  const exporter = new OTLPTraceExporter();
  let batch: ReadableSpan[] = [];
  const sent: Promise<void>[] = [];
  const send = () => {
    const spans = batch;
    batch = [];
    sent.push(new Promise((resolve) => exporter.export(spans, () => resolve())));
  };
  const processor: SpanProcessor = {
    onStart: () => {},
    onEnd: (span) => {
      if (batch.push(span) >= 512) send();
    },
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
  };
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter(),
    exportIntervalMillis: 3_600_000,
  });
  const meters = new MeterProvider({ resource, readers: [reader] });
  const flush = async () => {
    send();
    await Promise.all(sent);
    await meters.forceFlush();
  };
  return { processor, meters, flush };
}

async function raw(way: Way): Promise<number> {
  const tracer = new TracerProvider({ resource, spanProcessors: [way.processor] }).getTracer("bench");
  const application = new RawSdk(tracer, way.meters.getMeter("bench"));
  return cpuMs(async () => {
    for (const [at, events] of batches.entries()) {
      for (const event of events) application.emit(event);
      if (at % 64 === 0) await new Promise(setImmediate);
    }
    await way.flush();
  });
}

async function ours(): Promise<number> {
  const { config } = readEnvironment({});
  const scope = { name: "bench" };
  const map = createSpanMapper({
    semconv: "released",
    limits: config.limits,
    resource: createResource({}),
    scope,
  });
  let spans = 0;
  const sink = openSinkCore({}, () => ({
    sampled: () => true,
    spans: () => ({ exported: 0, failed: 0 }),
    onOp: (op) => {
      if (op.op === "span" && map(op.span).ended) spans += 1;
    },
    close: () => Promise.resolve(),
  }));
  const used = await emitAll(sink);
  if (spans !== runs * 7) throw new Error(`${spans} spans`);
  return used;
}

async function oursSending(): Promise<number> {
  const sink = createOtlpSink();
  const used = await emitAll(sink);
  if (sink.stats.spans.exported !== runs * 7) throw new Error(`exported ${sink.stats.spans.exported}`);
  return used;
}

function emitAll(sink: ReturnType<typeof createOtlpSink>): Promise<number> {
  return cpuMs(async () => {
    for (const [at, events] of batches.entries()) {
      for (const event of events) sink.emit(event);
      if (at % 64 === 0) await new Promise(setImmediate);
    }
    await sink.close();
  });
}
