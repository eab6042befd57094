import { isAfter, type Time } from "../event/time.ts";
import type { HeartOptions } from "./limits.ts";
import type { Ending, Op, RunSpan } from "./op.ts";
import type { RunRecord, Segment, ToolCount } from "./state.ts";
import { toolSpan } from "./tool.ts";
import { closeTurn, failureOfOpen, type LastTurn } from "./turn.ts";
import { NONE } from "./short-list.ts";

/** What RunCompleted says beside the outcome. */
export interface Completion {
  readonly finishReason: string;
  readonly iterations: number;
}

/**
 * Ends a run's open segment: hands out everything in it, children first, the run's own span last,
 * and leaves behind what later events need. The one way a segment leaves memory.
 */
export function closeSegment(
  record: RunRecord,
  segment: Segment,
  ending: Ending,
  completion: Completion | undefined,
  closedMs: number,
  options: HeartOptions,
  ops: Op[],
): void {
  const end = segment.last;
  const last = { ending, finishReason: completion?.finishReason, end };
  closeTurn(segment, last, options, ops);
  handOutOpen(segment, last, ops);
  ops.push({ op: "span", span: runSpan(record, segment, ending, completion) });
  record.closed = {
    facts: segment.facts,
    firstSegment: segment.resumedFrom ?? segment.facts.segment,
    emptyTaken: segment.facts.segment === "" || record.closed?.emptyTaken === true,
    start: segment.start,
    end,
    final: isFinal(ending),
    closedMs,
    provider: segment.turn.model?.provider ?? segment.provider,
    model: segment.turn.model?.model ?? segment.model,
    tools: segment.tools,
  };
  record.segment = undefined;
  record.missing = 0;
}

/** Only what was stopped by silence or by us may go on with any event. */
function isFinal(ending: Ending): boolean {
  return ending.outcome !== "incomplete" || ending.reason === "faulted";
}

/** Executions that never finished, as far as was seen. */
function handOutOpen(segment: Segment, last: LastTurn, ops: Op[]): void {
  for (const execution of segment.executions) {
    const count: ToolCount | undefined = segment.tools?.get(execution.callId);
    if (count !== undefined) count.unfinished += 1;
    // RunCompleted says something of the model only.
    execution.failure = last.finishReason === undefined ? failureOfOpen(last.ending) : undefined;
    ops.push({ op: "span", span: toolSpan(segment.facts, execution, last.end, true) });
  }
  segment.executions = NONE;
}

function runSpan(
  record: RunRecord,
  segment: Segment,
  ending: Ending,
  completion: Completion | undefined,
): RunSpan {
  const iterations = completion?.iterations ?? segment.highestIteration;
  return {
    kind: "run",
    run: segment.facts,
    start: segment.start,
    end: notBefore(segment.last, segment.start),
    corrected: segment.corrected,
    failure: runFailure(ending),
    ending,
    startMissing: segment.startMissing,
    resumedFrom: segment.resumedFrom,
    provider: segment.provider?.name,
    model: segment.model,
    finishReason: completion?.finishReason,
    iterations: iterations < 0 ? undefined : iterations,
    usage: segment.usage,
    modelCalls: segment.modelCalls,
    toolCalls: segment.toolCalls,
    toolFailures: segment.toolFailures,
    events: segment.events,
    eventsMissing: record.missing > 0 ? record.missing : undefined,
    notices: segment.notices,
    noticesDropped: segment.noticesDropped,
  };
}

function runFailure(ending: Ending): RunSpan["failure"] {
  if (ending.outcome === "failed") return ending.failure;
  if (ending.outcome === "incomplete" && ending.reason === "expired") {
    return { errorType: "run_expired", message: undefined };
  }
  return undefined;
}

function notBefore(time: Time, least: Time): Time {
  return isAfter(least, time) ? least : time;
}
