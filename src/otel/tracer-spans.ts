import { ROOT_CONTEXT, SpanKind, trace, TraceFlags } from "@opentelemetry/api";
import type { Attributes, Context, HrTime, Link, Span, SpanContext, Tracer } from "@opentelemetry/api";

import { isAfter, type Time } from "../event/time.ts";
import type { FinishedSpan, OpenedSpan, RunFacts, RunSpan } from "../run/op.ts";
import { attributesOf, putRun, type AttributeRules } from "./attributes.ts";
import { withIds } from "./id-generator.ts";
import type { SpanLimits } from "./limits.ts";
import { OPERATION_NAME } from "./semconv.ts";
import { childContext, eventsOf, kindOf, nameOf, startOf, statusOf, traceOf } from "./spans.ts";

/** Ended runs whose span's context is kept, for what still comes: late finishes and later segments. */
const MAX_ENDED = 10_000;

export interface TracerSpansOptions {
  readonly tracer: Tracer;
  readonly rules: AttributeRules;
  readonly limits: SpanLimits;
}

/** A run that is open in the heart. */
interface OpenRun {
  readonly start: Time;
  readonly resumedFrom: string | undefined;
  /** Its span, once a child needed it. */
  span: Span | undefined;
}

/**
 * The API way out: finished spans through a host's own tracer, so that its processors,
 * samplers and limits apply.
 *
 * A run's own span ends last but is the parent of the others, so it is started when its first child
 * is handed out: the one span that is ever left open, and the one whose sampling decides for the run.
 */
export class TracerSpans {
  readonly #options: TracerSpansOptions;
  readonly #open = new Map<string, OpenRun>();
  readonly #ended = new Map<string, SpanContext>();

  constructor(options: TracerSpansOptions) {
    this.#options = options;
  }

  opened(span: OpenedSpan): void {
    if (span.kind !== "run") return;
    const { run, start, resumedFrom } = span;
    this.#open.set(run.runId, { start, resumedFrom, span: undefined });
  }

  /** Hands a span to the host; false when its sampler does not take it, or no SDK is there. */
  put(span: FinishedSpan): boolean {
    return span.kind === "run" ? this.#endRun(span) : this.#putChild(span);
  }

  /** The sampler's decision for a run; it is asked with the run's first span, and taken to say yes before. */
  sampled({ runId, segment }: RunFacts): boolean {
    const context = this.#open.get(runId)?.span?.spanContext() ?? this.#ended.get(endedKey(runId, segment));
    return context === undefined || isSampled(context);
  }

  #putChild(span: Exclude<FinishedSpan, RunSpan>): boolean {
    const run = traceOf(span.run);
    const { spanId } = childContext(span, run);
    const child = this.#start(span, { traceId: run.traceId, spanId }, this.#parentOf(span), []);
    return finish(child, span);
  }

  /** The run's span: open, about to be opened, or ended long ago. */
  #parentOf(child: FinishedSpan): Context {
    const { run } = child;
    const open = this.#open.get(run.runId);
    const ended = this.#ended.get(endedKey(run.runId, run.segment));
    const context =
      ended ?? (open && (open.span ??= this.#startRun(run, open, startOf(child))).spanContext());
    return trace.setSpanContext(ROOT_CONTEXT, context ?? traceOf(run).context);
  }

  /** Its first child may begin a nanosecond earlier than it does (`startOf`). */
  #startRun(run: RunFacts, { start, resumedFrom }: OpenRun, child: Time): Span {
    const { tracer, rules } = this.#options;
    const { traceId, context, parent } = traceOf(run);
    const attributes: Attributes = { [OPERATION_NAME]: "invoke_agent" };
    putRun(attributes, run, rules.value);
    const options = {
      kind: SpanKind.INTERNAL,
      startTime: (isAfter(start, child) ? child : start) as HrTime,
      attributes,
      links: this.#linksTo(run, resumedFrom),
      root: parent === undefined,
    };
    const above = parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent);
    return withIds({ traceId, spanId: context.spanId }, () =>
      tracer.startSpan(nameOf({ kind: "run", run }, rules.value), options, above),
    );
  }

  #linksTo(run: RunFacts, resumedFrom: string | undefined): Link[] {
    if (resumedFrom === undefined) return [];
    const first = this.#ended.get(endedKey(run.runId, resumedFrom));
    return [{ context: first ?? traceOf({ ...run, segment: resumedFrom }).context }];
  }

  #endRun(span: RunSpan): boolean {
    const { rules, limits } = this.#options;
    const { run } = span;
    const open = this.#open.get(run.runId) ?? {
      start: span.start,
      resumedFrom: span.resumedFrom,
      span: undefined,
    };
    // First of all, so that nothing stays open when the host's own code throws.
    this.#open.delete(run.runId);
    const own = (open.span ??= this.#startRun(run, open, startOf(span)));
    this.#remember(endedKey(run.runId, run.segment), own.spanContext());
    own.setAttributes(attributesOf(span, rules));
    for (const { name, time, attributes } of eventsOf(span, limits).events) {
      own.addEvent(name, attributes, time);
    }
    return finish(own, span);
  }

  #remember(key: string, context: SpanContext): void {
    this.#ended.set(key, context);
    if (this.#ended.size <= MAX_ENDED) return;
    for (const oldest of this.#ended.keys()) {
      this.#ended.delete(oldest);
      return;
    }
  }

  #start(
    span: FinishedSpan,
    ids: { readonly traceId: string; readonly spanId: string },
    above: Context,
    links: Link[],
  ): Span {
    const { tracer, rules } = this.#options;
    const options = {
      kind: kindOf(span),
      startTime: startOf(span) as HrTime,
      attributes: attributesOf(span, rules),
      links,
    };
    return withIds(ids, () => tracer.startSpan(nameOf(span, rules.value), options, above));
  }
}

function finish(span: Span, facts: FinishedSpan): boolean {
  if (facts.failure !== undefined) span.setStatus(statusOf(facts));
  const isTaken = span.isRecording() && isSampled(span.spanContext());
  span.end(facts.end as HrTime);
  return isTaken;
}

function isSampled({ traceFlags }: SpanContext): boolean {
  return (traceFlags & TraceFlags.SAMPLED) !== 0;
}

function endedKey(runId: string, segment: string): string {
  return `${runId} ${segment}`;
}
