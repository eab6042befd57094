import { JsonTraceSerializer } from "@opentelemetry/otlp-transformer";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";

import type { Time } from "../event/time.ts";
import type { Log } from "../log.ts";
import { Ledger } from "../metric/ledger.ts";
import type { LedgerData } from "../metric/saved.ts";
import type { Snapshot } from "../metric/snapshot.ts";
import type { FinishedSpan, Op, RunFacts } from "../run/op.ts";
import { VERSION } from "../version.ts";
import type { Clock } from "../clock.ts";
import type { Failed } from "./courier.ts";
import type { ExportConfig } from "./environment.ts";
import { openExports, type Exports } from "./exports.ts";
import { createLogMapper, estimateLogBytes } from "./logs-export.ts";
import { resourceMetrics, type Reading } from "./resource-metrics.ts";
import { createResource } from "./resource.ts";
import { createRunSampler } from "./sampling.ts";
import { createSpanMapper, estimateBytes, traceOf } from "./spans.ts";

export interface OutletOptions {
  readonly clock: Clock;
  /** From 0 up to but not including 1. */
  readonly random: () => number;
  readonly log: Log;
  /** For the metrics: one per process that counts from zero. Spans do not carry it, or a replay would differ. */
  readonly instanceId: string;
  /** When counting began. */
  readonly start: Time;
  /** What had become of spans before. */
  readonly ledger?: LedgerData | undefined;
  /** Where `OTEL_*_EXPORTER=console` writes. */
  readonly write: (line: Uint8Array) => Promise<void>;
  /** A span that was given up, as OTLP/JSON. */
  readonly onRefused?: (refused: RefusedSpan) => void;
}

export interface RefusedSpan {
  readonly reason: string;
  readonly message: string;
  readonly json: Uint8Array;
}

const SCOPE = { name: "behest-otel", version: VERSION };

/**
 * The exporter way out (DESIGN 8): finished spans, notices and counters in the form of OTLP, handed
 * to bounded exports whose backend's answer is the only proof of delivery.
 */
export class Outlet {
  /** What became of spans, and how long exports took. */
  readonly ledger: Ledger;
  readonly #options: OutletOptions;
  readonly #config: ExportConfig;
  readonly #exports: Exports;
  readonly #spanOf: (span: FinishedSpan) => ReadableSpan;
  readonly #recordOf: ReturnType<typeof createLogMapper>;
  readonly #metricsResource: ReturnType<typeof createResource>;
  readonly #samples: ReturnType<typeof createRunSampler>;
  #accepted: Reading | undefined;
  /** Spans put before a hold; what becomes of later ones is told when it ends. */
  #heldFrom = Infinity;
  #held: (() => void)[] = [];
  #failed = 0;
  #undelivered = 0;

  constructor(config: ExportConfig, options: OutletOptions) {
    this.#config = config;
    this.#options = options;
    this.ledger = new Ledger({}, options.ledger);
    const resource = createResource(config.resource);
    this.#metricsResource = createResource(config.resource, options.instanceId);
    this.#samples = createRunSampler(config.sampler);
    this.#spanOf = createSpanMapper({
      semconv: config.semconv,
      limits: config.limits,
      resource,
      scope: SCOPE,
    });
    this.#recordOf = createLogMapper({ limits: config.logLimits, resource, scope: SCOPE });
    const { clock, random, log, write } = options;
    this.#exports = openExports(config, {
      resource: this.#metricsResource,
      clock,
      random,
      log,
      write,
      onRequest: (signal, seconds) => {
        if (signal === "traces") this.ledger.exportDuration(seconds);
      },
      onSpansExported: (count, first) => this.#tell(first, () => this.ledger.spanExported(count)),
      onSpansFailed: (failed, first) => this.#tell(first, () => this.#giveUp(failed)),
    });
  }

  /** Finished spans that are not decided yet. */
  get waitingSpans(): number {
    return this.#exports.spans.counts.waiting;
  }

  /** What they take, estimated. */
  get waitingBytes(): number {
    return this.#exports.spans.waitingBytes;
  }

  /** Log records that were given up. */
  get failedLogs(): number {
    return Object.values(this.#exports.logs.counts.failed).reduce((sum, count) => sum + count, 0);
  }

  /** Whether the spans of a run are recorded. It counts in the metrics either way. */
  sampled(run: RunFacts): boolean {
    return this.#samples(traceOf(run).traceId, run.parent);
  }

  /** Takes what concerns exports; the promise, when there is one, resolves when there is room again. */
  put(op: Op): Promise<void> | undefined {
    if (op.op === "span") {
      if (this.#config.traces.exporter === "none" || !this.sampled(op.span.run)) return undefined;
      const span = this.#spanOf(op.span);
      return this.#exports.spans.push(span, estimateBytes(span));
    }
    if (op.op === "notice" && this.#config.logs.exporter !== "none") {
      const record = this.#recordOf(op.run, op.notice, this.sampled(op.run));
      return this.#exports.logs.push(record, estimateLogBytes(record));
    }
    return undefined;
  }

  /** Spans that were given up in the life of this process. */
  get failedSpans(): number {
    return this.#failed;
  }

  /** Those of them that a further try might have delivered. */
  get undeliveredSpans(): number {
    return this.#undelivered;
  }

  /**
   * From here on the ledger is told only of spans that were put before, until the function given back is
   * called: so that what is written down meanwhile says nothing of spans that will come again.
   */
  hold(): () => void {
    const { pushed } = this.#exports.spans.counts;
    this.#heldFrom = pushed;
    return () => {
      this.#heldFrom = Infinity;
      for (const tell of this.#held.splice(0)) tell();
    };
  }

  /** Resolves when everything put before is decided: delivered, or given up and counted. */
  async flushed(): Promise<void> {
    await Promise.all([this.#exports.spans.flushed(), this.#exports.logs.flushed()]);
  }

  /**
   * Delivers a snapshot, the newest first of all; with delta temporality what is new since the last
   * one that was taken. False when data points were given up.
   */
  async putMetrics(snapshot: Snapshot, time: Time): Promise<boolean> {
    if (this.#config.metrics.exporter === "none") return true;
    const now: Reading = { snapshot, time };
    const metrics = resourceMetrics({
      resource: this.#metricsResource,
      scope: SCOPE,
      temporality: this.#config.metricReading.temporality,
      start: this.#options.start,
      now,
      accepted: this.#accepted,
    });
    const delivery = await this.#exports.metrics.deliver(metrics);
    if (delivery.kind === "taken") this.#accepted = now;
    return delivery.kind !== "failed";
  }

  /** The input has ended: what is not delivered within this time is given up. */
  finish(withinMs: number): Promise<void> {
    return this.#exports.finish(withinMs);
  }

  status(): ReturnType<Exports["status"]> {
    return this.#exports.status();
  }

  close(): void {
    this.#exports.close();
  }

  #tell(first: number, tell: () => void): void {
    if (first < this.#heldFrom) tell();
    else this.#held.push(tell);
  }

  #giveUp({ reason, count, message, records }: Failed<ReadableSpan>): void {
    this.ledger.spanFailed(reason, count);
    this.#failed += count;
    if (reason === "undelivered") this.#undelivered += count;
    const { onRefused } = this.#options;
    if (onRefused === undefined) return;
    for (const span of records ?? []) {
      const json = jsonOf(span);
      if (json !== undefined) onRefused({ reason, message, json });
    }
  }
}

/** Undefined for a span that no serializer takes: it was given up for just that. */
function jsonOf(span: ReadableSpan): Uint8Array | undefined {
  try {
    return JsonTraceSerializer.serializeRequest([span]);
  } catch {
    return undefined;
  }
}
