import { createTraceState, SpanKind, SpanStatusCode, TraceFlags } from "@opentelemetry/api";
import type { Attributes, HrTime, Link, SpanContext, SpanStatus, TraceState } from "@opentelemetry/api";
import type { InstrumentationScope } from "@opentelemetry/core";
import type { Resource } from "@opentelemetry/resources";
import type { ReadableSpan, TimedEvent } from "@opentelemetry/sdk-trace";

import { isSame, type Time } from "../event/time.ts";
import type { FinishedSpan, ModelSpan, Notice, RunFacts, RunSpan, ToolSpan } from "../run/op.ts";
import { attributesOf, noticeAttributes, type AttributeRules } from "./attributes.ts";
import { runSpanId, spanIdOf, traceIdOf } from "./ids.ts";
import { cutText, type SpanLimits, type ValueLimit } from "./limits.ts";
import type { SemconvMode } from "../metric/table.ts";

export interface SpanMapperOptions {
  readonly semconv: SemconvMode;
  readonly limits: SpanLimits;
  /** One object for all spans: the serializer groups by identity, and one per span doubles the bytes. */
  readonly resource: Resource;
  readonly scope: InstrumentationScope;
}

/**
 * Makes the function that turns finished spans of sampled runs into what exporters take.
 *
 * It is pure: the same span gives the same bytes, whenever and wherever it is mapped. Nothing is
 * copied: the times of the span are those of the result.
 */
export function createSpanMapper(options: SpanMapperOptions): (span: FinishedSpan) => ReadableSpan {
  const { semconv, limits, resource, scope } = options;
  const rules: AttributeRules = { semconv, value: limits.value };
  const cachedTraceOf = createTraceCache();
  return (span) => {
    const trace = cachedTraceOf(span.run);
    const { attributes, dropped } = limitCount(attributesOf(span, rules), limits.attributes);
    const { events, droppedEventsCount } = eventsOf(span, limits);
    const { links, droppedLinksCount } = linksOf(span, trace, limits);
    const context = span.kind === "run" ? trace.context : childContext(span, trace);
    const parent = span.kind === "run" ? trace.parent : trace.context;
    return {
      name: nameOf(span, limits.value),
      kind: kindOf(span),
      spanContext: () => context,
      // A root has the key with undefined in it, as the SDK's own spans do; a conditional spread costs a microsecond.
      parentSpanContext: parent as SpanContext,
      startTime: startOf(span) as HrTime,
      endTime: span.end as HrTime,
      duration: durationOf(span),
      ended: true,
      status: statusOf(span),
      attributes,
      links,
      events,
      resource,
      instrumentationScope: scope,
      droppedAttributesCount: dropped,
      droppedEventsCount,
      droppedLinksCount,
    };
  };
}

/**
 * A span without length begins a nanosecond earlier (docs/decisions/007-no-span-without-length.md): Jaeger
 * takes one for a span of negative length, makes it reach beyond its run, and warns of both.
 */
export function startOf({ start, end }: FinishedSpan): Time {
  const [seconds, nanos] = start;
  if (!isSame(start, end)) return start;
  if (nanos > 0) return [seconds, nanos - 1];
  return seconds > 0 ? [seconds - 1, 999_999_999] : start;
}

/** What a span is named by. */
export type Named =
  | Pick<RunSpan, "kind" | "run">
  | Pick<ModelSpan, "kind" | "model">
  | Pick<ToolSpan, "kind" | "toolName">;

export function nameOf(span: Named, value: ValueLimit): string {
  switch (span.kind) {
    case "run":
      return span.run.agent === undefined ? "invoke_agent" : `invoke_agent ${cutText(span.run.agent, value)}`;
    case "model":
      return `chat ${cutText(span.model, value)}`;
    case "tool":
      return `execute_tool ${cutText(span.toolName, value)}`;
  }
}

export function kindOf(span: { readonly kind: FinishedSpan["kind"] }): SpanKind {
  return span.kind === "model" ? SpanKind.CLIENT : SpanKind.INTERNAL;
}

const UNSET: SpanStatus = { code: SpanStatusCode.UNSET };

/** Never OK: the conventions leave success unset. */
export function statusOf({ failure }: FinishedSpan): SpanStatus {
  if (failure === undefined) return UNSET;
  const { message } = failure;
  return message === undefined ? { code: SpanStatusCode.ERROR } : { code: SpanStatusCode.ERROR, message };
}

/** Where a segment of a run stands in its trace. */
export interface RunTrace {
  readonly traceId: string;
  /** Of the segment's own span. */
  readonly context: SpanContext;
  /** The remote span that the run hangs under. */
  readonly parent: SpanContext | undefined;
}

/** Trace id and parent come from the run's remote parent when it has one, and its tracestate is on every span. */
export function traceOf(run: RunFacts): RunTrace {
  const { parent, runId, segment } = run;
  const traceId = parent?.traceId ?? traceIdOf(runId);
  const traceState = parent?.tracestate === undefined ? undefined : createTraceState(parent.tracestate);
  return {
    traceId,
    context: sampledContext(traceId, runSpanId(runId, segment), traceState),
    parent: parent && {
      traceId,
      spanId: parent.spanId,
      traceFlags: parent.flags,
      isRemote: true,
      ...(traceState && { traceState }),
    },
  };
}

/** The context of a model call or a tool execution. */
export function childContext(span: Exclude<FinishedSpan, { kind: "run" }>, trace: RunTrace): SpanContext {
  const { runId, segment } = span.run;
  const key = span.kind === "model" ? String(span.iteration) : span.callId;
  const spanId = spanIdOf({ runId, segment, kind: span.kind, key, occurrence: span.occurrence });
  return sampledContext(trace.traceId, spanId, trace.context.traceState);
}

/** The notices of a run as span events, the first ones when there are too many. */
export function eventsOf(
  span: FinishedSpan,
  limits: SpanLimits,
): { readonly events: TimedEvent[]; readonly droppedEventsCount: number } {
  if (span.kind !== "run" || (span.notices.length === 0 && span.noticesDropped === 0)) return NO_EVENTS;
  const kept = span.notices.slice(0, limits.events);
  return {
    events: kept.map((notice) => eventOf(notice, limits)),
    droppedEventsCount: span.noticesDropped + span.notices.length - kept.length,
  };
}

/** A later segment of a run points at the first one. */
function linksOf(
  span: FinishedSpan,
  trace: RunTrace,
  limits: SpanLimits,
): { readonly links: Link[]; readonly droppedLinksCount: number } {
  if (span.kind !== "run" || span.resumedFrom === undefined) return NO_LINKS;
  if (limits.links === 0) return { links: [], droppedLinksCount: 1 };
  const first = runSpanId(span.run.runId, span.resumedFrom);
  return {
    links: [{ context: sampledContext(trace.traceId, first, trace.context.traceState) }],
    droppedLinksCount: 0,
  };
}

/** About how many bytes a span takes as protobuf; exact enough to keep batches under a size. */
export function estimateBytes(span: ReadableSpan): number {
  let bytes = SPAN_BYTES + span.name.length + textBytes(span.status.message);
  const { attributes, events } = span;
  for (const name in attributes) {
    const value = attributes[name];
    bytes += name.length + (typeof value === "string" ? ATTRIBUTE_BYTES + textBytes(value) : NUMBER_BYTES);
  }
  for (const event of events) {
    bytes += SPAN_BYTES;
    for (const value of Object.values(event.attributes ?? {})) {
      if (typeof value === "string") bytes += textBytes(value);
    }
  }
  return bytes;
}

const SPAN_BYTES = 110;
const ATTRIBUTE_BYTES = 10;
const NUMBER_BYTES = 16;
const NO_EVENTS = { events: [], droppedEventsCount: 0 };
const NO_LINKS = { links: [], droppedLinksCount: 0 };

/** More attributes than any span of ours can have: at or above it a limit on their number needs no counting. */
const MOST_ATTRIBUTES = 64;

/** How many runs' traces are kept at hand, at most. */
const CACHED_TRACES = 4096;

/**
 * Remembers the traces of the runs last seen, because every child needs the id of its run's span
 * and a hash costs as much as the rest of the mapping.
 *
 * Direct-mapped on the last three digits of the run id: bounded, and no bookkeeping per hit.
 */
function createTraceCache(): (run: RunFacts) => RunTrace {
  const slots = Array.from<{ run: RunFacts; trace: RunTrace } | undefined>({ length: CACHED_TRACES });
  return (run) => {
    const { runId } = run;
    const at = (hexDigit(runId, 33) << 8) | (hexDigit(runId, 34) << 4) | hexDigit(runId, 35);
    const slot = slots[at];
    if (slot !== undefined && isSameRun(slot.run, run)) return slot.trace;
    const trace = traceOf(run);
    slots[at] = { run, trace };
    return trace;
  };
}

function isSameRun(a: RunFacts, b: RunFacts): boolean {
  return a === b || (a.runId === b.runId && a.segment === b.segment && a.parent === b.parent);
}

function hexDigit(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return (code & 15) + (code >> 6) * 9;
}

function sampledContext(traceId: string, spanId: string, traceState: TraceState | undefined): SpanContext {
  const traceFlags = TraceFlags.SAMPLED;
  return traceState === undefined
    ? { traceId, spanId, traceFlags }
    : { traceId, spanId, traceFlags, traceState };
}

function durationOf(span: FinishedSpan): HrTime {
  const [start, end] = [startOf(span), span.end];
  const seconds = end[0] - start[0];
  const nanos = end[1] - start[1];
  return nanos < 0 ? [seconds - 1, nanos + 1_000_000_000] : [seconds, nanos];
}

function eventOf(notice: Notice, limits: SpanLimits): TimedEvent {
  const { attributes, dropped } = limitCount(noticeAttributes(notice, limits.value), limits.eventAttributes);
  return { name: notice.name, time: notice.time as HrTime, attributes, droppedAttributesCount: dropped };
}

/** Keeps the first `max` attributes. */
export function limitCount(
  attributes: Attributes,
  max: number,
): { readonly attributes: Attributes; readonly dropped: number } {
  if (max >= MOST_ATTRIBUTES) return { attributes, dropped: 0 };
  const entries = Object.entries(attributes);
  if (entries.length <= max) return { attributes, dropped: 0 };
  return { attributes: Object.fromEntries(entries.slice(0, max)), dropped: entries.length - max };
}

function textBytes(text: string | undefined): number {
  if (text === undefined) return 0;
  // Short texts are mostly ASCII; only long ones are worth the exact answer.
  return text.length < 256 ? text.length : Buffer.byteLength(text);
}
