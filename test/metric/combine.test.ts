import { describe, expect, test } from "vitest";

import { addSnapshots, difference } from "../../src/metric/combine.ts";
import { Ledger } from "../../src/metric/ledger.ts";
import { chunk, lines, opened, tool, used, valueOf } from "./ops.ts";

describe("several sources as one", () => {
  test("counters, histograms and gauges add up, of ages the oldest counts", () => {
    const ledgers = ["redis", "nats"].map((source, at) => {
      const ledger = new Ledger({ source });
      ledger.apply(used("TextDelta"));
      ledger.apply(opened("billing"));
      ledger.apply(chunk(at === 0 ? 0.25 : 4));
      ledger.setGauge("eventsWaiting", 3 + at);
      ledger.setGauge("oldestActiveAge", at === 0 ? 60 : 30);
      ledger.setGauge("sourceAge", 1 + at);
      return ledger;
    });
    const sum = addSnapshots(ledgers.map((ledger) => ledger.snapshot("released")));
    expect(valueOf(sum, "behest.bridge.events.used", { type: "TextDelta" })).toBe(2);
    expect(valueOf(sum, "behest.run.active", { "gen_ai.agent.name": "billing" })).toBe(2);
    expect(valueOf(sum, "behest.bridge.events.waiting")).toBe(7);
    expect(valueOf(sum, "behest.run.oldest_active_age")).toBe(60);
    expect(lines(sum, "behest.bridge.source.age")).toEqual(["source=redis 1", "source=nats 2"]);
    const names = {
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": "openai",
      "gen_ai.request.model": "gpt-5",
    };
    expect(valueOf(sum, "gen_ai.client.operation.time_per_output_chunk", names)).toEqual({
      count: 2,
      sum: 4.25,
      min: 0.25,
      max: 4,
      buckets: [0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0],
    });
  });

  test("the points of one metric stand together, in the order of the table", () => {
    const [first, second] = [new Ledger(), new Ledger()];
    second.apply(opened("billing"));
    const metrics = addSnapshots([first.snapshot("dup"), second.snapshot("dup")]).map(({ metric }) => metric);
    expect(metrics.filter((metric, at) => metric !== metrics[at - 1])).toEqual([...new Set(metrics)]);
  });

  test("one source alone is as it is, and none is nothing", () => {
    const snapshot = new Ledger().snapshot("dup");
    expect(addSnapshots([snapshot])).toBe(snapshot);
    expect(addSnapshots([])).toEqual([]);
  });
});

describe("a difference", () => {
  test("has what is new of counters and histograms, and gauges as they are", () => {
    const ledger = new Ledger();
    ledger.spanExported(5);
    ledger.apply(tool({ seconds: 1 }));
    ledger.setGauge("eventsWaiting", 9);
    const earlier = ledger.snapshot("released");
    ledger.spanExported(2);
    ledger.apply(tool({ seconds: 4 }));
    const since = difference(ledger.snapshot("released"), earlier);
    expect(valueOf(since, "behest.bridge.spans.exported")).toBe(2);
    expect(valueOf(since, "behest.bridge.events.waiting")).toBe(9);
    expect(
      valueOf(since, "gen_ai.execute_tool.duration", {
        "gen_ai.tool.name": "search",
        "gen_ai.tool.type": "function",
      }),
    ).toEqual({
      count: 1,
      sum: 4,
      min: undefined,
      max: undefined,
      buckets: [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
    });
  });

  test("has a series that is new with all it counted", () => {
    const ledger = new Ledger();
    const earlier = ledger.snapshot("released");
    ledger.apply(tool({ seconds: 4 }));
    expect(lines(difference(ledger.snapshot("released"), earlier), "gen_ai.execute_tool.duration")).toEqual([
      "gen_ai.tool.name=search,gen_ai.tool.type=function count 1 sum 4",
    ]);
  });

  test("has counters of which nothing is new at 0, and leaves such histograms out", () => {
    const ledger = new Ledger();
    ledger.spanExported(5);
    ledger.apply(tool());
    const snapshot = ledger.snapshot("released");
    const since = difference(snapshot, snapshot);
    expect(valueOf(since, "behest.bridge.spans.exported")).toBe(0);
    expect(since.filter(({ kind }) => kind === "histogram")).toEqual([]);
  });

  test("takes a counter and a histogram that fell as begun anew", () => {
    const before = new Ledger();
    before.spanExported(5);
    before.apply(tool());
    before.apply(tool());
    const after = new Ledger();
    after.spanExported(3);
    after.apply(tool({ seconds: 2 }));
    const since = difference(after.snapshot("released"), before.snapshot("released"));
    expect(valueOf(since, "behest.bridge.spans.exported")).toBe(3);
    expect(lines(since, "gen_ai.execute_tool.duration")).toEqual([
      "gen_ai.tool.name=search,gen_ai.tool.type=function count 1 sum 2",
    ]);
  });
});
