import type {
  ContextBuilt,
  Event,
  MessageCommitted,
  ModelStarted,
  RunStarted,
  ToolCallCompleted,
  ToolCallStarted,
} from "../event/event.ts";
import { isAfter, isSame } from "../event/time.ts";
import { endCall, isBeforeCall, isOfEarlierCall } from "./call.ts";
import { ageDeltas } from "./hash-memory.ts";
import type { Notice } from "./op.ts";
import { providerOf } from "./provider.ts";
import { takeChunk } from "./chunk.ts";
import { append } from "./short-list.ts";
import { emptyTurn, type Moment, type Segment } from "./state.ts";
import type { Fate, Step } from "./step.ts";
import { finishTool, startTool } from "./tool.ts";
import { closeTurn } from "./turn.ts";
import { recordCache, recordUsage } from "./usage.ts";

/** Carries one event into an open segment. What each type means; deltas mostly come by `useDelta`. */
export function transition(step: Step, event: Event): Fate {
  const { segment, moment } = step;
  switch (event.type) {
    case "RunStarted":
      return startRun(step, event);
    case "ContextBuilt":
      return buildContext(step, event);
    case "ModelStarted":
      return startModel(step, event);
    case "ToolCallStarted":
      return announceToolCall(step, event);
    case "TextDelta":
    case "ToolCallDelta":
      return takeChunk(step.options, segment, event, step.count, moment.at, step.ops);
    case "ToolCallCompleted":
      return completeToolCall(step, event);
    case "ToolExecutionStarted": {
      const fate = startTool(step, event);
      if (fate === "used" && !isBeforeCall(step.segment, event, step.count)) endCall(step, "tool");
      return fate;
    }
    case "ToolExecutionFinished":
      return finishTool(step, event);
    case "AssistantMessageCommitted":
      return commitAssistant(step, event);
    case "ToolMessageCommitted":
      return commitTool(step, event);
    case "UsageRecorded":
      return recordUsage(step, event);
    case "CacheMetrics":
      return recordCache(step, event);
    case "DoomLoopDetected":
      segment.turn.doomLoop = true;
      return note(step, {
        name: "behest.doom_loop.detected",
        time: moment.at,
        description: event.description.text,
      });
    case "CompactionCircuitOpened":
      return note(step, {
        name: "behest.compaction.circuit_opened",
        time: moment.at,
        consecutiveFailures: event.consecutiveFailures,
      });
    case "RunCompleted":
      touchOpen(step);
      endCall(step, "completed");
      return event.finishReason === "error"
        ? { outcome: "failed", failure: { errorType: "model_error", message: undefined } }
        : { outcome: "completed" };
    case "RunFailed":
      touchOpen(step);
      return { outcome: "failed", failure: event.failure };
    case "RunCancelled":
      touchOpen(step);
      return { outcome: "cancelled" };
  }
}

/** A RunStarted inside a segment: it was late, or says again what is known. */
function startRun(step: Step, event: RunStarted): Fate {
  const { segment, record } = step;
  touchRun(step);
  if (segment.startMissing || segment.provider === undefined) {
    segment.provider = providerOf(event.provider, event.model, step.options.providers);
    segment.model = event.model;
  }
  if (!segment.sealed && segment.startMissing && record.closed?.emptyTaken !== true) {
    segment.facts = {
      ...segment.facts,
      segment: "",
      sessionId: event.sessionId,
      // All segments of a run are in one trace.
      parent:
        record.closed === undefined ? (event.around?.parent ?? segment.facts.parent) : segment.facts.parent,
    };
    segment.startMissing = false;
    if (!isSame(event.time, segment.start)) segment.corrected = true;
  } else if (segment.facts.sessionId === undefined) {
    segment.facts = { ...segment.facts, sessionId: event.sessionId };
  }
  return "used";
}

/** What the model will be asked with; of a call that has begun already when it was late. */
function buildContext(step: Step, event: ContextBuilt): Fate {
  const { segment } = step;
  const call = segment.turn.model;
  touchRun(step);
  if (call !== undefined && isBeforeCall(step.segment, event, step.count)) {
    call.contextMessages ??= event.messageCount;
    return "used";
  }
  segment.contextMessages = event.messageCount;
  endCall(step, "next");
  return "used";
}

function startModel(step: Step, event: ModelStarted): Fate {
  const { segment, record, options, moment } = step;
  endCall(step, "next");
  closeTurn(segment, undefined, options, step.ops);
  segment.turn = emptyTurn();
  ageDeltas(record.hashes, event.time, options.maxHashes);
  const provider = providerOf(event.provider, event.model, options.providers);
  const occurrence = occurrenceOf(segment, event.iteration);
  segment.modelCalls += 1;
  segment.iterations = append(segment.iterations, event.iteration);
  if (segment.iterations.length > options.maxIds) segment.iterations.shift();
  segment.highestIteration = Math.max(segment.highestIteration, event.iteration);
  segment.provider ??= provider;
  segment.model ??= event.model;
  segment.turn.model = {
    iteration: event.iteration,
    occurrence,
    provider,
    model: event.model,
    start: moment.at,
    startedAt: event.time,
    startedSeq: event.around?.seq,
    startedCount: step.count,
    end: undefined,
    corrected: moment.raised,
    lastOutput: undefined,
    textDeltas: 0,
    toolChunks: 0,
    timeToFirstChunk: undefined,
    lastChunk: undefined,
    usage: undefined,
    lacksRead: false,
    lacksWrite: false,
    earlyCache: undefined,
    messageId: undefined,
    contextMessages: segment.contextMessages,
    text: undefined,
  };
  segment.contextMessages = undefined;
  step.ops.push({
    op: "opened",
    span: {
      kind: "model",
      run: segment.facts,
      start: moment.at,
      iteration: event.iteration,
      occurrence,
      model: event.model,
    },
  });
  return "used";
}

/** How often the iteration was begun before in this segment. */
function occurrenceOf(segment: Segment, iteration: number): number {
  if (iteration > segment.highestIteration) return 0;
  return segment.iterations.filter((each) => each === iteration).length;
}

/** A streamed tool call begins; its ToolCallCompleted may never come. */
function announceToolCall(step: Step, event: ToolCallStarted): Fate {
  const { options, segment, count, moment, ops } = step;
  const fate = takeChunk(options, segment, event, count, moment.at, ops);
  const { calls } = segment.turn;
  if (fate === "late" || calls.length >= options.maxTools) return fate;
  const { callId: id, toolName: name } = event;
  if (calls.some((call) => call.id === id)) return fate;
  const observed = segment.executions.some((each) => each.ofTurn && each.callId === id);
  segment.turn.calls = append(calls, { id, name, arguments: undefined, completed: false, observed });
  return fate;
}

function completeToolCall(step: Step, event: ToolCallCompleted): Fate {
  const { turn, executions } = step.segment;
  const { model } = turn;
  if (isOfEarlierCall(step.segment, event, step.count)) return "late";
  const earlier = turn.calls.findIndex((call) => call.id === event.callId);
  if (earlier < 0 && turn.calls.length >= step.options.maxTools) return "limit";
  if (model !== undefined) {
    if (step.moment.raised) model.corrected = true;
    model.lastOutput = step.moment.at;
  }
  const [again] = earlier < 0 ? [] : turn.calls.splice(earlier, 1);
  // Its execution may have come before it.
  const execution = executions.find((each) => each.ofTurn && each.callId === event.callId);
  if (execution !== undefined) execution.arguments ??= event.arguments.text;
  turn.calls = append(turn.calls, {
    id: event.callId,
    name: event.toolName,
    arguments: event.arguments.text,
    completed: true,
    observed: again?.observed ?? execution !== undefined,
  });
  return "used";
}

function commitAssistant(step: Step, event: MessageCommitted): Fate {
  const { turn } = step.segment;
  if (isOfEarlierCall(step.segment, event, step.count)) return "late";
  turn.assistant ??= step.moment;
  if (turn.model !== undefined) {
    turn.model.messageId ??= event.messageId;
    if (step.moment.raised) turn.model.corrected = true;
  }
  endCall(step, "message");
  return "used";
}

function commitTool(step: Step, event: MessageCommitted): Fate {
  const { turn } = step.segment;
  if (isOfEarlierCall(step.segment, event, step.count)) return "late";
  endCall(step, "tool");
  if (turn.firstToolMessage === undefined || isBeforeAssistant(turn.firstToolMessage, turn.assistant)) {
    turn.firstToolMessage = step.moment;
  }
  turn.toolMessageCount += 1;
  if (turn.toolMessages.length < step.options.maxTools) {
    turn.toolMessages = append(turn.toolMessages, event.messageId);
  }
  return "used";
}

/** The window of inferred tools ends with the first tool message *after* the assistant's. */
function isBeforeAssistant(first: Moment, assistant: Moment | undefined): boolean {
  return assistant !== undefined && isAfter(assistant.at, first.at);
}

function note(step: Step, notice: Notice): Fate {
  const { segment, ops, options } = step;
  touchRun(step);
  if (segment.notices.length < options.maxNotices) segment.notices = append(segment.notices, notice);
  else segment.noticesDropped += 1;
  ops.push({ op: "notice", run: segment.facts, notice });
  return "used";
}

/** A raised time marks the span it touches; these events touch the run's own span. */
function touchRun(step: Step): void {
  if (step.moment.raised) step.segment.corrected = true;
}

/** The end of a run touches all that ends with it. */
function touchOpen(step: Step): void {
  const { moment, segment } = step;
  if (!moment.raised) return;
  segment.corrected = true;
  const { model } = segment.turn;
  if (model !== undefined && model.end === undefined) model.corrected = true;
  for (const execution of segment.executions) if (execution.end === undefined) execution.corrected = true;
}
