import { describe, expect, test } from "vitest";

import { admit, MAX_NAME_LENGTH, noNames } from "../../src/metric/names.ts";
import { Ledger } from "../../src/metric/ledger.ts";
import type { Op } from "../../src/run/op.ts";
import { chunk, failed, lines, model, opened, run, tool, valueOf } from "./ops.ts";

const usage = { input: 1, output: 1, cacheRead: undefined, cacheWrite: undefined };

const KINDS: readonly {
  readonly kind: string;
  readonly key: "gen_ai.agent.name" | "gen_ai.tool.name" | "gen_ai.request.model" | "gen_ai.provider.name";
  readonly metric: string;
  readonly op: (name: string) => Op;
}[] = [
  {
    kind: "agents",
    key: "gen_ai.agent.name",
    metric: "gen_ai.invoke_agent.duration",
    op: (agent) => run({ outcome: "completed" }, { agent }),
  },
  {
    kind: "tools",
    key: "gen_ai.tool.name",
    metric: "gen_ai.execute_tool.duration",
    op: (toolName) => tool({ toolName }),
  },
  {
    kind: "models",
    key: "gen_ai.request.model",
    metric: "gen_ai.client.token.usage",
    op: (name) => model({ model: name, usage }),
  },
  {
    kind: "providers",
    key: "gen_ai.provider.name",
    metric: "gen_ai.client.token.usage",
    op: (provider) => model({ provider, usage }),
  },
];

describe.each(KINDS)("distinct $kind", ({ key, metric, op }) => {
  test.each([
    { names: 199, apart: 199, others: 0 },
    { names: 200, apart: 200, others: 0 },
    { names: 201, apart: 200, others: 1 },
    { names: 205, apart: 200, others: 5 },
  ])("$names by default: $apart told apart, $others counted as _other", ({ names, apart, others }) => {
    const ledger = new Ledger();
    for (let at = 0; at < names; at += 1) ledger.apply(op(`name-${at}`));
    const points = ledger.snapshot("released").filter((point) => point.metric === metric);
    const values = new Set(points.map(({ attributes }) => attributes[key]));
    expect(values.size).toBe(apart + (others > 0 ? 1 : 0));
    const counted = points.filter(({ attributes }) => attributes[key] === "_other");
    const series = metric === "gen_ai.client.token.usage" ? 2 : 1;
    expect(counted.map(({ value }) => (typeof value === "number" ? value : value.count))).toEqual(
      others > 0 ? Array(series).fill(others) : [],
    );
  });

  test("a name that was told apart stays so when others no longer are", () => {
    const ledger = new Ledger({ maxNames: 1 });
    for (const name of ["first", "second", "first", "third"]) ledger.apply(op(name));
    const points = ledger.snapshot("released").filter((point) => point.metric === metric);
    const counts = points.map(({ attributes, value }) => [
      attributes[key],
      typeof value === "number" ? value : value.count,
    ]);
    expect(new Map(counts as [string, number][])).toEqual(
      new Map([
        ["_other", 2],
        ["first", 2],
      ]),
    );
  });
});

test("time per chunk has the same names as the call it belongs to", () => {
  const ledger = new Ledger({ maxNames: 1 });
  for (const name of ["first", "second"]) ledger.apply(chunk(0.5, name, name));
  expect(lines(ledger.snapshot("released"), "gen_ai.client.operation.time_per_output_chunk")).toEqual([
    "gen_ai.operation.name=chat,gen_ai.provider.name=_other,gen_ai.request.model=_other count 1 sum 0.5",
    "gen_ai.operation.name=chat,gen_ai.provider.name=first,gen_ai.request.model=first count 1 sum 0.5",
  ]);
});

test("the zeros of all agents beyond the limit are those of one", () => {
  const ledger = new Ledger({ maxNames: 1 });
  for (const agent of ["first", "second", "third"]) ledger.apply(opened(agent));
  const snapshot = ledger.snapshot("released");
  expect(valueOf(snapshot, "behest.run.active", { "gen_ai.agent.name": "_other" })).toBe(2);
  expect(
    valueOf(snapshot, "behest.run.failures", { "error.type": "run_expired", "gen_ai.agent.name": "_other" }),
  ).toBe(0);
});

test.each([
  { distinct: 100, others: 0 },
  { distinct: 101, others: 1 },
])("$distinct distinct error types: $others counted as _OTHER", ({ distinct, others }) => {
  const ledger = new Ledger();
  for (let at = 0; at < distinct; at += 1) ledger.apply(run(failed(`type-${at}`)));
  expect(valueOf(ledger.snapshot("released"), "behest.run.failures", { "error.type": "_OTHER" })).toBe(
    others,
  );
});

// Five combinations of three agents and two tools; names alone would not reach any limit.
test.each([
  { maxSeries: 4, apart: 4, others: 1 },
  { maxSeries: 5, apart: 5, others: 0 },
  { maxSeries: 6, apart: 5, others: 0 },
])(
  "of 5 combinations of names $apart are told apart where $maxSeries may be",
  ({ maxSeries, apart, others }) => {
    const ledger = new Ledger({ maxSeries });
    for (const [agent, toolName] of [
      ["a", "x"],
      ["a", "y"],
      ["b", "x"],
      ["b", "y"],
      ["c", "x"],
    ] as const) {
      ledger.apply(tool({ agent, toolName }));
    }
    const found = lines(ledger.snapshot("released"), "gen_ai.execute_tool.duration");
    expect(found).toHaveLength(apart + others);
    const other = "gen_ai.agent.name=_other,gen_ai.tool.name=_other,gen_ai.tool.type=function count 1 sum 1";
    expect(found.includes(other)).toBe(others > 0);
  },
);

describe("a name", () => {
  test.each([
    { length: MAX_NAME_LENGTH - 1, kept: MAX_NAME_LENGTH - 1 },
    { length: MAX_NAME_LENGTH, kept: MAX_NAME_LENGTH },
    { length: MAX_NAME_LENGTH + 1, kept: MAX_NAME_LENGTH },
  ])("of $length units is kept with $kept", ({ length, kept }) => {
    expect(admit(noNames(1, "_other"), "x".repeat(length))).toBe("x".repeat(kept));
  });

  test("is never cut through a surrogate pair", () => {
    const name = `${"x".repeat(MAX_NAME_LENGTH - 1)}😀`;
    expect(admit(noNames(1, "_other"), name)).toBe("x".repeat(MAX_NAME_LENGTH - 1));
  });

  test("that was cut takes one place, however often it comes", () => {
    const names = noNames(1, "_other");
    const long = "x".repeat(MAX_NAME_LENGTH + 1);
    expect([admit(names, long), admit(names, long), admit(names, `${long}y`), admit(names, "z")]).toEqual([
      "x".repeat(MAX_NAME_LENGTH),
      "x".repeat(MAX_NAME_LENGTH),
      "x".repeat(MAX_NAME_LENGTH),
      "_other",
    ]);
  });

  test.each([undefined, ""])("that is %j takes no place", (name) => {
    const names = noNames(1, "_other");
    expect(admit(names, name)).toBe("");
    expect(names.known.size).toBe(0);
  });
});
