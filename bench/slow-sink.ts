/**
 * 2,000 standard runs emitted as fast as possible into a backend that takes 50 ms for each request.
 * Goal: all arrive. Beside it the SDK's own batch processor with its defaults.
 *
 *   node bench/slow-sink.ts [runs]
 */
import { fork } from "node:child_process";
import { once } from "node:events";

import { ExportResultCode } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { BatchSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { metrics } from "@opentelemetry/api";

import { createOtlpSink } from "../src/otlp.ts";
import { tell } from "./measure.ts";
import { RawSdk } from "./raw-sdk.ts";
import { runIdOf, standardRun } from "./standard-run.ts";

const runs = Number(process.argv[2] ?? 2_000);
const spans = runs * 7;
const server = fork(new URL("sink-server.ts", import.meta.url), ["50"]);
const [port] = (await once(server, "message")) as [number];
process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = `http://127.0.0.1:${port}`;
process.env["OTEL_METRICS_EXPORTER"] = "none";

const ours = await emitOurs();
const theirs = await emitRaw();
server.disconnect();
console.log(`the SDK's batch processor: ${((theirs / spans) * 100).toFixed(0)} % of ${spans} spans arrive`);
tell(
  "2,000 runs into a slow backend",
  `${((ours / spans) * 100).toFixed(1)} % arrive`,
  "100 %",
  ours === spans,
);

async function emitOurs(): Promise<number> {
  const sink = createOtlpSink({ flushTimeoutMs: 60_000 });
  for (let n = 0; n < runs; n++) {
    for (const event of standardRun(runIdOf(n), 1_800_000_000_000)) sink.emit(event);
  }
  await sink.close();
  return sink.stats.spans.exported;
}

/** What the backend answered for, counted at the exporter. */
async function emitRaw(): Promise<number> {
  let arrived = 0;
  const exporter = new OTLPTraceExporter();
  const processor = new BatchSpanProcessor({
    exporter: {
      export: (batch, done) =>
        exporter.export(batch, (result) => {
          if (result.code === ExportResultCode.SUCCESS) arrived += batch.length;
          done(result);
        }),
      shutdown: () => exporter.shutdown(),
    },
  });
  const provider = new TracerProvider({ spanProcessors: [processor] });
  const application = new RawSdk(provider.getTracer("bench"), metrics.getMeter("bench"));
  for (let n = 0; n < runs; n++) {
    for (const event of standardRun(runIdOf(n), 1_800_000_000_000)) application.emit(event);
  }
  await provider.forceFlush();
  await provider.shutdown();
  return arrived;
}
