import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { cellWidth } from "../../src/viewer/cells.ts";
import { renderTree } from "../../src/viewer/tree.ts";
import { failedRun, parallelTools, streamedAnswer } from "./sample-runs.ts";
import { seeded } from "./seeded.ts";
import { below, LOOK, treeOf } from "./shown-text.ts";
import { at, finishedTree, modelSpan, runFacts, runSpan, toolSpan } from "./span-builder.ts";

const COLOUR = new RegExp(String.raw`\x1b\[\d+m`, "g");
const RESET = new RegExp(String.raw`\x1b\[0m`, "g");

describe("a run with very many spans", () => {
  const children = Array.from({ length: 1000 }, (_, index) => {
    const start = index * 10;
    if (index % 3 === 0) return modelSpan([start, 9], { iteration: index });
    const failure = index % 100 === 1 ? { errorType: "tool_failed", message: undefined } : undefined;
    return toolSpan([start, 9], { callId: `call_${index}`, failure });
  });
  const span = runSpan([0, 10_000], { modelCalls: 334, toolCalls: 666 });

  test("the middle is summed up in one line", () => {
    expect(below(finishedTree(span, children), { maxRows: 6 })).toBe(`
✓ invoke_agent researcher  10.0s  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
├─ ✓ chat gpt-4o           9.0ms  ╸
├─ ✗ execute_tool search   9.0ms  ╸                                  tool_failed
├─ ✓ execute_tool search   9.0ms  ╸
├─ ✓ chat gpt-4o           9.0ms  ╸
├─ 331 more model calls, 663 more tools (8.95s in all, 6 failed)
├─ ✓ execute_tool search   9.0ms                                  ╺
└─ ✓ chat gpt-4o           9.0ms                                  ╺
`);
  });

  function lines(count: number): string[] {
    return below(finishedTree(span, children.slice(0, count)))
      .trim()
      .split("\n");
  }

  test("200 rows are shown whole, of 201 two are summed up", () => {
    expect(lines(200)).toHaveLength(201);
    expect(lines(201)).toHaveLength(202);
    expect(lines(201)[181]).toBe("├─ 1 more model call (9.0ms in all)");
  });

  test("what was not kept is counted where it is missing: at the end", () => {
    const leftOut = { modelCalls: 331, tools: 666, failed: 2, seconds: 12.3 };
    const text = below({ ...finishedTree(span, children.slice(0, 2)), leftOut })
      .trim()
      .split("\n");
    expect(text.at(-1)).toBe("└─ 331 more model calls, 666 more tools (12.3s in all, 2 failed)");
  });
});

describe("text from the input", () => {
  const hostile = "\x1b[2J\x1b]0;owned\x07\r\nname\u202E\x9b31m";

  test("nothing of it reaches the terminal raw", () => {
    const failure = { errorType: `type${hostile}`, message: `message${hostile}` };
    const run = runFacts({
      runId: `id${hostile}`,
      agent: `agent${hostile}`,
      sessionId: `session${hostile}`,
      parent: { traceId: `trace${hostile}`, spanId: "", flags: 0 },
    });
    const span = runSpan([0, 100], {
      run,
      ending: { outcome: "failed", failure },
      failure,
      provider: `provider${hostile}`,
      model: `model${hostile}`,
      finishReason: `finish${hostile}`,
      notices: [{ name: "behest.doom_loop.detected", time: at(1), description: `description${hostile}` }],
    });
    const children = [
      modelSpan([0, 50], { run, model: `model${hostile}`, finishReason: `finish${hostile}` }),
      toolSpan([50, 50], { run, toolName: `tool${hostile}`, failure: { ...failure, errorType: "other" } }),
    ];
    const text = renderTree(finishedTree(span, children), { ...LOOK, width: 400 });
    for (const line of text) expect(line).not.toMatch(/[\p{Cc}\u2028-\u202e]/u);
    // Every field is there: what is not shown could not be dangerous.
    for (const field of [
      "id",
      "agent",
      "session",
      "trace",
      "provider",
      "model",
      "finish",
      "tool",
      "type",
      "message",
    ]) {
      expect(text.join("\n")).toContain(String.raw`${field}\x1b[2J`);
    }
    expect(text.join("\n")).toContain(String.raw`description\x1b[2J`);
  });

  test("wide characters keep the columns", () => {
    const children = [
      modelSpan([0, 50], { model: "通义千问-max" }),
      toolSpan([50, 50], { toolName: "数据库查询" }),
    ];
    const tree = finishedTree(runSpan([0, 100], { run: runFacts({ agent: "研究助手👩‍💻" }) }), children);
    expect(below(tree, { width: 72 })).toBe(`
✓ invoke_agent 研究助手👩‍💻     100ms  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
├─ ✓ chat 通义千问-max         50ms  ━━━━━━━━━━━━━━━━
└─ ✓ execute_tool 数据库查询   50ms                  ━━━━━━━━━━━━━━━━
`);
  });

  test("a long name ends in an ellipsis", () => {
    const children = [toolSpan([0, 100], { toolName: "mcp__github__create_pull_request_review_comment" })];
    expect(below(finishedTree(runSpan([0, 100]), children))).toContain(
      "└─ ✓ tool mcp__github__create_pu…  100ms",
    );
  });

  test("a message of 10,000 characters is cut", () => {
    const failure = { errorType: "tool_failed", message: "x".repeat(10_000) };
    const lines = renderTree(finishedTree(runSpan([0, 10]), [toolSpan([0, 10], { failure })]), LOOK);
    expect(lines.length).toBeLessThan(40);
    expect(lines.at(-1)).toMatch(/x…$/);
  });
});

describe("width and colour", () => {
  const trees = [treeOf(parallelTools()), treeOf(failedRun()), treeOf(streamedAnswer())];

  test.each([20, 30, 40, 59, 60, 61, 80, 100, 137, 200, 400])(
    "no line is wider than %i cells or ends in a blank",
    (width) => {
      for (const unicode of [true, false]) {
        for (const line of trees.flatMap((tree) => renderTree(tree, { ...LOOK, width, unicode }))) {
          expect(cellWidth(line)).toBeLessThanOrEqual(width);
          expect(line).toBe(line.trimEnd());
        }
      }
    },
  );

  test("any names, times and numbers keep to the width", () => {
    const name = fc.oneof(
      fc.string({ unit: "grapheme", maxLength: 60 }),
      fc.string({ unit: "binary", maxLength: 60 }),
    );
    const interval = fc.tuple(fc.nat(5000), fc.nat(5000));
    const usage = fc.option(
      fc.record({
        input: fc.nat(),
        output: fc.nat(),
        cacheRead: fc.option(fc.nat(), { nil: undefined }),
        cacheWrite: fc.constant(undefined),
      }),
      { nil: undefined },
    );
    const failure = fc.option(fc.record({ errorType: name, message: fc.option(name, { nil: undefined }) }), {
      nil: undefined,
    });
    const model = fc
      .tuple(
        interval,
        fc.record({ model: name, usage, failure, incomplete: fc.boolean(), corrected: fc.boolean() }),
      )
      .map(([time, fields]) => modelSpan(time, fields));
    const tool = fc
      .tuple(
        interval,
        fc.record({ toolName: name, failure, inferred: fc.boolean(), incomplete: fc.boolean() }),
      )
      .map(([time, fields]) => toolSpan(time, fields));
    const run = fc
      .tuple(
        interval,
        fc.record({ usage, failure, finishReason: name, provider: name, events: fc.nat() }),
        name,
      )
      .map(([time, fields, agent]) =>
        runSpan(time, { ...fields, run: runFacts({ agent, sessionId: agent }) }),
      );
    const look = fc.record({
      width: fc.integer({ min: 1, max: 250 }),
      unicode: fc.boolean(),
      maxRows: fc.integer({ min: 1, max: 8 }),
    });
    fc.assert(
      fc.property(
        run,
        fc.array(fc.oneof(model, tool), { maxLength: 10 }),
        look,
        (span, children, options) => {
          for (const line of renderTree(finishedTree(span, children), { ...LOOK, ...options })) {
            expect(cellWidth(line)).toBeLessThanOrEqual(Math.max(20, options.width));
            expect(line).not.toMatch(/[\p{Cc}\p{Cs}\u2028-\u202e\u2066-\u2069]/u);
          }
        },
      ),
      { numRuns: 300, ...seeded() },
    );
  });

  test("colour changes nothing but colour", () => {
    for (const tree of trees) {
      const plain = renderTree(tree, LOOK).join("\n");
      const coloured = renderTree(tree, { ...LOOK, colour: true }).join("\n");
      expect(plain).not.toContain("\x1b");
      expect(coloured).toContain("\x1b[36m");
      expect(coloured.replaceAll(COLOUR, "")).toBe(plain);
    }
  });

  test("every colour ends on the line it began on", () => {
    for (const line of trees.flatMap((tree) => renderTree(tree, { ...LOOK, colour: true }))) {
      const [begun, ended] = [line.match(COLOUR) ?? [], line.match(RESET) ?? []];
      expect(begun).toHaveLength(ended.length * 2);
    }
  });
});
