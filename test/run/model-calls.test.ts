import { describe, expect, test } from "vitest";
import type { Event } from "../../src/event/event.ts";
import { secondsBetween } from "../../src/event/time.ts";
import type { ModelSpan } from "../../src/run/op.ts";
import { spansOf } from "../viewer/text-tree.ts";
import { play, tell, tellAll } from "./play.ts";
import {
  asked,
  at,
  cache,
  callDelta,
  callStarted,
  cancelled,
  circuitOpened,
  completed,
  context,
  delta,
  doomLoop,
  failed,
  model,
  said,
  started,
  toolFinished,
  toolSaid,
  toolStarted,
  usage,
} from "./story.ts";

function models(steps: readonly Event[]): ModelSpan[] {
  return spansOf(play(steps)).filter((span) => span.kind === "model");
}

test("a plain run is a run span with a model call in it", () => {
  expect(
    tellAll([
      started(0),
      context(1, 7),
      model(2),
      delta(10.25),
      usage(30, 100, 20, { cached: 64 }),
      said(31, "m-1"),
      completed(32.000001),
    ]),
  ).toMatchInlineSnapshot(`
    "invoke_agent [0 +32.000001] completed stop calls=1 tools=0 tokens=100/20 cache_read=64 iterations=1 events=7 run=00000000-0000-4000-8000-000000000001 session=00000000-0000-7000-8000-00000000000a provider=openai model=gpt-4o
      chat gpt-4o (1) [2 +28] stop chunks=1 in=100 out=20 cache_read=64 provider=openai context=7 message=m-1"
  `);
});

describe("a model call ends with the earliest of", () => {
  test.each<[string, (ms: number) => Event]>([
    ["UsageRecorded", (ms) => usage(ms)],
    ["AssistantMessageCommitted", (ms) => said(ms)],
    ["ToolExecutionStarted", (ms) => toolStarted(ms, "a")],
    ["ToolMessageCommitted", (ms) => toolSaid(ms)],
    ["ContextBuilt", (ms) => context(ms)],
    ["ModelStarted", (ms) => model(ms, 2)],
    ["RunCompleted", (ms) => completed(ms)],
    ["RunFailed", (ms) => failed(ms)],
    ["RunCancelled", (ms) => cancelled(ms)],
  ])("%s", (_, ender) => {
    const [first] = models([started(0), model(10), ender(25.000001)]);
    expect(first?.start).toEqual(at(10));
    expect(first?.end).toEqual(at(25.000001));
    const ends = [
      usage(30),
      said(31),
      toolStarted(32, "b"),
      toolSaid(33),
      context(34),
      model(35, 3),
      completed(36),
    ];
    const isTerminal = ender(0).type.startsWith("Run");
    expect(models([started(0), model(10), ender(25.000001), ...(isTerminal ? [] : ends)])[0]?.end).toEqual(
      at(25.000001),
    );
  });

  test.each<[string, (ms: number) => Event]>([
    ["CacheMetrics", (ms) => cache(ms, { read: 3 })],
    ["ToolExecutionFinished", (ms) => toolFinished(ms, "a")],
    ["DoomLoopDetected", (ms) => doomLoop(ms)],
    ["CompactionCircuitOpened", (ms) => circuitOpened(ms)],
    ["RunStarted", (ms) => started(ms)],
  ])("what follows it, and not with %s", (_, other) => {
    expect(models([started(0), model(10), other(20), said(30)])[0]?.end).toEqual(at(30));
  });
});

test.each<[string, (ms: number) => Event]>([
  ["TextDelta", (ms) => delta(ms)],
  ["ToolCallStarted", (ms) => callStarted(ms, "a")],
  ["ToolCallDelta", (ms) => callDelta(ms, "a")],
  ["ToolCallCompleted", (ms) => asked(ms, "a")],
])("a model call does not end before its last %s", (_, output) => {
  expect(models([started(0), model(10), usage(20), output(30), said(40)])[0]?.end).toEqual(at(30));
});

test("a model call that nothing ended lasts to the end of its run", () => {
  expect(tell([started(0), model(10), delta(20), circuitOpened(90)])).toMatchInlineSnapshot(`
    "invoke_agent [0 +90] incomplete(drained) calls=1 tools=0 iterations=1 events=4
      ! behest.compaction.circuit_opened [90] failures=3
      chat gpt-4o (1) [10 +80] error incomplete chunks=1"
  `);
});

describe("belonging", () => {
  test("usage, cache numbers and message belong to the latest model call before them", () => {
    expect(
      tellAll([
        started(0),
        model(1, 1),
        delta(2),
        usage(3, 100, 20),
        cache(4, { read: 30 }),
        said(5, "first"),
        context(6, 9),
        model(7, 2),
        usage(8, 200, 40, { read: 50 }),
        said(9, "second"),
        completed(10, "stop", 2),
      ]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +10] completed stop calls=2 tools=0 tokens=300/60 cache_read=80 iterations=2 events=11 run=00000000-0000-4000-8000-000000000001 session=00000000-0000-7000-8000-00000000000a provider=openai model=gpt-4o
        chat gpt-4o (1) [1 +2] chunks=1 in=100 out=20 cache_read=30 provider=openai message=first
        chat gpt-4o (2) [7 +1] stop in=200 out=40 cache_read=50 provider=openai context=9 message=second"
    `);
  });

  test("several UsageRecorded of one call add up", () => {
    const [call] = models([
      started(0),
      model(1),
      usage(2, 100, 20, { read: 10 }),
      usage(3, 50, 5, { write: 7 }),
      usage(4, 1, 1),
      completed(5),
    ]);
    expect(call?.usage).toEqual({ input: 151, output: 26, cacheRead: 10, cacheWrite: 7 });
  });

  test("a second message of a call changes nothing", () => {
    const [call] = models([started(0), model(1), said(2, "first"), said(3, "second"), completed(4)]);
    expect(call?.messageId).toBe("first");
    expect(call?.end).toEqual(at(2));
  });

  test("usage that comes after its call was handed out counts, and changes no span", () => {
    // Its timestamp is before the second ModelStarted, so it is of the first call.
    expect(
      tell([
        started(0),
        model(10, 1),
        delta(15),
        context(29),
        model(30, 2),
        usage(20, 100, 20),
        usage(40, 7, 3),
        completed(50, "stop", 2),
      ]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +50] completed stop calls=2 tools=0 tokens=7/3 iterations=2 events=8
        chat gpt-4o (1) [10 +19] chunks=1
        chat gpt-4o (2) [30 +10] stop in=7 out=3
      late usage: openai "gpt-4o" 100/20"
    `);
  });

  test.each<[string, Event]>([
    ["TextDelta", delta(20)],
    ["ToolCallStarted", callStarted(20, "a")],
    ["ToolCallDelta", callDelta(20, "a")],
    ["ToolCallCompleted", asked(20, "a")],
    ["CacheMetrics", cache(20, { read: 3 })],
    ["AssistantMessageCommitted", said(20)],
    ["ToolMessageCommitted", toolSaid(20)],
  ])("a %s of a call that was handed out is late and changes nothing", (type, late) => {
    const story = [started(0), model(10, 1), delta(15), model(30, 2), usage(40), completed(50, "stop", 2)];
    const disturbed = story.toSpliced(4, 0, late);
    expect(tell(disturbed)).toBe(`${tell(story)}\ndropped: late ${type}`);
  });

  test("a ContextBuilt that comes after its ModelStarted does not end the call", () => {
    expect(tellAll([started(0), model(2), context(1, 5), delta(10), usage(20), said(21, "m"), completed(30)]))
      .toMatchInlineSnapshot(`
      "invoke_agent [0 +30] completed stop corrected calls=1 tools=0 tokens=100/20 iterations=1 events=7 run=00000000-0000-4000-8000-000000000001 session=00000000-0000-7000-8000-00000000000a provider=openai model=gpt-4o
        chat gpt-4o (1) [2 +18] stop chunks=1 in=100 out=20 provider=openai context=5 message=m"
    `);
  });

  test("a call keeps the number of messages that it was seen to begin with", () => {
    const [call] = models([started(0), context(2, 3), model(4), context(1, 2), said(5), completed(6)]);
    expect(call?.contextMessages).toBe(3);
  });

  test("usage without any model call counts, and is on the run", () => {
    expect(tell([started(0), usage(5, 11, 2), completed(6)])).toMatchInlineSnapshot(`
      "invoke_agent [0 +6] completed stop calls=0 tools=0 tokens=11/2 iterations=1 events=3
      late usage: openai "gpt-4o" 11/2"
    `);
  });
});

describe("CacheMetrics", () => {
  const call = (...events: readonly Event[]) =>
    models([started(0), model(1), ...events, completed(99)])[0]?.usage;

  test("repeats what usage said, and adds nothing", () => {
    expect(call(usage(2, 100, 20, { read: 30, write: 5 }), cache(3, { read: 30, write: 5 }))).toEqual({
      input: 100,
      output: 20,
      cacheRead: 30,
      cacheWrite: 5,
    });
  });

  test("fills in what usage left out, once", () => {
    const usages = call(
      usage(2, 100, 20, { read: 30 }),
      cache(3, { read: 31, write: 5 }),
      cache(4, { read: 31, write: 5 }),
    );
    expect(usages).toEqual({ input: 100, output: 20, cacheRead: 30, cacheWrite: 5 });
  });

  test("fills in also before usage, each number by the first that has it", () => {
    const usages = call(cache(2, { read: 30 }), cache(3, { read: 99, write: 5 }), usage(4, 100, 20));
    expect(usages).toEqual({ input: 100, output: 20, cacheRead: 30, cacheWrite: 5 });
  });

  test("reports 0 for what no provider reported, which fills in nothing", () => {
    expect(call(usage(2, 100, 20), cache(3, { read: 0, write: 0, cached: 0 }))).toEqual({
      input: 100,
      output: 20,
    });
    expect(call(usage(2, 100, 20), cache(3, { read: 0, cached: 12 }))).toMatchObject({ cacheRead: 12 });
  });

  test("without usage is no usage", () => {
    expect(call(cache(2, { read: 30 }))).toBeUndefined();
  });
});

describe("streaming", () => {
  const story = (...outputs: readonly Event[]) => [
    started(0),
    model(10),
    ...outputs,
    said(90),
    completed(99),
  ];

  test.each<[string, readonly Event[], boolean, number]>([
    ["no output", [], false, 0],
    ["one TextDelta, as the plain call sends it", [delta(20)], false, 1],
    ["one TextDelta and a completed call", [delta(20), asked(21, "a")], false, 1],
    ["a completed call alone", [asked(20, "a")], false, 0],
    ["two TextDelta", [delta(20), delta(30)], true, 2],
    ["a ToolCallStarted", [callStarted(20, "a")], true, 1],
    ["a ToolCallDelta", [callDelta(20, "a")], true, 1],
    ["all of them", [delta(20), callStarted(21, "a"), callDelta(22, "a"), asked(23, "a")], true, 3],
  ])("%s", (_, outputs, stream, chunks) => {
    const [call] = models(story(...outputs));
    expect(call?.stream).toBe(stream);
    expect(call?.chunks).toBe(chunks);
    expect(call?.timeToFirstChunk).toBe(stream ? 0.01 : undefined);
  });

  test("the time between two chunks is told for each but the first", () => {
    const ops = play(story(delta(20), callStarted(21.5, "a"), asked(22, "a"), delta(40.000001)));
    const chunks = ops.filter((op) => op.op === "chunk");
    expect(chunks.map(({ seconds }) => seconds)).toEqual([
      secondsBetween(at(20), at(21.5)),
      secondsBetween(at(21.5), at(40.000001)),
    ]);
    expect(chunks[0]).toMatchObject({ provider: "openai", model: "gpt-4o" });
  });

  test("a stream that fell back to a plain call has the output of both", () => {
    expect(
      tellAll([
        started(0),
        model(1),
        delta(2, "Let me "),
        callStarted(3, "a"),
        asked(4, "a", "search", '{"q":1}'),
        delta(5, "Let me see"),
        asked(6, "a", "search", '{"q":2}'),
        usage(7),
        said(8, "m"),
        toolSaid(20, "t"),
        completed(30, "stop", 1),
      ]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +30] completed stop calls=1 tools=1 tokens=100/20 iterations=1 events=11 run=00000000-0000-4000-8000-000000000001 session=00000000-0000-7000-8000-00000000000a provider=openai model=gpt-4o
        chat gpt-4o (1) [1 +6] stop stream chunks=3 ttfc=1 in=100 out=20 provider=openai message=m output=[{"type":"text","content":"Let me Let me see"},{"type":"tool_call","id":"a","name":"search","arguments":"{\\"q\\":2}"}]
        execute_tool search (a) [8 +12] it=1 inferred message=t arguments="{\\"q\\":2}""
    `);
  });
});

test("what was captured of a call has its tool calls also when none of them ran", () => {
  const [call] = models([
    started(0),
    model(1),
    delta(2, "I would"),
    asked(3, "a", "search", "{}"),
    said(4),
    completed(5),
  ]);
  expect(call?.output).toEqual([
    { type: "text", content: "I would" },
    { type: "tool_call", id: "a", name: "search", arguments: "{}" },
  ]);
});

describe("complete or not, and why it finished", () => {
  const last = (...events: readonly Event[]) => {
    const call = models([started(0), model(1, 1), ...events]).at(0);
    return [call?.incomplete === true ? "incomplete" : "complete", call?.finishReason];
  };

  test.each<[string, readonly Event[], "complete" | "incomplete", string | undefined]>([
    ["usage", [usage(2), context(3), model(4, 2)], "complete", undefined],
    ["message", [said(2), model(4, 2)], "complete", undefined],
    ["message and calls", [asked(2, "a"), said(3), model(4, 2)], "complete", "tool_call"],
    ["a chunk, and the run went on", [delta(2), context(3), model(4, 2)], "complete", undefined],
    [
      "a completed call, and the run went on",
      [asked(2, "a"), toolStarted(3, "a"), model(4, 2)],
      "complete",
      "tool_call",
    ],
    ["nothing, and the run went on: context overflow", [context(3), model(4, 2)], "incomplete", "error"],
    ["nothing, and the next call", [model(4, 2)], "incomplete", "error"],
    ["nothing, and a tool began", [toolStarted(3, "a"), model(4, 2)], "incomplete", "error"],
    ["RunCompleted", [completed(2, "stop")], "complete", "stop"],
    ["RunCompleted with calls", [asked(2, "a"), completed(3, "length")], "complete", "length"],
    ["RunFailed in the middle of chunks", [delta(2), failed(3)], "incomplete", "error"],
    ["RunCancelled in the middle of chunks", [delta(2), cancelled(3)], "incomplete", "error"],
    ["RunFailed after usage", [usage(2), failed(3)], "complete", undefined],
    ["silence", [delta(2)], "incomplete", "error"],
    ["silence after usage", [asked(2, "a"), usage(3)], "complete", "tool_call"],
  ])("%s", (_, events, complete, reason) => {
    expect(last(...events)).toEqual([complete, reason]);
  });

  test.each([
    ["stop", "stop"],
    ["tool_calls", "tool_call"],
    ["length", "length"],
    ["content_filter", "content_filter"],
    ["error", "error"],
    ["pause_turn", undefined],
    ["constructor", undefined],
  ])("the runtime's %s is %s in the conventions' words", (word, expected) => {
    expect(last(said(2), completed(3, word))).toEqual(["complete", expected]);
  });

  test("only the last call has the run's finish reason", () => {
    const calls = models([
      started(0),
      model(1, 1),
      asked(2, "a"),
      said(3),
      toolSaid(4),
      model(5, 2),
      said(6),
      completed(7, "length", 2),
    ]);
    expect(calls.map(({ finishReason }) => finishReason)).toEqual(["tool_call", "length"]);
  });
});

test("calls of one iteration are numbered in the order they began", () => {
  const calls = models([started(0), model(1, 4), model(2, 4), model(3, 5), model(4, 4), completed(5)]);
  expect(calls.map(({ iteration, occurrence }) => `${iteration}#${occurrence}`)).toEqual([
    "4#0",
    "4#1",
    "5#0",
    "4#2",
  ]);
});

test("each call has the provider and model it was started with", () => {
  const calls = models([
    started(0, { provider: "openai", model: "gpt-4o" }),
    model(1, 1, { provider: "anthropic", model: "claude-sonnet-4-5" }),
    model(2, 2, { provider: "openai", model: "gpt-4o-mini" }),
    completed(3),
  ]);
  expect(calls.map((call) => `${call.provider} ${call.model}`)).toEqual([
    "anthropic claude-sonnet-4-5",
    "openai gpt-4o-mini",
  ]);
});
