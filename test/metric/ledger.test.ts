import { describe, expect, test } from "vitest";

import { Ledger } from "../../src/metric/ledger.ts";
import { chunk, failed, failure, lines, model, opened, run, tool, used, valueOf, facts } from "./ops.ts";

function ledgerOf(...ops: Parameters<Ledger["apply"]>[0][]): Ledger {
  const ledger = new Ledger({ source: "redis" });
  for (const op of ops) ledger.apply(op);
  return ledger;
}

describe("runs", () => {
  test("a run that ended is counted by outcome and agent", () => {
    const ledger = ledgerOf(
      run({ outcome: "completed" }, { agent: "billing" }),
      run({ outcome: "completed" }, { agent: "billing" }),
      run({ outcome: "cancelled" }),
      run({ outcome: "incomplete", reason: "drained" }, { agent: "billing" }),
    );
    expect(lines(ledger.snapshot("released"), "behest.run.ended")).toEqual([
      "behest.run.outcome=cancelled 1",
      "behest.run.outcome=completed,gen_ai.agent.name=billing 2",
      "behest.run.outcome=incomplete,gen_ai.agent.name=billing 1",
    ]);
  });

  test("a segment after the first is counted apart, with resumed true", () => {
    const ledger = ledgerOf(run({ outcome: "completed" }, { resumedFrom: "" }));
    expect(lines(ledger.snapshot("released"), "behest.run.ended")).toEqual([
      "behest.run.outcome=completed,behest.run.resumed=true 1",
    ]);
  });

  test("failures are the failed runs and the expired ones, no others", () => {
    const ledger = ledgerOf(
      run(failed("token_budget_exceeded"), { agent: "billing" }),
      run({ outcome: "incomplete", reason: "expired" }, { agent: "billing" }),
      run({ outcome: "incomplete", reason: "evicted" }),
      run({ outcome: "incomplete", reason: "drained" }),
      run({ outcome: "incomplete", reason: "faulted" }),
      run({ outcome: "cancelled" }),
      run({ outcome: "completed" }),
    );
    expect(lines(ledger.snapshot("released"), "behest.run.failures")).toEqual([
      "error.type=run_expired,gen_ai.agent.name=billing 1",
      "error.type=token_budget_exceeded,gen_ai.agent.name=billing 1",
    ]);
  });

  test("active runs go up with the opening and down with the run's own span", () => {
    const ledger = ledgerOf(opened("billing"), opened("billing"), opened());
    expect(lines(ledger.snapshot("released"), "behest.run.active")).toEqual([
      "1",
      "gen_ai.agent.name=billing 2",
    ]);
    ledger.apply(run({ outcome: "completed" }, { agent: "billing" }));
    ledger.apply(run({ outcome: "completed" }));
    expect(lines(ledger.snapshot("released"), "behest.run.active")).toEqual(["gen_ai.agent.name=billing 1"]);
  });

  test("a run whose agent became known on the way leaves nothing active behind", () => {
    const ledger = ledgerOf(opened(), run({ outcome: "completed" }, { agent: "billing" }));
    expect(lines(ledger.snapshot("released"), "behest.run.active")).toEqual([]);
  });

  test("duration, model calls and tools of a run are those of runs seen from start to end", () => {
    const ledger = ledgerOf(
      run({ outcome: "completed" }, { agent: "billing", seconds: 2.5, modelCalls: 3, toolCalls: 2 }),
      run(failed("doom_loop"), { agent: "billing", seconds: 1.5, modelCalls: 9, toolCalls: 8 }),
      run({ outcome: "cancelled" }, { agent: "billing", seconds: 0.5 }),
      run({ outcome: "completed" }, { agent: "billing", seconds: 60, startMissing: true, modelCalls: 1 }),
      run({ outcome: "incomplete", reason: "expired" }, { agent: "billing", seconds: 600, modelCalls: 1 }),
    );
    const snapshot = ledger.snapshot("released");
    expect(lines(snapshot, "gen_ai.invoke_agent.duration")).toEqual([
      "gen_ai.agent.name=billing count 2 sum 3",
      "error.type=doom_loop,gen_ai.agent.name=billing count 1 sum 1.5",
    ]);
    expect(lines(snapshot, "gen_ai.invoke_agent.inference_calls")).toEqual([
      "gen_ai.agent.name=billing count 3 sum 12",
    ]);
    expect(lines(snapshot, "gen_ai.invoke_agent.tool_calls")).toEqual([
      "gen_ai.agent.name=billing count 3 sum 10",
    ]);
  });

  test("doom loops and compaction circuits are counted by agent", () => {
    const time = [1, 0] as const;
    const doom = { name: "behest.doom_loop.detected", description: undefined, time } as const;
    const circuit = { name: "behest.compaction.circuit_opened", consecutiveFailures: 3, time } as const;
    const ledger = ledgerOf(
      { op: "notice", run: facts("billing"), notice: doom },
      { op: "notice", run: facts("billing"), notice: circuit },
      { op: "notice", run: facts(), notice: circuit },
    );
    const snapshot = ledger.snapshot("released");
    expect(lines(snapshot, "behest.run.doom_loops")).toEqual(["gen_ai.agent.name=billing 1"]);
    expect(lines(snapshot, "behest.run.compaction_circuit_openings")).toEqual([
      "1",
      "gen_ai.agent.name=billing 1",
    ]);
  });
});

describe("model calls", () => {
  const usage = { input: 100, output: 20, cacheRead: 60, cacheWrite: undefined };

  test("tokens are counted by type, provider, model and agent, and only those that were observed", () => {
    const ledger = ledgerOf(model({ agent: "billing", usage }), model({ agent: "billing", usage }));
    expect(lines(ledger.snapshot("released"), "behest.token.usage")).toEqual(
      ["cache_read 120", "input 200", "output 40"].map((line) => {
        const [type, value] = line.split(" ");
        return `gen_ai.agent.name=billing,gen_ai.provider.name=openai,gen_ai.request.model=gpt-5,gen_ai.token.type=${type} ${value}`;
      }),
    );
  });

  test("a cache number that was observed as 0 is a series at 0, one not observed is none", () => {
    const snapshot = ledgerOf(model({ usage: { ...usage, cacheRead: 0 } })).snapshot("released");
    const names = { "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-5" } as const;
    expect(valueOf(snapshot, "behest.token.usage", { ...names, "gen_ai.token.type": "cache_read" })).toBe(0);
    expect(
      valueOf(snapshot, "behest.token.usage", { ...names, "gen_ai.token.type": "cache_write" }),
    ).toBeUndefined();
  });

  test("a model call without usage has no tokens, not zero of them", () => {
    const snapshot = ledgerOf(model()).snapshot("dup");
    expect(lines(snapshot, "gen_ai.client.token.usage")).toEqual([]);
    expect(snapshot.filter(({ metric }) => metric === "behest.token.usage")).toEqual([]);
  });

  test("token histograms get input and output once per model call", () => {
    const snapshot = ledgerOf(model({ usage }), model({ usage: { ...usage, input: 16 } })).snapshot(
      "released",
    );
    const names = "gen_ai.operation.name=chat,gen_ai.provider.name=openai,gen_ai.request.model=gpt-5";
    expect(lines(snapshot, "gen_ai.client.token.usage")).toEqual([
      `${names},gen_ai.token.type=input count 2 sum 116`,
      `${names},gen_ai.token.type=output count 2 sum 40`,
    ]);
  });

  test("the latest names have the same tokens as counters of unknown modality, over all agents", () => {
    const snapshot = ledgerOf(model({ agent: "a", usage }), model({ agent: "b", usage })).snapshot("latest");
    const names =
      "gen_ai.operation.name=chat,gen_ai.provider.name=openai,gen_ai.request.model=gpt-5,gen_ai.token.modality=unknown";
    expect(lines(snapshot, "gen_ai.client.inference.usage.input_tokens")).toEqual([`${names} 200`]);
    expect(lines(snapshot, "gen_ai.client.inference.usage.output_tokens")).toEqual([`${names} 40`]);
    expect(lines(snapshot, "gen_ai.client.inference.usage.cache_read.input_tokens")).toEqual([
      `${names} 120`,
    ]);
    expect(lines(snapshot, "gen_ai.client.inference.usage.cache_write.input_tokens")).toEqual([]);
  });

  test("late usage counts like any other, and is counted as late", () => {
    const ledger = ledgerOf({
      op: "late_usage",
      run: facts("billing"),
      provider: "openai",
      model: "gpt-5",
      usage,
    });
    const snapshot = ledger.snapshot("released");
    expect(lines(snapshot, "behest.bridge.usage.late")).toEqual(["source=redis 1"]);
    expect(lines(snapshot, "behest.token.usage")).toHaveLength(3);
    expect(lines(snapshot, "gen_ai.client.token.usage")).toHaveLength(2);
  });

  test("the duration of a call carries the error type of its failure", () => {
    const snapshot = ledgerOf(
      model({ seconds: 0.5 }),
      model({ seconds: 2, failure: failure("provider_timeout") }),
      model({ seconds: 4, failure: failure("cancelled"), incomplete: true }),
    ).snapshot("released");
    const names = "gen_ai.operation.name=chat,gen_ai.provider.name=openai,gen_ai.request.model=gpt-5";
    expect(lines(snapshot, "gen_ai.client.operation.duration")).toEqual([
      `${names} count 1 sum 0.5`,
      `error.type=cancelled,${names} count 1 sum 4`,
      `error.type=provider_timeout,${names} count 1 sum 2`,
    ]);
  });

  test("a call that was cut off without a word has no duration", () => {
    const snapshot = ledgerOf(model({ incomplete: true, usage })).snapshot("released");
    expect(lines(snapshot, "gen_ai.client.operation.duration")).toEqual([]);
    expect(lines(snapshot, "gen_ai.client.token.usage")).toHaveLength(2);
  });

  test("time to the first chunk is recorded for calls that have one", () => {
    const snapshot = ledgerOf(model({ timeToFirstChunk: 0.25 }), model()).snapshot("dup");
    for (const metric of [
      "gen_ai.client.operation.time_to_first_chunk",
      "gen_ai.client.inference.time_to_first_chunk",
    ]) {
      expect(lines(snapshot, metric)).toEqual([
        "gen_ai.operation.name=chat,gen_ai.provider.name=openai,gen_ai.request.model=gpt-5 count 1 sum 0.25",
      ]);
    }
  });

  test("time per chunk is recorded per chunk, by provider and model, whatever order they come in", () => {
    const snapshot = ledgerOf(
      chunk(0.25),
      chunk(0.5),
      chunk(1, "anthropic", "claude"),
      chunk(2, "openai", "gpt-4"),
      chunk(0.25),
    ).snapshot("released");
    expect(lines(snapshot, "gen_ai.client.operation.time_per_output_chunk")).toEqual([
      "gen_ai.operation.name=chat,gen_ai.provider.name=anthropic,gen_ai.request.model=claude count 1 sum 1",
      "gen_ai.operation.name=chat,gen_ai.provider.name=openai,gen_ai.request.model=gpt-4 count 1 sum 2",
      "gen_ai.operation.name=chat,gen_ai.provider.name=openai,gen_ai.request.model=gpt-5 count 3 sum 1",
    ]);
  });

  test.each([Number.NaN, Infinity, -1])("a time of %d is not recorded", (seconds) => {
    const snapshot = ledgerOf(chunk(seconds), model({ timeToFirstChunk: seconds })).snapshot("released");
    expect(lines(snapshot, "gen_ai.client.operation.time_to_first_chunk")).toEqual([]);
    expect(lines(snapshot, "gen_ai.client.operation.time_per_output_chunk")).toEqual([]);
  });
});

describe("tools", () => {
  test("durations are told apart by tool, agent, failure and whether they are inferred", () => {
    const snapshot = ledgerOf(
      tool({ agent: "billing", seconds: 1 }),
      tool({ agent: "billing", seconds: 2, inferred: true }),
      tool({ agent: "billing", seconds: 3, failure: failure("tool_failed") }),
      tool({ toolName: "fetch", seconds: 4 }),
    ).snapshot("released");
    expect(lines(snapshot, "gen_ai.execute_tool.duration")).toEqual([
      "gen_ai.tool.name=fetch,gen_ai.tool.type=function count 1 sum 4",
      "gen_ai.agent.name=billing,gen_ai.tool.name=search,gen_ai.tool.type=function count 1 sum 1",
      "behest.span.inferred=true,gen_ai.agent.name=billing,gen_ai.tool.name=search,gen_ai.tool.type=function count 1 sum 2",
      "error.type=tool_failed,gen_ai.agent.name=billing,gen_ai.tool.name=search,gen_ai.tool.type=function count 1 sum 3",
    ]);
  });

  test("a tool that was cancelled has a duration, one that was merely lost sight of has none", () => {
    const snapshot = ledgerOf(
      tool({ incomplete: true, failure: failure("cancelled"), seconds: 2 }),
      tool({ incomplete: true, seconds: 9 }),
    ).snapshot("released");
    expect(lines(snapshot, "gen_ai.execute_tool.duration")).toEqual([
      "error.type=cancelled,gen_ai.tool.name=search,gen_ai.tool.type=function count 1 sum 2",
    ]);
  });

  test("tools record neither model durations nor tokens", () => {
    const snapshot = ledgerOf(tool()).snapshot("dup");
    expect(snapshot.filter(({ metric }) => metric.startsWith("gen_ai.client."))).toEqual([]);
  });
});

describe("the bridge", () => {
  test("an event is received when it is used, dropped or rejected, by its type where it has one", () => {
    const ledger = ledgerOf(used("TextDelta"), used("RunStarted"), used("TextDelta"), {
      op: "dropped",
      type: "TextDelta",
      reason: "duplicate",
    });
    ledger.rejected("BEHEST_DECODE_JSON");
    ledger.unknownType();
    const snapshot = ledger.snapshot("released");
    expect(lines(snapshot, "behest.bridge.events.received")).toEqual([
      "type=RunStarted 1",
      "type=TextDelta 3",
      "type=_OTHER 2",
    ]);
    expect(lines(snapshot, "behest.bridge.events.used")).toEqual(["type=RunStarted 1", "type=TextDelta 2"]);
    expect(lines(snapshot, "behest.bridge.events.dropped")).toEqual([
      "reason=duplicate 1",
      "reason=unknown_type 1",
    ]);
    expect(lines(snapshot, "behest.bridge.events.rejected")).toEqual(["code=BEHEST_DECODE_JSON 1"]);
  });

  test("spans, exports and commits are counted as they are told", () => {
    const ledger = new Ledger();
    ledger.spanExported(512);
    ledger.spanExported(3);
    ledger.spanFailed("refused", 2);
    ledger.exportDuration(0.25);
    ledger.commitDuration(0.5);
    ledger.commitDuration(0.25);
    const snapshot = ledger.snapshot("released");
    expect(lines(snapshot, "behest.bridge.spans.exported")).toEqual(["515"]);
    expect(lines(snapshot, "behest.bridge.spans.failed")).toEqual(["reason=refused 2"]);
    expect(lines(snapshot, "behest.bridge.export.duration")).toEqual(["count 1 sum 0.25"]);
    expect(lines(snapshot, "behest.bridge.commit.duration")).toEqual(["count 2 sum 0.75"]);
  });

  test("what a source counts itself adds up, and is saved when there was something", () => {
    const ledger = new Ledger({ source: "redis" });
    const nothing = { redelivered: 0, lost: 0, refused: new Map() };
    ledger.sourceCounts({ ...nothing, redelivered: 2 });
    ledger.sourceCounts({ redelivered: 1, lost: 5, refused: new Map([["full", 2]]) });
    ledger.sourceCounts({ ...nothing, refused: new Map([["full", 3]]) });
    const snapshot = ledger.snapshot("released");
    expect(lines(snapshot, "behest.bridge.source.redelivered")).toEqual(["source=redis 3"]);
    expect(lines(snapshot, "behest.bridge.source.lost")).toEqual(["source=redis 5"]);
    expect(lines(snapshot, "behest.bridge.source.refused")).toEqual(["reason=full,source=redis 5"]);
    const saved = ledger.save();
    ledger.sourceCounts({ ...nothing, refused: new Map([["full", 0]]) });
    expect(ledger.save()).toBe(saved);
  });

  test("a gauge is what was set last, and gone when it is not known", () => {
    const ledger = new Ledger({ source: "redis" });
    ledger.setGauge("sourceLag", 7);
    ledger.setGauge("sourceLag", 3);
    ledger.setGauge("sourceAge", 1.5);
    ledger.setGauge("oldestActiveAge", 0);
    ledger.setGauge("eventsWaiting", 4);
    ledger.setGauge("queueSpans", 5);
    ledger.setGauge("sourcePending", 6);
    ledger.setGauge("stateRuns", 8);
    ledger.setGauge("stateSize", 9);
    const snapshot = ledger.snapshot("released");
    expect(valueOf(snapshot, "behest.bridge.source.lag", { source: "redis" })).toBe(3);
    expect(valueOf(snapshot, "behest.bridge.source.age", { source: "redis" })).toBe(1.5);
    expect(valueOf(snapshot, "behest.run.oldest_active_age")).toBe(0);
    expect(valueOf(snapshot, "behest.bridge.events.waiting")).toBe(4);
    expect(valueOf(snapshot, "behest.bridge.queue.spans")).toBe(5);
    expect(valueOf(snapshot, "behest.bridge.source.pending", { source: "redis" })).toBe(6);
    expect(valueOf(snapshot, "behest.bridge.state.runs", { source: "redis" })).toBe(8);
    expect(valueOf(snapshot, "behest.bridge.state.size", { source: "redis" })).toBe(9);
    ledger.setGauge("sourceLag", undefined);
    ledger.setGauge("sourceAge", Number.NaN);
    const later = ledger.snapshot("released");
    expect(later.filter(({ metric }) => /^behest\.bridge\.source\.(lag|age)$/.test(metric))).toEqual([]);
  });

  test("a gauge that nobody set has no data point", () => {
    const gauges = new Ledger().snapshot("released").filter(({ kind }) => kind === "gauge");
    expect(gauges.map(({ metric }) => metric)).toEqual(["behest.run.active"]);
  });
});

describe("histograms", () => {
  test("a bound belongs to the bucket below it, and what is above the last has a bucket too", () => {
    const snapshot = ledgerOf(chunk(0.01), chunk(0.011), chunk(0.02), chunk(81.92), chunk(82)).snapshot(
      "released",
    );
    const names = {
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": "openai",
      "gen_ai.request.model": "gpt-5",
    };
    expect(valueOf(snapshot, "gen_ai.client.operation.time_per_output_chunk", names)).toEqual({
      count: 5,
      sum: 0.01 + 0.011 + 0.02 + 81.92 + 82,
      min: 0.01,
      max: 82,
      buckets: [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
    });
  });

  test("every value that goes into a histogram is told to a listener, with the same labels for the same series", () => {
    const told: [string, readonly string[], number][] = [];
    const ledger = new Ledger({ onRecord: (fact, labels, value) => told.push([fact, labels, value]) });
    ledger.apply(chunk(0.25));
    ledger.apply(chunk(0.5));
    ledger.apply(tool({ seconds: 2 }));
    ledger.commitDuration(0.125);
    expect(told).toEqual([
      ["perChunk", ["openai", "gpt-5"], 0.25],
      ["perChunk", ["openai", "gpt-5"], 0.5],
      ["toolDuration", ["search", "", "", ""], 2],
      ["commitDuration", [], 0.125],
    ]);
    expect(told[0]?.[1]).toBe(told[1]?.[1]);
  });
});

test("a snapshot is not changed by what is counted later", () => {
  const ledger = ledgerOf(chunk(0.25), used("TextDelta"));
  const snapshot = ledger.snapshot("dup");
  const before = structuredClone(snapshot);
  ledger.apply(chunk(0.25));
  ledger.apply(used("TextDelta"));
  expect(snapshot).toEqual(before);
  expect(ledger.snapshot("dup")).not.toEqual(before);
});
