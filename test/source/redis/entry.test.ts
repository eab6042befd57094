import { expect, test } from "vitest";

import { deliveryOf } from "../../../src/source/redis/entry.ts";

const PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const delivered = (...fields: (string | Buffer)[]) => {
  const { payload, outside } = deliveryOf(
    "1-0",
    fields.map((field) => Buffer.from(field)),
    1,
  );
  return [payload.toString(), outside];
};

test("the event is in `event`, else in `data`", () => {
  expect(delivered("event", "E")).toEqual(["E", undefined]);
  expect(delivered("data", "D")).toEqual(["D", undefined]);
  expect(delivered("data", "D", "event", "E")).toEqual(["E", undefined]);
  expect(delivered("event", "E1", "event", "E2")).toEqual(["E1", undefined]);
});

test("an agent has a name of at least one byte and at most 1,024", () => {
  expect(delivered("event", "E", "agent", "")).toEqual(["E", undefined]);
  expect(delivered("event", "E", "agent", "a".repeat(1_024))).toEqual(["E", { agent: "a".repeat(1_024) }]);
  expect(delivered("event", "E", "agent", "a".repeat(1_025))).toEqual(["E", undefined]);
});

test("a parent that is malformed is none", () => {
  const parent = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", flags: 1 };
  expect(delivered("traceparent", PARENT, "event", "E")).toEqual(["E", { parent }]);
  expect(delivered("traceparent", "00-00-00-00", "event", "E")).toEqual(["E", undefined]);
  expect(delivered("tracestate", "a=b", "event", "E")).toEqual(["E", undefined]);
});

test("an entry without an event is there whole, also what is no text", () => {
  expect(delivered("a", "1", "a", Buffer.from([0xff]))).toEqual([
    '{"redis_entry":"1-0","fields":["a","1","a",{"base64":"/w=="}]}',
    undefined,
  ]);
  expect(delivered()).toEqual(['{"redis_entry":"1-0","fields":[]}', undefined]);
});
