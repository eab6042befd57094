import { describe, expect, test } from "vitest";
import type { Event, EventType } from "../../src/event/event.ts";
import type { RunSpan } from "../../src/run/op.ts";
import { spansOf } from "../viewer/text-tree.ts";
import { play, tell, type Play, type Step } from "./play.ts";
import {
  asked,
  cancelled,
  circuitOpened,
  completed,
  context,
  delta,
  doomLoop,
  failed,
  HOUR,
  MINUTE,
  model,
  runId,
  said,
  started,
  storyOf,
  toolFailed,
  toolFinished,
  toolSaid,
  toolStarted,
  usage,
} from "./story.ts";

const other = storyOf(runId(2));

/** A run in the middle of its second iteration: a model call streams, a tool of the first still runs. */
const busy = [
  started(0),
  context(1),
  model(2, 1),
  asked(3, "a"),
  usage(4),
  said(5),
  toolStarted(6, "a"),
  toolSaid(7),
  context(8),
  model(9, 2),
  delta(10),
  delta(11),
];

function runOf(steps: readonly Step[], options: Play = {}): RunSpan {
  const runs = spansOf(play(steps, options)).filter((span) => span.kind === "run");
  expect(runs).toHaveLength(1);
  return runs[0]!;
}

describe("every way in which a run leaves memory", () => {
  test("completed", () => {
    expect(tell([...busy, completed(20, "stop", 2)])).toMatchInlineSnapshot(`
      "invoke_agent [0 +20] completed stop calls=2 tools=1 tokens=100/20 iterations=2 events=13
        chat gpt-4o (1) [2 +2] tool_call in=100 out=20
        execute_tool search (a) [6 +14] it=1 incomplete
        chat gpt-4o (2) [9 +11] stop stream chunks=2 ttfc=1"
    `);
  });

  test("failed", () => {
    expect(tell([...busy, failed(20)])).toMatchInlineSnapshot(`
      "invoke_agent [0 +20] failed error=token_budget_exceeded "token budget exceeded: 9 of 8" calls=2 tools=1 tokens=100/20 iterations=2 events=13
        chat gpt-4o (1) [2 +2] tool_call in=100 out=20
        execute_tool search (a) [6 +14] it=1 incomplete error=token_budget_exceeded "token budget exceeded: 9 of 8"
        chat gpt-4o (2) [9 +11] error incomplete error=token_budget_exceeded "token budget exceeded: 9 of 8" stream chunks=2 ttfc=1"
    `);
  });

  test("failed, because the model's finish reason is error", () => {
    expect(tell([...busy, completed(20, "error", 2)])).toMatchInlineSnapshot(`
      "invoke_agent [0 +20] failed error error=model_error calls=2 tools=1 tokens=100/20 iterations=2 events=13
        chat gpt-4o (1) [2 +2] tool_call in=100 out=20
        execute_tool search (a) [6 +14] it=1 incomplete
        chat gpt-4o (2) [9 +11] error error=model_error stream chunks=2 ttfc=1"
    `);
  });

  test("cancelled", () => {
    expect(tell([...busy, cancelled(20)])).toMatchInlineSnapshot(`
      "invoke_agent [0 +20] cancelled calls=2 tools=1 tokens=100/20 iterations=2 events=13
        chat gpt-4o (1) [2 +2] tool_call in=100 out=20
        execute_tool search (a) [6 +14] it=1 incomplete error=cancelled
        chat gpt-4o (2) [9 +11] error incomplete error=cancelled stream chunks=2 ttfc=1"
    `);
  });

  test("expired", () => {
    expect(tell([...busy, { tick: 2 * HOUR }], { end: "stay" })).toMatchInlineSnapshot(`
      "invoke_agent [0 +11] incomplete(expired) error=run_expired calls=2 tools=1 tokens=100/20 iterations=2 events=12
        chat gpt-4o (1) [2 +2] tool_call in=100 out=20
        execute_tool search (a) [6 +5] it=1 incomplete
        chat gpt-4o (2) [9 +2] error incomplete stream chunks=2 ttfc=1"
    `);
  });

  test("evicted", () => {
    expect(tell([...busy, other.started(20), other.completed(21)], { maxOpenRuns: 1, end: "stay" }))
      .toMatchInlineSnapshot(`
      "invoke_agent [0 +11] incomplete(evicted) calls=2 tools=1 tokens=100/20 iterations=2 events=12 run=00000000-0000-4000-8000-000000000001
        chat gpt-4o (1) [2 +2] tool_call in=100 out=20
        execute_tool search (a) [6 +5] it=1 incomplete
        chat gpt-4o (2) [9 +2] error incomplete stream chunks=2 ttfc=1
      invoke_agent [20 +1] completed stop calls=0 tools=0 iterations=1 events=2 run=00000000-0000-4000-8000-000000000002"
    `);
  });

  test("drained", () => {
    expect(tell(busy)).toMatchInlineSnapshot(`
      "invoke_agent [0 +11] incomplete(drained) calls=2 tools=1 tokens=100/20 iterations=2 events=12
        chat gpt-4o (1) [2 +2] tool_call in=100 out=20
        execute_tool search (a) [6 +5] it=1 incomplete
        chat gpt-4o (2) [9 +2] error incomplete stream chunks=2 ttfc=1"
    `);
  });

  test("faulted", () => {
    expect(tell([...busy, poisoned(20)])).toMatchInlineSnapshot(`
      "invoke_agent [0 +20] incomplete(faulted) calls=2 tools=2 tokens=100/20 iterations=2 events=12
        chat gpt-4o (1) [2 +2] tool_call in=100 out=20
        execute_tool search (a) [6 +14] it=1 incomplete
        chat gpt-4o (2) [9 +11] error incomplete stream chunks=2 ttfc=1
        execute_tool search (b) [20 +0] it=2
      dropped: faulted ToolExecutionFinished
      fault: TypeError"
    `);
  });
});

/** An event that no decoder makes: it breaks the step that uses it. */
function poisoned(ms: number): Event {
  return { ...toolFinished(ms, "b"), result: undefined } as unknown as Event;
}

describe("the status of what ended", () => {
  test("a failed tool marks its own span only", () => {
    expect(
      tell([
        started(0),
        model(1),
        asked(2, "a"),
        said(3),
        toolStarted(4, "a"),
        toolFailed(5, "a"),
        toolSaid(6),
        completed(7),
      ]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +7] completed stop calls=1 tools=1 tool_failures=1 iterations=1 events=8
        chat gpt-4o (1) [1 +2] stop
        execute_tool search (a) [4 +1] it=1 error=_OTHER "no such page""
    `);
  });

  test("RunFailed after the call was over marks the run only", () => {
    expect(tell([started(0), model(1), usage(2), said(3), failed(4)])).toMatchInlineSnapshot(`
      "invoke_agent [0 +4] failed error=token_budget_exceeded "token budget exceeded: 9 of 8" calls=1 tools=0 tokens=100/20 iterations=1 events=5
        chat gpt-4o (1) [1 +1] in=100 out=20"
    `);
  });

  test("RunFailed marks the call that was open, and the tool that was open", () => {
    expect(tell([started(0), model(1), delta(2), failed(4, "provider_timeout", "provider `x` timed out")]))
      .toMatchInlineSnapshot(`
      "invoke_agent [0 +4] failed error=provider_timeout "provider \`x\` timed out" calls=1 tools=0 iterations=1 events=4
        chat gpt-4o (1) [1 +3] error incomplete error=provider_timeout "provider \`x\` timed out" chunks=1"
    `);
    expect(tell([started(0), model(1), said(2), toolStarted(3, "a"), failed(4)])).toMatchInlineSnapshot(`
      "invoke_agent [0 +4] failed error=token_budget_exceeded "token budget exceeded: 9 of 8" calls=1 tools=1 iterations=1 events=5
        chat gpt-4o (1) [1 +1]
        execute_tool search (a) [3 +1] it=1 incomplete error=token_budget_exceeded "token budget exceeded: 9 of 8""
    `);
  });

  test("a finish reason of error marks the run and its last call", () => {
    expect(tell([started(0), model(1), said(2), model(3, 2), usage(4), completed(5, "error", 2)]))
      .toMatchInlineSnapshot(`
      "invoke_agent [0 +5] failed error error=model_error calls=2 tools=0 tokens=100/20 iterations=2 events=6
        chat gpt-4o (1) [1 +1]
        chat gpt-4o (2) [3 +1] error error=model_error in=100 out=20"
    `);
  });

  test("a context overflow is incomplete and Unset, also when the run fails later", () => {
    expect(tell([started(0), model(1), context(2), model(3, 2), delta(4), failed(5)])).toMatchInlineSnapshot(`
      "invoke_agent [0 +5] failed error=token_budget_exceeded "token budget exceeded: 9 of 8" calls=2 tools=0 iterations=2 events=6
        chat gpt-4o (1) [1 +1] error incomplete
        chat gpt-4o (2) [3 +2] error incomplete error=token_budget_exceeded "token budget exceeded: 9 of 8" chunks=1"
    `);
  });

  test("a run without anything but its end is a run of no length", () => {
    expect(tell([failed(5)])).toMatchInlineSnapshot(
      `"invoke_agent (1700000000005000000) [5 +0] failed error=token_budget_exceeded "token budget exceeded: 9 of 8" start_missing calls=0 tools=0 events=1"`,
    );
  });
});

describe("the run counts", () => {
  test("its iterations as RunCompleted says, else the highest that began", () => {
    expect(runOf([started(0), model(1, 3), completed(2, "stop", 7)]).iterations).toBe(7);
    expect(runOf([started(0), model(1, 3), model(2, 2), failed(3)]).iterations).toBe(3);
    expect(runOf([started(0), model(1, 0), failed(3)]).iterations).toBe(0);
    expect(runOf([started(0), failed(3)]).iterations).toBeUndefined();
  });

  test("the events it used, itself included, and not those dropped", () => {
    const steps = [
      started(0),
      started(0),
      model(1),
      delta(2),
      model(3, 2),
      delta(2.5),
      completed(4),
      delta(5),
    ];
    expect(runOf(steps).events).toBe(5);
  });

  test("tokens of all its calls, and cache tokens only where somebody observed them", () => {
    const steps = [
      started(0),
      model(1),
      usage(2, 10, 1),
      model(3, 2),
      usage(4, 20, 2, { read: 5 }),
      completed(6),
    ];
    expect(runOf(steps).usage).toEqual({ input: 30, output: 3, cacheRead: 5, cacheWrite: undefined });
    expect(runOf([started(0), model(1), completed(2)]).usage).toBeUndefined();
  });
});

describe("notices", () => {
  test("are on the run, with their time, and told when they come", () => {
    const steps = [started(0), doomLoop(5.000001, "search, again"), circuitOpened(6, 3), completed(9)];
    expect(tell(steps)).toMatchInlineSnapshot(`
      "invoke_agent [0 +9] completed stop calls=0 tools=0 iterations=1 events=4
        ! behest.doom_loop.detected [5.000001] "search, again"
        ! behest.compaction.circuit_opened [6] failures=3"
    `);
    const kinds = play(steps).map(({ op }) => op);
    expect(kinds.slice(0, 6)).toEqual(["opened", "used", "notice", "used", "notice", "used"]);
  });
});

describe("a run expires", () => {
  const idle = (steps: readonly Step[], tick: number, options: Play = {}) =>
    spansOf(play([...steps, { tick }], { end: "stay", ...options })).length > 0;

  test.each([
    [10 * MINUTE - 1, false],
    [10 * MINUTE, true],
    [10 * MINUTE + 1, true],
  ])("%d ms after its last arrival: %s", (ms, expired) => {
    expect(idle([started(0), { event: said(1), ms: 500 }], 500 + ms)).toBe(expired);
  });

  test.each([
    [HOUR - 1, false],
    [HOUR, true],
    [HOUR + 1, true],
  ])("%d ms after its last arrival when a tool is open: %s", (ms, expired) => {
    expect(idle([started(0), toolStarted(100, "a")], 100 + ms)).toBe(expired);
  });

  test("by the shorter time again when its tool has finished", () => {
    const steps = [started(0), toolStarted(100, "a"), { tick: 30 * MINUTE }, toolFinished(40 * MINUTE, "a")];
    expect(idle(steps, 50 * MINUTE - 1)).toBe(false);
    expect(idle(steps, 50 * MINUTE)).toBe(true);
  });

  test("before one that was to expire later, whichever was opened first", () => {
    const steps = [
      started(0),
      toolStarted(1, "a"),
      { tick: 20 * MINUTE },
      other.started(21 * MINUTE),
      { tick: 31 * MINUTE },
    ];
    const [run] = spansOf(play(steps, { end: "stay" }));
    expect(run?.run.runId).toBe(runId(2));
  });

  test("before others that were to expire before it, when its tool has finished", () => {
    const later = other.started(5 * MINUTE);
    const steps = [started(0), toolStarted(1, "a"), toolFinished(4 * MINUTE, "a"), later];
    expect(idle(steps, 14 * MINUTE)).toBe(true);
    const inHeap = [
      started(0),
      toolStarted(1, "a"),
      other.started(3 * MINUTE),
      toolFinished(3 * MINUTE - 1, "a"),
    ];
    const order = spansOf(play([...inHeap, { tick: HOUR }])).filter(({ kind }) => kind === "run");
    expect(order.map(({ run }) => run.runId)).toEqual([runId(1), runId(2)]);
  });

  test("by the longer time when the tool's is the shorter one and none is open any more", () => {
    const options = { runIdleMs: HOUR, toolIdleMs: MINUTE };
    expect(idle([started(0), toolStarted(1, "a")], 1 + MINUTE, options)).toBe(true);
    expect(idle([started(0), toolStarted(1, "a"), toolFinished(2, "a")], 1 + MINUTE, options)).toBe(false);
  });

  test("however far source time leaps, at the time when it was silent too long", () => {
    const steps = [
      started(0),
      { tick: 90 * 24 * HOUR },
      { event: model(10 * MINUTE + 1), ms: 90 * 24 * HOUR },
    ];
    const runs = spansOf(play(steps)).filter((span) => span.kind === "run");
    // 90 days later nobody remembers the run, so this is not its second segment.
    expect(runs.map(({ resumedFrom }) => resumedFrom)).toEqual([undefined, undefined]);
  });

  test("not because of a duplicate, and later because of an event that is dropped", () => {
    const steps = [started(0), said(1)];
    expect(idle([...steps, { event: said(1), ms: 9 * MINUTE }], 10 * MINUTE + 1)).toBe(true);
    expect(idle([...steps, { event: model(2), ms: 9 * MINUTE }], 10 * MINUTE + 1)).toBe(false);
  });

  test("in the order of their deadlines, those of one moment by id", () => {
    const [a, b, c] = [3, 2, 1].map((n) => storyOf(runId(n)));
    const steps = [
      a!.started(0),
      b!.started(5),
      c!.started(5),
      { event: a!.model(1), ms: 3 },
      { tick: HOUR },
    ];
    const order = spansOf(play(steps, { end: "stay" })).flatMap((span) =>
      span.kind === "run" ? [span.run.runId] : [],
    );
    expect(order).toEqual([runId(3), runId(1), runId(2)]);
  });
});

test.each<[EventType, Event]>([
  ["RunCompleted", completed(20)],
  ["RunFailed", failed(20)],
  ["RunCancelled", cancelled(20)],
])("a second terminal event is late after %s", (_, end) => {
  for (const again of [completed(21), failed(21), cancelled(21)]) {
    expect(tell([started(0), end, again])).toBe(`${tell([started(0), end])}\ndropped: late ${again.type}`);
  }
});
