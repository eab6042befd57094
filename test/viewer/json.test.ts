import { describe, expect, test } from "vitest";

import { attributesOf, noticeAttributes } from "../../src/otel/attributes.ts";
import type { FinishedSpan } from "../../src/run/op.ts";
import { jsonLine } from "../../src/viewer/json.ts";
import type { SpanIds } from "../../src/viewer/json.ts";
import type { Shown } from "../../src/viewer/store.ts";
import { failedRun, parallelTools } from "./sample-runs.ts";
import {
  at,
  finishedTree,
  modelSpan,
  openedOf,
  runFacts,
  runSpan,
  tokens,
  toolSpan,
} from "./span-builder.ts";

/** Ids that show what they were made from. */
const readableIds: SpanIds = {
  traceId: (run) => `trace of ${run.runId.slice(-4)}`,
  spanId: (_, { kind, key, occurrence }) => `${kind} ${key} ${occurrence}`,
};

const NOTHING_LEFT_OUT = { modelCalls: 0, tools: 0, failed: 0, seconds: 0 };

interface Line {
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly spans: readonly { readonly attributes: Readonly<Record<string, unknown>> }[];
}

function parsed(shown: Shown): Line {
  return JSON.parse(jsonLine(shown, readableIds)) as Line;
}

test("a finished run is one object with its spans in it", () => {
  const run = runFacts({ sessionId: "5f0c8b1e-7a1b-4000-8000-00000000b001" });
  const failure = { errorType: "tool_failed", message: "exit 1" };
  const span = runSpan([0, 412.5], {
    run,
    usage: tokens(100, 20),
    modelCalls: 1,
    toolCalls: 1,
    toolFailures: 1,
    events: 9,
  });
  const children = [
    modelSpan([1.2, 120], {
      run,
      usage: tokens(100, 20, 60, 0),
      stream: true,
      chunks: 4,
      timeToFirstChunk: 0.02,
      finishReason: "tool_call",
    }),
    toolSpan([121.2, 60.000001], { run, failure, inferred: true }),
  ];
  const common = {
    "gen_ai.conversation.id": "5f0c8b1e-7a1b-4000-8000-00000000b001",
    "gen_ai.agent.name": "researcher",
    "behest.run.id": "018f3c1e-7a1b-7000-8000-00000000a001",
  };
  expect(parsed(finishedTree(span, children))).toEqual({
    name: "invoke_agent researcher",
    state: "finished",
    run_id: "018f3c1e-7a1b-7000-8000-00000000a001",
    session_id: "5f0c8b1e-7a1b-4000-8000-00000000b001",
    agent: "researcher",
    trace_id: "trace of a001",
    span_id: "run  0",
    start_time: "2026-11-22T15:38:01.250000000Z",
    end_time: "2026-11-22T15:38:01.662500000Z",
    duration_seconds: 0.4125,
    outcome: "completed",
    attributes: {
      ...common,
      "gen_ai.operation.name": "invoke_agent",
      "gen_ai.provider.name": "openai",
      "behest.run.model": "gpt-4o",
      "behest.run.outcome": "completed",
      "behest.run.finish_reason": "stop",
      "behest.run.iterations": 1,
      "behest.run.usage.input_tokens": 100,
      "behest.run.usage.output_tokens": 20,
      "behest.run.model_calls": 1,
      "behest.run.tool_calls": 1,
      "behest.run.tool_failures": 1,
      "behest.run.events": 9,
    },
    events: [],
    spans: [
      {
        name: "chat gpt-4o",
        span_id: "model 0 0",
        start_time: "2026-11-22T15:38:01.251200000Z",
        end_time: "2026-11-22T15:38:01.371200000Z",
        duration_seconds: 0.12,
        attributes: {
          ...common,
          "gen_ai.operation.name": "chat",
          "gen_ai.provider.name": "openai",
          "gen_ai.request.model": "gpt-4o",
          "gen_ai.request.stream": true,
          "gen_ai.usage.input_tokens": 100,
          "gen_ai.usage.output_tokens": 20,
          "gen_ai.usage.cache_read.input_tokens": 60,
          "gen_ai.usage.cache_creation.input_tokens": 0,
          "gen_ai.response.finish_reasons": ["tool_call"],
          "gen_ai.response.time_to_first_chunk": 0.02,
          "behest.run.iteration": 0,
          "behest.response.chunks": 4,
        },
      },
      {
        name: "execute_tool search",
        span_id: "tool call_1 0",
        start_time: "2026-11-22T15:38:01.371200000Z",
        end_time: "2026-11-22T15:38:01.431200001Z",
        duration_seconds: 0.060000001,
        error: { type: "tool_failed", message: "exit 1" },
        attributes: {
          ...common,
          "error.type": "tool_failed",
          "gen_ai.operation.name": "execute_tool",
          "gen_ai.tool.name": "search",
          "gen_ai.tool.call.id": "call_1",
          "gen_ai.tool.type": "function",
          "behest.run.iteration": 0,
          "behest.span.inferred": true,
        },
      },
    ],
  });
});

test("an open run has no end, and neither have its open spans", () => {
  const tree: Shown = {
    state: "open",
    run: runFacts(),
    start: at(0),
    latest: at(50),
    resumedFrom: "",
    children: [modelSpan([1, 10]), toolSpan([20, 5], { callId: "call_2" })],
    openChildren: [openedOf(toolSpan([12, 0])), openedOf(modelSpan([50, 0], { iteration: 1 }))],
    notices: [],
    leftOut: NOTHING_LEFT_OUT,
  };
  const line = parsed(tree);
  expect(line).toMatchObject({ state: "open", attributes: { "behest.run.resumed": true } });
  expect(line).not.toHaveProperty("end_time");
  expect(line.spans).toHaveLength(4);
  expect(line.spans[0]).toHaveProperty("end_time");
  expect(line.spans[1]).toMatchObject({ name: "execute_tool search", span_id: "tool call_1 0" });
  expect(line.spans[1]).not.toHaveProperty("end_time");
  expect(line.spans[2]).toMatchObject({ span_id: "tool call_2 0", duration_seconds: 0.005 });
  expect(line.spans[3]).toMatchObject({ name: "chat gpt-4o", attributes: { "behest.run.iteration": 1 } });
});

test("a late tool is a line of its own with the run around it", () => {
  const line = parsed({ state: "late", run: runFacts(), span: toolSpan([0, 10]) });
  expect(line).toMatchObject({
    state: "late",
    trace_id: "trace of a001",
    spans: [{ span_id: "tool call_1 0" }],
  });
});

test("what was left out, where the run hangs and why it is incomplete are told", () => {
  const run = runFacts({
    segment: "1795361881250000000",
    parent: { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7", flags: 1 },
  });
  const span = runSpan([0, 1], { run, ending: { outcome: "incomplete", reason: "drained" } });
  const leftOut = { modelCalls: 1, tools: 2, failed: 1, seconds: 0.5 };
  expect(parsed({ ...finishedTree(span), leftOut })).toMatchObject({
    segment: "1795361881250000000",
    parent_span_id: "00f067aa0ba902b7",
    outcome: "incomplete",
    incomplete_reason: "drained",
    spans_left_out: { model_calls: 1, tools: 2, failed: 1, duration_seconds: 0.5 },
  });
});

describe("names are those of the exported spans", () => {
  const rules = { semconv: "released", value: { unit: "bytes", max: 16_384 } } as const;

  /** With everything set that can be, contents aside: on spans those are of the conventions' form. */
  const full = {
    run: runSpan([0, 1], {
      run: runFacts({ sessionId: "s1" }),
      corrected: true,
      failure: { errorType: "doom_loop", message: "m" },
      ending: { outcome: "incomplete", reason: "expired" },
      startMissing: true,
      resumedFrom: "",
      usage: tokens(1, 2, 3, 4),
      eventsMissing: 1,
    }),
    model: modelSpan([0, 1], {
      run: runFacts({ sessionId: "s1" }),
      corrected: true,
      failure: { errorType: "provider_timeout", message: undefined },
      incomplete: true,
      stream: true,
      chunks: 2,
      timeToFirstChunk: 0.1,
      usage: tokens(1, 2, 3, 4),
      contextMessages: 3,
      messageId: "m1",
    }),
    tool: toolSpan([0, 1], {
      run: runFacts({ sessionId: "s1" }),
      corrected: true,
      failure: { errorType: "tool_failed", message: undefined },
      inferred: true,
      incomplete: true,
      messageId: "m1",
      arguments: "{}",
      result: "[]",
    }),
  };

  function exported(span: FinishedSpan): unknown {
    return { ...attributesOf(span, rules) };
  }

  test("of a run", () => {
    expect(parsed(finishedTree(full.run)).attributes).toEqual(exported(full.run));
  });

  test("of a model call", () => {
    expect(parsed(finishedTree(full.run, [full.model])).spans[0]?.attributes).toEqual(exported(full.model));
  });

  test("of a tool execution", () => {
    expect(parsed(finishedTree(full.run, [full.tool])).spans[0]?.attributes).toEqual(exported(full.tool));
  });

  test("of notices", () => {
    const notices = [
      { name: "behest.doom_loop.detected", time: at(1), description: "three times the same" },
      { name: "behest.compaction.circuit_opened", time: at(2), consecutiveFailures: 3 },
    ] as const;
    expect(parsed(finishedTree(runSpan([0, 3], { notices })))).toMatchObject({
      events: notices.map((notice) => ({
        name: notice.name,
        attributes: noticeAttributes(notice, rules.value),
      })),
    });
  });
});

test("a line is one line and safe to print", () => {
  const run = runFacts({ agent: "a\x1b[2J\n\x9b31m\u2028\u202E\x7f" });
  for (const { span, children } of [parallelTools(), failedRun()]) {
    const line = jsonLine(finishedTree({ ...span, run }, children), readableIds);
    expect(line).not.toMatch(/[\p{Cc}\u2028-\u202e]/u);
    expect(JSON.parse(line)).toMatchObject({ agent: run.agent });
  }
});
