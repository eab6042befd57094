import { describe, expect, test } from "vitest";
import type { ToolSpan } from "../../src/run/op.ts";
import { spansOf } from "../viewer/text-tree.ts";
import { play, tell, tellAll, type Step } from "./play.ts";
import {
  asked,
  at,
  cancelled,
  completed,
  delta,
  model,
  said,
  started,
  toolFailed,
  toolFinished,
  toolSaid,
  toolStarted,
  usage,
} from "./story.ts";

function tools(steps: readonly Step[]): ToolSpan[] {
  return spansOf(play(steps)).filter((span) => span.kind === "tool");
}

/** Up to the message that asks for the tools. */
const asks = (...ids: readonly string[]) => [
  started(0),
  model(1),
  ...ids.map((id, index) => asked(2 + index / 10, id)),
  usage(3),
  said(4.000001, "m"),
];

describe("tools that were seen", () => {
  test("run side by side, and one of them fails", () => {
    expect(
      tellAll([
        ...asks("a", "b", "c"),
        toolStarted(10, "a"),
        toolStarted(10.1, "b"),
        toolStarted(10.2, "c"),
        toolFailed(20, "b", "no such page", 9),
        toolFinished(30, "a", { took: 20, output: '{"hits":2}' }),
        toolFinished(40.000002, "c", { took: 29 }),
        toolSaid(50, "t-a"),
        toolSaid(51, "t-b"),
        toolSaid(52, "t-c"),
        completed(60),
      ]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +60] completed stop calls=1 tools=3 tool_failures=1 tokens=100/20 iterations=1 events=17 run=00000000-0000-4000-8000-000000000001 session=00000000-0000-7000-8000-00000000000a provider=openai model=gpt-4o
        chat gpt-4o (1) [1 +2] stop in=100 out=20 provider=openai message=m
        execute_tool search (a) [10 +20] it=1 message=t-a result="{\\"hits\\":2}"
        execute_tool search (b) [10.1 +9.9] it=1 error=_OTHER "no such page" message=t-b
        execute_tool search (c) [10.2 +29.800002] it=1 message=t-c"
    `);
  });

  test("in the order of the crate's documentation: before the message, usage after it", () => {
    expect(
      tellAll([
        started(0),
        model(1),
        delta(2),
        asked(3, "a"),
        toolStarted(10, "a"),
        toolFinished(20, "a"),
        said(30, "m"),
        usage(31, 50, 5),
        toolSaid(32, "t"),
        completed(40),
      ]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +40] completed stop calls=1 tools=1 tokens=50/5 iterations=1 events=10 run=00000000-0000-4000-8000-000000000001 session=00000000-0000-7000-8000-00000000000a provider=openai model=gpt-4o
        chat gpt-4o (1) [1 +9] stop chunks=1 in=50 out=5 provider=openai message=m
        execute_tool search (a) [10 +10] it=1 message=t"
    `);
  });

  test("leave the others of their iteration to be inferred", () => {
    const story = [
      ...asks("a", "b"),
      toolStarted(10, "b"),
      toolFinished(20, "b"),
      toolSaid(50, "t-a"),
      toolSaid(51, "t-b"),
      completed(60),
    ];
    expect(tools(story).map((tool) => [tool.callId, tool.inferred, tool.messageId])).toEqual([
      ["b", false, "t-b"],
      ["a", true, "t-a"],
    ]);
  });

  test("without their start begin as long before their finish as they took", () => {
    const [tool] = tools([...asks("a"), toolFinished(40.000001, "a", { took: 15 }), completed(60)]);
    expect([tool?.start, tool?.end, tool?.corrected, tool?.inferred]).toEqual([
      at(25.000001),
      at(40.000001),
      false,
      false,
    ]);
  });

  test("without their start do not begin before their run", () => {
    const [tool] = tools([...asks("a"), toolFinished(40, "a", { took: 5_000 }), completed(60)]);
    expect([tool?.start, tool?.end, tool?.corrected]).toEqual([at(0), at(40), true]);
  });

  test("without their finish end with their run, incomplete", () => {
    expect(tell([...asks("a"), toolStarted(10, "a"), completed(60, "tool_calls")])).toMatchInlineSnapshot(`
      "invoke_agent [0 +60] completed tool_calls calls=1 tools=1 tokens=100/20 iterations=1 events=7
        chat gpt-4o (1) [1 +2] tool_call in=100 out=20
        execute_tool search (a) [10 +50] it=1 incomplete"
    `);
  });

  test("that were not asked for are executions of their own", () => {
    const story = [
      ...asks("a"),
      toolStarted(10, "x"),
      toolFinished(20, "x"),
      toolSaid(50, "t-a"),
      completed(60),
    ];
    expect(tools(story).map((tool) => [tool.callId, tool.inferred, tool.messageId])).toEqual([
      ["x", false, undefined],
      ["a", true, "t-a"],
    ]);
  });

  test("whose start overtook what asked for them are not inferred again", () => {
    const story = [
      started(0),
      model(1),
      toolStarted(3, "a"),
      asked(2, "a", "search", "{}"),
      toolFinished(9, "a"),
      said(10),
      toolSaid(11, "t"),
      completed(20),
    ];
    expect(tools(story)).toMatchObject([{ callId: "a", inferred: false, messageId: "t", arguments: "{}" }]);
  });

  test("may outlive their iteration", () => {
    const story = [
      ...asks("a"),
      toolStarted(10, "a"),
      toolSaid(11, "t"),
      model(12, 2),
      toolFinished(20, "a"),
      usage(30),
      completed(40),
    ];
    expect(tools(story)).toMatchObject([
      { start: at(10), end: at(20), iteration: 1, messageId: "t", incomplete: false },
    ]);
  });
});

describe("repeated call ids", () => {
  test("a finish ends the oldest open execution with its id and name", () => {
    const story = [
      ...asks("a"),
      toolStarted(10, "a", "search"),
      toolStarted(11, "a", "fetch"),
      toolStarted(12, "a", "search"),
      toolFinished(20, "a", { tool: "search" }),
      toolFinished(21, "a", { tool: "search" }),
      toolFinished(22, "a", { tool: "fetch" }),
      completed(60),
    ];
    expect(tools(story).map((tool) => [tool.toolName, tool.occurrence, tool.start, tool.end])).toEqual([
      ["search", 0, at(10), at(20)],
      ["fetch", 1, at(11), at(22)],
      ["search", 2, at(12), at(21)],
    ]);
  });

  test("a finish of another tool with the id is an execution of its own", () => {
    const story = [
      ...asks("a"),
      toolStarted(10, "a", "search"),
      toolFinished(20, "a", { tool: "fetch", took: 3 }),
      completed(60),
    ];
    expect(tools(story).map((tool) => [tool.toolName, tool.start, tool.end, tool.incomplete])).toEqual([
      ["fetch", at(17), at(20), false],
      ["search", at(10), at(60), true],
    ]);
  });

  test("seen again in the next iteration, it is another execution", () => {
    const once = (ms: number, iteration: number) => [
      model(ms, iteration),
      asked(ms + 1, "call_0"),
      toolStarted(ms + 2, "call_0"),
      toolFinished(ms + 3, "call_0"),
      said(ms + 4),
      toolSaid(ms + 5),
    ];
    expect(
      tools([started(0), ...once(10, 1), ...once(20, 2), completed(60)]).map((tool) => [
        tool.occurrence,
        tool.iteration,
      ]),
    ).toEqual([
      [0, 1],
      [1, 2],
    ]);
  });
});

describe("handed out once", () => {
  test("what comes of an inferred tool after its iteration is late", () => {
    const story = [
      ...asks("a"),
      toolSaid(10),
      model(11, 2),
      delta(12),
      toolStarted(13, "a"),
      toolFinished(14, "a"),
      usage(20),
      completed(60),
    ];
    expect(tell(story)).toMatchInlineSnapshot(`
      "invoke_agent [0 +60] completed stop calls=2 tools=1 tokens=200/40 iterations=1 events=10
        chat gpt-4o (1) [1 +2] tool_call in=100 out=20
        execute_tool search (a) [4.000001 +5.999999] it=1 inferred
        chat gpt-4o (2) [11 +9] stop chunks=1 in=100 out=20
      dropped: late ToolExecutionStarted, late ToolExecutionFinished"
    `);
  });

  test("an event that is late does not end the model call, and does not reach beyond the run", () => {
    const story = [...asks("a"), toolSaid(10), model(11, 2), delta(12), toolStarted(13, "a")];
    expect(tell(story)).toMatchInlineSnapshot(`
      "invoke_agent [0 +12] incomplete(drained) calls=2 tools=1 tokens=100/20 iterations=2 events=8
        chat gpt-4o (1) [1 +2] tool_call in=100 out=20
        execute_tool search (a) [4.000001 +5.999999] it=1 inferred
        chat gpt-4o (2) [11 +1] error incomplete chunks=1
      dropped: late ToolExecutionStarted"
    `);
  });

  test("a finish after its run closed is late when its execution has a span", () => {
    expect(tell([...asks("a"), toolStarted(10, "a"), cancelled(60), toolFinished(70, "a")]))
      .toMatchInlineSnapshot(`
      "invoke_agent [0 +60] cancelled calls=1 tools=1 tokens=100/20 iterations=1 events=7
        chat gpt-4o (1) [1 +2] tool_call in=100 out=20
        execute_tool search (a) [10 +50] it=1 incomplete error=cancelled
      dropped: late ToolExecutionFinished"
    `);
    expect(tools([...asks("a"), cancelled(60), toolFinished(70, "a")])).toHaveLength(1);
  });

  test("a finish after its run closed is a span, clamped to the run, when its execution has none", () => {
    expect(tell([...asks("a"), completed(60), toolFinished(70, "a", { took: 30 })])).toMatchInlineSnapshot(`
      "invoke_agent [0 +60] completed stop calls=1 tools=0 tokens=100/20 iterations=1 events=6
        chat gpt-4o (1) [1 +2] stop in=100 out=20
        execute_tool search (a) [40 +20] corrected"
    `);
  });

  test.each([
    ["inside", 50, 10, at(40), at(50), false],
    ["after the run", 90, 10, at(60), at(60), true],
    ["before the run", -50, 10, at(0), at(0), true],
    ["longer than the run", 70, 500, at(0), at(60), true],
    ["from before it", 30, 500, at(0), at(30), true],
  ])("such a span %s keeps to the run", (_, ms, took, start, end, corrected) => {
    const [tool] = tools([started(0), model(1), completed(60), toolFinished(ms, "x", { took })]);
    expect(tool).toMatchObject({ start, end, corrected, incomplete: false, inferred: false });
  });

  test("each late finish of a repeated id is an execution of its own", () => {
    const story = [
      started(0),
      model(1),
      toolStarted(2, "a"),
      completed(60),
      toolFinished(61, "a"),
      toolFinished(62, "a"),
      toolFinished(63, "a"),
    ];
    // The first is of the execution that left with the run; nobody has seen the others.
    expect(tools(story).map(({ occurrence, incomplete }) => [occurrence, incomplete])).toEqual([
      [0, true],
      [1, false],
      [2, false],
    ]);
  });
});
