import type { Failure } from "../event/event.ts";
import { isAfter, laterOf, type Time } from "../event/time.ts";
import { finishReasonOf } from "./finish-reason.ts";
import type { HeartOptions } from "./limits.ts";
import type { Ending, ModelSpan, Op, OutputPart, ToolSpan } from "./op.ts";
import { addUsage } from "./provider.ts";
import type { AskedCall, ModelCall, Segment, ToolCount, Turn } from "./state.ts";
import { NONE } from "./short-list.ts";
import { handOutTool, nextOccurrence } from "./tool.ts";

/** What the run's end says about its last iteration. */
export interface LastTurn {
  readonly ending: Ending;
  /** The runtime's word from RunCompleted. */
  readonly finishReason: string | undefined;
  readonly end: Time;
}

/**
 * An iteration is over: its model call and its finished tool executions are handed out, and the
 * tools inferred that ran without being seen. `last` is given when the run ended with it.
 */
export function closeTurn(
  segment: Segment,
  last: LastTurn | undefined,
  options: HeartOptions,
  ops: Op[],
): void {
  const { turn } = segment;
  const ran = callsThatRan(segment, last);
  const messages = hasCallOrder(turn, ran.length) ? turn.toolMessages : [];
  assignMessages(segment, ran, messages);
  if (turn.model !== undefined) {
    const span = modelSpan(segment, turn.model, ran, last);
    if (span.usage !== undefined) segment.usage = addUsage(segment.usage, span.usage);
    segment.sealed = true;
    ops.push({ op: "span", span });
  }
  const open = [];
  for (const execution of segment.executions) {
    execution.ofTurn = false;
    if (execution.end === undefined) open.push(execution);
    else handOutTool(segment, execution, ops);
  }
  segment.executions = open.length === 0 ? NONE : open;
  for (const [index, call] of ran.entries()) {
    if (!call.observed) {
      const count = nextOccurrence(segment, call.id, options.maxIds);
      ops.push({ op: "span", span: inferTool(segment, call, { messageId: messages[index], last, count }) });
    }
  }
}

/** What became of a failed or cancelled run's open parts. */
export function failureOfOpen(ending: Ending): Failure | undefined {
  switch (ending.outcome) {
    case "failed":
      return ending.failure;
    case "cancelled":
      return { errorType: "cancelled", message: undefined };
    case "completed":
    case "incomplete":
      return undefined;
  }
}

/**
 * The tool calls of the iteration that the log vouches for: as many of the last as there are tool
 * messages (a stream that fell back asks twice). Adapters of the runtime leave out ToolCallCompleted
 * (recordings, "What the runtime really does", 7 and 8), so calls that were only announced count where
 * the completed ones are too few. Without any message, those a run was stopped in.
 */
function callsThatRan(segment: Segment, last: LastTurn | undefined): readonly AskedCall[] {
  const { turn } = segment;
  const completed = turn.calls.filter((call) => call.completed);
  const messages = turn.toolMessageCount;
  if (messages > 0) return (completed.length >= messages ? completed : turn.calls).slice(-messages);
  if (last === undefined || turn.assistant === undefined || turn.doomLoop) return [];
  // A producer that reports executions would have reported these, had they begun.
  if (turn.calls.some((call) => call.observed) || !stoppedInTools(last.ending)) return [];
  return completed.length > 0 ? completed : turn.calls;
}

/**
 * Whether the i-th tool message is the i-th call's. A streamed answer's messages come in any order
 * (recordings, 2); and with more messages than calls some calls were lost, and nobody knows which.
 */
function hasCallOrder({ model, toolMessageCount }: Turn, ran: number): boolean {
  if (toolMessageCount !== ran) return false;
  return ran === 1 || (model !== undefined && !isStream(model));
}

function stoppedInTools(ending: Ending): boolean {
  if (ending.outcome === "cancelled") return true;
  return ending.outcome === "incomplete" && ending.reason !== "faulted";
}

/** Gives each execution the message of its call: the i-th message is the i-th call's. */
function assignMessages(segment: Segment, ran: readonly AskedCall[], messages: readonly string[]): void {
  for (const [index, call] of ran.entries()) {
    const execution = segment.executions.find((each) => each.ofTurn && each.callId === call.id);
    if (execution !== undefined) execution.messageId = messages[index];
  }
}

function modelSpan(
  segment: Segment,
  call: ModelCall,
  ran: readonly AskedCall[],
  last: LastTurn | undefined,
): ModelSpan {
  const { turn } = segment;
  const stream = isStream(call);
  const incomplete = !isFinished(call, turn);
  const modelFailed = last?.finishReason === "error" && !incomplete;
  let failure: Failure | undefined;
  if (modelFailed || (call.end === undefined && last !== undefined)) {
    failure = last === undefined ? undefined : failureOfOpen(last.ending);
  }
  return {
    kind: "model",
    run: segment.facts,
    start: call.start,
    end: endOf(call, last?.end ?? segment.last),
    corrected: call.corrected,
    failure,
    iteration: call.iteration,
    occurrence: call.occurrence,
    provider: call.provider.name,
    model: call.model,
    incomplete,
    stream,
    chunks: call.textDeltas + call.toolChunks,
    timeToFirstChunk: stream ? call.timeToFirstChunk : undefined,
    usage: call.usage,
    finishReason: finishReason(turn, incomplete, last),
    contextMessages: call.contextMessages,
    messageId: call.messageId,
    output: outputOf(call, turn.toolMessageCount > 0 ? ran : turn.calls),
  };
}

/** The plain call sends its whole text as one delta and no tool call chunks. */
function isStream(call: ModelCall): boolean {
  return call.toolChunks > 0 || call.textDeltas > 1;
}

/** What ended the call, but never before its last output. */
function endOf(call: ModelCall, fallback: Time): Time {
  const end = call.end?.at ?? fallback;
  return call.lastOutput === undefined ? end : laterOf(end, call.lastOutput);
}

/** Seen to finish: by its own usage or message, by RunCompleted, or by output the run went on from. */
function isFinished(call: ModelCall, turn: Turn): boolean {
  if (call.usage !== undefined || turn.assistant !== undefined) return true;
  if (call.end === undefined) return false;
  return call.end.by === "completed" || call.lastOutput !== undefined;
}

function finishReason(turn: Turn, incomplete: boolean, last: LastTurn | undefined): string | undefined {
  if (incomplete) return "error";
  if (last?.finishReason !== undefined) return finishReasonOf(last.finishReason);
  const asked = turn.toolMessageCount > 0 || turn.calls.some((call) => call.completed);
  return asked ? "tool_call" : undefined;
}

function outputOf(call: ModelCall, calls: readonly AskedCall[]): readonly OutputPart[] | undefined {
  const parts: OutputPart[] = [];
  if (call.text !== undefined) parts.push({ type: "text", content: call.text });
  for (const { id, name, arguments: args } of calls) {
    if (args !== undefined) parts.push({ type: "tool_call", id, name, arguments: args });
  }
  return parts.length > 0 ? parts : undefined;
}

interface Inference {
  readonly messageId: string | undefined;
  readonly last: LastTurn | undefined;
  readonly count: ToolCount;
}

/** A span for an execution that was not seen: from the assistant's message to the first tool's. */
function inferTool(segment: Segment, call: AskedCall, { messageId, last, count }: Inference): ToolSpan {
  const { turn } = segment;
  const first = turn.firstToolMessage;
  const runEnd = last?.end ?? segment.last;
  const end = first?.at ?? runEnd;
  const modelEnd = turn.model === undefined ? end : endOf(turn.model, runEnd);
  const start = turn.assistant?.at ?? modelEnd;
  const reversed = isAfter(start, end);
  const failure = first === undefined && last !== undefined ? failureOfOpen(last.ending) : undefined;
  count.unfinished += 1;
  segment.sealed = true;
  return {
    kind: "tool",
    run: segment.facts,
    start,
    end: reversed ? start : end,
    corrected: reversed || turn.assistant?.raised === true || first?.raised === true,
    failure,
    callId: call.id,
    occurrence: count.began++,
    toolName: call.name,
    iteration: turn.model?.iteration,
    inferred: true,
    incomplete: first === undefined,
    messageId,
    arguments: call.arguments,
    result: undefined,
  };
}
