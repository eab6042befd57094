import { describe, expect, test } from "vitest";

import { Ledger } from "../../src/metric/ledger.ts";
import type { LedgerData } from "../../src/metric/saved.ts";
import { chunk, facts, failed, lines, model, opened, run, tool, used, valueOf } from "./ops.ts";

function busy(options: ConstructorParameters<typeof Ledger>[0] = { source: "redis" }): Ledger {
  const ledger = new Ledger(options);
  ledger.apply(opened("billing"));
  ledger.apply(used("RunStarted"));
  ledger.apply(chunk(0.25));
  ledger.apply(
    model({ agent: "billing", usage: { input: 9, output: 1, cacheRead: 0, cacheWrite: undefined } }),
  );
  ledger.apply(run(failed("doom_loop"), { agent: "billing" }));
  ledger.spanExported(2);
  return ledger;
}

describe("saved data", () => {
  test("is plain JSON that says what was counted and nothing that was only foreseen", () => {
    expect(JSON.parse(JSON.stringify(busy().save()))).toEqual({
      names: {
        agent: ["billing"],
        provider: ["openai"],
        model: ["gpt-5"],
        tool: [],
        errorType: expect.any(Array),
      },
      tallies: {
        used: [[["RunStarted"], 1]],
        runsEnded: [[["failed", "billing", ""], 1]],
        runFailures: [[["doom_loop", "billing"], 1]],
        runsActive: [
          [[""], 0],
          [["billing"], 0],
        ],
        tokens: [
          [["cache_read", "openai", "gpt-5", "billing"], 0],
          [["input", "openai", "gpt-5", "billing"], 9],
          [["output", "openai", "gpt-5", "billing"], 1],
        ],
        spansExported: [[[], 2]],
      },
      distributions: {
        inputTokens: [
          [
            ["openai", "gpt-5"],
            [1, 9, 9, 9, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
          ],
        ],
        outputTokens: [
          [
            ["openai", "gpt-5"],
            [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
          ],
        ],
        modelDuration: [
          [
            ["openai", "gpt-5", ""],
            [1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
          ],
        ],
        perChunk: [
          [
            ["openai", "gpt-5"],
            [1, 0.25, 0.25, 0.25, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
          ],
        ],
        agentDuration: [
          [
            ["billing", "doom_loop"],
            [1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
          ],
        ],
        inferenceCalls: [[["billing"], [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]]],
        toolCalls: [[["billing"], [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]]],
      },
    });
  });

  test("is not changed by what is counted later", () => {
    const ledger = busy();
    const saved = ledger.save();
    const before = JSON.stringify(saved);
    ledger.apply(chunk(0.25));
    ledger.apply(used("RunStarted"));
    expect(JSON.stringify(saved)).toBe(before);
    expect(JSON.stringify(ledger.save())).not.toBe(before);
  });

  test("is the same object as long as nothing new was counted", () => {
    const ledger = busy();
    const saved = ledger.save();
    ledger.setGauge("sourceAge", 12);
    ledger.snapshot("dup");
    expect(ledger.save()).toBe(saved);
    ledger.apply(used("TextDelta"));
    expect(ledger.save()).not.toBe(saved);
  });

  test("has no gauges that are set from outside: they tell of now, not of the log", () => {
    const ledger = busy();
    ledger.setGauge("sourceLag", 5);
    const restored = Ledger.restore(ledger.save(), { source: "redis" });
    expect(restored.snapshot("released").some(({ metric }) => metric === "behest.bridge.source.lag")).toBe(
      false,
    );
  });

  test("has the active runs, so that a run that ends in the next process leaves", () => {
    const ledger = new Ledger();
    ledger.apply(opened("billing"));
    const restored = Ledger.restore(ledger.save());
    expect(lines(restored.snapshot("released"), "behest.run.active")).toEqual([
      "gen_ai.agent.name=billing 1",
    ]);
    restored.apply(run({ outcome: "completed" }, { agent: "billing" }));
    expect(
      valueOf(restored.snapshot("released"), "behest.run.active", { "gen_ai.agent.name": "billing" }),
    ).toBe(0);
  });

  test("keeps which names are told apart", () => {
    const ledger = new Ledger({ maxNames: 1 });
    ledger.apply(tool({ toolName: "first" }));
    const restored = Ledger.restore(ledger.save(), { maxNames: 1 });
    restored.apply(tool({ toolName: "second" }));
    restored.apply(tool({ toolName: "first" }));
    expect(lines(restored.snapshot("released"), "gen_ai.execute_tool.duration")).toEqual([
      "gen_ai.tool.name=_other,gen_ai.tool.type=function count 1 sum 1",
      "gen_ai.tool.name=first,gen_ai.tool.type=function count 2 sum 2",
    ]);
  });

  test("is read whole where a limit was lowered since: no counter falls", () => {
    const ledger = new Ledger();
    for (const toolName of ["a", "b", "c"]) ledger.apply(tool({ toolName }));
    const restored = Ledger.restore(ledger.save(), { maxNames: 1, maxSeries: 1 });
    expect(lines(restored.snapshot("released"), "gen_ai.execute_tool.duration")).toHaveLength(3);
  });

  test("of a source that is called otherwise now keeps its own series", () => {
    const late = {
      op: "late_usage",
      run: facts(),
      provider: "p",
      model: "m",
      usage: {
        input: 1,
        output: 1,
        cacheRead: undefined,
        cacheWrite: undefined,
      },
    } as const;
    const ledger = new Ledger({ source: "old" });
    ledger.apply(late);
    const restored = Ledger.restore(ledger.save(), { source: "new" });
    restored.apply(late);
    expect(lines(restored.snapshot("released"), "behest.bridge.usage.late")).toEqual([
      "source=new 1",
      "source=old 1",
    ]);
  });

  test("can be shown as it was, with the gauges of now", () => {
    const ledger = busy();
    const committed = ledger.save();
    const then = ledger.snapshot("dup");
    ledger.apply(used("RunStarted"));
    expect(ledger.snapshot("dup", committed)).toEqual(then);
    ledger.setGauge("eventsWaiting", 3);
    expect(valueOf(ledger.snapshot("dup", committed), "behest.bridge.events.waiting")).toBe(3);
  });
});

describe("commit durations", () => {
  test("are no reason for a commit of their own", () => {
    const ledger = busy();
    const saved = ledger.save();
    ledger.commitDuration(0.25);
    expect(ledger.save()).toBe(saved);
  });

  test("are saved with the next thing that is counted, once", () => {
    const ledger = busy();
    ledger.save();
    ledger.commitDuration(0.25);
    ledger.commitDuration(0.5);
    ledger.apply(used("TextDelta"));
    ledger.save();
    const restored = Ledger.restore(ledger.save());
    expect(lines(restored.snapshot("released"), "behest.bridge.commit.duration")).toEqual([
      "count 2 sum 0.75",
    ]);
  });

  test("are in a snapshot of now at once, and still once after they were saved", () => {
    const ledger = busy();
    for (const expected of ["count 1 sum 0.25", "count 2 sum 0.5"]) {
      ledger.commitDuration(0.25);
      expect(lines(ledger.snapshot("released"), "behest.bridge.commit.duration")).toEqual([expected]);
      ledger.apply(used("TextDelta"));
      ledger.save();
      expect(lines(ledger.snapshot("released"), "behest.bridge.commit.duration")).toEqual([expected]);
    }
  });

  test.each([Number.NaN, Infinity, -1])("of %d are not recorded", (seconds) => {
    const ledger = new Ledger();
    ledger.commitDuration(seconds);
    expect(lines(ledger.snapshot("released"), "behest.bridge.commit.duration")).toEqual([]);
  });
});

describe("data of another version is refused with what is wrong in it", () => {
  const empty: LedgerData = { names: {}, tallies: {}, distributions: {} };

  test.each<readonly [string, Partial<LedgerData>, string]>([
    ["a count it does not know", { tallies: { guesses: [] } }, "this version keeps no fact guesses"],
    ["a histogram it does not know", { distributions: { used: [] } }, "this version keeps no fact used"],
    ["other labels", { tallies: { used: [[["RunStarted", "x"], 1]] } }, "used has 2 labels, expected 1"],
    [
      "other buckets",
      { distributions: { toolCalls: [[["a"], [1, 1, 1, 1, 1]]] } },
      "toolCalls has 5 numbers, expected 13",
    ],
  ])("%s", (_, data, message) => {
    expect(() => Ledger.restore({ ...empty, ...data })).toThrow(message);
  });
});
