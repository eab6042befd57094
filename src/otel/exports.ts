import type { Resource } from "@opentelemetry/resources";
import type { ReadableLogRecord } from "@opentelemetry/sdk-logs";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";

import type { Log } from "../log.ts";
import { VERSION } from "../version.ts";
import { createAcceptance, type Acceptance } from "./acceptance.ts";
import type { Clock } from "../clock.ts";
import { createConsoleSender } from "./console-sender.ts";
import { Courier, type Deliver, type Failed, type Freight, type Sender } from "./courier.ts";
import { DeliveryState, type DeliveryPhase } from "./delivery-state.ts";
import type { Signal } from "./endpoint.ts";
import type { Destination, ExportConfig } from "./environment.ts";
import { createGrpcSender } from "./grpc-sender.ts";
import { createHttpSender } from "./http-sender.ts";
import { createMetricsExport, metricFreight, type MetricsExport } from "./metrics-export.ts";
import { Pipe } from "./pipe.ts";
import { LOGS, METRICS, SPANS, type Encoding, type Serializer } from "./serializers.ts";

export interface ExportsOptions {
  /** Of the metrics; spans and log records carry their own. */
  readonly resource: Resource;
  readonly clock: Clock;
  /** From 0 up to but not including 1; spreads retries. */
  readonly random: () => number;
  readonly log: Log;
  /** Where `OTEL_*_EXPORTER=console` writes, a line at a time; rejects when the reader has gone. */
  readonly write: (line: Uint8Array) => Promise<void>;
  /** After every request, with how long it took. */
  readonly onRequest?: (signal: Signal, seconds: number) => void;
  /** `first`: how many spans were pushed before the first of these; no batch goes across a flush. */
  readonly onSpansExported?: (count: number, first: number) => void;
  readonly onSpansFailed?: (failed: Failed<ReadableSpan>, first: number) => void;
}

/** The three ways out. */
export interface Exports {
  readonly spans: Pipe<ReadableSpan>;
  readonly logs: Pipe<ReadableLogRecord>;
  readonly metrics: MetricsExport;
  /**
   * The input has ended: resolves when everything given before is decided, at the latest after
   * `withinMs`. May be called again for what came since; that can only shorten the time.
   */
  readonly finish: (withinMs: number) => Promise<void>;
  readonly status: () => Readonly<Record<Signal, SignalStatus>>;
  /** Lets go of connections. */
  readonly close: () => void;
}

export interface SignalStatus {
  readonly phase: DeliveryPhase;
  /** Without passwords; undefined when the signal goes nowhere. */
  readonly target: string | undefined;
}

/** Opens the ways out that the configuration asks for; nothing is connected before there is something to send. */
export function openExports(config: ExportConfig, options: ExportsOptions): Exports {
  const { resource, clock, onSpansExported, onSpansFailed } = options;
  const acceptance = createAcceptance();
  const open = <R, T>(
    signal: Signal,
    serializer: Serializer<T>,
    freight: (encode: Encode<T>) => Freight<R>,
  ) => {
    const destination = config[signal];
    if (destination.exporter === "none") return openNowhere<R>();
    const sender = senderTo(destination, signal, serializer, options);
    const timeoutMs = requestTimeoutMs(signal, destination, config);
    const encode = serializer.encode[encodingOf(destination)];
    return openLane({ sender, freight: freight(encode), timeoutMs }, options, acceptance);
  };
  const lanes = {
    traces: open("traces", SPANS, (encode) => listFreight<ReadableSpan>("traces", encode)),
    metrics: open("metrics", METRICS, (encode) => metricFreight(resource, encode)),
    logs: open("logs", LOGS, (encode) => listFreight<ReadableLogRecord>("logs", encode)),
  };
  const spans = new Pipe<ReadableSpan>({
    deliver: lanes.traces.deliver,
    clock,
    maxBatchRecords: config.maxBatchSpans,
    ...(onSpansExported && { onExported: onSpansExported }),
    ...(onSpansFailed && { onFailed: onSpansFailed }),
  });
  const logs = new Pipe<ReadableLogRecord>({
    deliver: lanes.logs.deliver,
    clock,
    maxBatchRecords: config.maxBatchSpans,
  });
  const metrics = createMetricsExport(lanes.metrics.deliver);
  const all = Object.values(lanes);
  return {
    spans,
    logs,
    metrics,
    finish: async (withinMs) => {
      for (const lane of all) lane.finish(withinMs);
      await Promise.all([spans.flushed(), logs.flushed(), metrics.settled()]);
    },
    status: () => ({
      traces: lanes.traces.status(),
      metrics: lanes.metrics.status(),
      logs: lanes.logs.status(),
    }),
    close: () => {
      for (const lane of all) lane.close();
    },
  };
}

type Encode<T> = (data: T) => Uint8Array;

/** The way of one signal. */
interface Lane<R> {
  readonly deliver: Deliver<R>;
  readonly finish: (withinMs: number) => void;
  readonly status: () => SignalStatus;
  readonly close: () => void;
}

function openNowhere<R>(): Lane<R> {
  return {
    deliver: async (records) => ({ delivered: 0, discarded: records.length, failed: [] }),
    finish: () => {},
    status: () => ({ phase: "off", target: undefined }),
    close: () => {},
  };
}

type Somewhere = Exclude<Destination, { exporter: "none" }>;

function openLane<R>(
  { sender, freight, timeoutMs }: { sender: Sender; freight: Freight<R>; timeoutMs: number },
  { clock, random, log, onRequest }: ExportsOptions,
  acceptance: Acceptance,
): Lane<R> {
  const { signal } = freight;
  const state = new DeliveryState({ signal, target: sender.target, acceptance, clock, log });
  const courier = new Courier<R>({
    freight,
    sender,
    state,
    clock,
    random,
    timeoutMs,
    ...(onRequest && { onRequest: (seconds) => onRequest(signal, seconds) }),
  });
  acceptance.listen(() => courier.wake());
  return {
    deliver: (records, abandon) => courier.deliver(records, abandon),
    finish: (withinMs) => courier.finish(withinMs),
    status: () => ({ phase: state.phase, target: sender.target }),
    close: () => sender.close(),
  };
}

/** How long an answer is waited for; a reading is tried anew until a newer one takes its place. */
function requestTimeoutMs(signal: Signal, destination: Somewhere, { metricReading }: ExportConfig): number {
  if (destination.exporter === "console") return Infinity;
  const { timeoutMs } = destination.endpoint;
  return signal === "metrics" ? Math.min(timeoutMs, metricReading.timeoutMs) : timeoutMs;
}

function senderTo<T>(
  destination: Somewhere,
  signal: Signal,
  { decode }: Serializer<T>,
  options: ExportsOptions,
): Sender {
  if (destination.exporter === "console") return createConsoleSender(options.write);
  const { endpoint } = destination;
  const userAgent = `behest-otel/${VERSION}`;
  if (endpoint.protocol === "grpc") {
    return createGrpcSender({ endpoint, signal, decode: decode.protobuf, userAgent });
  }
  return createHttpSender({ endpoint, decode, userAgent, now: options.clock.now });
}

function encodingOf(destination: Somewhere): Encoding {
  if (destination.exporter === "console") return "json";
  return destination.endpoint.protocol === "http/json" ? "json" : "protobuf";
}

function listFreight<R>(signal: Signal, encode: Encode<R[]>): Freight<R> {
  return { signal, encode: (records) => encode(records as R[]) };
}
