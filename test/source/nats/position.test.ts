import { expect, test } from "vitest";

import {
  countBetween,
  expectedBetween,
  formatPosition,
  hasSequence,
  parsePosition,
  sequenceSet,
  startOf,
  upTo,
} from "../../../src/source/nats/position.ts";

const positionIn = (text: string) => parsePosition(text, "source");

const POSITION = { stream: "2026-01-01T00:00:00Z", life: 0, next: 20, unused: [3, 5, 9, 9], appendedMs: 7 };

test("a set of sequences is its ranges", () => {
  expect(sequenceSet([3, 4, 5, 9])).toEqual([3, 5, 9, 9]);
  expect(sequenceSet([])).toEqual([]);
});

test("a set has what lies in its ranges, and nothing beside them", () => {
  const had = Array.from({ length: 12 }, (_, sequence) => sequence).filter((one) =>
    hasSequence([3, 5, 9, 9], one),
  );
  expect(had).toEqual([3, 4, 5, 9]);
  expect(hasSequence([], 1)).toBe(false);
});

test("what lies between two sequences is counted without them", () => {
  expect(countBetween([3, 5, 9, 9], 3, 9)).toBe(2);
  expect(countBetween([3, 5, 9, 9], 2, 10)).toBe(4);
  expect(countBetween([3, 5, 9, 9], 5, 9)).toBe(0);
});

test("a set is cut behind a sequence", () => {
  expect(upTo([3, 5, 9, 9], 4)).toEqual([3, 4]);
  expect(upTo([3, 5, 9, 9], 8)).toEqual([3, 5]);
  expect(upTo([3, 5, 9, 9], 2)).toEqual([]);
});

test("reading begins at the lowest sequence that is not used", () => {
  expect(startOf(POSITION)).toBe(3);
  expect(startOf({ next: 20, unused: [] })).toBe(20);
});

test("expected is what is not used, and everything from the next one on", () => {
  expect(expectedBetween(POSITION, 0, 19)).toBe(4);
  expect(expectedBetween(POSITION, 0, 20)).toBe(4);
  expect(expectedBetween(POSITION, 4, 22)).toBe(4);
  expect(expectedBetween(POSITION, 19, 20)).toBe(0);
  expect(expectedBetween(POSITION, 25, 25)).toBe(0);
});

test("a position is read as it was written", () => {
  for (const unused of [[], [1, 19], [3, 5, 9, 9], [19, 19]]) {
    const position = { ...POSITION, unused };
    expect(positionIn(formatPosition(position))).toEqual(position);
  }
});

test("every second one of 65,536 unused takes less than 300 KiB", () => {
  const unused = sequenceSet(Array.from({ length: 65_536 }, (_, index) => 4_000_000_000 + 2 * index));
  expect(formatPosition({ ...POSITION, next: 4_000_200_000, unused }).length).toBeLessThan(300 * 1024);
});

test.each([
  ["no JSON", "1234-0"],
  ["another source's", '{"next":"1234-0","unused":[]}'],
  ["half a range", '{"stream":"x","life":0,"next":3,"unused":[1],"appendedMs":0}'],
  ["nothing", "null"],
])("a position that is %s is refused", (_, text) => {
  expect(() => positionIn(text)).toThrow(expect.objectContaining({ code: "BEHEST_SOURCE_OPEN" }));
});
