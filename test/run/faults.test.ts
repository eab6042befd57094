import { describe, expect, test } from "vitest";
import type { Event } from "../../src/event/event.ts";
import type { Time } from "../../src/event/time.ts";
import { Assembler } from "../../src/run/assembler.ts";
import { HEART_DEFAULTS } from "../../src/run/limits.ts";
import { spansOf } from "../viewer/text-tree.ts";
import { perform, play, tell } from "./play.ts";
import {
  asked,
  at,
  circuitOpened,
  completed,
  delta,
  model,
  runId,
  said,
  started,
  storyOf,
  toolFinished,
  toolSaid,
} from "./story.ts";

const other = storyOf(runId(2));

/** A run in the middle of a model call. */
const busy = [started(0), model(1), delta(2)];

/** An event that no decoder makes: it breaks the step that uses it. */
function poisoned(ms: number): Event {
  return { ...toolFinished(ms, "b"), result: undefined } as unknown as Event;
}

/** A moment that can be read until it is broken. */
function fragileMoment(ms: number): { time: Time; breaks: (how: "once" | "always") => void } {
  const [seconds, nanos] = at(ms);
  let broken: "not" | "once" | "always" = "not";
  const get = () => {
    if (broken === "not") return seconds;
    if (broken === "once") broken = "not";
    throw new Error("this moment is broken");
  };
  const time = Object.defineProperty([seconds, nanos] as [number, number], 0, { get });
  return { time, breaks: (how) => (broken = how) };
}

describe("a fault of ours", () => {
  test("closes the one run, and the others go on", () => {
    const steps = [...busy, other.started(12), poisoned(20), other.completed(30)];
    const ops = play(steps);
    expect(ops.filter((op) => op.op === "fault")).toMatchObject([{ runId: runId(1) }]);
    const runs = spansOf(ops).filter((span) => span.kind === "run");
    expect(runs.map(({ run, ending }) => [run.runId, ending])).toEqual([
      [runId(1), { outcome: "incomplete", reason: "faulted" }],
      [runId(2), { outcome: "completed" }],
    ]);
  });

  test("is one drop, and what comes after it is late", () => {
    const ops = play([...busy, poisoned(20), delta(21), completed(22)]);
    expect(ops.filter((op) => op.op === "dropped")).toEqual([
      { op: "dropped", type: "ToolExecutionFinished", reason: "faulted" },
      { op: "dropped", type: "TextDelta", reason: "late" },
      { op: "dropped", type: "RunCompleted", reason: "late" },
    ]);
  });

  test("is one drop of a delta too", () => {
    const broken = { ...delta(20), text: 5 } as unknown as Event;
    const ops = play([...busy, broken, delta(21), completed(22)]);
    expect(ops.filter((op) => op.op === "fault")).toMatchObject([{ runId: runId(1) }]);
    expect(ops.filter((op) => op.op === "dropped")).toEqual([
      { op: "dropped", type: "TextDelta", reason: "faulted" },
      { op: "dropped", type: "TextDelta", reason: "late" },
      { op: "dropped", type: "RunCompleted", reason: "late" },
    ]);
  });

  test("with the first event of a run leaves a run of no length behind", () => {
    expect(tell([poisoned(20)], { end: "stay" }).split("\n")[0]).toMatchInlineSnapshot(
      `"invoke_agent (1700000000020000000) [20 +0] incomplete(faulted) start_missing calls=0 tools=1 events=0"`,
    );
  });

  test("in an event of a closed run leaves the run closed", () => {
    const ops = play([started(0), completed(10), poisoned(5)], { end: "stay" });
    expect(ops.at(-1)).toEqual({ op: "dropped", type: "ToolExecutionFinished", reason: "faulted" });
    expect(spansOf(ops)).toHaveLength(1);
  });

  test("after a span was handed out hands out no span twice", () => {
    const broken = { ...model(20, 3, { provider: "unknown" }), model: undefined } as unknown as Event;
    expect(tell([started(0), model(1), asked(2, "a"), said(3), toolSaid(4), broken])).toMatchInlineSnapshot(`
      "invoke_agent [0 +20] incomplete(faulted) calls=1 tools=1 iterations=1 events=5
        chat gpt-4o (1) [1 +2] tool_call
        execute_tool search (a) [3 +1] it=1 inferred
      dropped: faulted ModelStarted
      fault: TypeError"
    `);
  });

  describe("in the middle of handing out", () => {
    const story = (toolMessage: Event) => [
      started(0),
      model(1),
      asked(2, "a"),
      said(3),
      toolMessage,
      circuitOpened(5),
    ];

    test("hands out no span twice", () => {
      const fragile = fragileMoment(4);
      const heart = new Assembler(HEART_DEFAULTS);
      const ops = perform(heart, story({ ...toolSaid(4), time: fragile.time }));
      fragile.breaks("once");
      heart.accept(model(20, 2), heart.nowMs, ops);
      expect(spansOf(ops).map(({ kind }) => kind)).toEqual(["model", "tool", "run"]);
      expect(ops.filter(({ op }) => op === "fault")).toHaveLength(1);
    });

    test("of a run that cannot even be closed keeps nothing of it, and the others go on", () => {
      const fragile = fragileMoment(4);
      const heart = new Assembler(HEART_DEFAULTS);
      const ops = perform(heart, [other.started(0), ...story({ ...toolSaid(4), time: fragile.time })]);
      fragile.breaks("always");
      heart.accept(model(20, 2), heart.nowMs, ops);
      perform(heart, [other.completed(30)], ops);
      expect(ops.filter(({ op }) => op === "fault")).toHaveLength(2);
      expect([heart.openRuns, heart.rememberedRuns]).toEqual([0, 1]);
      expect(spansOf(ops).filter(({ kind }) => kind === "run")).toMatchObject([{ run: { runId: runId(2) } }]);
    });
  });

  test("says where it was", () => {
    const fault = play([poisoned(20)]).find((op) => op.op === "fault");
    expect(fault?.message).toMatch(/TypeError.*\n.*tool\.ts/);
  });
});
