import { describe, expect, test } from "vitest";
import type { Event } from "../../src/event/event.ts";
import { MAX_GAPS } from "../../src/run/numbering.ts";
import { spansOf } from "../viewer/text-tree.ts";
import { play, type Play, type Step } from "./play.ts";
import { completed, context, delta, HOUR, model, numbered, said, started, toolSaid, usage } from "./story.ts";

/** What each segment's run span says is missing. */
function missing(steps: readonly Step[], options: Play = {}): (number | undefined)[] {
  return spansOf(play(steps, options)).flatMap((span) => (span.kind === "run" ? [span.eventsMissing] : []));
}

/** Events in their order, with these numbers. */
function withNumbers(events: readonly Event[], numbers: readonly number[]): Event[] {
  return events.map((event, index) => numbered(event, numbers[index]!));
}

const story = [started(0), context(1), model(2), usage(3), said(4), completed(5)];

describe("a number that never comes", () => {
  test.each<[string, readonly number[], number | undefined]>([
    ["none", [1, 2, 3, 4, 5, 6], undefined],
    ["one", [1, 2, 4, 5, 6, 7], 1],
    ["several, in two places", [1, 4, 5, 6, 9, 10], 4],
    ["those before the first", [4, 5, 6, 7, 8, 9], 3],
  ])("is missing: %s", (_, numbers, expected) => {
    expect(missing(withNumbers(story, numbers))).toEqual([expected]);
  });

  test("is not missing on a run that has no numbers", () => {
    expect(missing(story)).toEqual([undefined]);
  });

  test("is waited for within the window, in any order", () => {
    const steps = withNumbers(story, [1, 2, 3, 4, 5, 6])
      .toReversed()
      .map((event, index) => ({ event, ms: index }));
    expect(missing(steps, { reorderWindowMs: 10 })).toEqual([undefined]);
  });

  test.each([
    ["a delta", delta(3)],
    ["any other event", said(3)],
  ])("is counted when %s after it is the last that comes", (_, last) => {
    expect(missing(withNumbers([started(0), model(1), last], [1, 2, 5]))).toEqual([2]);
  });

  test("is counted when what comes after it is used, and no longer when it comes after all", () => {
    const [a, b, c, d] = withNumbers([started(0), context(1), model(2), said(3)], [1, 2, 3, 4]);
    const before = [a!, c!];
    expect(missing(before)).toEqual([1]);
    expect(missing([...before, b!])).toEqual([undefined]);
    expect(missing([...before, b!, d!])).toEqual([undefined]);
  });

  test("is not counted while what comes after it still waits", () => {
    const [a, , c] = withNumbers([started(0), context(1), model(2)], [1, 2, 3]);
    const steps = [{ event: a!, ms: 0 }, { event: c!, ms: 8 }, { tick: 15 }];
    const ops = play(steps, { reorderWindowMs: 10, end: "stay" });
    expect(ops.filter(({ op }) => op === "used")).toHaveLength(1);
    expect(missing(steps, { reorderWindowMs: 10 })).toEqual([1]);
  });

  test("is of the segment that was open when it was missed", () => {
    const numbers = [1, 3, 4, 6, 7, 8];
    const events = [
      started(0),
      model(1),
      model(HOUR, 2),
      said(HOUR + 1),
      toolSaid(HOUR + 2),
      completed(HOUR + 3),
    ];
    expect(missing(withNumbers(events, numbers))).toEqual([1, 1]);
  });
});

describe("a producer that counts anew", () => {
  const first = withNumbers([started(0), context(1), model(2)], [1, 2, 3]);

  test("is told by a number that comes again later, and nothing is missing", () => {
    const second = withNumbers(
      [context(HOUR), model(HOUR + 1, 2), said(HOUR + 2), completed(HOUR + 3)],
      [1, 2, 3, 4],
    );
    expect(missing([...first, ...second])).toEqual([undefined, undefined]);
    expect(missing([...first, ...second.toSpliced(2, 1)])).toEqual([undefined, 1]);
  });

  test("within the same segment", () => {
    const second = withNumbers([toolSaid(10), context(11), model(12, 2), completed(13)], [1, 2, 3, 4]);
    expect(missing([...first, ...second])).toEqual([undefined]);
  });

  test("does not fill gaps of the old count, which are missing for good", () => {
    const gap = [first[0]!, first[2]!];
    const second = withNumbers([toolSaid(10), context(11), model(12, 2), completed(13)], [1, 2, 3, 4]);
    // The second number is the gap of the old count: only the first number again says that counting began anew.
    expect(missing([...gap, ...second])).toEqual([1]);
  });

  test("gaps that are still waited for then are missing", () => {
    const steps = [
      { event: numbered(started(0), 1), ms: 0 },
      { event: numbered(model(2), 3), ms: 2 },
      { event: numbered(context(3), 1), ms: 3 },
      { event: numbered(completed(9), 2), ms: 9 },
    ];
    expect(missing(steps, { reorderWindowMs: 100 })).toEqual([1]);
  });

  test("a straggler of the old count, known by its time, is no gap of the new one", () => {
    const second = withNumbers([context(10), model(11, 2)], [1, 2]);
    const straggler = numbered(said(3), 40);
    expect(missing([...first, ...second, straggler, numbered(completed(20), 3)])).toEqual([undefined]);
  });

  test("cannot be a duplicate that nobody remembers: it would be no later than what was there", () => {
    const calls = [1, 2, 3, 4].flatMap((iteration) => [
      numbered(model(iteration * 10, iteration), iteration * 2),
      numbered(delta(iteration * 10 + 1), iteration * 2 + 1),
    ]);
    const events = [numbered(started(0), 1), ...calls, numbered(completed(90), 10)];
    const echo = events.toSpliced(-1, 0, structuredClone(calls[1]!));
    expect(missing(echo)).toEqual([undefined]);
    expect(play(echo).filter(({ op }) => op !== "dropped")).toEqual(play(events));
  });
});

describe("more gaps than are remembered", () => {
  test.each([MAX_GAPS - 1, MAX_GAPS, MAX_GAPS + 1, 1_000_000_000])("%d are all counted", (gap) => {
    const last = numbered(completed(9), gap + 2);
    expect(missing([numbered(started(0), 1), last])).toEqual([gap]);
  });

  test("those remembered are filled by what comes after all, the others are not", () => {
    const far = MAX_GAPS + 3;
    const steps = (seq: number) => [
      numbered(started(0), 1),
      numbered(model(5), far),
      numbered(context(1), seq),
    ];
    expect(missing(steps(2))).toEqual([MAX_GAPS]);
    expect(missing(steps(MAX_GAPS + 1))).toEqual([MAX_GAPS]);
    expect(missing(steps(MAX_GAPS + 2))).toEqual([MAX_GAPS + 1]);
  });

  test("a gap that is filled makes room for another", () => {
    const steps = [
      numbered(started(0), 1),
      numbered(model(5), MAX_GAPS + 2),
      numbered(context(1), 2),
      numbered(usage(6), MAX_GAPS + 4),
      numbered(said(5.5), MAX_GAPS + 3),
    ];
    expect(missing(steps.slice(0, 4))).toEqual([MAX_GAPS]);
    expect(missing(steps)).toEqual([MAX_GAPS - 1]);
  });

  test("a run that goes on with gaps goes on being counted", () => {
    const steps = [
      numbered(started(0), 1),
      numbered(model(5), MAX_GAPS + 2),
      numbered(usage(6), MAX_GAPS + 4),
      numbered(said(7), MAX_GAPS + 9),
      numbered(completed(8), MAX_GAPS + 10),
    ];
    expect(missing(steps)).toEqual([MAX_GAPS + 1 + 4]);
  });
});

test("the second number of an event that was stored twice is not missing", () => {
  const twice = [1, 3, 4].map((seq) => numbered(seq === 1 ? started(0) : usage(2), seq));
  expect(missing([twice[0]!, numbered(model(1), 2), ...twice.slice(1), numbered(completed(5), 5)])).toEqual([
    undefined,
  ]);
  expect(missing([twice[0]!, numbered(model(1), 2), twice[1]!, numbered(completed(5), 5)])).toEqual([1]);
});

test("a late or repeated event says nothing more of the numbers", () => {
  const events = withNumbers(story, [1, 2, 3, 4, 5, 6]);
  expect(missing([...events, structuredClone(events[2]!), numbered(delta(1), 7)])).toEqual([undefined]);
});
