import { NodeSDK } from "@opentelemetry/sdk-node";
import type { ReadableSpan, SpanProcessor } from "@opentelemetry/sdk-trace";

import {
  CHILDREN_SHARE,
  hostClock,
  hostEnvironment,
  hostLog,
  hostWrite,
  HOST_FLUSH_TIMEOUT_MS,
  kept,
  MAX_WAITING_BYTES,
} from "../host.ts";
import type { Telemetry, TelemetryOptions } from "../telemetry.ts";
import { openExports, type Exports } from "./exports.ts";
import { behestIdGenerator } from "./id-generator.ts";
import { createResource } from "./resource.ts";
import { estimateBytes } from "./spans.ts";

/** The SDK with our ids and our pipe in it; metrics and logs as the SDK itself reads the environment. */
export function startNodeTelemetry(options: TelemetryOptions): Telemetry {
  const { maxWaitingBytes = MAX_WAITING_BYTES, flushTimeoutMs = HOST_FLUSH_TIMEOUT_MS } = options;
  const config = hostEnvironment(process.env);
  if (config.disabled) return { shutdown: () => Promise.resolve() };
  // Fixed attributes only: the SDK's own detectors would tell arguments and process id.
  const resource = createResource(config.resource);
  const exports = openExports(config, {
    clock: hostClock,
    random: Math.random,
    log: hostLog(),
    write: hostWrite,
  });
  const processor = new PipeProcessor(exports, maxWaitingBytes, flushTimeoutMs);
  const sdk = new NodeSDK({
    autoDetectResources: false,
    resource,
    idGenerator: behestIdGenerator,
    spanProcessors: config.traces.exporter === "none" ? [] : [processor],
  });
  sdk.start();
  let ending: Promise<void> | undefined;
  return {
    shutdown: () => {
      ending ??= kept(sdk.shutdown()).then(() => processor.tell());
      return ending;
    },
  };
}

/** Hands finished spans to the pipe, whose backend's answer is the only proof of delivery. */
class PipeProcessor implements SpanProcessor {
  readonly #exports: Exports;
  readonly #spans: ReturnType<Exports["openSpans"]>;
  readonly #maxWaitingBytes: number;
  readonly #flushTimeoutMs: number;
  #dropped = 0;

  constructor(exports: Exports, maxWaitingBytes: number, flushTimeoutMs: number) {
    this.#exports = exports;
    this.#spans = exports.openSpans();
    this.#maxWaitingBytes = maxWaitingBytes;
    this.#flushTimeoutMs = flushTimeoutMs;
  }

  onStart(): void {}

  onEnd(span: ReadableSpan): void {
    if ((span.spanContext().traceFlags & 1) === 0) return;
    const spans = this.#spans;
    const parent = span.parentSpanContext;
    const isChild = parent !== undefined && parent.isRemote !== true;
    const most = isChild ? this.#maxWaitingBytes * CHILDREN_SHARE : this.#maxWaitingBytes;
    if (spans.waitingBytes >= most) this.#dropped += 1;
    else void spans.push(span, estimateBytes(span));
  }

  async forceFlush(): Promise<void> {
    await this.#spans.flushed();
  }

  async shutdown(): Promise<void> {
    await this.#exports.finish(this.#flushTimeoutMs);
    this.#exports.close();
  }

  /** Throws when spans were lost. */
  tell(): void {
    const { failed } = this.#spans.counts;
    const refused = Object.values(failed).reduce((sum, count) => sum + count, 0);
    if (refused + this.#dropped === 0) return;
    throw new Error(
      `${refused} spans were not delivered and ${this.#dropped} were dropped because too many waited`,
    );
  }
}
