import { describe, expect, test } from "vitest";

import type { Op } from "../../src/run/op.ts";
import { summaryLines } from "../../src/viewer/summary-lines.ts";
import { Totals } from "../../src/viewer/summary.ts";
import type { EventTotals } from "../../src/viewer/summary.ts";
import { failedRun, parallelTools, streamedAnswer } from "./sample-runs.ts";
import { modelSpan, opsOf, runFacts, runSpan, spanOp, tokens, toolSpan } from "./span-builder.ts";

const LOOK = { width: 80, colour: false, unicode: true };

function totalsOf(ops: readonly Op[]): Totals {
  const totals = new Totals();
  for (const op of ops) totals.accept(op);
  return totals;
}

function summaryOf(ops: readonly Op[], events?: EventTotals): string {
  return `\n${summaryLines(totalsOf(ops).summary(), { open: 0, setAside: 0, events }, LOOK).join("\n")}\n`;
}

function failedWith(errorType: string): Op {
  const failure = { errorType, message: undefined };
  return spanOp(runSpan([0, 1], { ending: { outcome: "failed", failure }, failure }));
}

test("a summary tells runs, tokens by model, what was slowest and what became of the events", () => {
  const ops = [parallelTools(), failedRun(), streamedAnswer()].flatMap(({ span, children }) =>
    opsOf(span, children),
  );
  const events = {
    received: 1094,
    used: 1090,
    dropped: { duplicate: 2, late: 1, limit: 0 },
    rejected: { BEHEST_DECODE_JSON: 1 },
  };
  expect(summaryOf(ops, events)).toBe(`
runs     3 · 2 completed · 1 failed (doom_loop 1)
tokens   anthropic claude-sonnet-4-5  3 calls   15k→690 tok
         openai gpt-4o                3 calls  3.6k→957 tok  1.1k cached
slowest  6.48s  invoke_agent support     018f3c1e-7a1b-7000-8000-00000000a002
         2.35s  chat gpt-4o              018f3c1e-7a1b-7000-8000-00000000a003
         1.24s  execute_tool fetch_page  018f3c1e-7a1b-7000-8000-00000000a001
events   1,094 received · 1,090 used · 3 dropped (duplicate 2, late 1)
         1 rejected (BEHEST_DECODE_JSON 1)
`);
});

test("without a run there is one line, and the events when they are known", () => {
  expect(summaryOf([])).toBe("\nno runs\n");
  expect(summaryOf([], { received: 2, used: 0, dropped: {}, rejected: { BEHEST_DECODE_JSON: 2 } })).toBe(`
no runs
events  2 received · 0 used · 2 rejected (BEHEST_DECODE_JSON 2)
`);
});

test("runs that have not finished are runs as well", () => {
  const lines = summaryLines(totalsOf([]).summary(), { open: 2, setAside: 1, events: undefined }, LOOK);
  expect(lines).toEqual(["runs  2 · 2 not finished · 1 printed before their end"]);
});

test("tokens reported after their call count for its model", () => {
  const late: Op = {
    op: "late_usage",
    run: runFacts(),
    provider: "openai",
    model: "gpt-4o",
    usage: tokens(100, 10, 50, 5),
  };
  const { models } = totalsOf([spanOp(modelSpan([0, 1], { usage: tokens(1, 2) })), late]).summary();
  expect(models).toEqual([
    { provider: "openai", model: "gpt-4o", calls: 1, input: 101, output: 12, cacheRead: 50, cacheWrite: 5 },
  ]);
});

test("of two equally slow spans the first one is told", () => {
  const ops = [toolSpan([0, 10], { callId: "a" }), toolSpan([5, 10], { callId: "b" })].map(spanOp);
  expect(totalsOf(ops).summary().slowestTool).toMatchObject({ callId: "a" });
});

test("segments of a resumed run are counted and told apart", () => {
  const ops = [runSpan([0, 1]), runSpan([5, 1], { resumedFrom: "" })].map(spanOp);
  expect(summaryOf(ops)).toContain("runs     2 · 2 completed · 1 resumed\n");
});

describe("limits", () => {
  test.each([
    [199, 199],
    [200, 200],
    [201, 201],
    [202, 201],
  ])("%i models are %i names, beyond 200 they share one", (models, names) => {
    const ops = Array.from({ length: models }, (_, index) =>
      spanOp(modelSpan([0, 1], { model: `m${index}` })),
    );
    const summary = totalsOf(ops).summary();
    expect(summary.models).toHaveLength(names);
    expect(summary.models.reduce((sum, { calls }) => sum + calls, 0)).toBe(models);
    expect(summary.models.some(({ model }) => model === "_other")).toBe(models > 200);
  });

  test.each([
    [49, 49],
    [50, 50],
    [51, 51],
    [52, 51],
  ])("%i classes of error are %i names, beyond 50 they share one", (classes, names) => {
    const { failures } = totalsOf(
      Array.from({ length: classes }, (_, index) => failedWith(`e${index}`)),
    ).summary();
    expect(failures.size).toBe(names);
    expect(failures.get("_OTHER")).toBe(classes > 50 ? classes - 50 : undefined);
  });

  test("eight names are told one by one, the rest together", () => {
    const ops = Array.from({ length: 10 }, (_, index) => [
      failedWith(`e${index}`),
      spanOp(modelSpan([0, 1], { model: `m${index}`, usage: tokens(100 - index, 0) })),
    ]).flat();
    const text = summaryOf(ops);
    expect(text).toContain("e7 1, others 2)");
    expect(text).toContain("openai m7");
    expect(text).not.toContain("openai m8");
    expect(text).toContain("2 more models");
  });
});
