import type { RunSpan } from "../../src/run/op.ts";
import type { ChildSpan } from "../../src/viewer/store.ts";
import { at, modelSpan, runFacts, runSpan, tokens, toolSpan } from "./span-builder.ts";

export interface SampleRun {
  readonly span: RunSpan;
  readonly children: readonly ChildSpan[];
}

/** Three tools at once, one of which fails; the run itself completes. */
export function parallelTools(): SampleRun {
  const run = runFacts({ sessionId: "5f0c8b1e-7a1b-4000-8000-00000000b001" });
  return {
    span: runSpan([0, 4210], {
      run,
      usage: tokens(3340, 812, 1100),
      iterations: 2,
      modelCalls: 2,
      toolCalls: 3,
      toolFailures: 1,
      events: 31,
    }),
    children: [
      modelSpan([12, 1193], { run, usage: tokens(1240, 356), finishReason: "tool_call" }),
      toolSpan([1210, 830], { run, callId: "call_1", toolName: "search" }),
      toolSpan([1210, 1240], {
        run,
        callId: "call_2",
        toolName: "fetch_page",
        failure: {
          errorType: "tool_failed",
          message: "connect ECONNREFUSED 10.0.0.7:443 while fetching the second page",
        },
      }),
      toolSpan([1211, 64], { run, callId: "call_3", toolName: "get_time" }),
      modelSpan([2460, 1742], { run, iteration: 1, usage: tokens(2100, 456, 1100) }),
    ],
  };
}

/** The stock runtime: tools inferred, a doom loop, and then the run fails with it. */
export function failedRun(): SampleRun {
  const run = runFacts({ runId: "018f3c1e-7a1b-7000-8000-00000000a002", agent: "support" });
  const failure = {
    errorType: "doom_loop",
    message: "doom loop detected: tool lookup_order called 3 times with the same arguments",
  };
  return {
    span: runSpan([0, 6480], {
      run,
      ending: { outcome: "failed", failure },
      failure,
      provider: "anthropic",
      model: "claude-sonnet-4-5",
      finishReason: undefined,
      iterations: undefined,
      usage: tokens(15_400, 690),
      modelCalls: 3,
      toolCalls: 3,
      events: 24,
      eventsMissing: 1,
      notices: [
        {
          name: "behest.doom_loop.detected",
          time: at(6478),
          description: "lookup_order called 3 times with the same arguments",
        },
      ],
    }),
    children: [
      modelSpan([3, 1800], {
        run,
        provider: "anthropic",
        model: "claude-sonnet-4-5",
        usage: tokens(4900, 210),
        finishReason: "tool_call",
      }),
      toolSpan([1804, 420], { run, callId: "toolu_1", toolName: "lookup_order", inferred: true }),
      modelSpan([2230, 1900], {
        run,
        iteration: 1,
        provider: "anthropic",
        model: "claude-sonnet-4-5",
        usage: tokens(5200, 240),
        finishReason: "tool_call",
      }),
      toolSpan([4131, 380], {
        run,
        callId: "toolu_2",
        toolName: "lookup_order",
        inferred: true,
        iteration: 1,
      }),
      modelSpan([4520, 1955], {
        run,
        iteration: 2,
        provider: "anthropic",
        model: "claude-sonnet-4-5",
        usage: tokens(5300, 240),
        finishReason: "tool_call",
        failure,
      }),
    ],
  };
}

/** One streamed model call and nothing else. */
export function streamedAnswer(): SampleRun {
  const run = runFacts({ runId: "018f3c1e-7a1b-7000-8000-00000000a003", agent: undefined });
  return {
    span: runSpan([0, 2360], { run, usage: tokens(310, 145), modelCalls: 1, events: 38 }),
    children: [
      modelSpan([4, 2351], {
        run,
        usage: tokens(310, 145),
        stream: true,
        chunks: 33,
        timeToFirstChunk: 0.412,
      }),
    ],
  };
}
