import { describe, expect, test } from "vitest";
import { append, appendNumber, NONE } from "../../src/run/short-list.ts";

/** Long enough for every way of growing. */
const NUMBERS = Array.from({ length: 40 }, (_, at) => at * 1e9 + 0.5);

describe.each([
  ["any values", append<number>],
  ["numbers", appendNumber],
])("a short list of %s", (_, grow) => {
  test("is what was put in, at every length", () => {
    let list: number[] = NONE;
    for (const [at, value] of NUMBERS.entries()) {
      list = grow(list, value);
      expect(list).toEqual(NUMBERS.slice(0, at + 1));
    }
  });

  test("grows from one that was made elsewhere", () => {
    for (const length of NUMBERS.keys()) {
      expect(grow(NUMBERS.slice(0, length), -1)).toEqual([...NUMBERS.slice(0, length), -1]);
    }
  });

  test("leaves the list of nothing as it is", () => {
    grow(NONE, 1);
    expect(NONE).toEqual([]);
  });
});
