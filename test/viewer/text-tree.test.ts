import { describe, expect, test } from "vitest";

import type { ModelSpan, RunSpan, ToolSpan } from "../../src/run/op.ts";
import { spansOf, textTree } from "./text-tree.ts";
import { failedRun, parallelTools } from "./sample-runs.ts";
import { at, modelSpan, opsOf, runFacts, runSpan, tokens, toolSpan } from "./span-builder.ts";

const failure = { errorType: "tool_failed", message: "exit 1" };

test("a run is one line a span, children in the order they began", () => {
  const { span, children } = parallelTools();
  expect(textTree([...children, span])).toBe(
    `invoke_agent researcher [0 +4210] completed stop calls=2 tools=3 tool_failures=1 tokens=3340/812 cache_read=1100 iterations=2 events=31
  chat gpt-4o (0) [12 +1193] tool_call in=1240 out=356
  execute_tool search (call_1) [1210 +830] it=0
  execute_tool fetch_page (call_2) [1210 +1240] it=0 error=tool_failed "connect ECONNREFUSED 10.0.0.7:443 while fetching the second page"
  execute_tool get_time (call_3) [1211 +64] it=0
  chat gpt-4o (1) [2460 +1742] stop in=2100 out=456 cache_read=1100
`,
  );
});

test("notices stand below the run, a failure on every span that has it", () => {
  const { span, children } = failedRun();
  const lines = textTree([...children, span]).split("\n");
  expect(lines[0]).toMatch(/^invoke_agent support \[0 \+6480\] failed error=doom_loop "doom loop detected: /);
  expect(lines[1]).toBe(
    '  ! behest.doom_loop.detected [6478] "lookup_order called 3 times with the same arguments"',
  );
  expect(lines[6]).toContain('tool_call error=doom_loop "doom loop detected: ');
});

test("times are exact to the nanosecond and relative to the earliest span or a given moment", () => {
  const span = modelSpan([0.000001, 120.25]);
  expect(textTree([runSpan([0, 412.5]), span])).toContain("chat gpt-4o (0) [0.000001 +120.25]");
  expect(textTree([runSpan([0, 412.5]), span], { origin: at(-1000) })).toContain("[1000.000001 +120.25]");
});

test("only with several runs their ids are shown", () => {
  const other = runFacts({ runId: "018f3c1e-7a1b-7000-8000-00000000a00b" });
  expect(textTree([runSpan([0, 1])])).not.toContain("run=");
  expect(textTree([runSpan([0, 1]), runSpan([5, 1], { run: other })])).toBe(
    `invoke_agent researcher [0 +1] completed stop calls=0 tools=0 iterations=1 events=0 run=018f3c1e-7a1b-7000-8000-00000000a001
invoke_agent researcher [5 +1] completed stop calls=0 tools=0 iterations=1 events=0 run=018f3c1e-7a1b-7000-8000-00000000a00b
`,
  );
});

test("nothing is hidden: spans twice, and spans without their run", () => {
  const tool = toolSpan([1, 2]);
  expect(textTree([tool, tool])).toBe(
    `(no run span) run=018f3c1e-7a1b-7000-8000-00000000a001
  execute_tool search (call_1) [0 +2] it=0
  execute_tool search (call_1) [0 +2] it=0
`,
  );
  expect(textTree([])).toBe("no spans\n");
});

test("text that could be taken for something else is quoted", () => {
  expect(textTree([toolSpan([0, 1], { toolName: "two words (x)", callId: "a\nb" })])).toContain(
    String.raw`execute_tool "two words (x)" ("a\nb") [0 +1]`,
  );
});

test("the spans among ops are those handed out", () => {
  const { span, children } = parallelTools();
  expect(spansOf(opsOf(span, children))).toEqual([...children, span]);
});

describe("every field that differs gives another line", () => {
  const parent = { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7", flags: 1 };

  test.each<[string, Partial<RunSpan>, string]>([
    ["agent", { run: runFacts({ agent: undefined }) }, "invoke_agent [0"],
    ["segment", { run: runFacts({ segment: "1795361881" }) }, "researcher (1795361881) [0"],
    ["corrected", { corrected: true }, " corrected"],
    ["failure", { failure }, ' error=tool_failed "exit 1"'],
    ["cancelled", { ending: { outcome: "cancelled" } }, " cancelled"],
    [
      "failed",
      { ending: { outcome: "failed", failure }, failure },
      ' failed stop error=tool_failed "exit 1"',
    ],
    [
      "failed otherwise",
      { ending: { outcome: "failed", failure } },
      ' failed(error=tool_failed "exit 1") stop',
    ],
    ["incomplete", { ending: { outcome: "incomplete", reason: "evicted" } }, " incomplete(evicted)"],
    ["start missing", { startMissing: true }, " start_missing"],
    ["resumed", { resumedFrom: "" }, ' resumed_from=""'],
    ["finish reason", { finishReason: "pause_turn" }, " pause_turn "],
    ["iterations", { iterations: undefined }, "tools=0 events=0"],
    ["usage", { usage: tokens(3, 4, 1, 2) }, " tokens=3/4 cache_read=1 cache_write=2"],
    ["model calls", { modelCalls: 3 }, " calls=3"],
    ["tool calls", { toolCalls: 3 }, " tools=3"],
    ["tool failures", { toolFailures: 3 }, " tool_failures=3"],
    ["events", { events: 3 }, " events=3"],
    ["events missing", { eventsMissing: 3 }, " missing=3"],
    [
      "notices",
      { notices: [{ name: "behest.compaction.circuit_opened", time: at(1), consecutiveFailures: 3 }] },
      "\n  ! behest.compaction.circuit_opened [1] failures=3",
    ],
    ["notices dropped", { noticesDropped: 3 }, " notices_dropped=3"],
    ["session, when asked for", { run: runFacts({ sessionId: "s1" }) }, " session=s1"],
    ["provider, when asked for", { provider: "x_ai" }, " provider=x_ai"],
    ["model, when asked for", { model: "grok" }, " model=grok"],
    ["parent, when asked for", { run: runFacts({ parent }) }, ` parent=${parent.traceId}-${parent.spanId}-1`],
  ])("of a run: %s", (name, fields, text) => {
    const all = name.endsWith("when asked for");
    expect(textTree([runSpan([0, 5], fields)], { all })).toContain(text);
    expect(textTree([runSpan([0, 5])], { all })).not.toContain(text);
  });

  test.each<[string, Partial<ModelSpan>, string]>([
    ["iteration", { iteration: 3 }, " (3) "],
    ["occurrence", { occurrence: 1 }, " (0#1) "],
    ["model", { model: "grok" }, "chat grok"],
    ["incomplete", { incomplete: true }, " incomplete"],
    ["corrected", { corrected: true }, " corrected"],
    ["failure", { failure }, ' error=tool_failed "exit 1"'],
    ["stream", { stream: true }, " stream"],
    ["chunks", { chunks: 3 }, " chunks=3"],
    ["time to first chunk", { timeToFirstChunk: 0.02 }, " ttfc=20"],
    ["usage", { usage: tokens(3, 4) }, " in=3 out=4"],
    ["finish reason", { finishReason: "length" }, " length"],
    ["provider, when asked for", { provider: "x_ai" }, " provider=x_ai"],
    ["context, when asked for", { contextMessages: 3 }, " context=3"],
    ["message, when asked for", { messageId: "m1" }, " message=m1"],
    [
      "output, when asked for",
      { output: [{ type: "text", content: "hi" }] },
      ' output=[{"type":"text","content":"hi"}]',
    ],
  ])("of a model call: %s", (name, fields, text) => {
    const all = name.endsWith("when asked for");
    expect(textTree([modelSpan([0, 5], fields)], { all })).toContain(text);
    expect(textTree([modelSpan([0, 5])], { all })).not.toContain(text);
  });

  test.each<[string, Partial<ToolSpan>, string]>([
    ["call id", { callId: "call_9" }, " (call_9) "],
    ["occurrence", { occurrence: 1 }, " (call_1#1) "],
    ["name", { toolName: "fetch" }, "execute_tool fetch"],
    ["iteration", { iteration: 3 }, " it=3"],
    ["inferred", { inferred: true }, " inferred"],
    ["incomplete", { incomplete: true }, " incomplete"],
    ["corrected", { corrected: true }, " corrected"],
    ["failure", { failure }, ' error=tool_failed "exit 1"'],
    ["message, when asked for", { messageId: "m1" }, " message=m1"],
    ["arguments, when asked for", { arguments: '{"q":1}' }, String.raw` arguments="{\"q\":1}"`],
    ["result, when asked for", { result: "[]" }, ' result="[]"'],
  ])("of a tool execution: %s", (name, fields, text) => {
    const all = name.endsWith("when asked for");
    expect(textTree([toolSpan([0, 5], fields)], { all })).toContain(text);
    expect(textTree([toolSpan([0, 5])], { all })).not.toContain(text);
  });
});
