import { expect, test } from "vitest";

import { compareIds, idBefore, timeOf } from "../../../src/source/redis/entry-id.ts";

const IN_ORDER = [
  "0-0",
  "0-1",
  "9-0",
  "10-0",
  "10-9",
  "10-10",
  "1700000000000-0",
  "18446744073709551614-18446744073709551615",
  "18446744073709551615-0",
];

test("ids are in order of their numbers", () => {
  expect(IN_ORDER.toReversed().sort(compareIds)).toEqual(IN_ORDER);
  expect(IN_ORDER.map((id) => compareIds(id, id))).toEqual(IN_ORDER.map(() => 0));
});

test.each([
  ["5-3", "5-2"],
  ["5-0", "4-18446744073709551615"],
  ["0-1", "0-0"],
  ["0-0", "0-0"],
])("before %s there is %s", (id, before) => {
  expect(idBefore(id)).toBe(before);
});

test("the time is the part before the hyphen", () => {
  expect(timeOf("1700000000123-7")).toBe(1_700_000_000_123);
});
