import { describe, expect, test } from "vitest";
import type { Event } from "../../src/event/event.ts";
import type { FinishedSpan } from "../../src/run/op.ts";
import { spansOf } from "../viewer/text-tree.ts";
import { play, tell, type Step } from "./play.ts";
import {
  asked,
  at,
  callStarted,
  cancelled,
  circuitOpened,
  completed,
  context,
  delta,
  doomLoop,
  failed,
  model,
  numbered,
  said,
  started,
  toolFinished,
  toolSaid,
  toolStarted,
  usage,
} from "./story.ts";

/** Spans whose times were corrected, by kind and key. */
function corrected(steps: readonly Step[]): string[] {
  return spansOf(play(steps)).flatMap((span) => (span.corrected ? [nameOf(span)] : []));
}

function nameOf(span: FinishedSpan): string {
  if (span.kind === "run") return "run";
  return span.kind === "model" ? `model ${span.iteration}` : `tool ${span.callId}`;
}

test("a clock that goes back keeps the order of arrival, and every span says so", () => {
  expect(
    tell([
      started(1_000),
      model(1_010),
      delta(1_020),
      // Here the clock is set back by a second.
      delta(30),
      asked(40, "a"),
      usage(50),
      said(60),
      toolStarted(70, "a"),
      toolFinished(90, "a", { took: 20 }),
      toolSaid(100),
      completed(110),
    ]),
  ).toMatchInlineSnapshot(`
    "invoke_agent [1000 +20] completed stop corrected calls=1 tools=1 tokens=100/20 iterations=1 events=11
      chat gpt-4o (1) [1010 +10] stop corrected stream chunks=2 ttfc=10 in=100 out=20
      execute_tool search (a) [1020 +0] it=1 corrected"
  `);
});

test("events of one moment correct nothing", () => {
  const steps = [
    started(5),
    context(5),
    model(5),
    delta(5, "a"),
    delta(5, "b"),
    callStarted(5, "a"),
    asked(5, "a"),
    usage(5),
    said(5),
    toolStarted(5, "a"),
    toolFinished(5, "a", { took: 0 }),
    toolSaid(5),
    completed(5),
  ];
  expect(corrected(steps)).toEqual([]);
  expect(spansOf(play(steps))).toHaveLength(3);
});

test("from the next model call on, a clock that went back is as good as any", () => {
  expect(
    tell([
      started(10_000),
      model(10_010, 1),
      usage(10_020),
      said(10_030),
      context(100),
      model(110, 2),
      delta(120),
      delta(130),
      usage(140),
      said(150),
      completed(160, "stop", 2),
    ]),
  ).toMatchInlineSnapshot(`
    "invoke_agent [10000 +30] completed stop corrected calls=2 tools=0 tokens=200/40 iterations=2 events=11
      chat gpt-4o (1) [10010 +10] in=100 out=20
      chat gpt-4o (2) [10030 +0] stop corrected stream chunks=2 ttfc=0 in=100 out=20"
  `);
});

describe("an event older than the last one used marks the span it touches", () => {
  const told = (event: Event) => [
    started(0),
    model(10, 1),
    toolStarted(20, "t"),
    circuitOpened(100),
    event,
    completed(200),
  ];

  test.each<[Event, string[]]>([
    [context(90), ["run"]],
    [delta(90), ["model 1"]],
    [callStarted(90, "a"), ["model 1"]],
    [asked(90, "a"), ["model 1"]],
    [usage(90), ["model 1"]],
    [said(90), ["model 1"]],
    [model(90, 2), ["model 2"]],
    [toolStarted(90, "x"), ["tool x"]],
    [toolFinished(90, "t"), ["tool t"]],
    [toolFinished(90, "x"), ["tool x"]],
    [doomLoop(90), ["run"]],
  ])("$type", (event, spans) => {
    expect(corrected(told(event))).toEqual(spans);
    expect(corrected(told({ ...event, time: at(150) }))).toEqual([]);
  });

  test("an end that comes too early in time marks the run and what ended with it", () => {
    const open = [
      started(0),
      model(10, 1),
      model(20, 2),
      toolStarted(30, "t"),
      model(40, 3),
      circuitOpened(100),
    ];
    for (const end of [failed(90), cancelled(90)]) {
      expect(corrected([...open, end])).toEqual(["model 3", "tool t", "run"]);
      expect(spansOf(play([...open, end])).at(-1)?.end).toEqual(at(100));
    }
    expect(corrected([...open, completed(90)])).toEqual(["model 3", "tool t", "run"]);
    expect(corrected([...open, completed(101)])).toEqual([]);
  });

  test("an inferred tool is marked when either of its ends is", () => {
    const story = (saidMs: number, toolSaidMs: number) => [
      started(0),
      model(1),
      asked(2, "a"),
      usage(10),
      said(saidMs),
      toolSaid(toolSaidMs),
      completed(99),
    ];
    expect(corrected(story(11, 50))).toEqual([]);
    expect(corrected(story(9, 50))).toEqual(["model 1", "tool a"]);
    expect(corrected(story(11, 8))).toEqual(["tool a"]);
  });
});

describe("the numbers of envelopes know better than a clock", () => {
  test("what has a higher number than its call is of that call, whatever its time", () => {
    const events = [
      started(0),
      model(10, 1),
      said(20),
      model(30, 2),
      delta(5),
      usage(6, 9, 9),
      said(7),
      completed(40, "stop", 2),
    ];
    const calls = spansOf(play(events.map((event, index) => numbered(event, index + 1))));
    expect(calls.filter(({ kind }) => kind === "model")).toMatchObject([
      { iteration: 1, usage: undefined, chunks: 0 },
      { iteration: 2, usage: { input: 9 }, chunks: 1, corrected: true, start: at(30), end: at(30) },
    ]);
  });

  test("what has a lower number than its call is of the one before, whatever its time", () => {
    const steps = [
      numbered(started(0), 1),
      numbered(model(10, 1), 2),
      numbered(model(30, 2), 5),
      numbered(delta(31), 3),
      numbered(usage(32, 9, 9), 4),
      numbered(completed(40, "stop", 2), 6),
    ];
    expect(tell(steps)).toMatchInlineSnapshot(`
      "invoke_agent [0 +40] completed stop calls=2 tools=0 iterations=2 events=5
        chat gpt-4o (1) [10 +20] error incomplete
        chat gpt-4o (2) [30 +10] stop
      dropped: late TextDelta
      late usage: openai "gpt-4o" 9/9"
    `);
  });
});
