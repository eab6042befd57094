import { describe, expect, test } from "vitest";

import { failedRun, parallelTools, streamedAnswer } from "./sample-runs.ts";
import { below, shown, treeOf } from "./shown-text.ts";
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

describe("a finished run", () => {
  test("tools at the same time stand below each other, one failure marks only itself", () => {
    expect(shown(treeOf(parallelTools()))).toBe(`
run      018f3c1e-7a1b-7000-8000-00000000a001
session  5f0c8b1e-7a1b-4000-8000-00000000b001
started  2026-11-22 15:38:01.250 UTC · openai gpt-4o
outcome  completed · 2 model calls · 3 tool calls, 1 failed · 31 events

✓ invoke_agent researcher     4.21s  ━━━━━━━━━━━━━━━  3.3k→812 tok · 1.1k cached
├─ ✓ chat gpt-4o              1.19s  ━━━━╸            1.2k→356 tok
├─ ✓ execute_tool search      830ms      ╺━━╸
├─ ✗ execute_tool fetch_page  1.24s      ╺━━━╸
│    tool_failed: connect ECONNREFUSED 10.0.0.7:443 while fetching the second
│    page
├─ ✓ execute_tool get_time     64ms      ╺
└─ ✓ chat gpt-4o              1.74s           ━━━━━━  2.1k→456 tok · 1.1k cached
`);
  });

  test("a failure is told on the run and only named on the model call that it struck", () => {
    expect(shown(treeOf(failedRun()))).toBe(`
run      018f3c1e-7a1b-7000-8000-00000000a002
started  2026-11-22 15:38:01.250 UTC · anthropic claude-sonnet-4-5
outcome  failed · 3 model calls · 3 tool calls · 24 events, 1 missing

✗ invoke_agent support          6.48s  ━━━━━━━━━━━━━━━   15k→690 tok
│  doom_loop: doom loop detected: tool lookup_order called 3 times with the same
│  arguments
├─ ✓ chat claude-sonnet-4-5     1.80s  ━━━━             4.9k→210 tok
├─ ~ execute_tool lookup_order  420ms      ╍            inferred
├─ ✓ chat claude-sonnet-4-5     1.90s       ━━━━╸       5.2k→240 tok
├─ ~ execute_tool lookup_order  380ms           ╍╍      inferred
├─ ✗ chat claude-sonnet-4-5     1.96s            ╺━━━━  5.3k→240 tok · doom_loop
└─ ! doom loop detected                              !
     lookup_order called 3 times with the same arguments
`);
  });

  test("a streamed answer shows its first chunk", () => {
    expect(shown(treeOf(streamedAnswer()))).toBe(`
run      018f3c1e-7a1b-7000-8000-00000000a003
started  2026-11-22 15:38:01.250 UTC · openai gpt-4o
outcome  completed · 1 model call · 38 events

✓ invoke_agent    2.36s  ━━━━━━━━━━━━━━━━━━━━━━  310→145 tok
└─ ✓ chat gpt-4o  2.35s  ━━━━━━━━━━━━━━━━━━━━━━  310→145 tok · first chunk 412ms
`);
  });

  test("on a narrow terminal names are short and facts stand below", () => {
    expect(shown(treeOf(parallelTools()), { width: 40 })).toBe(`
run
  018f3c1e-7a1b-7000-8000-00000000a001
session
  5f0c8b1e-7a1b-4000-8000-00000000b001
started
  2026-11-22 15:38:01.250 UTC
  openai gpt-4o
outcome
  completed · 2 model calls
  3 tool calls, 1 failed · 31 events

✓ agent researcher    4.21s  ━━━━━━━━━━━
│  3.3k→812 tok · 1.1k cached
├─ ✓ chat gpt-4o      1.19s  ━━━
│    1.2k→356 tok
├─ ✓ tool search      830ms     ━━╸
├─ ✗ tool fetch_page  1.24s     ━━━╸
│    tool_failed: connect ECONNREFUSED
│    10.0.0.7:443 while fetching the
│    second page
├─ ✓ tool get_time     64ms     ╸
└─ ✓ chat gpt-4o      1.74s        ╺━━━━
     2.1k→456 tok · 1.1k cached
`);
  });

  test("on a wide terminal nothing is wrapped", () => {
    expect(shown(treeOf(parallelTools()), { width: 200 })).toBe(`
run      018f3c1e-7a1b-7000-8000-00000000a001
session  5f0c8b1e-7a1b-4000-8000-00000000b001
started  2026-11-22 15:38:01.250 UTC · openai gpt-4o
outcome  completed · 2 model calls · 3 tool calls, 1 failed · 31 events

✓ invoke_agent researcher     4.21s  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  3.3k→812 tok · 1.1k cached
├─ ✓ chat gpt-4o              1.19s  ╺━━━━━━━━━━━━━━━━━━━━━━━━━                                                                  1.2k→356 tok
├─ ✓ execute_tool search      830ms                            ━━━━━━━━━━━━━━━━━╸
├─ ✗ execute_tool fetch_page  1.24s                            ━━━━━━━━━━━━━━━━━━━━━━━━━━╸
│    tool_failed: connect ECONNREFUSED 10.0.0.7:443 while fetching the second page
├─ ✓ execute_tool get_time     64ms                            ━╸
└─ ✓ chat gpt-4o              1.74s                                                      ╺━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  2.1k→456 tok · 1.1k cached
`);
  });

  test("without Unicode everything is ASCII", () => {
    expect(shown(treeOf(parallelTools()), { unicode: false })).toBe(`
run      018f3c1e-7a1b-7000-8000-00000000a001
session  5f0c8b1e-7a1b-4000-8000-00000000b001
started  2026-11-22 15:38:01.250 UTC, openai gpt-4o
outcome  completed, 2 model calls, 3 tool calls, 1 failed, 31 events

+ invoke_agent researcher     4.21s  ==============  3.3k->812 tok, 1.1k cached
|- + chat gpt-4o              1.19s  ====            1.2k->356 tok
|- + execute_tool search      830ms      ===
|- x execute_tool fetch_page  1.24s      ====
|    tool_failed: connect ECONNREFUSED 10.0.0.7:443 while fetching the second
|    page
|- + execute_tool get_time     64ms      =
\`- + chat gpt-4o              1.74s          ======  2.1k->456 tok, 1.1k cached
`);
  });
});

describe("marks and facts", () => {
  test("a cancelled run has its own mark, and so has what was cut off", () => {
    const failure = { errorType: "cancelled", message: undefined };
    const span = runSpan([0, 1500], { ending: { outcome: "cancelled" }, finishReason: undefined });
    const children = [
      modelSpan([1, 700], { finishReason: "tool_call" }),
      toolSpan([702, 798], { failure, incomplete: true }),
    ];
    expect(below(finishedTree(span, children))).toBe(`
⊘ invoke_agent researcher  1.50s  ━━━━━━━━━━━━━━━━━━━━
├─ ✓ chat gpt-4o           700ms  ━━━━━━━━━╸
└─ ⊘ execute_tool search   798ms           ╍╍╍╍╍╍╍╍╍╍╍  cancelled · end not seen
`);
  });

  test("a run that expired says everything that is wrong with it", () => {
    const span = runSpan([0, 65_000], {
      run: runFacts({
        segment: "1795361881250000000",
        parent: { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7", flags: 1 },
      }),
      resumedFrom: "",
      startMissing: true,
      corrected: true,
      eventsMissing: 12,
      noticesDropped: 3,
      ending: { outcome: "incomplete", reason: "expired" },
      failure: { errorType: "run_expired", message: "no event for 600 s" },
      finishReason: undefined,
      modelCalls: 2,
      toolCalls: 1,
      events: 1234,
      usage: tokens(2_000_000, 1000, 1_500_000, 300),
      notices: [{ name: "behest.compaction.circuit_opened", time: at(30_000), consecutiveFailures: 3 }],
    });
    const children = [
      modelSpan([1, 20_000], {
        finishReason: "length",
        usage: tokens(1_000_000, 500, 1_000_000, 300),
        stream: true,
        chunks: 3,
        timeToFirstChunk: 1.5,
        corrected: true,
      }),
      modelSpan([20_001, 5000], { occurrence: 1, incomplete: true, finishReason: "error" }),
      toolSpan([30_000, 30_000], { toolName: "fetch_page", inferred: true, incomplete: true }),
    ];
    expect(shown(finishedTree(span, children))).toBe(`
run      018f3c1e-7a1b-7000-8000-00000000a001
trace    4bf92f3577b34da6a3ce929d0e0e4736
started  2026-11-22 15:38:01.250 UTC · openai gpt-4o
outcome  incomplete: went silent · 2 model calls · 1 tool call
         1,234 events, 12 missing

… invoke_agent researcher       1m 05s  ╍╍╍╍╍╍╍╍╍╍╍╍╍╍╍  2.0M→1.0k tok
│  1.5M cached · 300 to cache · resumed · start not seen · clock corrected
│  3 more notices
│  run_expired: no event for 600 s
├─ ✓ chat gpt-4o                 20.0s  ━━━━╸            1.0M→500 tok
│    1.0M cached · 300 to cache · finish length · first chunk 1.50s
│    clock corrected
├─ … chat gpt-4o #2              5.00s      ╍╍           end not seen
├─ … execute_tool fetch_page     30.0s         ╍╍╍╍╍╍╍   inferred · end not seen
└─ ! compaction circuit opened                 !         3 failures in a row
`);
  });

  test.each([
    ["expired", "incomplete: went silent"],
    ["evicted", "incomplete: too many runs open"],
    ["drained", "incomplete: input ended"],
    ["faulted", "incomplete: bug in behest-otel"],
  ] as const)("%s is told in words: %s", (reason, words) => {
    const span = runSpan([0, 10], { ending: { outcome: "incomplete", reason }, finishReason: undefined });
    expect(shown(finishedTree(span))).toContain(`outcome  ${words} · `);
  });

  test("an unusual finish reason stands beside the outcome", () => {
    const span = runSpan([0, 10], { finishReason: "pause_turn" });
    expect(shown(finishedTree(span))).toContain("outcome  completed, finish pause_turn · ");
  });

  test("an error without a message is one word beside the bar", () => {
    const failure = { errorType: "tool_failed", message: undefined };
    expect(below(finishedTree(runSpan([0, 10]), [toolSpan([0, 10], { failure })]))).toMatch(
      /━ {2}tool_failed\n$/,
    );
  });

  test("names are short where that makes room for every fact", () => {
    const children = [
      modelSpan([0, 600], {
        model: "claude-sonnet-4-5",
        usage: tokens(1500, 148),
        finishReason: "tool_call",
        stream: true,
        timeToFirstChunk: 0.261,
      }),
      toolSpan([600, 400], { toolName: "get_air_quality", inferred: true }),
    ];
    const tree = finishedTree(runSpan([0, 1000], { usage: tokens(1500, 148) }), children);
    expect(below(tree)).toBe(`
✓ agent researcher           1.00s  ━━━━━━━━━━  1.5k→148 tok
├─ ✓ chat claude-sonnet-4-5  600ms  ━━━━━━      1.5k→148 tok · first chunk 261ms
└─ ~ tool get_air_quality    400ms        ╍╍╍╍  inferred
`);
    expect(below(tree, { width: 100 })).toContain("└─ ~ execute_tool get_air_quality  ");
  });

  test("a run without length has the shortest bars", () => {
    expect(below(finishedTree(runSpan([0, 0]), [modelSpan([0, 0])]))).toBe(`
✓ invoke_agent researcher  0s  ╸
└─ ✓ chat gpt-4o           0s  ╸
`);
  });

  test("a doom loop stands where it happened", () => {
    const notices = [{ name: "behest.doom_loop.detected", time: at(50), description: undefined }] as const;
    const tree = finishedTree(runSpan([0, 100], { notices }), [
      modelSpan([0, 40]),
      modelSpan([60, 40], { iteration: 1 }),
    ]);
    expect(below(tree)).toMatch(/chat gpt-4o .*\n├─ ! doom loop detected +!\n└─ ✓ chat gpt-4o/);
  });
});

describe("a run that is still open", () => {
  test("what has not ended reaches to the latest moment known", () => {
    const children = [modelSpan([5, 1200], { usage: tokens(100, 20), finishReason: "tool_call" })];
    const openChildren = [
      openedOf(toolSpan([1210, 0])),
      openedOf(toolSpan([3000, 0], { toolName: "fetch", callId: "call_2" })),
    ];
    const tree = {
      state: "open",
      run: runFacts(),
      start: at(0),
      latest: at(3000),
      resumedFrom: undefined,
      children,
      openChildren,
      notices: [],
      leftOut: { modelCalls: 0, tools: 0, failed: 0, seconds: 0 },
    } as const;
    expect(shown(tree)).toBe(`
run      018f3c1e-7a1b-7000-8000-00000000a001
started  2026-11-22 15:38:01.250 UTC
outcome  not finished yet

▸ invoke_agent researcher  3.00s  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▸
├─ ✓ chat gpt-4o           1.20s  ━━━━━━━━━━━━━╸                      100→20 tok
├─ ▸ execute_tool search   1.79s               ╺━━━━━━━━━━━━━━━━━━━▸
└─ ▸ execute_tool fetch                                            ▸
`);
  });
});

test("a tool that ended after its run was shown is told apart", () => {
  expect(shown({ state: "late", run: runFacts(), span: toolSpan([100, 300]) })).toBe(`
run   018f3c1e-7a1b-7000-8000-00000000a001
late  ended after its run was shown

└─ ✓ execute_tool search  300ms  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
`);
});
