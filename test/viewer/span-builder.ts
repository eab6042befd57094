import type { Time } from "../../src/event/time.ts";
import type {
  FinishedSpan,
  ModelSpan,
  Op,
  OpenedSpan,
  RunFacts,
  RunSpan,
  ToolSpan,
} from "../../src/run/op.ts";
import type { ChildSpan, FinishedTree } from "../../src/viewer/store.ts";

/** 2026-11-22 15:38:01.250 UTC. */
export const BASE: Time = [1_795_361_881, 250_000_000];

/** `ms` milliseconds after the base, exact to the nanosecond. */
export function at(ms: number): Time {
  const nanos = BASE[1] + Math.round(ms * 1e6);
  return [BASE[0] + Math.floor(nanos / 1e9), ((nanos % 1e9) + 1e9) % 1e9];
}

/** Start and length in milliseconds after the base. */
type Interval = readonly [start: number, length: number];

export function runFacts(facts: Partial<RunFacts> = {}): RunFacts {
  return {
    runId: "018f3c1e-7a1b-7000-8000-00000000a001",
    segment: "",
    agent: "researcher",
    sessionId: undefined,
    parent: undefined,
    ...facts,
  };
}

export function runSpan([start, length]: Interval, fields: Partial<RunSpan> = {}): RunSpan {
  return {
    kind: "run",
    run: runFacts(),
    start: at(start),
    end: at(start + length),
    corrected: false,
    failure: undefined,
    ending: { outcome: "completed" },
    startMissing: false,
    resumedFrom: undefined,
    provider: "openai",
    model: "gpt-4o",
    finishReason: "stop",
    iterations: 1,
    usage: undefined,
    modelCalls: 0,
    toolCalls: 0,
    toolFailures: 0,
    events: 0,
    eventsMissing: undefined,
    notices: [],
    noticesDropped: 0,
    ...fields,
  };
}

export function modelSpan([start, length]: Interval, fields: Partial<ModelSpan> = {}): ModelSpan {
  return {
    kind: "model",
    run: runFacts(),
    start: at(start),
    end: at(start + length),
    corrected: false,
    failure: undefined,
    iteration: 0,
    occurrence: 0,
    provider: "openai",
    model: "gpt-4o",
    incomplete: false,
    stream: false,
    chunks: 0,
    timeToFirstChunk: undefined,
    usage: undefined,
    finishReason: "stop",
    contextMessages: undefined,
    messageId: undefined,
    output: undefined,
    ...fields,
  };
}

export function toolSpan([start, length]: Interval, fields: Partial<ToolSpan> = {}): ToolSpan {
  return {
    kind: "tool",
    run: runFacts(),
    start: at(start),
    end: at(start + length),
    corrected: false,
    failure: undefined,
    callId: "call_1",
    occurrence: 0,
    toolName: "search",
    iteration: 0,
    inferred: false,
    incomplete: false,
    messageId: undefined,
    arguments: undefined,
    result: undefined,
    ...fields,
  };
}

/** Input and output tokens; cached tokens where given. */
export function tokens(input: number, output: number, cacheRead?: number, cacheWrite?: number) {
  return { input, output, cacheRead, cacheWrite };
}

export function finishedTree(span: RunSpan, children: readonly ChildSpan[] = []): FinishedTree {
  const leftOut = { modelCalls: 0, tools: 0, failed: 0, seconds: 0 };
  return { state: "finished", run: span.run, span, children, leftOut };
}

/** The ops of a whole run in the order of the heart: every span opened, children handed out before the run. */
export function opsOf(span: RunSpan, children: readonly ChildSpan[] = []): Op[] {
  const { run, start, resumedFrom } = span;
  return [
    { op: "opened", span: { kind: "run", run, start, resumedFrom } },
    ...children.flatMap((child): Op[] => [
      { op: "opened", span: openedOf(child) },
      { op: "span", span: child },
    ]),
    { op: "span", span },
  ];
}

export function openedOf(child: ChildSpan): Exclude<OpenedSpan, { kind: "run" }> {
  const { run, start, occurrence } = child;
  return child.kind === "model"
    ? { kind: "model", run, start, occurrence, iteration: child.iteration, model: child.model }
    : { kind: "tool", run, start, occurrence, callId: child.callId, toolName: child.toolName };
}

export function spanOp(span: FinishedSpan): Op {
  return { op: "span", span };
}
