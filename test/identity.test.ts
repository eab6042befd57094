import { describe, expect, test } from "vitest";

import { spanIdOf, traceIdOf, traceparentOf } from "../src/identity.ts";
import { startHttpBackend } from "./otel/otlp-server.ts";
import { envFor, runOver } from "./bridge/bridge-run.ts";
import { linewise } from "./bridge/feed.ts";
import { spanIdOf as spanIdByHand } from "./bridge/raw-truth.ts";
import * as wire from "./bridge/wire-runs.ts";

const RUN = "0192f0c1-2d3e-7f40-8a5b-6c7d8e9f0a1b";
const PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

test("the ids of a run's spans are known before there are any, and are those that arrive", async () => {
  const backend = await startHttpBackend();
  const { modelCalls } = { modelCalls: 2 };
  await runOver({
    from: [linewise(wire.linesOf(wire.standardRun(1, { modelCalls, deltas: 1 })))],
    env: envFor(backend.url),
  });
  await backend.close();
  const id = wire.runIdOf(1);
  expect(new Set(backend.taken.map(({ spanId }) => spanId))).toEqual(
    new Set([
      spanIdOf(id),
      spanIdOf(id, { model: 1 }),
      spanIdOf(id, { model: 2 }),
      spanIdOf(id, { tool: "call_1" }),
      spanIdOf(id, { tool: "call_2" }),
    ]),
  );
  expect(new Set(backend.taken.map(({ traceId }) => traceId))).toEqual(new Set([traceIdOf(id)]));
});

test("a span id is what the contract makes of its run, segment, kind, key and occurrence", () => {
  expect(spanIdOf(RUN)).toBe("5c941e0c57e67e25");
  expect(spanIdOf(RUN)).toBe(spanIdByHand(RUN, "", "run", "", 0));
  expect(spanIdOf(RUN, { model: 12 })).toBe(spanIdByHand(RUN, "", "model", "12", 0));
  expect(spanIdOf(RUN, { model: 0, occurrence: 3 })).toBe(spanIdByHand(RUN, "", "model", "0", 3));
  expect(spanIdOf(RUN, { tool: "", occurrence: 1 })).toBe(spanIdByHand(RUN, "", "tool", "", 1));
  expect(spanIdOf(RUN, { segment: "17", tool: "büro\0" })).toBe(spanIdByHand(RUN, "17", "tool", "büro\0", 0));
});

describe("traceparentOf", () => {
  test("is that of the span, sampled unless it is said otherwise", () => {
    expect(traceparentOf(RUN)).toBe(`00-${traceIdOf(RUN)}-${spanIdOf(RUN)}-01`);
    expect(traceparentOf(RUN, { tool: "call_1", sampled: false })).toBe(
      `00-${traceIdOf(RUN)}-${spanIdOf(RUN, { tool: "call_1" })}-00`,
    );
  });

  test("is in the trace of the run's remote parent", () => {
    expect(traceparentOf(RUN, { model: 1, parent: PARENT })).toBe(
      `00-4bf92f3577b34da6a3ce929d0e0e4736-${spanIdOf(RUN, { model: 1 })}-01`,
    );
  });

  test.each(["", "no", PARENT.replace("4bf9", "4BFX"), `00-${"0".repeat(32)}-00f067aa0ba902b7-01`])(
    "refuses %j as a parent",
    (parent) => {
      expect(() => traceparentOf(RUN, { parent })).toThrow(RangeError);
    },
  );
});

test("upper case is folded, and what names no run is refused", () => {
  expect(traceIdOf(RUN.toUpperCase())).toBe(traceIdOf(RUN));
  expect(spanIdOf(RUN.toUpperCase(), { tool: "X" })).toBe(spanIdOf(RUN, { tool: "X" }));
  for (const id of ["", "00000000-0000-0000-0000-000000000000", RUN.replaceAll("-", ""), `${RUN} `]) {
    for (const of of [traceIdOf, spanIdOf, traceparentOf]) expect(() => of(id)).toThrow(RangeError);
  }
});
