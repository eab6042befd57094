import { expect, test } from "vitest";

import { goneUnread, positionText, resumeOf } from "../../../src/source/redis/group.ts";

test.each([
  [
    "nothing is gone",
    { length: 100, firstId: "1-0", entriesAdded: 100 },
    { lastDelivered: "60-0", entriesRead: 60 },
    0,
  ],
  [
    "only what was read is gone",
    { length: 40, firstId: "61-0", entriesAdded: 100 },
    { lastDelivered: "60-0", entriesRead: 60 },
    0,
  ],
  [
    "one more is gone",
    { length: 39, firstId: "62-0", entriesAdded: 100 },
    { lastDelivered: "60-0", entriesRead: 60 },
    1,
  ],
  [
    "all is gone",
    { length: 0, firstId: undefined, entriesAdded: 100 },
    { lastDelivered: "60-0", entriesRead: 60 },
    40,
  ],
  [
    "something was deleted in between",
    { length: 90, firstId: "1-0", entriesAdded: 100 },
    { lastDelivered: "60-0", entriesRead: 60 },
    0,
  ],
  [
    "the server does not count",
    { length: 1, firstId: "99-0", entriesAdded: undefined },
    { lastDelivered: "60-0", entriesRead: undefined },
    0,
  ],
  [
    "the group never read",
    { length: 10, firstId: "91-0", entriesAdded: 100 },
    { lastDelivered: "0-0", entriesRead: undefined },
    0,
  ],
])("of a stream where %s", (_, stream, group, gone) => {
  expect(goneUnread({ lastId: "100-0", ...stream }, { lag: undefined, ...group })).toBe(gone);
});

test.each([
  ["5-1", [], "5-1"],
  ["5-1", ["3-0", "4-0"], "2-18446744073709551615"],
  ["5-1", ["5-1"], "5-0"],
  // Taken over from another consumer before anything of our own was used.
  ["5-1", ["7-0"], "5-1"],
])("up to %s used without %s, reading goes on behind %s", (last, unused, resume) => {
  expect(resumeOf(positionText(last, unused))).toBe(resume);
});

test.each(["", "5", "5-1 ", "5-1 x", "5-1 4-0 3-0"])("%j is no position", (position) => {
  expect(() => resumeOf(position)).toThrow("is none of a Redis stream");
});
