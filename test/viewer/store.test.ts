import { describe, expect, test } from "vitest";

import type { Op } from "../../src/run/op.ts";
import { RunStore } from "../../src/viewer/store.ts";
import type { Shown } from "../../src/viewer/store.ts";
import { parallelTools } from "./sample-runs.ts";
import { at, modelSpan, openedOf, opsOf, runFacts, runSpan, spanOp, toolSpan } from "./span-builder.ts";

function feed(store: RunStore, ops: readonly Op[]): Shown[] {
  return ops.map((op) => store.accept(op)).filter((shown) => shown !== undefined);
}

function openRun(run = runFacts(), start = 0, resumedFrom?: string): Op {
  return { op: "opened", span: { kind: "run", run, start: at(start), resumedFrom } };
}

function runId(number: number): string {
  return `018f3c1e-7a1b-7000-8000-${String(number).padStart(12, "0")}`;
}

describe("a run", () => {
  test("is given out with its own span, and then forgotten", () => {
    const { span, children } = parallelTools();
    const store = new RunStore();
    const ops = opsOf(span, children);
    expect(feed(store, ops.slice(0, -1))).toEqual([]);
    expect(store.openRuns).toBe(1);
    const [tree] = feed(store, ops.slice(-1));
    expect(tree).toMatchObject({ state: "finished", span, children, leftOut: { modelCalls: 0, tools: 0 } });
    expect(store.openRuns).toBe(0);
    expect(store.open()).toEqual([]);
  });

  test("has its children in the order they began, whatever the order they ended in", () => {
    const early = toolSpan([10, 90], { callId: "long" });
    const late = toolSpan([20, 10], { callId: "short" });
    const [tree] = feed(new RunStore(), opsOf(runSpan([0, 100]), [late, early]));
    expect(tree).toMatchObject({ children: [early, late] });
  });

  test("that begins anew after its end is another tree", () => {
    const later = runFacts({ segment: "1795361882250000000" });
    const trees = feed(new RunStore(), [
      ...opsOf(runSpan([0, 100]), [modelSpan([0, 50])]),
      ...opsOf(runSpan([1000, 100], { run: later, resumedFrom: "" }), [
        modelSpan([1000, 50], { run: later }),
      ]),
    ]);
    expect(trees.map((tree) => tree.run.segment)).toEqual(["", "1795361882250000000"]);
    expect(trees.map((tree) => (tree.state === "finished" ? tree.children.length : 0))).toEqual([1, 1]);
  });

  test("may learn its segment and session after it opened", () => {
    const store = new RunStore();
    const before = runFacts({ segment: "1795361881250000000" });
    const after = runFacts({ sessionId: "s1" });
    feed(store, [openRun(before), spanOp(modelSpan([0, 10], { run: after }))]);
    expect(store.open()[0]).toMatchObject({ run: after, children: [{ kind: "model" }] });
  });
});

describe("a child", () => {
  test("of a run already given out is given out by itself", () => {
    const store = new RunStore();
    feed(store, opsOf(runSpan([0, 100])));
    const span = toolSpan([90, 10]);
    expect(feed(store, [spanOp(span)])).toEqual([{ state: "late", run: span.run, span }]);
    expect(store.openRuns).toBe(0);
  });

  test("of an ended segment does not get into the one that is open", () => {
    const store = new RunStore();
    feed(store, [
      ...opsOf(runSpan([0, 100])),
      openRun(runFacts({ segment: "1795361882250000000" }), 1000, ""),
    ]);
    expect(feed(store, [spanOp(toolSpan([90, 10]))])).toMatchObject([{ state: "late" }]);
    expect(store.open()[0]?.children).toEqual([]);
  });
});

describe("what is open", () => {
  test("are the runs that began last first, with what they do", () => {
    const store = new RunStore();
    const other = runFacts({ runId: runId(2) });
    const model = modelSpan([5, 95]);
    const tool = toolSpan([110, 10]);
    feed(store, [
      openRun(),
      { op: "opened", span: openedOf(model) },
      spanOp(model),
      { op: "opened", span: openedOf(tool) },
      {
        op: "notice",
        run: runFacts(),
        notice: { name: "behest.doom_loop.detected", time: at(120), description: undefined },
      },
      openRun(other, 50),
    ]);
    expect(store.open()).toMatchObject([
      { run: other, children: [], latest: at(50) },
      {
        run: runFacts(),
        children: [model],
        openChildren: [openedOf(tool)],
        latest: at(120),
        notices: [{ time: at(120) }],
      },
    ]);
    expect(store.open(1)).toHaveLength(1);
    expect(store.open(0)).toEqual([]);
  });

  test("no longer has a child that ended", () => {
    const store = new RunStore();
    const [first, second] = [toolSpan([0, 10]), toolSpan([5, 10], { occurrence: 1 })];
    feed(store, [
      openRun(),
      { op: "opened", span: openedOf(first) },
      { op: "opened", span: openedOf(second) },
      spanOp(second),
    ]);
    expect(store.open()[0]).toMatchObject({ children: [second], openChildren: [openedOf(first)] });
  });
});

describe("limits", () => {
  test.each([
    [2, 0],
    [3, 0],
    [4, 1],
  ])("with room for 3 open runs, of %i runs %i is given out unfinished", (runs, setAside) => {
    const store = new RunStore({ maxOpenRuns: 3 });
    const ops = Array.from({ length: runs }, (_, index) => openRun(runFacts({ runId: runId(index) }), index));
    const shown = feed(store, ops);
    expect(shown.map((tree) => tree.run.runId)).toEqual(setAside === 0 ? [] : [runId(0)]);
    expect(store.setAside).toBe(setAside);
    expect(store.openRuns).toBe(runs - setAside);
  });

  test.each([
    [2, 2, 0],
    [3, 3, 0],
    [4, 3, 1],
  ])("with room for 3 children, of %i children %i are kept and %i is counted", (count, kept, leftOut) => {
    const children = Array.from({ length: count }, (_, index) =>
      toolSpan([index, 10], { callId: `call_${index}` }),
    );
    const [tree] = feed(new RunStore({ maxSpansPerRun: 3 }), opsOf(runSpan([0, 100]), children));
    expect(tree).toMatchObject({
      leftOut: { modelCalls: 0, tools: leftOut, failed: 0, seconds: leftOut * 0.01 },
    });
    expect(tree).toHaveProperty("children.length", kept);
  });

  test.each([
    [3, 0],
    [4, 0],
    [5, 1],
  ])("with room for 4 children in all, of %i in two runs %i is counted", (count, leftOut) => {
    const store = new RunStore({ maxSpans: 4 });
    const second = runFacts({ runId: runId(2) });
    const inFirst = [modelSpan([0, 10]), modelSpan([10, 10], { iteration: 1 })];
    const inSecond = Array.from({ length: count - 2 }, (_, index) => {
      const failure = { errorType: "tool_failed", message: undefined };
      return toolSpan([index, 10], { run: second, callId: `call_${index}`, failure });
    });
    feed(store, [openRun(), openRun(second), ...inFirst.map(spanOp), ...inSecond.map(spanOp)]);
    const [tree] = feed(store, [spanOp(runSpan([0, 100], { run: second }))]);
    expect(tree).toMatchObject({ leftOut: { modelCalls: 0, tools: leftOut, failed: leftOut } });
  });

  test("room is free again when a run has been given out", () => {
    const store = new RunStore({ maxSpans: 2 });
    const children = [modelSpan([0, 10]), toolSpan([10, 10])];
    for (const [tree] of [
      feed(store, opsOf(runSpan([0, 30]), children)),
      feed(store, opsOf(runSpan([0, 30]), children)),
    ]) {
      expect(tree).toMatchObject({ children, leftOut: { tools: 0 } });
    }
  });

  test("open children take room as well", () => {
    const store = new RunStore({ maxSpansPerRun: 1 });
    const [first, second] = [toolSpan([0, 10]), toolSpan([5, 10], { callId: "call_2" })];
    feed(store, [
      openRun(),
      { op: "opened", span: openedOf(first) },
      { op: "opened", span: openedOf(second) },
    ]);
    expect(store.open()[0]?.openChildren).toEqual([openedOf(first)]);
    const [tree] = feed(store, [spanOp(first), spanOp(second), spanOp(runSpan([0, 20]))]);
    expect(tree).toMatchObject({ children: [first], leftOut: { tools: 1 } });
  });

  test("notices of an open run beyond the limit are left out", () => {
    const store = new RunStore({ maxNotices: 1 });
    const notice = { name: "behest.compaction.circuit_opened", time: at(1), consecutiveFailures: 1 } as const;
    feed(store, [
      openRun(),
      { op: "notice", run: runFacts(), notice },
      { op: "notice", run: runFacts(), notice },
    ]);
    expect(store.open()[0]?.notices).toEqual([notice]);
  });
});

test("ops that are not about spans show nothing", () => {
  const usage = { input: 1, output: 1, cacheRead: undefined, cacheWrite: undefined };
  const ops: Op[] = [
    { op: "used", type: "TextDelta" },
    { op: "dropped", type: "TextDelta", reason: "duplicate" },
    { op: "chunk", provider: "openai", model: "gpt-4o", seconds: 0.1 },
    { op: "late_usage", run: runFacts(), provider: "openai", model: "gpt-4o", usage },
    { op: "fault", runId: runId(1), message: "a bug" },
  ];
  const store = new RunStore();
  expect(feed(store, ops)).toEqual([]);
  expect(store.openRuns).toBe(0);
});
