import { describe, expect, test } from "vitest";
import type { Event } from "../../src/event/event.ts";
import { EVENT_TYPES } from "../../src/event/event.ts";
import type { RunSpan } from "../../src/run/op.ts";
import { spansOf } from "../viewer/text-tree.ts";
import { play, tell, type Play, type Step } from "./play.ts";
import {
  asked,
  cancelled,
  completed,
  context,
  DAY,
  delta,
  failed,
  HOUR,
  MINUTE,
  model,
  ORIGIN_MS,
  runId,
  said,
  started,
  storyOf,
  toolFinished,
  toolSaid,
  toolStarted,
  usage,
} from "./story.ts";
import { everyType } from "./table.ts";

const other = storyOf(runId(2));

function runs(steps: readonly Step[], options: Play = {}): RunSpan[] {
  return spansOf(play(steps, options)).filter(
    (span) => span.kind === "run" && span.run.runId === runId(1),
  ) as RunSpan[];
}

/** Decimal nanoseconds of a moment of the story. */
function nanos(ms: number): string {
  return String(BigInt(ORIGIN_MS) * 1_000_000n + BigInt(Math.round(ms * 1e6)));
}

const OPENERS = new Set(["RunStarted", "ContextBuilt", "ModelStarted"]);

describe("resume: another process goes on, from the middle, without a RunStarted", () => {
  test("minutes later it is a second segment in the same trace, linked to the first", () => {
    expect(
      tell([
        started(0),
        model(1),
        asked(2, "a"),
        usage(3),
        said(4),
        toolSaid(20 * MINUTE),
        context(20 * MINUTE + 1),
        model(20 * MINUTE + 2, 2),
        usage(20 * MINUTE + 3),
        completed(20 * MINUTE + 4, "stop", 2),
      ]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +4] incomplete(expired) error=run_expired calls=1 tools=1 tokens=100/20 iterations=1 events=5
        chat gpt-4o (1) [1 +2] tool_call in=100 out=20
        execute_tool search (a) [4 +0] it=1 inferred incomplete
      invoke_agent (1700001200000000000) [1200000 +4] completed stop resumed_from="" start_missing calls=1 tools=0 tokens=100/20 iterations=2 events=5
        chat gpt-4o (2) [1200002 +1] stop in=100 out=20"
    `);
  });

  test("soon enough it is the same segment", () => {
    expect(runs([started(0), model(1), said(9 * MINUTE), completed(18 * MINUTE)])).toHaveLength(1);
  });

  test("days later nobody remembers the run, and it is a run whose start is missing", () => {
    const [first, second] = runs([started(0), model(1), model(3 * DAY, 2), completed(3 * DAY + 1)]);
    expect(first).toMatchObject({ startMissing: false, resumedFrom: undefined, run: { segment: "" } });
    expect(second).toMatchObject({
      startMissing: true,
      resumedFrom: undefined,
      run: { segment: nanos(3 * DAY) },
    });
  });

  test("a third segment is linked to the first as well", () => {
    const steps = [started(0), model(HOUR, 2), model(2 * HOUR, 3), completed(3 * HOUR)];
    expect(runs(steps).map(({ run, resumedFrom }) => [run.segment, resumedFrom])).toEqual([
      ["", undefined],
      [nanos(HOUR), ""],
      [nanos(2 * HOUR), ""],
      [nanos(3 * HOUR), ""],
    ]);
  });

  test("the finish of a tool that left with the first segment says that the run goes on, and no more", () => {
    expect(
      tell([started(0), model(1), toolStarted(2, "a"), toolFinished(2 * HOUR, "a"), completed(2 * HOUR + 1)]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +2] incomplete(expired) error=run_expired calls=1 tools=1 iterations=1 events=3
        chat gpt-4o (1) [1 +1] error incomplete
        execute_tool search (a) [2 +0] it=1 incomplete
      invoke_agent (1700007200000000000) [7200000 +1] completed stop resumed_from="" start_missing calls=0 tools=0 iterations=1 events=2"
    `);
  });

  test("a tool carried out again is another execution", () => {
    const steps = [
      started(0),
      toolStarted(2, "a"),
      toolStarted(2 * HOUR, "a"),
      toolFinished(2 * HOUR + 5, "a"),
      completed(2 * HOUR + 9),
    ];
    const tools = spansOf(play(steps)).filter((span) => span.kind === "tool");
    expect(tools.map(({ run, occurrence, incomplete }) => [run.segment, occurrence, incomplete])).toEqual([
      ["", 0, true],
      [nanos(2 * HOUR), 0, false],
    ]);
  });
});

describe("after a terminal event", () => {
  test.each(everyType(100))("%s with a later timestamp", (type, event) => {
    const ops = play([started(0), model(1), said(2), completed(10), event]);
    const segments = spansOf(ops).filter((span) => span.kind === "run").length;
    expect(segments).toBe(OPENERS.has(type) ? 2 : 1);
    const stillSaysSomething = type === "UsageRecorded" || type === "ToolExecutionFinished";
    const fate = OPENERS.has(type) || stillSaysSomething ? "used" : "dropped";
    expect(ops.findLast(({ op }) => op === "used" || op === "dropped")?.op).toBe(fate);
  });

  test.each(everyType(10))("%s with the timestamp of the end opens nothing", (_, event) => {
    expect(runs([started(0), model(1), said(2), completed(10), event])).toHaveLength(1);
  });

  test.each<[string, Event]>([
    ["completed", completed(10)],
    ["failed", failed(10)],
    ["cancelled", cancelled(10)],
  ])("a run that was %s opens again with its next model call only", (_, end) => {
    const steps = [
      started(0),
      end,
      delta(20),
      said(21),
      toolSaid(22),
      context(23),
      model(24, 2),
      completed(25, "stop", 2),
    ];
    expect(runs(steps).map(({ events, resumedFrom }) => [events, resumedFrom])).toEqual([
      [2, undefined],
      [3, ""],
    ]);
  });

  test("a second RunStarted does not take the name of the first one's spans", () => {
    const [first, second] = runs([started(0), completed(10), started(20.000001), completed(30)]);
    expect(first?.run.segment).toBe("");
    expect(second).toMatchObject({
      run: { segment: nanos(20.000001) },
      resumedFrom: "",
      startMissing: false,
    });
  });
});

describe("after an expired, evicted or drained segment", () => {
  test.each(everyType(2 * HOUR))("%s with a later timestamp opens the next", (_, event) => {
    expect(runs([started(0), said(10), event])).toHaveLength(2);
    expect(runs([started(0), said(10), other.started(11), event], { maxOpenRuns: 1 })).toHaveLength(2);
  });

  test.each(everyType(10))("%s with the timestamp of its last event opens nothing", (_, event) => {
    expect(runs([started(0), said(10.000001), { tick: HOUR }, event])).toHaveLength(1);
  });

  test("what is older than its end is late also while the next segment is open", () => {
    expect(
      tell([
        started(0),
        model(1),
        said(10),
        model(HOUR, 2),
        said(9),
        usage(8, 5, 1),
        toolFinished(7, "x"),
        completed(HOUR + 1),
      ]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +10] incomplete(expired) error=run_expired calls=1 tools=0 iterations=1 events=3
        chat gpt-4o (1) [1 +9]
        execute_tool search (x) [7 +0]
      invoke_agent (1700003600000000000) [3600000 +1] completed stop resumed_from="" start_missing calls=1 tools=0 iterations=1 events=2
        chat gpt-4o (2) [3600000 +1] stop
      dropped: late AssistantMessageCommitted
      late usage: openai "gpt-4o" 5/1"
    `);
  });
});

describe("a closed run is remembered", () => {
  const closed = [started(0), completed(10)];
  const opensAnew = (ms: number, options: Play = {}) => {
    const ops = play([...closed, { event: said(20), ms }], { end: "stay", ...options });
    return ops.every(({ op }) => op !== "dropped");
  };

  test.each([
    [DAY - 1, false],
    [DAY, true],
    [DAY + 1, true],
  ])("for 24 h of source time: %d ms after its close it is forgotten: %s", (ms, forgotten) => {
    expect(opensAnew(10 + ms)).toBe(forgotten);
    // Whether it is remembered is decided by its arrival, and not by the end of its wait.
    expect(opensAnew(10 + ms, { reorderWindowMs: 5_000, end: "release" })).toBe(forgotten);
  });

  test.each([
    [999, false],
    [1_000, true],
    [1_001, true],
  ])("for as long as it is told: after %d of 1000 ms it is forgotten: %s", (ms, forgotten) => {
    expect(opensAnew(10 + ms, { rememberMs: 1_000 })).toBe(forgotten);
  });

  test("an expired run from the moment when it was silent too long, whenever that was seen", () => {
    const steps = [started(0), { tick: DAY }];
    const late = (ms: number) =>
      play([...steps, { event: usage(0, 1, 1), ms }], { end: "stay" }).filter(
        ({ op }) => op === "late_usage",
      );
    expect(late(DAY + 10 * MINUTE - 1)).toHaveLength(1);
    expect(runs([...steps, { event: usage(0, 1, 1), ms: DAY + 10 * MINUTE }])).toHaveLength(2);
  });

  test("with its duplicates", () => {
    const again = play([...closed, { event: started(0), ms: DAY }, { event: completed(10), ms: DAY + 9 }], {
      end: "stay",
    });
    expect(again.slice(-2)).toEqual([
      { op: "dropped", type: "RunStarted", reason: "duplicate" },
      { op: "dropped", type: "RunCompleted", reason: "duplicate" },
    ]);
  });
});

test("every type is in the table of types", () => {
  expect(everyType(0).map(([type]) => type)).toEqual(EVENT_TYPES);
});
