import { describe, expect, test } from "vitest";
import { formatDuration, MAX_DURATION_MS, parseDuration } from "../src/duration.ts";

describe("a duration", () => {
  test.each([
    ["0", 0],
    ["0ms", 0],
    ["250ms", 250],
    ["2s", 2_000],
    ["1.5s", 1_500],
    ["4.35s", 4_350],
    ["10m", 600_000],
    ["24h", 86_400_000],
    ["8760h", MAX_DURATION_MS],
  ])("%s is read", (text, millis) => {
    expect(parseDuration(text)).toBe(millis);
  });

  test.each([
    "",
    "10",
    "10x",
    "-1s",
    "+1s",
    "1e3s",
    " 1s",
    "1 s",
    "1S",
    "1h30m",
    ".5s",
    "1.s",
    "0.5ms",
    "8761h",
    "NaNs",
    "∞s",
  ])("%j is none", (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  test.each([0, 1, 999, 1_000, 1_001, 60_000, 90_000, 3_600_000, 5_400_000, 86_400_000, MAX_DURATION_MS])(
    "of %d ms is written so that it reads the same",
    (millis) => {
      expect(parseDuration(formatDuration(millis))).toBe(millis);
    },
  );

  test("is written in the largest unit that is exact", () => {
    expect([0, 250, 90_000, 600_000, 86_400_000].map(formatDuration)).toEqual([
      "0",
      "250ms",
      "90s",
      "10m",
      "24h",
    ]);
  });
});
