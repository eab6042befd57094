import { describe, expect, test } from "vitest";

import { parseEvent } from "../src/parse-event.ts";
import { linesOf, recordingsOf } from "./bridge/recordings.ts";
import * as wire from "./bridge/wire-runs.ts";

test("every line of every recording is an event, from its text and from its object alike", () => {
  let events = 0;
  for (const transport of ["", "redis-run", "memory-run"]) {
    for (const { path } of recordingsOf(transport)) {
      for (const line of linesOf(path)) {
        const value = JSON.parse(line) as unknown;
        expect(parseEvent(line)).toEqual({ kind: "event", event: value });
        expect(parseEvent(value)).toEqual({ kind: "event", event: value });
        events += 1;
      }
    }
  }
  expect(events).toBeGreaterThan(4_000);
});

describe("what is wrong is said", () => {
  const run = wire.teller(1);

  test.each([
    ["text that is no JSON", '{"RunStarted"', "BEHEST_DECODE_JSON"],
    ["no text at all", "", "BEHEST_DECODE_JSON"],
    ["JSON that is no event", "[]", "BEHEST_DECODE_SCHEMA"],
    ["undefined", undefined, "BEHEST_DECODE_SCHEMA"],
    ["two events in one object", { ...wire.started(run), ...wire.completed(run) }, "BEHEST_DECODE_SCHEMA"],
    [
      "a nil run id",
      { RunCancelled: { run_id: "00000000-0000-0000-0000-000000000000", timestamp: wire.stamp(0) } },
      "BEHEST_DECODE_RUN_ID",
    ],
    [
      "a time that is none",
      { RunCancelled: { run_id: wire.runIdOf(1), timestamp: "yesterday" } },
      "BEHEST_DECODE_TIMESTAMP",
    ],
    [
      "a getter that throws",
      Object.defineProperty({}, "RunCancelled", {
        enumerable: true,
        get: () => {
          throw new Error("no");
        },
      }),
      "BEHEST_DECODE_SCHEMA",
    ],
  ])("%s", (_, input, code) => {
    const parsed = parseEvent(input);
    expect(parsed).toMatchObject({ kind: "rejected", code });
    expect(parsed.kind === "rejected" && parsed.message.length).toBeGreaterThan(10);
  });

  test("an unknown variant is no mistake", () => {
    expect(parseEvent({ SomethingNew: { run_id: wire.runIdOf(1) } })).toEqual({
      kind: "unknown",
      type: "SomethingNew",
    });
  });
});
