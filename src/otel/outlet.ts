import type { Time } from "../event/time.ts";
import type { Log } from "../log.ts";
import type { FinishedSpan, Op, RunFacts } from "../run/op.ts";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { VERSION } from "../version.ts";
import type { Clock } from "../clock.ts";
import type { ExportConfig } from "./environment.ts";
import { openExports, type Exports } from "./exports.ts";
import { traceIdOf } from "./ids.ts";
import { createLogMapper, estimateLogBytes } from "./logs-export.ts";
import { MetricsOutlet } from "./metrics-outlet.ts";
import type { Reading } from "../metric/snapshot.ts";
import { createResource } from "./resource.ts";
import { createRunSampler } from "./sampling.ts";
import { SpanOutlet, type SpanOutletOptions } from "./span-outlet.ts";
import { createSpanMapper } from "./spans.ts";

export interface OutletOptions {
  readonly clock: Clock;
  /** From 0 up to but not including 1. */
  readonly random: () => number;
  readonly log: Log;
  /** Where `OTEL_*_EXPORTER=console` writes. */
  readonly write: (line: Uint8Array) => Promise<void>;
}

/** Who counts. Spans do not carry it, or a replay would differ. */
export interface Counting {
  /** `service.instance.id`: one for all that counts on from the same numbers. */
  readonly instanceId: string;
  /** When counting began. */
  readonly start: Time;
  /** The last reading that the backend took from an earlier process, for delta temporality. */
  readonly accepted?: Reading | undefined;
}

const SCOPE = { name: "behest-otel", version: VERSION };

/**
 * The exporter way out: finished spans, notices and counters in the form of OTLP, handed
 * to bounded exports whose backend's answer is the only proof of delivery.
 */
export class Outlet {
  readonly #config: ExportConfig;
  readonly #exports: Exports;
  readonly #spanOf: (span: FinishedSpan) => ReadableSpan;
  readonly #recordOf: ReturnType<typeof createLogMapper>;
  readonly #samples: ReturnType<typeof createRunSampler>;

  constructor(config: ExportConfig, options: OutletOptions) {
    this.#config = config;
    const resource = createResource(config.resource);
    this.#samples = createRunSampler(config.sampler);
    this.#spanOf = createSpanMapper({
      semconv: config.semconv,
      limits: config.limits,
      resource,
      scope: SCOPE,
    });
    this.#recordOf = createLogMapper({ limits: config.logLimits, resource, scope: SCOPE });
    this.#exports = openExports(config, options);
  }

  /** A way for the spans of one pipeline. */
  spans(options: SpanOutletOptions = {}): SpanOutlet {
    return new SpanOutlet(this.#exports, options);
  }

  /** A way for counters. */
  metrics({ instanceId, start, accepted }: Counting): MetricsOutlet {
    const config = this.#config;
    const resource = createResource(config.resource, instanceId);
    const out = this.#exports.openMetrics(resource);
    return new MetricsOutlet({ config, resource, scope: SCOPE, start, accepted, out });
  }

  /** Log records that were given up. */
  get failedLogs(): number {
    return Object.values(this.#exports.logs.counts.failed).reduce((sum, count) => sum + count, 0);
  }

  /** Whether the spans of a run are recorded. It counts in the metrics either way. */
  sampled(run: RunFacts): boolean {
    return this.#samples(run.parent?.traceId ?? traceIdOf(run.runId), run.parent);
  }

  /**
   * Takes what concerns exports, spans by way of their pipeline; the promise, when there is one, resolves when there
   * is room again.
   */
  put(op: Op, spans: SpanOutlet): Promise<void> | undefined {
    if (op.op === "span") {
      if (this.#config.traces.exporter === "none" || !this.sampled(op.span.run)) return undefined;
      return spans.push(this.#spanOf(op.span));
    }
    if (op.op === "notice" && this.#config.logs.exporter !== "none") {
      const record = this.#recordOf(op.run, op.notice, this.sampled(op.run));
      return this.#exports.logs.push(record, estimateLogBytes(record));
    }
    return undefined;
  }

  /** Resolves when every log record put before is decided: delivered, or given up and counted. */
  async logsFlushed(): Promise<void> {
    await this.#exports.logs.flushed();
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
}
