import { MeterProvider } from "@opentelemetry/sdk-metrics";
import { TracerProvider } from "@opentelemetry/sdk-trace";
import type { IdGenerator, ReadableSpan, Sampler, Span, SpanProcessor } from "@opentelemetry/sdk-trace";

import { AskedReader } from "../otel/metric-reader.ts";

/** An SDK as a host sets one up, whose spans and metrics end in the test. */
export interface HostSdk {
  readonly tracerProvider: TracerProvider;
  readonly meterProvider: MeterProvider;
  readonly reader: AskedReader;
  readonly ended: readonly ReadableSpan[];
  /** `start NAME` and `end NAME`, in order. */
  readonly happened: readonly string[];
}

export interface HostOptions {
  readonly idGenerator?: IdGenerator;
  readonly sampler?: Sampler;
  readonly onStart?: (span: Span) => void;
  readonly onEnd?: (span: ReadableSpan) => void;
}

export function hostSdk({ onStart, onEnd, ...options }: HostOptions = {}): HostSdk {
  const ended: ReadableSpan[] = [];
  const happened: string[] = [];
  const processor: SpanProcessor = {
    onStart: (span) => {
      happened.push(`start ${span.name}`);
      onStart?.(span);
    },
    onEnd: (span) => {
      happened.push(`end ${span.name}`);
      ended.push(span);
      onEnd?.(span);
    },
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
  };
  const reader = new AskedReader();
  return {
    tracerProvider: new TracerProvider({ ...options, spanProcessors: [processor] }),
    meterProvider: new MeterProvider({ readers: [reader] }),
    reader,
    ended,
    happened,
  };
}

/** What a span says, without who made it: the same for both ways out. */
export function saidBy(span: ReadableSpan) {
  return {
    ...span.spanContext(),
    parentSpanId: span.parentSpanContext?.spanId,
    isUnderRemote: span.parentSpanContext?.isRemote ?? false,
    name: span.name,
    kind: span.kind,
    start: span.startTime,
    end: span.endTime,
    duration: span.duration,
    status: span.status,
    attributes: Object.fromEntries(Object.entries(span.attributes).toSorted(([a], [b]) => (a < b ? -1 : 1))),
    events: span.events.map(({ name, time, attributes }) => ({ name, time, attributes })),
    links: span.links.map(({ context }) => [context.traceId, context.spanId]),
    dropped: [span.droppedAttributesCount, span.droppedEventsCount, span.droppedLinksCount],
  };
}
