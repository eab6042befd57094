import { describe, expect, test } from "vitest";

import {
  counted,
  countText,
  durationText,
  momentText,
  rfc3339,
  tokensText,
} from "../../src/viewer/amount.ts";

describe("durationText", () => {
  test.each([
    [0, "0s"],
    [-1, "0s"],
    [1e-9, "1ns"],
    [999e-9, "999ns"],
    [1e-6, "1.0us"],
    [6.4e-6, "6.4us"],
    [64e-6, "64us"],
    [999.4e-6, "999us"],
    [999.5e-6, "1.0ms"],
    [0.00123, "1.2ms"],
    [0.0099, "9.9ms"],
    [0.00995, "10ms"],
    [0.83, "830ms"],
    [0.9994, "999ms"],
    [0.9995, "1.00s"],
    [1.24, "1.24s"],
    [9.994, "9.99s"],
    [9.995, "10.0s"],
    [12.34, "12.3s"],
    [59.94, "59.9s"],
    [59.95, "1m 00s"],
    [125, "2m 05s"],
    [3599.4, "59m 59s"],
    [3599.5, "1h 00m"],
    [12_000, "3h 20m"],
    [86_399, "23h 59m"],
    [86_400, "1d 00h"],
    [187_200, "2d 04h"],
  ])("%f s is %s", (seconds, text) => {
    expect(durationText(seconds)).toBe(text);
  });
});

describe("tokensText", () => {
  test.each([
    [0, "0"],
    [356, "356"],
    [999, "999"],
    [1000, "1.0k"],
    [1240, "1.2k"],
    [9949, "9.9k"],
    [9950, "10k"],
    [48_200, "48k"],
    [999_499, "999k"],
    [999_500, "1.0M"],
    [1_240_000, "1.2M"],
    [3_000_000_000, "3.0G"],
    [2_000_000_000_000, "2T"],
  ])("%d tokens are %s", (tokens, text) => {
    expect(tokensText(tokens)).toBe(text);
  });
});

test.each([
  [0, "0"],
  [999, "999"],
  [1000, "1,000"],
  [1_234_567, "1,234,567"],
])("%d is counted as %s", (count, text) => {
  expect(countText(count)).toBe(text);
});

test("one of a thing has no s", () => {
  expect(counted(1, "event")).toBe("1 event");
  expect(counted(0, "event")).toBe("0 events");
  expect(counted(1204, "event")).toBe("1,204 events");
});

test("a moment is told in UTC, to the millisecond for people and to the nanosecond for machines", () => {
  expect(momentText([1_795_361_881, 250_000_001])).toBe("2026-11-22 15:38:01.250 UTC");
  expect(rfc3339([1_795_361_881, 250_000_001])).toBe("2026-11-22T15:38:01.250000001Z");
  expect(rfc3339([0, 0])).toBe("1970-01-01T00:00:00.000000000Z");
});
