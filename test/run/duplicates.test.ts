import { describe, expect, test } from "vitest";
import type { Event } from "../../src/event/event.ts";
import type { Op } from "../../src/run/op.ts";
import { play, tell, textOf, type Play, type Step } from "./play.ts";
import {
  callDelta,
  completed,
  context,
  delta,
  enveloped,
  HOUR,
  model,
  numbered,
  runId,
  said,
  started,
  storyOf,
  toolStarted,
  usage,
  within,
} from "./story.ts";
import { everyType } from "./table.ts";

/** What the ops say, without the fate of events. */
function told(ops: readonly Op[]): readonly Op[] {
  return ops.filter(({ op }) => op !== "used" && op !== "dropped");
}

function drops(steps: readonly Step[], options: Play = {}): string[] {
  return play(steps, options).flatMap((op) => (op.op === "dropped" ? [`${op.reason} ${op.type}`] : []));
}

const copy = (event: Event): Event => structuredClone(event);

const before = [started(0), context(1), model(2), delta(3)];
const after = [usage(40, 5, 5), said(41), model(42, 10), delta(43), said(44), completed(50, "length", 10)];
const isTerminal = (type: string) => ["RunCompleted", "RunFailed", "RunCancelled"].includes(type);

describe("the same event again changes nothing", () => {
  test.each(everyType(30))("%s: at once, later in the run, and after it", (type, event) => {
    const story = [...before, event, ...(isTerminal(type) ? [] : after)];
    const once = told(play(story));
    for (let place = before.length + 1; place <= story.length; place += 1) {
      const twice = play(story.toSpliced(place, 0, copy(event)));
      expect(told(twice)).toEqual(once);
      expect(twice.filter(({ op }) => op === "dropped")).toHaveLength(1);
    }
  });

  test.each(everyType(30))("%s in its envelope", (type, event) => {
    const story = enveloped([...before, event, ...(isTerminal(type) ? [] : after)]);
    const once = told(play(story));
    const inner = story[before.length]!;
    for (let place = before.length + 1; place <= story.length; place += 1) {
      expect(told(play(story.toSpliced(place, 0, copy(inner))))).toEqual(once);
    }
  });

  test.each(everyType(30))("%s with an equal event id, whatever is inside", (type, event) => {
    const story = enveloped([...before, event, ...(isTerminal(type) ? [] : after)]);
    const inner = story[before.length]!;
    const altered = { ...copy(inner), hash: 1 };
    expect(told(play(story.toSpliced(before.length + 1, 0, altered)))).toEqual(told(play(story)));
  });

  test.each(everyType(30))("%s hours later, in a run that is remembered", (_, event) => {
    const story = [...before, event, { tick: 5 * HOUR }];
    const again = [...story, { event: copy(event), ms: 20 * HOUR }];
    expect(told(play(again))).toEqual(told(play(story)));
  });
});

describe("not the same event", () => {
  test("is one of another run with the same bytes but for the run's id", () => {
    const other = storyOf(runId(2));
    expect(drops([delta(1), other.delta(1)])).toEqual([]);
  });

  test("is one with the same text at another nanosecond", () => {
    expect(drops([started(0), model(1), delta(2), delta(2.000001), delta(2.000002)])).toEqual([]);
  });

  test("is one with another text at the same nanosecond", () => {
    expect(
      drops([started(0), model(1), delta(2, "a"), delta(2, "b"), callDelta(2, "a"), callDelta(2, "b")]),
    ).toEqual([]);
  });
});

test("the same bytes under another event id are the same event", () => {
  expect(drops([started(0), numbered(said(1), 2, 77), numbered(said(1), 3, 78)])).toEqual([
    "duplicate AssistantMessageCommitted",
  ]);
});

test("an event id alone, without a number, is enough", () => {
  const story = [started(0), within(said(1), { eventId: 5 }), within(said(2), { eventId: 5 })];
  expect(drops(story)).toEqual(["duplicate AssistantMessageCommitted"]);
});

test("a duplicate of a run's only event opens nothing", () => {
  expect(tell([started(0), copy(started(0)), { event: started(0), ms: 9 }])).toMatchInlineSnapshot(`
    "invoke_agent [0 +0] incomplete(drained) calls=0 tools=0 events=1
    dropped: duplicate RunStarted, duplicate RunStarted"
  `);
});

describe("deltas", () => {
  const call = (ms: number, iteration: number) => [
    model(ms, iteration),
    delta(ms + 1),
    delta(ms + 2),
    callDelta(ms + 3, "a"),
    said(ms + 4),
  ];
  const story = [started(0), ...call(10, 1), ...call(20, 2), ...call(30, 3), ...call(40, 4), completed(50)];

  test("of any call before are known again, or late", () => {
    const once = told(play(story));
    for (const [from, event] of story.entries()) {
      if (event.type !== "TextDelta" && event.type !== "ToolCallDelta") continue;
      for (let place = from + 1; place <= story.length; place += 1) {
        const twice = play(story.toSpliced(place, 0, copy(event)));
        expect(told(twice)).toEqual(once);
      }
    }
  });

  test("are known again while they wait, however many calls begin meanwhile", () => {
    // All of it happens within the window, so the calls begin one after the other when it is over,
    // and then what was told twice comes once more.
    const arrivals = story.map((event, index) => ({ event, ms: 50 + index / 1_000 }));
    const echoes = story.map((event, index) => ({ event: copy(event), ms: 2_050.001 + index / 1_000 + 1 }));
    const options = { reorderWindowMs: 2_000 };
    expect(told(play([...arrivals, ...echoes], options))).toEqual(told(play(arrivals, options)));
  });

  test("that wait when their run is evicted are known again", () => {
    const other = storyOf(runId(2));
    const options = { reorderWindowMs: 10, maxOpenRuns: 1 };
    const steps = (echo: readonly Step[]) => [
      { event: started(0), ms: 0 },
      { event: other.started(1), ms: 2 },
      { event: delta(5), ms: 5 },
      { event: delta(6), ms: 6 },
      // Here the first run is open and the other one evicts it, while the deltas wait.
      { tick: 13 },
      ...echo,
      { event: completed(30), ms: 30 },
    ];
    const echo = [
      { event: copy(delta(5)), ms: 14 },
      { event: copy(delta(6)), ms: 14 },
    ];
    expect(textOf(told(play(steps([]), options)))).toContain("evicted");
    expect(told(play(steps(echo), options))).toEqual(told(play(steps([]), options)));
  });

  test("of an older call do not keep a silent run open", () => {
    const silent = [started(0), ...call(10, 1), ...call(20, 2), ...call(30, 3)];
    const echo = { event: copy(delta(11)), ms: 9 * 60_000 };
    const expired = told(play([...silent, { tick: 11 * 60_000 }], { end: "stay" }));
    expect(told(play([...silent, echo, { tick: 11 * 60_000 }], { end: "stay" }))).toEqual(expired);
  });

  test("that came before the model call are known again as well", () => {
    expect(drops([started(0), delta(1), model(2), copy(delta(1)), delta(3)])).toEqual([
      "duplicate TextDelta",
    ]);
  });
});

test("a duplicate does not touch the idle deadline, nor the order of what waits", () => {
  const options = { reorderWindowMs: 10 };
  const steps = [
    { event: said(5), ms: 5 },
    { event: started(0), ms: 6 },
    { event: copy(said(5)), ms: 14 },
    { event: toolStarted(7, "a"), ms: 15 },
  ];
  const [first, ...rest] = play(steps, { ...options, end: "release" }).filter(({ op }) => op === "used");
  expect(first).toEqual({ op: "used", type: "RunStarted" });
  expect(rest).toHaveLength(2);
});
