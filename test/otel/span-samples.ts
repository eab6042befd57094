import type { RemoteParent } from "../../src/event/event.ts";
import type { Time } from "../../src/event/time.ts";
import type { FinishedSpan, ModelSpan, RunFacts, RunSpan, ToolSpan } from "../../src/run/op.ts";

export const RUN_ID = "0192f0c1-2d3e-7f40-8a5b-6c7d8e9f0a1b";
export const SESSION_ID = "5f1e7b1e-1111-4222-8333-444455556666";
export const START: Time = [1_763_812_345, 123_456_789];
export const END: Time = [1_763_812_347, 23_456_789];

export const PARENT: RemoteParent = {
  traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
  spanId: "00f067aa0ba902b7",
  flags: 1,
  tracestate: "vendor=abc,other=def",
};

export function runFacts(over: Partial<RunFacts> = {}): RunFacts {
  return {
    runId: RUN_ID,
    segment: "",
    agent: "researcher",
    sessionId: SESSION_ID,
    parent: undefined,
    ...over,
  };
}

/** A run that completed, with everything that a completed run can have. */
export function runSpan(over: Partial<RunSpan> = {}): RunSpan {
  return {
    kind: "run",
    run: runFacts(),
    start: START,
    end: END,
    corrected: false,
    failure: undefined,
    ending: { outcome: "completed" },
    startMissing: false,
    resumedFrom: undefined,
    provider: "openai",
    model: "gpt-4o",
    finishReason: "stop",
    iterations: 2,
    usage: { input: 300, output: 60, cacheRead: 30, cacheWrite: 7 },
    modelCalls: 2,
    toolCalls: 1,
    toolFailures: 0,
    events: 140,
    eventsMissing: undefined,
    notices: [],
    noticesDropped: 0,
    ...over,
  };
}

/** A streamed call that ended with a tool call. */
export function modelSpan(over: Partial<ModelSpan> = {}): ModelSpan {
  return {
    kind: "model",
    run: runFacts(),
    start: START,
    end: END,
    corrected: false,
    failure: undefined,
    iteration: 1,
    occurrence: 0,
    provider: "openai",
    model: "gpt-4o",
    incomplete: false,
    stream: true,
    chunks: 60,
    timeToFirstChunk: 0.25,
    usage: { input: 100, output: 20, cacheRead: 10, cacheWrite: 5 },
    finishReason: "tool_call",
    contextMessages: 4,
    messageId: "9a1e7b1e-1111-4222-8333-444455556667",
    output: undefined,
    ...over,
  };
}

/** An observed execution that succeeded. */
export function toolSpan(over: Partial<ToolSpan> = {}): ToolSpan {
  return {
    kind: "tool",
    run: runFacts(),
    start: START,
    end: END,
    corrected: false,
    failure: undefined,
    callId: "call_1",
    occurrence: 0,
    toolName: "search",
    iteration: 1,
    inferred: false,
    incomplete: false,
    messageId: undefined,
    arguments: undefined,
    result: undefined,
    ...over,
  };
}

/** `count` tool spans that differ in nothing but their call id, `call_0` first. */
export function toolSpans(count: number): readonly FinishedSpan[] {
  return Array.from({ length: count }, (_, at) => toolSpan({ callId: `call_${at}` }));
}
