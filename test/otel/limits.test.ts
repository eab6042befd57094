import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { cutText } from "../../src/otel/limits.ts";
import { seeded } from "../viewer/seeded.ts";

/** Text with pieces of one, two, three and four bytes, and halves of surrogate pairs. */
const text = fc.string({ unit: fc.constantFrom("a", "é", "東", "😀", "\ud83d", "\ude00"), maxLength: 40 });

describe("a limit in bytes", () => {
  test.each([
    ["abc", 4, "abc"],
    ["abcd", 4, "abcd"],
    ["abcde", 4, "abcd"],
    ["abcé", 4, "abc"],
    ["abé", 4, "abé"],
    ["東京", 4, "東"],
    ["😀", 4, "😀"],
    ["😀", 3, ""],
    ["a😀", 4, "a"],
    ["", 0, ""],
    ["a", 0, ""],
  ])("cuts %s at %i to %s", (whole, max, cut) => {
    expect(cutText(whole, { unit: "bytes", max })).toBe(cut);
  });

  test("gives the longest beginning that fits and ends in no surrogate pair", () => {
    fc.assert(
      fc.property(text, fc.nat(60), (whole, max) => {
        const cut = cutText(whole, { unit: "bytes", max });
        expect(whole.startsWith(cut)).toBe(true);
        expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(max);
        if (cut === whole) return;
        const [next = ""] = whole.slice(cut.length);
        expect(Buffer.byteLength(cut + next)).toBeGreaterThan(max);
        expect(splitsPair(whole, cut.length)).toBe(false);
      }),
      seeded(),
    );
  });
});

describe("a limit in characters", () => {
  test.each([
    ["abc", 3, "abc"],
    ["abcd", 3, "abc"],
    ["😀😀😀", 3, "😀😀😀"],
    ["😀😀😀😀", 3, "😀😀😀"],
    ["a😀b", 2, "a😀"],
    ["a", 0, ""],
  ])("cuts %s at %i to %s", (whole, max, cut) => {
    expect(cutText(whole, { unit: "characters", max })).toBe(cut);
  });

  test("counts a pair of surrogates as one and never parts it", () => {
    fc.assert(
      fc.property(text, fc.nat(30), (whole, max) => {
        const cut = cutText(whole, { unit: "characters", max });
        expect(cut).toBe(Array.from(whole).slice(0, max).join(""));
        expect(splitsPair(whole, cut.length)).toBe(false);
      }),
      seeded(),
    );
  });
});

function splitsPair(whole: string, at: number): boolean {
  return at > 0 && at < whole.length && (whole.codePointAt(at - 1) ?? 0) > 0xffff;
}
