import type { Event } from "../../src/event/event.ts";
import {
  earlierOf,
  isAfter,
  laterOf,
  minusMillis,
  nanosText,
  toMillis,
  type Time,
} from "../../src/event/time.ts";
import type { Ending, FinishedSpan, Notice, RunFacts, ToolSpan } from "../../src/run/op.ts";
import { blankTool, executionsOf, toolsOf } from "./reference-tools.ts";
import { modelsOf, of, providerName, sum, turnsOf } from "./reference-turns.ts";

/**
 * What an undisturbed run must give, worked out from the rules of docs/spans.md over the whole list of its events at
 * once, where the heart works event by event. Knows nothing of duplicates, order, limits or faults.
 */
export interface Expected {
  readonly spans: FinishedSpan[];
  /** Usage that counts without a model call of its own. */
  readonly lateUsage: { readonly input: number; readonly output: number }[];
  used: number;
  late: number;
}

export interface Silences {
  readonly runIdleMs: number;
  readonly toolIdleMs: number;
  readonly rememberMs: number;
}
/** A segment that is over. */
interface Part {
  readonly run: RunFacts;
  readonly first: string;
  readonly start: Time;
  readonly end: Time;
  readonly final: boolean;
  readonly startedSeen: boolean;
  /** Spans per call id, and how many of them never saw their own finish. */
  readonly tools: ToolSpan[];
}

const EXPIRED: Ending = { outcome: "incomplete", reason: "expired" };

export function referenceOf(events: readonly Event[], silences: Silences): Expected {
  const expected: Expected = { spans: [], lateUsage: [], used: 0, late: 0 };
  let before: Part | undefined;
  let open: Event[] = [];
  const close = (ending: Ending) => {
    before = partOf(open, ending, before, expected);
    open = [];
  };
  for (const event of events) {
    const last = open.at(-1);
    if (last !== undefined) {
      const idleMs = executionsOf(open).some((each) => each.end === undefined)
        ? silences.toolIdleMs
        : silences.runIdleMs;
      if (toMillis(event.time) - toMillis(last.time) >= idleMs) close(EXPIRED);
    }
    if (before !== undefined && open.length === 0) {
      if (toMillis(event.time) - toMillis(before.end) >= silences.rememberMs) before = undefined;
      else if (!opensNext(before, event)) {
        tooLate(before, event, expected);
        continue;
      }
    }
    open.push(event);
    expected.used += 1;
    const ending = endingOf(event);
    if (ending !== undefined) close(ending);
  }
  if (open.length > 0) close(EXPIRED);
  return expected;
}

function opensNext({ final, end }: Part, event: Event): boolean {
  if (!isAfter(event.time, end)) return false;
  return !final || ["RunStarted", "ContextBuilt", "ModelStarted"].includes(event.type);
}

function endingOf(event: Event): Ending | undefined {
  if (event.type === "RunFailed") return { outcome: "failed", failure: event.failure };
  if (event.type === "RunCancelled") return { outcome: "cancelled" };
  if (event.type !== "RunCompleted") return undefined;
  if (event.finishReason !== "error") return { outcome: "completed" };
  return { outcome: "failed", failure: { errorType: "model_error", message: undefined } };
}

function tooLate(part: Part, event: Event, expected: Expected): void {
  if (event.type === "UsageRecorded") {
    expected.lateUsage.push(event.usage);
    expected.used += 1;
    return;
  }
  const unfinished = part.tools.filter(
    (span) =>
      event.type === "ToolExecutionFinished" &&
      span.callId === event.callId &&
      (span.inferred || span.incomplete),
  );
  if (event.type !== "ToolExecutionFinished" || unfinished.length > 0) {
    expected.late += 1;
    return;
  }
  const clamped = (time: Time) => laterOf(part.start, earlierOf(time, part.end));
  expected.used += 1;
  const span: ToolSpan = {
    ...blankTool(part.run, event),
    occurrence: part.tools.filter(({ callId }) => callId === event.callId).length,
    start: clamped(minusMillis(event.time, event.durationMs)),
    end: clamped(event.time),
    corrected: true,
    failure: "failure" in event.result ? event.result.failure : undefined,
  };
  expected.spans.push(span);
  part.tools.push(span);
}

function partOf(
  events: readonly Event[],
  ending: Ending,
  before: Part | undefined,
  expected: Expected,
): Part {
  const first = events[0]!;
  const end = events.at(-1)!.time;
  const started = of(events, "RunStarted").at(0);
  const named = first.type === "RunStarted" && before?.startedSeen !== true;
  const run: RunFacts = {
    runId: first.runId,
    segment: named ? "" : nanosText(first.time),
    agent: undefined,
    sessionId: started?.sessionId ?? before?.run.sessionId,
    parent: undefined,
  };
  const turns = turnsOf(events);
  const tools = toolsOf(run, { events, turns, ending, end });
  const models = modelsOf(run, { turns, ending, end });
  const completion = of(events, "RunCompleted").at(0);
  const starts = turns.flatMap(({ model }) => model ?? []);
  const named1 = events.find((event) => event.type === "RunStarted" || event.type === "ModelStarted");
  expected.spans.push(...models, ...tools, {
    kind: "run",
    run,
    start: first.time,
    end,
    corrected: false,
    failure: runFailure(ending),
    ending,
    startMissing: first.type !== "RunStarted",
    resumedFrom: before?.first,
    provider: named1 && providerName(named1),
    model: named1?.model,
    finishReason: completion?.finishReason,
    iterations:
      completion?.iterations ??
      (starts.length > 0 ? Math.max(...starts.map((each) => each.iteration)) : undefined),
    usage: sum(models.map(({ usage }) => usage)),
    modelCalls: models.length,
    toolCalls: tools.length,
    toolFailures: tools.filter((span) => !span.incomplete && span.failure !== undefined).length,
    events: events.length,
    eventsMissing: undefined,
    notices: noticesOf(events),
    noticesDropped: 0,
  });
  return {
    run,
    first: before?.first ?? run.segment,
    start: first.time,
    end,
    final: ending.outcome !== "incomplete",
    startedSeen: named || before?.startedSeen === true,
    tools,
  };
}

function runFailure(ending: Ending) {
  if (ending.outcome === "failed") return ending.failure;
  return ending.outcome === "incomplete" ? { errorType: "run_expired", message: undefined } : undefined;
}

function noticesOf(events: readonly Event[]): Notice[] {
  return events.flatMap((event): Notice[] => {
    if (event.type === "DoomLoopDetected") {
      return [{ name: "behest.doom_loop.detected", time: event.time, description: event.description.text }];
    }
    if (event.type !== "CompactionCircuitOpened") return [];
    const { consecutiveFailures, time } = event;
    return [{ name: "behest.compaction.circuit_opened", time, consecutiveFailures }];
  });
}

/** An iteration: what comes from one ModelStarted up to the next. The first one has what comes before. */
