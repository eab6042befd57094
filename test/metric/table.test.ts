import { describe, expect, test } from "vitest";

import { ATTRIBUTES } from "../../src/metric/attribute.ts";
import { FACTS, type Fact } from "../../src/metric/facts.ts";
import { metricNamed, METRICS, metricsIn } from "../../src/metric/table.ts";

const ALWAYS = [
  "behest.bridge.commit.duration",
  "behest.bridge.events.dropped",
  "behest.bridge.events.received",
  "behest.bridge.events.rejected",
  "behest.bridge.events.used",
  "behest.bridge.events.waiting",
  "behest.bridge.export.duration",
  "behest.bridge.queue.spans",
  "behest.bridge.source.age",
  "behest.bridge.source.lag",
  "behest.bridge.source.lost",
  "behest.bridge.source.pending",
  "behest.bridge.source.redelivered",
  "behest.bridge.source.refused",
  "behest.bridge.spans.exported",
  "behest.bridge.spans.failed",
  "behest.bridge.state.runs",
  "behest.bridge.state.size",
  "behest.bridge.usage.late",
  "behest.run.active",
  "behest.run.compaction_circuit_openings",
  "behest.run.doom_loops",
  "behest.run.ended",
  "behest.run.failures",
  "behest.run.oldest_active_age",
  "behest.token.usage",
  "gen_ai.execute_tool.duration",
  "gen_ai.invoke_agent.duration",
  "gen_ai.invoke_agent.inference_calls",
  "gen_ai.invoke_agent.tool_calls",
];

const RELEASED = [
  "gen_ai.client.operation.duration",
  "gen_ai.client.operation.time_per_output_chunk",
  "gen_ai.client.operation.time_to_first_chunk",
  "gen_ai.client.token.usage",
];

const LATEST = [
  "gen_ai.client.inference.duration",
  "gen_ai.client.inference.operation.input_tokens",
  "gen_ai.client.inference.operation.output_tokens",
  "gen_ai.client.inference.time_per_output_chunk",
  "gen_ai.client.inference.time_to_first_chunk",
  "gen_ai.client.inference.usage.cache_read.input_tokens",
  "gen_ai.client.inference.usage.cache_write.input_tokens",
  "gen_ai.client.inference.usage.input_tokens",
  "gen_ai.client.inference.usage.output_tokens",
];

describe("names", () => {
  test.each([
    ["released", [...ALWAYS, ...RELEASED]],
    ["latest", [...ALWAYS, ...LATEST]],
    ["dup", [...ALWAYS, ...RELEASED, ...LATEST]],
  ] as const)("the metrics of mode %s", (mode, names) => {
    expect(
      metricsIn(mode)
        .map(({ name }) => name)
        .sort(),
    ).toEqual([...names].sort());
  });

  test("each stands in the table once", () => {
    expect(new Set(METRICS.map(({ name }) => name)).size).toBe(METRICS.length);
  });

  test("one that is not in the table is refused by name", () => {
    expect(() => metricNamed("behest.run.started")).toThrow("no metric is called behest.run.started");
  });
});

describe.each(METRICS)("$name", ({ kind, unit, description, attributes, bounds, from }) => {
  test("has a unit, a description that is no sentence, and attributes that are described", () => {
    expect(unit).toMatch(/^(s|By|\{[a-z_]+\})$/);
    expect(description).toMatch(/^[A-Z].*[^.]$/);
    expect(Object.keys(ATTRIBUTES)).toEqual(expect.arrayContaining(attributes.map(([key]) => key)));
  });

  test("takes every attribute from its facts' labels, or has it the same on every point", () => {
    for (const { fact, add = {} } of from) {
      const given: readonly string[] = [...FACTS[fact].labels, ...Object.keys(add)];
      expect(given).toEqual(expect.arrayContaining(attributes.map(([key]) => key)));
    }
  });

  test("is a histogram exactly when its facts are distributions, all of the same bounds", () => {
    for (const view of from) {
      const fact: Fact = FACTS[view.fact];
      expect(fact.kind === "distribution" ? fact.bounds : undefined).toEqual(bounds);
      expect(fact.kind === "distribution").toBe(kind === "histogram");
    }
  });
});

test("no attribute can tell one run, session, message or call from another", () => {
  const keys = METRICS.flatMap(({ attributes }) => attributes.map(([key]) => key as string));
  expect(
    keys.filter((key) => /run\.id|conversation|session|message|call\.id|span\.id|trace/.test(key)),
  ).toEqual([]);
});

test("every fact that is kept is in some metric of every mode", () => {
  for (const mode of ["released", "latest", "dup"] as const) {
    const shown = new Set(metricsIn(mode).flatMap(({ from }) => from.map(({ fact }) => fact)));
    expect([...shown].sort()).toEqual(Object.keys(FACTS).sort());
  }
});

describe("bounds", () => {
  const seconds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
  const tokens = Array.from({ length: 14 }, (_, power) => 4 ** power);

  test.each([
    ["gen_ai.client.token.usage", tokens],
    ["gen_ai.client.inference.operation.input_tokens", tokens],
    ["gen_ai.client.inference.operation.output_tokens", tokens],
    ["gen_ai.client.operation.duration", seconds],
    ["gen_ai.client.operation.time_to_first_chunk", seconds],
    ["gen_ai.client.operation.time_per_output_chunk", seconds],
    ["gen_ai.client.inference.duration", seconds],
    ["gen_ai.execute_tool.duration", seconds],
    [
      "gen_ai.invoke_agent.duration",
      Array.from({ length: 13 }, (_, power) => Number((0.1 * 2 ** power).toFixed(1))),
    ],
    ["gen_ai.invoke_agent.inference_calls", [1, 2, 4, 8, 16, 32, 64, 128]],
    ["gen_ai.invoke_agent.tool_calls", [1, 2, 4, 8, 16, 32, 64, 128]],
  ])("%s has the advised ones", (name, bounds) => {
    expect(metricNamed(name).bounds).toEqual(bounds);
  });
});
