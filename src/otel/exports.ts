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
  readonly clock: Clock;
  /** From 0 up to but not including 1; spreads retries. */
  readonly random: () => number;
  readonly log: Log;
  /** Where `OTEL_*_EXPORTER=console` writes, a line at a time; rejects when the reader has gone. */
  readonly write: (line: Uint8Array) => Promise<void>;
}

/** Who is told what becomes of the spans of one queue. `first`: how many were pushed before the first of them. */
export interface SpanWatch {
  /** After every request, with how long it took. */
  readonly onRequest?: (seconds: number) => void;
  /** No batch goes across a flush. */
  readonly onExported?: (count: number, first: number) => void;
  readonly onFailed?: (failed: Failed<ReadableSpan>, first: number) => void;
}

/** The three ways out. */
export interface Exports {
  /** A queue of its own, with limits of its own, on the way that all spans go. */
  readonly openSpans: (watch?: SpanWatch) => Pipe<ReadableSpan>;
  readonly logs: Pipe<ReadableLogRecord>;
  /** Readings of one resource; spans and log records carry their own. */
  readonly openMetrics: (resource: Resource) => MetricsExport;
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
  /** How long that has been so. */
  readonly forSeconds: number;
  /** Without passwords; undefined when the signal goes nowhere. */
  readonly target: string | undefined;
}

/** Opens the ways out that the configuration asks for; nothing is connected before there is something to send. */
export function openExports(config: ExportConfig, options: ExportsOptions): Exports {
  const { clock } = options;
  const acceptance = createAcceptance();
  const open = <T>(signal: Signal, serializer: Serializer<T>): Way<T> => {
    const destination = config[signal];
    if (destination.exporter === "none") return NOWHERE;
    const sender = senderTo(destination, signal, serializer, options);
    const encode = serializer.encode[encodingOf(destination)];
    const timeoutMs = requestTimeoutMs(signal, destination, config);
    return openWay({ signal, sender, encode, timeoutMs, acceptance }, options);
  };
  const ways = { traces: open("traces", SPANS), metrics: open("metrics", METRICS), logs: open("logs", LOGS) };
  const all = Object.values(ways);
  const maxBatchRecords = config.maxBatchSpans;
  const logs = new Pipe<ReadableLogRecord>({
    deliver: ways.logs.deliver<ReadableLogRecord>((encode) => listFreight("logs", encode)),
    clock,
    maxBatchRecords,
  });
  const settled: (() => Promise<unknown>)[] = [() => logs.flushed()];
  return {
    logs,
    openSpans: ({ onRequest, onExported, onFailed } = {}) => {
      const spans = new Pipe<ReadableSpan>({
        deliver: ways.traces.deliver<ReadableSpan>((encode) => listFreight("traces", encode), onRequest),
        clock,
        maxBatchRecords,
        ...(onExported && { onExported }),
        ...(onFailed && { onFailed }),
      });
      settled.push(() => spans.flushed());
      return spans;
    },
    openMetrics: (resource) => {
      const metrics = createMetricsExport(ways.metrics.deliver((encode) => metricFreight(resource, encode)));
      settled.push(() => metrics.settled());
      return metrics;
    },
    finish: async (withinMs) => {
      for (const way of all) way.finish(withinMs);
      await Promise.all(settled.map((one) => one()));
    },
    status: () => ({
      traces: ways.traces.status(),
      metrics: ways.metrics.status(),
      logs: ways.logs.status(),
    }),
    close: () => {
      for (const way of all) way.close();
    },
  };
}

type Encode<T> = (data: T) => Uint8Array;

/** The way of one signal, which several may use side by side. */
interface Way<T> {
  readonly deliver: <R>(
    freight: (encode: Encode<T>) => Freight<R>,
    onRequest?: (seconds: number) => void,
  ) => Deliver<R>;
  readonly finish: (withinMs: number) => void;
  readonly status: () => SignalStatus;
  readonly close: () => void;
}

const NOWHERE: Way<unknown> = {
  deliver: () => async (records) => ({ delivered: 0, discarded: records.length, failed: [] }),
  finish: () => {},
  status: () => ({ phase: "off", forSeconds: 0, target: undefined }),
  close: () => {},
};

type Somewhere = Exclude<Destination, { exporter: "none" }>;

interface WayParts<T> {
  readonly signal: Signal;
  readonly sender: Sender;
  readonly encode: Encode<T>;
  readonly timeoutMs: number;
  readonly acceptance: Acceptance;
}

function openWay<T>(
  { signal, sender, encode, timeoutMs, acceptance }: WayParts<T>,
  { clock, random, log }: ExportsOptions,
): Way<T> {
  const state = new DeliveryState({ signal, target: sender.target, acceptance, clock, log });
  const couriers: Pick<Courier<unknown>, "finish">[] = [];
  return {
    deliver: (freight, onRequest) => {
      const courier = new Courier({
        freight: freight(encode),
        sender,
        state,
        clock,
        random,
        timeoutMs,
        ...(onRequest && { onRequest }),
      });
      couriers.push(courier);
      acceptance.listen(() => courier.wake());
      return (records, abandon) => courier.deliver(records, abandon);
    },
    finish: (withinMs) => {
      for (const courier of couriers) courier.finish(withinMs);
    },
    status: () => ({ phase: state.phase, forSeconds: state.forSeconds, target: sender.target }),
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
