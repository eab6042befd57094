import type { ToolExecutionFinished, ToolExecutionStarted } from "../event/event.ts";
import { earlierOf, isAfter, isSame, laterOf, minusMillis, type Time } from "../event/time.ts";
import type { Op, RunFacts, ToolSpan } from "./op.ts";
import type { AskedCall, Execution, RunRecord, Segment, ToolCount } from "./state.ts";
import type { Fate, Step } from "./step.ts";
import { append } from "./short-list.ts";

/** An execution begins: of a tool call of this iteration, or of its own. */
export function startTool(step: Step, event: ToolExecutionStarted): Fate {
  const { segment, moment, options } = step;
  const call = unobservedCall(segment, event.callId);
  if (call === undefined && isHandedOut(segment.tools, event.callId)) return "late";
  if (segment.openExecutions >= options.maxTools) return "limit";
  const { callId, toolName } = event;
  const known = { callId, toolName, start: moment.at, corrected: moment.raised };
  const execution = begin(step, known, call);
  segment.openExecutions += 1;
  step.ops.push({
    op: "opened",
    span: {
      kind: "tool",
      run: segment.facts,
      start: moment.at,
      callId: event.callId,
      occurrence: execution.occurrence,
      toolName: event.toolName,
    },
  });
  return "used";
}

/** Ends the oldest open execution with its id and name; without one it is an execution of its own. */
export function finishTool(step: Step, event: ToolExecutionFinished): Fate {
  const { record, segment, moment, options } = step;
  let execution = segment.executions.find(
    (each) => each.end === undefined && each.callId === event.callId && each.toolName === event.toolName,
  );
  if (execution === undefined) {
    const call = unobservedCall(segment, event.callId);
    if (call === undefined && takeHandedOut(segment.tools, event.callId)) return "late";
    // The execution left with the segment before: its finish shows that the run goes on, no more.
    if (call === undefined && takeHandedOut(record.closed?.tools, event.callId)) return "used";
    const { callId, toolName } = event;
    const from = startFromDuration(segment.start, moment.at, event.durationMs);
    execution = begin(step, { callId, toolName, ...from }, call);
  } else {
    segment.openExecutions -= 1;
  }
  execution.end = moment.at;
  if (moment.raised) execution.corrected = true;
  if ("failure" in event.result) {
    execution.failure = event.result.failure;
    segment.toolFailures += 1;
  } else {
    execution.result = event.result.output.text;
  }
  // Finished executions wait for their tool message; when there are too many, the oldest leaves
  // without one.
  if (segment.executions.length - segment.openExecutions > options.maxTools) {
    const oldest = segment.executions.findIndex((each) => each.end !== undefined);
    const [first] = segment.executions.splice(oldest, 1);
    if (first !== undefined) handOutTool(segment, first, step.ops);
  }
  return "used";
}

/** Hands out an execution that finished. */
export function handOutTool(segment: Segment, execution: Execution, ops: Op[]): void {
  segment.sealed = true;
  const end = execution.end ?? segment.last;
  ops.push({ op: "span", span: toolSpan(segment.facts, execution, end, false) });
}

export function toolSpan(run: RunFacts, execution: Execution, end: Time, incomplete: boolean): ToolSpan {
  return {
    kind: "tool",
    run,
    start: execution.start,
    end,
    corrected: execution.corrected,
    failure: execution.failure,
    callId: execution.callId,
    occurrence: execution.occurrence,
    toolName: execution.toolName,
    iteration: execution.iteration,
    inferred: false,
    incomplete,
    messageId: execution.messageId,
    arguments: execution.arguments,
    result: execution.result,
  };
}

/**
 * A finish whose run is closed: a span clamped to the run, when its execution has none yet.
 * Undefined when it has one, for a span is handed out once.
 */
export function lateFinish(
  record: RunRecord,
  event: ToolExecutionFinished,
  maxIds: number,
): ToolSpan | undefined {
  const { closed } = record;
  if (closed === undefined || takeHandedOut(closed.tools, event.callId)) return undefined;
  const start = minusMillis(event.time, event.durationMs);
  const clamped = (time: Time) => laterOf(closed.start, earlierOf(time, closed.end));
  const inside = isSame(clamped(start), start) && isSame(clamped(event.time), event.time);
  closed.tools ??= new Map();
  const count = countOf(closed.tools, event.callId, maxIds);
  return {
    kind: "tool",
    run: closed.facts,
    start: clamped(start),
    end: clamped(event.time),
    corrected: !inside,
    failure: "failure" in event.result ? event.result.failure : undefined,
    callId: event.callId,
    occurrence: count.began++,
    toolName: event.toolName,
    iteration: undefined,
    inferred: false,
    incomplete: false,
    messageId: undefined,
    arguments: undefined,
    result: "output" in event.result ? event.result.output.text : undefined,
  };
}

/** The next occurrence of a call id in a segment. */
export function nextOccurrence(segment: Segment, callId: string, maxIds: number): ToolCount {
  segment.tools ??= new Map();
  segment.toolCalls += 1;
  return countOf(segment.tools, callId, maxIds);
}

function begin(
  { segment, options }: Step,
  known: Pick<Execution, "callId" | "toolName" | "start" | "corrected">,
  call: AskedCall | undefined,
): Execution {
  const count = nextOccurrence(segment, known.callId, options.maxIds);
  const execution: Execution = {
    ...known,
    occurrence: count.began++,
    iteration: segment.turn.model?.iteration,
    end: undefined,
    failure: undefined,
    arguments: call?.arguments,
    result: undefined,
    ofTurn: true,
    messageId: undefined,
  };
  if (call !== undefined) call.observed = true;
  segment.executions = append(segment.executions, execution);
  return execution;
}

function countOf(tools: Map<string, ToolCount>, callId: string, maxIds: number): ToolCount {
  let count = tools.get(callId);
  if (count === undefined) {
    if (tools.size >= maxIds) for (const oldest of tools.keys()) if (tools.delete(oldest)) break;
    tools.set(callId, (count = { began: 0, unfinished: 0 }));
  }
  return count;
}

/** The tool call of this iteration with the id, when no execution of it was seen. */
function unobservedCall(segment: Segment, callId: string): AskedCall | undefined {
  return segment.turn.calls.find((call) => call.id === callId && !call.observed);
}

/** A span of this call id left without its own finish, so what comes now is about that one. */
function isHandedOut(tools: Map<string, ToolCount> | undefined, callId: string): boolean {
  return (tools?.get(callId)?.unfinished ?? 0) > 0;
}

/** The same for a finish, which can be about it only once. */
function takeHandedOut(tools: Map<string, ToolCount> | undefined, callId: string): boolean {
  const count = tools?.get(callId);
  if (count === undefined || count.unfinished === 0) return false;
  count.unfinished -= 1;
  return true;
}

/** Finish minus duration, not before the run began. */
function startFromDuration(
  runStart: Time,
  end: Time,
  durationMs: number,
): { start: Time; corrected: boolean } {
  const start = minusMillis(end, durationMs);
  return isAfter(runStart, start) ? { start: runStart, corrected: true } : { start, corrected: false };
}
