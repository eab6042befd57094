import { compareTimes, secondsBetween } from "../event/time.ts";
import type { Time } from "../event/time.ts";
import type { Notice, RunFacts, RunSpan, ToolSpan, ModelSpan } from "../run/op.ts";
import { rfc3339 } from "./amount.ts";
import type { ChildSpan, LeftOut, OpenedChild, OpenTree, Shown } from "./store.ts";

/** How spans are named in traces (docs/identity.md); an argument, since it needs a hash function. */
export interface SpanIds {
  /** 32 hex digits. */
  traceId(run: RunFacts): string;
  /** 16 hex digits; the key is empty for a run, the iteration of a model call, the call id of a tool. */
  spanId(run: RunFacts, of: { kind: "run" | "model" | "tool"; key: string; occurrence: number }): string;
}

type Value = string | number | boolean | readonly string[] | undefined;
type Attributes = Readonly<Record<string, Value>>;

/** What JSON cannot hurt and a terminal can: DEL, C1 controls, line separators, bidi overrides. */
const TERMINAL_CONTROLS = /[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g;

/** What there is to show of a run as one line of JSON, without its line end. The shape is told in `docs/view.md`. */
export function jsonLine(shown: Shown, ids: SpanIds): string {
  const text = JSON.stringify(shownRecord(shown, ids));
  return text.replace(
    TERMINAL_CONTROLS,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Absent values are left out by JSON: `undefined` never reaches a reader. */
function shownRecord(shown: Shown, ids: SpanIds): unknown {
  const { run } = shown;
  const head = {
    name: run.agent === undefined ? "invoke_agent" : `invoke_agent ${run.agent}`,
    state: shown.state,
    run_id: run.runId,
    segment: run.segment === "" ? undefined : run.segment,
    session_id: run.sessionId,
    agent: run.agent,
    trace_id: ids.traceId(run),
    span_id: ids.spanId(run, { kind: "run", key: "", occurrence: 0 }),
    parent_span_id: run.parent?.spanId,
  };
  switch (shown.state) {
    case "finished": {
      const { span, children, leftOut } = shown;
      const { ending, failure } = span;
      return {
        ...head,
        ...times(span.start, span.end),
        outcome: ending.outcome,
        incomplete_reason: ending.outcome === "incomplete" ? ending.reason : undefined,
        error: errorOf(failure),
        attributes: runAttributes(span),
        events: span.notices.map(noticeRecord),
        spans: children.map((child) => childRecord(child, ids)),
        spans_left_out: leftOutRecord(leftOut),
      };
    }
    case "open":
      return { ...head, ...openRecord(shown, ids) };
    case "late":
      return { ...head, spans: [childRecord(shown.span, ids)] };
  }
}

function openRecord(tree: OpenTree, ids: SpanIds): object {
  const spans = [
    ...tree.children.map((span) => ({ start: span.start, record: childRecord(span, ids) })),
    ...tree.openChildren.map((opened) => ({ start: opened.start, record: openedRecord(opened, ids) })),
  ].toSorted((a, b) => compareTimes(a.start, b.start));
  return {
    start_time: rfc3339(tree.start),
    attributes: {
      ...commonAttributes(tree.run, "invoke_agent"),
      "behest.run.resumed": tree.resumedFrom === undefined ? undefined : true,
    },
    events: tree.notices.map(noticeRecord),
    spans: spans.map(({ record }) => record),
    spans_left_out: leftOutRecord(tree.leftOut),
  };
}

function childRecord(span: ChildSpan, ids: SpanIds): object {
  return {
    ...childHead(span, ids),
    ...times(span.start, span.end),
    error: errorOf(span.failure),
    attributes: span.kind === "model" ? modelAttributes(span) : toolAttributes(span),
  };
}

/** A child without an end has no `end_time` and no `duration_seconds`. */
function openedRecord(opened: OpenedChild, ids: SpanIds): object {
  const attributes: Attributes =
    opened.kind === "model"
      ? {
          ...commonAttributes(opened.run, "chat"),
          "gen_ai.request.model": opened.model,
          "behest.run.iteration": opened.iteration,
        }
      : {
          ...commonAttributes(opened.run, "execute_tool"),
          "gen_ai.tool.name": opened.toolName,
          "gen_ai.tool.call.id": opened.callId,
        };
  return { ...childHead(opened, ids), start_time: rfc3339(opened.start), attributes };
}

function childHead(span: ChildSpan | OpenedChild, ids: SpanIds): object {
  const { kind, occurrence } = span;
  const key = span.kind === "model" ? String(span.iteration) : span.callId;
  return {
    name: span.kind === "model" ? `chat ${span.model}` : `execute_tool ${span.toolName}`,
    span_id: ids.spanId(span.run, { kind, key, occurrence }),
  };
}

function times(start: Time, end: Time): object {
  return { start_time: rfc3339(start), end_time: rfc3339(end), duration_seconds: secondsBetween(start, end) };
}

function errorOf(
  failure: { errorType: string; message: string | undefined } | undefined,
): object | undefined {
  return failure === undefined ? undefined : { type: failure.errorType, message: failure.message };
}

function leftOutRecord({ modelCalls, tools, failed, seconds }: LeftOut): object | undefined {
  if (modelCalls + tools === 0) return undefined;
  return { model_calls: modelCalls, tools, failed, duration_seconds: seconds };
}

function noticeRecord(notice: Notice): object {
  const { name } = notice;
  const attributes: Attributes =
    name === "behest.doom_loop.detected"
      ? { "behest.run.doom_loop.description": notice.description }
      : { "behest.compaction.consecutive_failures": notice.consecutiveFailures };
  return { name, time: rfc3339(notice.time), attributes };
}

function commonAttributes(run: RunFacts, operation: string): Attributes {
  return {
    "gen_ai.operation.name": operation,
    "gen_ai.conversation.id": run.sessionId,
    "gen_ai.agent.name": run.agent,
    "behest.run.id": run.runId,
  };
}

function runAttributes(span: RunSpan): Attributes {
  const { ending, usage } = span;
  return {
    ...commonAttributes(span.run, "invoke_agent"),
    "error.type": span.failure?.errorType,
    "gen_ai.provider.name": span.provider,
    "behest.run.model": span.model,
    "behest.run.outcome": ending.outcome,
    "behest.run.incomplete_reason": ending.outcome === "incomplete" ? ending.reason : undefined,
    "behest.run.finish_reason": span.finishReason,
    "behest.run.iterations": span.iterations,
    "behest.run.usage.input_tokens": usage?.input,
    "behest.run.usage.output_tokens": usage?.output,
    "behest.run.usage.cache_read_input_tokens": usage?.cacheRead,
    "behest.run.usage.cache_write_input_tokens": usage?.cacheWrite,
    "behest.run.model_calls": span.modelCalls,
    "behest.run.tool_calls": span.toolCalls,
    "behest.run.tool_failures": span.toolFailures,
    "behest.run.events": span.events,
    "behest.run.events_missing": span.eventsMissing,
    "behest.run.resumed": span.resumedFrom === undefined ? undefined : true,
    "behest.run.start_missing": span.startMissing || undefined,
    "behest.clock.corrected": span.corrected || undefined,
  };
}

function modelAttributes(span: ModelSpan): Attributes {
  const { usage, finishReason } = span;
  return {
    ...commonAttributes(span.run, "chat"),
    "error.type": span.failure?.errorType,
    "gen_ai.provider.name": span.provider,
    "gen_ai.request.model": span.model,
    "gen_ai.request.stream": span.stream || undefined,
    "gen_ai.usage.input_tokens": usage?.input,
    "gen_ai.usage.output_tokens": usage?.output,
    "gen_ai.usage.cache_read.input_tokens": usage?.cacheRead,
    "gen_ai.usage.cache_creation.input_tokens": usage?.cacheWrite,
    "gen_ai.response.finish_reasons": finishReason === undefined ? undefined : [finishReason],
    "gen_ai.response.time_to_first_chunk": span.timeToFirstChunk,
    "behest.run.iteration": span.iteration,
    "behest.context.message_count": span.contextMessages,
    "behest.response.chunks": span.chunks,
    "behest.message.id": span.messageId,
    "behest.span.incomplete": span.incomplete || undefined,
    "behest.clock.corrected": span.corrected || undefined,
  };
}

function toolAttributes(span: ToolSpan): Attributes {
  return {
    ...commonAttributes(span.run, "execute_tool"),
    "error.type": span.failure?.errorType,
    "gen_ai.tool.name": span.toolName,
    "gen_ai.tool.call.id": span.callId,
    "gen_ai.tool.type": "function",
    "behest.run.iteration": span.iteration,
    "behest.message.id": span.messageId,
    "behest.span.inferred": span.inferred || undefined,
    "behest.span.incomplete": span.incomplete || undefined,
    "behest.clock.corrected": span.corrected || undefined,
    "gen_ai.tool.call.arguments": span.arguments,
    "gen_ai.tool.call.result": span.result,
  };
}
