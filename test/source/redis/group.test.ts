import { expect, test } from "vitest";

import { goneUnread } from "../../../src/source/redis/group.ts";

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

test("what was known to be gone before is not gone again", () => {
  const stream = { length: 0, lastId: "100-0", firstId: undefined, entriesAdded: 100 };
  const group = { lastDelivered: "60-0", entriesRead: 60, lag: undefined };
  expect([59, 60, 61, 100, 101].map((passed) => goneUnread(stream, group, passed))).toEqual([
    40, 40, 39, 0, 0,
  ]);
});
