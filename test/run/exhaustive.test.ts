import { describe, expect, test } from "vitest";
import type { Event } from "../../src/event/event.ts";
import type { Op } from "../../src/run/op.ts";
import { permutations } from "./exhaust.ts";
import { play, type Step } from "./play.ts";
import {
  asked,
  cancelled,
  completed,
  context,
  delta,
  doomLoop,
  enveloped,
  failed,
  HOUR,
  model,
  said,
  started,
  toolFinished,
  toolSaid,
  toolStarted,
  usage,
} from "./story.ts";

/** Small runs, each with something that order or loss might break. */
const stories: readonly (readonly [string, readonly Event[]])[] = [
  ["a plain answer", [started(0), model(1), delta(2), usage(3), said(4), completed(5)]],
  ["a tool that was not seen", [started(0), model(1), asked(2, "a"), said(3), toolSaid(4), completed(5)]],
  [
    "a tool that was seen",
    [model(1), asked(2, "a"), toolStarted(3, "a"), toolFinished(4, "a"), toolSaid(5), failed(6)],
  ],
  [
    "two calls of one id",
    [model(1), asked(2, "a"), toolSaid(3), model(4, 2), asked(5, "a"), toolStarted(6, "a")],
  ],
  [
    "two tools of one id",
    [
      toolStarted(1, "a"),
      toolStarted(2, "a"),
      toolFinished(3, "a"),
      toolFinished(4, "a"),
      model(5),
      cancelled(6),
    ],
  ],
  ["calls one after the other", [model(1), delta(2), context(3), model(4, 2), delta(5), usage(6)]],
  ["a doom loop", [model(1), asked(2, "a"), said(3), doomLoop(4), failed(5), toolFinished(6, "a")]],
  ["an end in the middle", [started(0), model(1), completed(2), context(3), model(4, 2), completed(5)]],
  [
    "a pause that is too long",
    [
      started(0),
      said(1),
      toolStarted(2, "a"),
      toolFinished(3 * HOUR, "a"),
      model(3 * HOUR + 1),
      usage(3 * HOUR + 2),
    ],
  ],
  [
    "a run that goes on the next morning",
    [started(0), completed(1), delta(2), model(8 * HOUR), usage(8 * HOUR + 1), said(8 * HOUR + 2)],
  ],
];

/** All that is told but the fate of events. */
function told(ops: readonly Op[]): readonly Op[] {
  return ops.filter(({ op }) => op !== "used" && op !== "dropped");
}

// Whatever is played is checked against the invariants (`play.ts`): that is what most of this is about.
describe.each(stories)("%s", (_, story) => {
  test("in all orders, up to each event", () => {
    for (const order of permutations(story)) {
      for (let length = 1; length <= order.length; length += 1) play(order.slice(0, length));
    }
  });

  test("in all orders, by the numbers of its envelopes", () => {
    for (const order of permutations(enveloped(story))) play(order);
  });

  test("in all orders, without any one event", () => {
    const without = [...story.keys()].map((index) => story.toSpliced(index, 1));
    for (const events of without) {
      for (const order of permutations(events)) play(order);
    }
  });

  test("with any event twice, anywhere", () => {
    const once = told(play(story));
    for (const events of [story, enveloped(story)]) {
      for (const [index, event] of events.entries()) {
        for (let place = index + 1; place <= events.length; place += 1) {
          expect(told(play(events.toSpliced(place, 0, structuredClone(event))))).toEqual(once);
        }
      }
    }
  });

  test("in all orders within the window, which are the sorted one", () => {
    // What comes together may come in any order; pauses are what they are.
    const steps = (events: readonly Event[], sorted: readonly Event[]): Step[] =>
      events.map((event, index) => ({ event, ms: arrivalOf(sorted[index]!) }));
    const options = { reorderWindowMs: 10 };
    for (const events of [story, enveloped(story)]) {
      const sorted = play(steps(events, events), options);
      expect(told(sorted)).toEqual(told(play(story)));
      for (const order of permutations(events)) {
        if (order.every((event, index) => arrivalOf(event) === arrivalOf(events[index]!))) {
          expect(play(steps(order, events), options)).toEqual(sorted);
        }
      }
    }
  });
});

/** When an event comes, in milliseconds after the origin: all of one hour together. */
function arrivalOf({ time }: Event): number {
  return Math.floor((time[0] - 1_700_000_000) / 3_600) * HOUR + 6;
}
