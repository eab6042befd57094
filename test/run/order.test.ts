import { describe, expect, test } from "vitest";
import type { Event, EventType } from "../../src/event/event.ts";
import { Assembler } from "../../src/run/assembler.ts";
import { HEART_DEFAULTS } from "../../src/run/limits.ts";
import { spansOf } from "../viewer/text-tree.ts";
import { permutations } from "./exhaust.ts";
import { play, tell, textOf, type Play, type Step } from "./play.ts";
import {
  at,
  completed,
  context,
  delta,
  enveloped,
  failed,
  model,
  numbered,
  runId,
  said,
  started,
  storyOf,
  toolSaid,
  usage,
} from "./story.ts";
import { everyType } from "./table.ts";

const W = 10;
const other = storyOf(runId(2));

function arriving(...steps: readonly (readonly [ms: number, event: Event])[]): Step[] {
  return steps.map(([ms, event]) => ({ event, ms }));
}

/** The types in the order they are used. */
function used(steps: readonly Step[], options: Play = {}): EventType[] {
  return play(steps, { reorderWindowMs: W, end: "release", ...options }).flatMap((op) =>
    op.op === "used" ? [op.type] : [],
  );
}

describe("an event waits in the reorder window", () => {
  test.each([
    [W - 1, 1],
    [W, 1],
    [W + 1, 0],
  ])("%d ms after its arrival %d still wait", (ms, waiting) => {
    const ops = play([...arriving([3, started(0)]), { tick: 3 + ms }], { reorderWindowMs: W, end: "stay" });
    expect(ops.filter(({ op }) => op === "used")).toHaveLength(1 - waiting);
  });

  test.each([
    [W - 1, true],
    [W, true],
    [W + 1, false],
  ])("one that comes %d ms after another is put before it: %s", (ms, inOrder) => {
    const expected = inOrder
      ? ["ModelStarted", "AssistantMessageCommitted"]
      : ["AssistantMessageCommitted", "ModelStarted"];
    expect(used(arriving([0, said(5)], [ms, model(1)]))).toEqual(expected);
  });

  test("takes those of its run along that belong before it, and no others", () => {
    const steps = [
      ...arriving([0, said(5)], [4, model(1)], [5, context(0)], [6, toolSaid(9)], [7, other.started(0)]),
      { tick: W + 1 },
    ];
    expect(used(steps, { end: "stay" })).toEqual([
      "ContextBuilt",
      "ModelStarted",
      "AssistantMessageCommitted",
    ]);
  });

  test("not at all when the source keeps order", () => {
    expect(used(arriving([0, said(5)], [0, model(1)]), { reorderWindowMs: 0 })).toEqual([
      "AssistantMessageCommitted",
      "ModelStarted",
    ]);
  });

  test("no longer when the input ends, in the order of each run", () => {
    expect(used(arriving([0, said(5)], [0, model(1)], [0, other.delta(3)], [1, started(0)]))).toEqual([
      "RunStarted",
      "ModelStarted",
      "AssistantMessageCommitted",
      "TextDelta",
    ]);
  });

  test("of the source's time, whatever the events say of theirs", () => {
    expect(used([...arriving([0, said(500_000)]), { tick: W }], { end: "stay" })).toEqual([]);
    expect(used([...arriving([0, said(-500_000)]), { tick: W }], { end: "stay" })).toEqual([]);
  });
});

describe("the order of a run", () => {
  test("is by timestamp, to the nanosecond", () => {
    expect(used(arriving([0, said(1.000002)], [0, usage(1.000001)], [0, model(1)]))).toEqual([
      "ModelStarted",
      "UsageRecorded",
      "AssistantMessageCommitted",
    ]);
  });

  test("of one timestamp is that of a run, with its end last", () => {
    const order: EventType[] = [
      "RunStarted",
      "ContextBuilt",
      "ModelStarted",
      "TextDelta",
      "ToolCallStarted",
      "ToolCallDelta",
      "ToolCallCompleted",
      "UsageRecorded",
      "CacheMetrics",
      "AssistantMessageCommitted",
      "DoomLoopDetected",
      "ToolExecutionStarted",
      "ToolExecutionFinished",
      "ToolMessageCommitted",
      "CompactionCircuitOpened",
    ];
    const events = everyType(5).map(([, event]) => event);
    const end = events.find(({ type }) => type === "RunCompleted");
    const others = events.filter(({ type }) => order.includes(type));
    expect(others).toHaveLength(15);
    for (const rotation of [0, 3, 7, 11]) {
      const turned = [end!, ...others.slice(rotation), ...others.slice(0, rotation)].toReversed();
      expect(used(turned.map((event) => ({ event, ms: 0 })))).toEqual([...order, "RunCompleted"]);
    }
  });

  test("of one timestamp and type is that of arrival", () => {
    const first = failed(5, "tool_failed", "first");
    const second = failed(5, "tool_failed", "second");
    const [run] = spansOf(play(arriving([0, started(0)], [0, first], [0, second]), { reorderWindowMs: W }));
    expect(run?.failure?.message).toBe("first");
  });

  test("is by number where both have one, whatever their timestamps say", () => {
    const [a, b, c] = [numbered(model(9), 1), numbered(usage(3), 2), numbered(said(6), 3)];
    expect(used(arriving([0, c], [0, b], [0, a]))).toEqual([
      "ModelStarted",
      "UsageRecorded",
      "AssistantMessageCommitted",
    ]);
  });

  test("is by timestamp for all that wait together with one that has no number", () => {
    const [a, b, c] = [numbered(model(1), 3), usage(2), numbered(said(3), 1)];
    const inOrder: EventType[] = ["ModelStarted", "UsageRecorded", "AssistantMessageCommitted"];
    for (const events of permutations([a, b, c])) {
      expect(used(events.map((event) => ({ event, ms: 0 })))).toEqual(inOrder);
    }
  });

  test("stays that of timestamps while events wait, also when the one without a number has gone", () => {
    const steps = [
      ...arriving([0, usage(2)], [5, numbered(said(9), 1)], [6, numbered(model(4), 2)]),
      { tick: W + 1 },
      ...arriving([12, numbered(delta(6), 9)]),
    ];
    expect(used(steps)).toEqual(["UsageRecorded", "ModelStarted", "TextDelta", "AssistantMessageCommitted"]);
  });

  test("comes before another count's when a producer counts anew", () => {
    const steps = arriving(
      [0, numbered(started(0), 1)],
      [0, numbered(model(1), 2)],
      [1, numbered(context(5), 1)],
      [1, numbered(said(2), 3)],
      [1, numbered(completed(9), 2)],
    );
    // The third number of the old count is one of it by its time, though it comes after the new one.
    expect(used(steps)).toEqual([
      "RunStarted",
      "ModelStarted",
      "AssistantMessageCommitted",
      "ContextBuilt",
      "RunCompleted",
    ]);
  });
});

describe("every order within the window gives what the sorted order gives", () => {
  const story = [started(0), model(1), delta(2), usage(3), said(4), completed(5)];

  test("of bare events", () => {
    const sorted = play(story);
    for (const events of permutations(story)) {
      expect(
        play(
          events.map((event, index) => ({ event, ms: index })),
          { reorderWindowMs: W },
        ),
      ).toEqual(sorted);
    }
  });

  test("of numbered events", () => {
    const sorted = play(enveloped(story));
    for (const events of permutations(enveloped(story))) {
      expect(
        play(
          events.map((event, index) => ({ event, ms: index })),
          { reorderWindowMs: W },
        ),
      ).toEqual(sorted);
    }
  });
});

describe("an event that comes later than the window", () => {
  test("is used where it arrives, its time raised, and the span it touches says so", () => {
    const steps = [
      ...arriving([0, started(0)], [5, model(5)]),
      { tick: 100 },
      ...arriving([100, usage(2)], [120, completed(50)]),
    ];
    expect(tell(steps, { reorderWindowMs: W })).toMatchInlineSnapshot(`
      "invoke_agent [0 +50] completed stop calls=1 tools=0 tokens=100/20 iterations=1 events=4
        chat gpt-4o (1) [5 +0] stop corrected in=100 out=20"
    `);
  });

  test("is late when it is older than a close", () => {
    const steps = [
      ...arriving([0, started(0)], [5, completed(5)]),
      { tick: 100 },
      ...arriving([100, said(2)]),
    ];
    expect(textOf(play(steps, { reorderWindowMs: W }))).toMatchInlineSnapshot(`
      "invoke_agent [0 +5] completed stop calls=0 tools=0 iterations=1 events=2
      dropped: late AssistantMessageCommitted"
    `);
  });
});

test("waits end and silent runs expire in the order of source time, however far it leaps", () => {
  const steps = [...arriving([0, started(0)], [0, other.started(0)], [30, said(30)]), { tick: 1_000 }];
  const options = { reorderWindowMs: W, runIdleMs: 35, maxOpenRuns: 2, end: "stay" } as const;
  const ends = (ops: ReturnType<typeof play>) =>
    ops.flatMap((op) =>
      op.op === "span" || op.op === "used" ? [op.op === "span" ? op.span.end : op.type] : [],
    );
  const patient = [
    ...steps.slice(0, 3),
    ...Array.from({ length: 100 }, (_, index) => ({ tick: 30 + index })),
    { tick: 1_000 },
  ];
  expect(play(patient, options)).toEqual(play(steps, options));
  // The other run, silent since 0, is over before the message that came at 30 has waited its 10 ms.
  expect(ends(play(steps, options))).toEqual([
    "RunStarted",
    "RunStarted",
    at(0),
    "AssistantMessageCommitted",
    at(30),
  ]);
});

test("the events whose fate is open are told in order of arrival, as they were given", () => {
  const heart = new Assembler({ ...HEART_DEFAULTS, reorderWindowMs: W });
  const events = [said(5), other.started(1), model(1), delta(9)];
  for (const [ms, event] of events.entries()) heart.accept(event, ms, []);
  expect([...heart.undecided()]).toEqual(events);
  // The message takes the beginning of its call along.
  heart.tick(W + 1, []);
  expect([...heart.undecided()]).toEqual([events[1], events[3]]);
  expect([...heart.undecided()][1]).toBe(events[3]);
});
