import { describe, expect, test } from "vitest";

import { linesOf, nameOf, recording, recordingsOf, type Recording } from "./bridge/recordings.ts";
import { livesOf, timeOf, waitingFrom, type Lives } from "./bridge/lives.ts";
import { SEED, seeded, shuffledWithin } from "./bridge/seeded.ts";

const WINDOW_MS = 2_000;
const inProcess = recordingsOf("").map((one) => [nameOf(one), one] as const);

describe("the same input twice gives the same spans, byte for byte, and the same counters", () => {
  test.each(inProcess)("%s, each line doubled", (_, one) => {
    const lines = linesOf(one.path);
    const doubled = livesOf(lines.flatMap((line) => [line, line]));
    expectSame(doubled, livesOf(lines));
    expect(dropped(doubled)).toEqual({ duplicate: lines.length });
  });

  test.each(inProcess)("%s, the whole of it again behind it", (_, one) => {
    const lines = linesOf(one.path);
    const again = livesOf([...lines, ...lines]);
    expectSame(again, livesOf(lines));
    const { duplicate = 0, late = 0, ...other } = dropped(again);
    expect(other).toEqual({});
    expect(duplicate + late).toBe(lines.length);
  });

  test.each(inProcess)("%s, each line doubled and the whole of it again, in a reorder window", (_, one) => {
    const lines = linesOf(one.path);
    const twice = lines.flatMap((line) => [line, line]);
    const expected = livesOf(lines, { reorderWindowMs: WINDOW_MS });
    expectSame(livesOf([...twice, ...twice], { reorderWindowMs: WINDOW_MS }), expected);
    expectSame(expected, livesOf(lines));
  });

  test.each(enveloped())("%s with its envelopes, doubled near and far", (_, one) => {
    const lines = linesOf(one.path);
    const twice = lines.flatMap((line) => [line, line]);
    expectSame(livesOf([...twice, ...twice]), livesOf(lines));
  });
});

describe("order within the window changes nothing", () => {
  test.each(inProcess)(`%s, shuffled (SEED=${SEED})`, (_, one) => {
    const lines = linesOf(one.path);
    const random = seeded(SEED);
    const expected = livesOf(lines);
    for (let trial = 0; trial < 4; trial += 1) {
      const shuffled = shuffledWithin(lines, WINDOW_MS, random, timeOf);
      expectSame(livesOf(shuffled, { reorderWindowMs: WINDOW_MS }), expected);
    }
  });

  test("a window that is too small shows: the shuffle above is one that matters", () => {
    const lines = linesOf(recording("0.5.9", "parallel-tools").path);
    const shuffled = shuffledWithin(lines, WINDOW_MS, seeded(SEED), timeOf);
    const { spans } = livesOf(shuffled, { reorderWindowMs: 1 });
    expect(spans.toSorted()).not.toEqual(livesOf(lines).spans.toSorted());
  });
});

/** Some are like others of them: these are all kinds of end, of call and of tool. */
const CUT = [
  "parallel-tools",
  "failing-tool-abort",
  "stream-fallback",
  "provider-error-late",
  "doom-loop",
  "context-overflow",
  "compaction-circuit",
  "one-session",
  "resume-model",
];

describe("two processes, cut anywhere, are as one", () => {
  test.each(CUT)("0.5.9/%s, cut before every line, nothing waiting", (scenario) => {
    const lines = linesOf(recording("0.5.9", scenario).path);
    const expected = livesOf(lines);
    for (let cut = 0; cut <= lines.length; cut += 1) expectSame(livesOf(lines, {}, [cut]), expected);
  });

  test.each(CUT)("0.5.9/%s, cut before every line, everything delivered again", (scenario) => {
    const lines = linesOf(recording("0.5.9", scenario).path);
    const expected = livesOf(lines);
    for (let cut = 0; cut <= lines.length; cut += 1) {
      expectSame(
        livesOf(lines, {}, [cut], () => 0),
        expected,
      );
    }
  });

  test.each(CUT)("0.5.9/%s over Redis, cut before every line, what waits in the window again", (scenario) => {
    const lines = linesOf(recording("0.5.9", scenario, "redis").path);
    const options = { reorderWindowMs: WINDOW_MS };
    const expected = livesOf(lines, options);
    for (let cut = 0; cut <= lines.length; cut += 1) {
      const from = (at: number) => waitingFrom(lines, at, WINDOW_MS);
      expectSame(livesOf(lines, options, [cut], from), expected);
    }
  });

  test.each(["cache-tokens", "resume", "parallel-tools"])(
    "0.5.9/redis-run/%s, enveloped, in a window",
    (scenario) => {
      const lines = linesOf(recording("0.5.9", scenario, "redis-run").path);
      const options = { reorderWindowMs: WINDOW_MS };
      const expected = livesOf(lines, options);
      for (let cut = 0; cut <= lines.length; cut += 1) {
        const from = (at: number) => waitingFrom(lines, at, WINDOW_MS);
        expectSame(livesOf(lines, options, [cut], from), expected);
      }
    },
  );

  test(`fifty runs at once, cut twenty times in one life (SEED=${SEED})`, () => {
    const lines = linesOf(recording("0.5.9", "fifty-runs", "nats").path);
    const options = { reorderWindowMs: 50 };
    const expected = livesOf(lines, options);
    const random = seeded(SEED);
    for (let trial = 0; trial < 5; trial += 1) {
      const cuts = Array.from({ length: 20 }, () => Math.floor(random() * lines.length)).toSorted(
        (a, b) => a - b,
      );
      const from = (at: number) => waitingFrom(lines, at, 50);
      expectSame(livesOf(lines, options, cuts, from), expected);
    }
  });
});

/** The same spans, each once, and the same of all counters but those of repeated events. */
function expectSame(got: Lives, expected: Lives): void {
  expect(got.spans.toSorted()).toEqual(expected.spans.toSorted());
  expect(countersOf(got)).toEqual(countersOf(expected));
}

const OF_REPEATS = ["behest.bridge.events.received", "behest.bridge.events.dropped"];

function countersOf({ snapshot }: Lives): unknown[] {
  return snapshot
    .filter(({ metric }) => !OF_REPEATS.includes(metric))
    .map((point) => (point.kind === "histogram" ? { ...point, value: rounded(point.value) } : point))
    .toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

/** Sums of seconds depend on the order of adding in their last digits. */
function rounded<H extends { readonly sum: number }>(histogram: H): H {
  return { ...histogram, sum: Number(histogram.sum.toPrecision(12)) };
}

function keyOf({ metric, attributes }: { readonly metric: string; readonly attributes: object }): string {
  return `${metric} ${JSON.stringify(Object.entries(attributes).toSorted(([a], [b]) => (a < b ? -1 : 1)))}`;
}

function dropped({ snapshot }: Lives): Record<string, number> {
  const reasons: Record<string, number> = {};
  for (const point of snapshot) {
    if (point.metric !== "behest.bridge.events.dropped" || point.kind === "histogram") continue;
    if (point.value > 0) reasons[String(point.attributes.reason)] = point.value;
  }
  return reasons;
}

function enveloped(): (readonly [string, Recording])[] {
  return ["redis-run", "nats-run", "memory-run"].flatMap((transport) =>
    recordingsOf(transport).map((one) => [nameOf(one), one] as const),
  );
}
