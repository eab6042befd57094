import type { Attributes } from "@opentelemetry/api";

import type { FinishedSpan, ModelSpan, Notice, OutputPart, RunFacts, RunSpan, ToolSpan } from "../run/op.ts";
import { cutText, type ValueLimit } from "./limits.ts";
import * as names from "./semconv.ts";
import type { SemconvMode } from "../metric/table.ts";

/** Names and lengths of attributes; the same for every span of a process. */
export interface AttributeRules {
  readonly semconv: SemconvMode;
  readonly value: ValueLimit;
}

/**
 * The attributes of a finished span, in an order that never changes and begins with what matters
 * most (a limit on their number keeps the first ones).
 *
 * Truths are only stated when true; a value that was cut has `behest.truncated.<name>` behind it.
 */
export function attributesOf(span: FinishedSpan, rules: AttributeRules): Attributes {
  switch (span.kind) {
    case "run":
      return runAttributes(span, rules);
    case "model":
      return modelAttributes(span, rules);
    case "tool":
      return toolAttributes(span, rules);
  }
}

/** The attributes of a notice, as a span event and as a log record alike. */
export function noticeAttributes(notice: Notice, value: ValueLimit): Attributes {
  const to: Attributes = {};
  switch (notice.name) {
    case "behest.doom_loop.detected":
      putText(to, names.DOOM_LOOP_DESCRIPTION, notice.description, value);
      return to;
    case "behest.compaction.circuit_opened":
      to[names.COMPACTION_FAILURES] = notice.consecutiveFailures;
      return to;
  }
}

/** What every record of a run carries to be found by. */
export function putRun(to: Attributes, run: RunFacts, value: ValueLimit): void {
  putText(to, names.CONVERSATION_ID, run.sessionId, value);
  putText(to, names.AGENT_NAME, run.agent, value);
  to[names.RUN_ID] = run.runId;
}

function begin(span: FinishedSpan, operation: string, { value }: AttributeRules): Attributes {
  const to: Attributes = { [names.OPERATION_NAME]: operation };
  putRun(to, span.run, value);
  putText(to, names.ERROR_TYPE, span.failure?.errorType, value);
  return to;
}

function runAttributes(span: RunSpan, rules: AttributeRules): Attributes {
  const { value } = rules;
  const { ending, usage } = span;
  const to = begin(span, "invoke_agent", rules);
  to[names.RUN_OUTCOME] = ending.outcome;
  if (ending.outcome === "incomplete") to[names.RUN_INCOMPLETE_REASON] = ending.reason;
  putText(to, names.PROVIDER_NAME, span.provider, value);
  putText(to, names.RUN_MODEL, span.model, value);
  putText(to, names.RUN_FINISH_REASON, span.finishReason, value);
  putNumber(to, names.RUN_ITERATIONS, span.iterations);
  if (usage !== undefined) {
    to[names.RUN_INPUT_TOKENS] = usage.input;
    to[names.RUN_OUTPUT_TOKENS] = usage.output;
    putNumber(to, names.RUN_CACHE_READ_TOKENS, usage.cacheRead);
    putNumber(to, names.RUN_CACHE_WRITE_TOKENS, usage.cacheWrite);
  }
  to[names.RUN_MODEL_CALLS] = span.modelCalls;
  to[names.RUN_TOOL_CALLS] = span.toolCalls;
  to[names.RUN_TOOL_FAILURES] = span.toolFailures;
  to[names.RUN_EVENTS] = span.events;
  putNumber(to, names.RUN_EVENTS_MISSING, span.eventsMissing);
  if (span.resumedFrom !== undefined) to[names.RUN_RESUMED] = true;
  if (span.startMissing) to[names.RUN_START_MISSING] = true;
  if (span.corrected) to[names.CLOCK_CORRECTED] = true;
  return to;
}

function modelAttributes(span: ModelSpan, rules: AttributeRules): Attributes {
  const { value } = rules;
  const { usage } = span;
  const to = begin(span, "chat", rules);
  putText(to, names.PROVIDER_NAME, span.provider, value);
  putText(to, names.REQUEST_MODEL, span.model, value);
  if (span.stream) to[names.REQUEST_STREAM] = true;
  if (usage !== undefined) {
    to[names.INPUT_TOKENS] = usage.input;
    to[names.OUTPUT_TOKENS] = usage.output;
    putNumber(to, names.CACHE_READ_TOKENS, usage.cacheRead);
    if (usage.cacheWrite !== undefined) {
      for (const name of names.CACHE_WRITE_TOKENS[rules.semconv]) to[name] = usage.cacheWrite;
    }
  }
  if (span.finishReason !== undefined) to[names.FINISH_REASONS] = [cutText(span.finishReason, value)];
  putNumber(to, names.TIME_TO_FIRST_CHUNK, span.timeToFirstChunk);
  to[names.RUN_ITERATION] = span.iteration;
  putNumber(to, names.CONTEXT_MESSAGE_COUNT, span.contextMessages);
  to[names.RESPONSE_CHUNKS] = span.chunks;
  putText(to, names.MESSAGE_ID, span.messageId, value);
  if (span.incomplete) to[names.SPAN_INCOMPLETE] = true;
  if (span.corrected) to[names.CLOCK_CORRECTED] = true;
  putText(to, names.OUTPUT_MESSAGES, outputMessages(span, rules), value);
  return to;
}

function toolAttributes(span: ToolSpan, rules: AttributeRules): Attributes {
  const { value } = rules;
  const to = begin(span, "execute_tool", rules);
  putText(to, names.TOOL_NAME, span.toolName, value);
  putText(to, names.TOOL_CALL_ID, span.callId, value);
  to[names.TOOL_TYPE] = "function";
  putNumber(to, names.RUN_ITERATION, span.iteration);
  putText(to, names.MESSAGE_ID, span.messageId, value);
  if (span.inferred) to[names.SPAN_INFERRED] = true;
  if (span.incomplete) to[names.SPAN_INCOMPLETE] = true;
  if (span.corrected) to[names.CLOCK_CORRECTED] = true;
  putText(to, names.TOOL_ARGUMENTS, span.arguments, value);
  putText(to, names.TOOL_RESULT, span.result, value);
  return to;
}

/**
 * `gen_ai.output.messages` as JSON text: one message, since the runtime asks for one choice.
 * A message's own finish reason is required by the released registry and deprecated in the latest.
 */
function outputMessages(
  { output, finishReason }: ModelSpan,
  { semconv }: AttributeRules,
): string | undefined {
  if (output === undefined) return undefined;
  const reason = semconv === "latest" ? undefined : finishReason;
  const parts = output.map(outputPart).join(",");
  return `[{"role":"assistant","parts":[${parts}]${reason === undefined ? "" : `,"finish_reason":${JSON.stringify(reason)}`}}]`;
}

function outputPart(part: OutputPart): string {
  switch (part.type) {
    case "text":
      return `{"type":"text","content":${JSON.stringify(part.content)}}`;
    case "tool_call":
      return `{"type":"tool_call","id":${JSON.stringify(part.id)},"name":${JSON.stringify(part.name)},"arguments":${jsonOf(part.arguments)}}`;
  }
}

/** The text as it is when it is JSON; as a JSON string when it is not, so that the whole stays JSON. */
function jsonOf(text: string): string {
  try {
    JSON.parse(text);
    return text;
  } catch {
    return JSON.stringify(text);
  }
}

function putNumber(to: Attributes, name: string, value: number | undefined): void {
  if (value !== undefined) to[name] = value;
}

function putText(to: Attributes, name: string, text: string | undefined, limit: ValueLimit): void {
  if (text === undefined) return;
  const cut = cutText(text, limit);
  to[name] = cut;
  if (cut.length < text.length) to[names.TRUNCATED_PREFIX + name] = Buffer.byteLength(text);
}
