import { expect, test } from "vitest";

import { DECODE_CODES } from "../../src/event/codes.ts";
import { EVENT_TYPES } from "../../src/event/event.ts";
import { DROP_REASONS, OUTCOMES } from "../../src/run/op.ts";
import { Ledger } from "../../src/metric/ledger.ts";
import type { Attributes } from "../../src/metric/snapshot.ts";
import { REQUEST_REFUSALS, RUN_ERROR_TYPES, SPAN_FAILURES } from "../../src/metric/words.ts";
import { facts, model, opened, run, valueOf } from "./ops.ts";

const WITHOUT_NAME: readonly [metric: string, series: readonly Attributes[]][] = [
  ["behest.bridge.events.used", EVENT_TYPES.map((type) => ({ type }))],
  ["behest.bridge.events.received", [...EVENT_TYPES, "_OTHER"].map((type) => ({ type }))],
  ["behest.bridge.events.dropped", DROP_REASONS.map((reason) => ({ reason }))],
  ["behest.bridge.events.rejected", Object.keys(DECODE_CODES).map((code) => ({ code }))],
  ["behest.bridge.spans.exported", [{}]],
  ["behest.bridge.spans.failed", Object.keys(SPAN_FAILURES).map((reason) => ({ reason }))],
  ["behest.bridge.usage.late", [{ source: "redis" }]],
  ["behest.bridge.source.redelivered", [{ source: "redis" }]],
  ["behest.bridge.source.lost", [{ source: "redis" }]],
];

const PER_AGENT: readonly [metric: string, series: readonly Attributes[]][] = [
  ["behest.run.ended", OUTCOMES.map((outcome) => ({ "behest.run.outcome": outcome }))],
  ["behest.run.failures", RUN_ERROR_TYPES.map((type) => ({ "error.type": type }))],
  ["behest.run.active", [{}]],
  ["behest.run.doom_loops", [{}]],
  ["behest.run.compaction_circuit_openings", [{}]],
];

test.each(WITHOUT_NAME)("%s exists at 0 from the start", (metric, series) => {
  const snapshot = new Ledger({ source: "redis" }).snapshot("released");
  const values = series.map((attributes) => valueOf(snapshot, metric, attributes));
  expect(values).toEqual(series.map(() => 0));
  expect(snapshot.filter((point) => point.metric === metric)).toHaveLength(series.length);
});

test("refused requests exist at 0 for a source that others send to, and for no other", () => {
  const refusals = (refuses: boolean) =>
    new Ledger({ source: "http", refuses })
      .snapshot("released")
      .filter(({ metric }) => metric === "behest.bridge.source.refused")
      .map(({ attributes, value }) => [attributes, value]);
  expect(refusals(true)).toEqual(
    Object.keys(REQUEST_REFUSALS)
      .toSorted()
      .map((reason) => [{ source: "http", reason }, 0]),
  );
  expect(refusals(false)).toEqual([]);
});

test.each(PER_AGENT)("%s exists at 0 from the start, for runs without an agent's name", (metric, series) => {
  const snapshot = new Ledger().snapshot("released");
  const values = series.map((attributes) => valueOf(snapshot, metric, attributes));
  expect(values).toEqual(series.map(() => 0));
  expect(snapshot.filter((point) => point.metric === metric)).toHaveLength(series.length);
});

test.each(PER_AGENT)("%s exists at 0 from the start, for the configured agent", (metric, series) => {
  const snapshot = new Ledger({ agent: "billing" }).snapshot("released");
  for (const attributes of series) {
    expect(valueOf(snapshot, metric, { ...attributes, "gen_ai.agent.name": "billing" })).toBe(0);
  }
  expect(snapshot.filter((point) => point.metric === metric)).toHaveLength(series.length);
});

test.each(PER_AGENT)("%s exists for an agent from its first run's opening on", (metric, series) => {
  const ledger = new Ledger();
  ledger.apply(opened("billing"));
  const snapshot = ledger.snapshot("released");
  for (const attributes of series) {
    const expected = metric === "behest.run.active" ? 1 : 0;
    expect(valueOf(snapshot, metric, { ...attributes, "gen_ai.agent.name": "billing" })).toBe(expected);
  }
});

test("the outcomes of resumed runs exist at 0 from the opening of an agent's first one on", () => {
  const ledger = new Ledger();
  ledger.apply(opened("billing", "0"));
  const snapshot = ledger.snapshot("released");
  for (const outcome of OUTCOMES) {
    expect(
      valueOf(snapshot, "behest.run.ended", {
        "behest.run.outcome": outcome,
        "gen_ai.agent.name": "billing",
        "behest.run.resumed": true,
      }),
    ).toBe(0);
  }
});

test("every way a run can fail that a decoder or the heart knows is among the zeros", () => {
  expect(RUN_ERROR_TYPES).toEqual(
    expect.arrayContaining(["token_budget_exceeded", "model_error", "run_expired", "_OTHER"]),
  );
  expect(new Set(RUN_ERROR_TYPES).size).toBe(RUN_ERROR_TYPES.length);
});

test("nothing exists at 0 that was not observed: tokens, durations, gauges that are read off", () => {
  const ledger = new Ledger({ source: "redis" });
  ledger.apply(opened());
  ledger.apply(model({ incomplete: true }));
  ledger.apply(run({ outcome: "incomplete", reason: "evicted" }));
  ledger.apply({
    op: "notice",
    run: facts(),
    notice: { name: "behest.doom_loop.detected", description: undefined, time: [1, 0] },
  });
  const metrics = new Set(ledger.snapshot("dup").map(({ metric }) => metric));
  expect([...metrics].sort()).toEqual([...WITHOUT_NAME, ...PER_AGENT].map(([metric]) => metric).sort());
});
