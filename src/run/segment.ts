import type { Around, Delta, Event } from "../event/event.ts";
import { isAfter, nanosText } from "../event/time.ts";
import { isChunkOfEarlierCall } from "./call.ts";
import type { HeartOptions } from "./limits.ts";
import type { DropReason, Op } from "./op.ts";
import { emptyTurn, type ClosedSegment, type RunRecord, type Segment } from "./state.ts";
import { lateFinish } from "./tool.ts";
import { lateUsage } from "./usage.ts";
import { NONE } from "./short-list.ts";

/** A run, or its next part, begins with this event (docs/identity.md). */
export function openSegment(record: RunRecord, event: Event, agentName: string | undefined): Segment {
  const { closed } = record;
  const { around } = event;
  const started = event.type === "RunStarted";
  // A second RunStarted of a run must not take the name of the first one's spans.
  const named = started && closed?.emptyTaken !== true;
  return {
    facts: {
      runId: record.runId,
      segment: named ? "" : nanosText(event.time),
      agent: around?.agent ?? closed?.facts.agent ?? agentName,
      sessionId: started ? event.sessionId : (around?.sessionId ?? closed?.facts.sessionId),
      parent: closed === undefined ? around?.parent : closed.facts.parent,
    },
    sealed: false,
    start: event.time,
    last: event.time,
    startMissing: !started,
    resumedFrom: closed?.firstSegment,
    corrected: false,
    provider: undefined,
    model: undefined,
    turn: emptyTurn(),
    modelCalls: 0,
    iterations: NONE,
    highestIteration: -1,
    tools: undefined,
    executions: NONE,
    openExecutions: 0,
    toolCalls: 0,
    toolFailures: 0,
    events: 0,
    usage: undefined,
    notices: NONE,
    noticesDropped: 0,
    contextMessages: undefined,
  };
}

/** The session may be named only by a later event; the agent is fixed, since metrics count by it. */
export function learn(segment: Segment, around: Around | undefined): void {
  if (around?.sessionId === undefined || segment.facts.sessionId !== undefined) return;
  segment.facts = { ...segment.facts, sessionId: around.sessionId };
}

/**
 * Whether an event of a run with a closed segment belongs to the open one, or opens the next: it
 * must be later than the closed one, and after a terminal event only the beginning of something
 * counts as going on.
 */
export function goesOn(closed: ClosedSegment, segment: Segment | undefined, event: Event): boolean {
  if (!isAfter(event.time, closed.end)) return false;
  if (segment !== undefined || !closed.final) return true;
  return event.type === "RunStarted" || event.type === "ContextBuilt" || event.type === "ModelStarted";
}

/** Whether a delta will be late when it is used, whatever is used before it. */
export function isLateAlready({ closed, segment }: RunRecord, delta: Delta, count: number): boolean {
  if (closed !== undefined && !isAfter(delta.time, closed.end)) return true;
  return segment !== undefined && isChunkOfEarlierCall(segment, delta, count);
}

/** An event of a closed segment: only tokens and a tool's finish still say something new. */
export function useLate(
  record: RunRecord,
  closed: ClosedSegment,
  event: Event,
  options: HeartOptions,
  ops: Op[],
): "used" | DropReason {
  switch (event.type) {
    case "UsageRecorded":
      lateUsage(closed.facts, undefined, record, event, ops);
      return "used";
    case "ToolExecutionFinished": {
      const span = lateFinish(record, event, options.maxIds);
      if (span === undefined) return "late";
      ops.push({ op: "span", span });
      return "used";
    }
    default:
      return "late";
  }
}
