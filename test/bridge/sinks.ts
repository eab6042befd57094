import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { afterEach } from "vitest";

import { Decoder } from "../../src/event/decode.ts";
import { Ledger } from "../../src/metric/ledger.ts";
import { DEFAULT_SPAN_LIMITS } from "../../src/otel/limits.ts";
import { createResource } from "../../src/otel/resource.ts";
import { createSpanMapper } from "../../src/otel/spans.ts";
import { Pipeline } from "../../src/pipeline.ts";
import { Assembler } from "../../src/run/assembler.ts";
import { HEART_DEFAULTS } from "../../src/run/limits.ts";
import type { Sink } from "../../src/sink-core.ts";
import { createSink, type SinkOptions } from "../../src/sink.ts";
import { SCOPE } from "../otel/export-setup.ts";
import type { HostSdk } from "./host-sdk.ts";
import * as wire from "./wire-runs.ts";

const open: Sink[] = [];

/** To be called at the top of a file that opens sinks. */
export function closeSinksAfterEach(): void {
  afterEach(async () => {
    await Promise.all(open.splice(0).map((sink) => sink.close()));
  });
}

/** A sink on a host's SDK, closed when the test is over. */
export function sinkOn(host: Partial<HostSdk>, options: SinkOptions = {}): Sink {
  const { tracerProvider, meterProvider } = host;
  const sink = createSink({
    ...(tracerProvider && { tracerProvider }),
    ...(meterProvider && { meterProvider }),
    ...options,
  });
  open.push(sink);
  return sink;
}

export const emitAll = (sink: Sink, events: readonly object[]) => {
  for (const event of events) sink.emit(event as never);
};

/** The spans of the exporter way, of the same events. */
export function exported(events: readonly object[], content: "off" | "span" = "off"): ReadableSpan[] {
  const spans: ReadableSpan[] = [];
  const resource = createResource({ "service.name": "behest" });
  const map = createSpanMapper({ semconv: "released", limits: DEFAULT_SPAN_LIMITS, resource, scope: SCOPE });
  const pipeline = new Pipeline({
    decoder: new Decoder({ content }),
    heart: new Assembler(HEART_DEFAULTS),
    ledger: new Ledger(),
    onOp: (op) => {
      if (op.op === "span") spans.push(map(op.span));
    },
  });
  for (const event of events) pipeline.value(event, undefined, Date.now());
  pipeline.drain();
  return spans;
}

/** A run that goes on after it was drained away, and a tool that finishes when its run is over. */
export function resumed(): object[] {
  const run = wire.teller(8);
  const events = [wire.started(run), wire.model(run), wire.usage(run), wire.completed(run)];
  run.at += 1_000;
  events.push(wire.model(run, 2), wire.usage(run), wire.toolStarted(run, "call_1"), wire.completed(run));
  events.push(wire.toolFinished(run, "call_2"));
  return events;
}
