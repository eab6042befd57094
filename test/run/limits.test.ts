import { describe, expect, test } from "vitest";
import { Assembler } from "../../src/run/assembler.ts";
import { HEART_DEFAULTS } from "../../src/run/limits.ts";
import { spansOf } from "../viewer/text-tree.ts";
import { perform, play, tell, type Play, type Step } from "./play.ts";
import {
  asked,
  cancelled,
  circuitOpened,
  completed,
  delta,
  doomLoop,
  model,
  runId,
  said,
  started,
  storyOf,
  toolFinished,
  toolSaid,
  toolStarted,
  usage,
} from "./story.ts";

const LIMIT = 3;
const around = [LIMIT - 1, LIMIT, LIMIT + 1];
const nth = <T>(count: number, make: (n: number) => T): T[] =>
  Array.from({ length: count }, (_, n) => make(n));

function drops(steps: readonly Step[], options: Play = {}): string[] {
  return play(steps, options).flatMap((op) => (op.op === "dropped" ? [`${op.reason} ${op.type}`] : []));
}

describe("maxOpenRuns", () => {
  test.each(around)("with %d runs open", (count) => {
    const heart = new Assembler({ ...HEART_DEFAULTS, maxOpenRuns: LIMIT });
    const ops = perform(
      heart,
      nth(count, (n) => storyOf(runId(n)).started(n)),
    );
    expect(heart.openRuns).toBe(Math.min(count, LIMIT));
    expect(spansOf(ops)).toHaveLength(Math.max(0, count - LIMIT));
  });

  test("evicts the run that would expire first, whatever was looked at before", () => {
    const [a, b, c, d] = [1, 2, 3, 4].map((n) => storyOf(runId(n)));
    const steps = [
      a!.started(0),
      b!.started(1),
      c!.started(2),
      a!.said(3),
      b!.toolStarted(4, "x"),
      { tick: 5 },
      d!.started(6),
    ];
    const evicted = spansOf(play(steps, { maxOpenRuns: LIMIT, end: "stay" }));
    expect(evicted).toMatchObject([{ kind: "run", run: { runId: runId(3) }, ending: { reason: "evicted" } }]);
  });

  test("does not count runs all of whose events wait, nor closed ones", () => {
    const heart = new Assembler({ ...HEART_DEFAULTS, maxOpenRuns: 1, reorderWindowMs: 10 });
    const ops = perform(heart, [storyOf(runId(1)).started(0), storyOf(runId(2)).started(0)]);
    expect([heart.openRuns, heart.waitingEvents, heart.rememberedRuns]).toEqual([0, 2, 0]);
    heart.release(ops);
    expect([heart.openRuns, heart.waitingEvents, heart.rememberedRuns]).toEqual([1, 0, 1]);
  });
});

describe("maxRememberedRuns", () => {
  test.each(around)("after %d closed runs", (count) => {
    const heart = new Assembler({ ...HEART_DEFAULTS, maxRememberedRuns: LIMIT });
    const ended = nth(count, (n) => [
      storyOf(runId(n)).started(n),
      storyOf(runId(n)).completed(n + 0.5),
    ]).flat();
    perform(heart, ended);
    expect(heart.rememberedRuns).toBe(Math.min(count, LIMIT));
    const ops = perform(heart, [storyOf(runId(0)).said(9)]);
    // The one closed first is the one forgotten, so what comes of it is a new run.
    expect(ops.at(-1)?.op).toBe(count > LIMIT ? "used" : "dropped");
  });

  test("of 0 remembers nothing", () => {
    expect(drops([started(0), completed(1), said(2)], { maxRememberedRuns: 0 })).toEqual([]);
  });
});

describe("maxWaiting", () => {
  test.each(around)("with %d events in the window", (count) => {
    const heart = new Assembler({ ...HEART_DEFAULTS, maxWaiting: LIMIT, reorderWindowMs: 1_000 });
    const ops = perform(
      heart,
      nth(count, (n) => ({ event: delta(-n), ms: n })),
    );
    expect(heart.waitingEvents).toBe(count > LIMIT ? 0 : count);
    // The oldest arrival is used early, and what belongs before it goes along: here that is all.
    expect(ops.filter(({ op }) => op === "used")).toHaveLength(count > LIMIT ? count : 0);
  });

  test("uses the oldest arrivals early, of whichever run", () => {
    const heart = new Assembler({ ...HEART_DEFAULTS, maxWaiting: LIMIT, reorderWindowMs: 1_000 });
    const ops = perform(
      heart,
      nth(5, (n) => storyOf(runId(n)).delta(n)),
    );
    expect(heart.waitingEvents).toBe(LIMIT);
    const opened = ops.flatMap((op) => (op.op === "opened" ? [op.span.run.runId] : []));
    expect(opened).toEqual([runId(0), runId(1)]);
  });
});

describe("maxHashes", () => {
  test.each(around)("a duplicate is known after %d other events", (others) => {
    const steps = [started(0), said(1), ...nth(others, (n) => toolSaid(10 + n)), said(1)];
    expect(drops(steps, { maxHashes: LIMIT + 1 })).toEqual(
      others <= LIMIT ? ["duplicate AssistantMessageCommitted"] : [],
    );
  });

  test.each(around)("a repeated delta is known after %d others of its call", (others) => {
    const steps = [started(0), model(1), delta(2), ...nth(others, (n) => delta(10 + n)), delta(2)];
    expect(drops(steps, { maxHashes: LIMIT + 1 })).toEqual(others <= LIMIT ? ["duplicate TextDelta"] : []);
  });

  test("deltas do not push other events out", () => {
    const steps = [started(0), model(1), ...nth(9, (n) => delta(10 + n)), model(1), started(0)];
    expect(drops(steps, { maxHashes: LIMIT })).toEqual(["duplicate ModelStarted", "duplicate RunStarted"]);
  });
});

describe("maxTools", () => {
  const options = { maxTools: LIMIT };

  test.each(around)("%d tool calls asked for in an iteration", (count) => {
    const steps = [
      started(0),
      model(1),
      ...nth(count, (n) => asked(2 + n, `c-${n}`)),
      said(10),
      cancelled(20),
    ];
    const tools = spansOf(play(steps, options)).filter(({ kind }) => kind === "tool");
    expect(tools).toHaveLength(Math.min(count, LIMIT));
    expect(drops(steps, options)).toEqual(count > LIMIT ? ["limit ToolCallCompleted"] : []);
  });

  test("a repeated id is no further call, and the next iteration counts anew", () => {
    const call = (ms: number, iteration: number) => [
      model(ms, iteration),
      ...nth(LIMIT, (n) => asked(ms + 1 + n, `c-${n}`)),
      asked(ms + 8, "c-0"),
    ];
    expect(drops([started(0), ...call(10, 1), ...call(20, 2)], options)).toEqual([]);
  });

  test("a call beyond it is dropped without a trace on the model call", () => {
    const steps = [started(0), model(1), ...nth(LIMIT, (n) => asked(2 + n, `c-${n}`)), asked(50, "c-9")];
    expect(tell(steps, options)).toMatchInlineSnapshot(`
      "invoke_agent [0 +4] incomplete(drained) calls=1 tools=0 iterations=1 events=5
        chat gpt-4o (1) [1 +3] error incomplete
      dropped: limit ToolCallCompleted"
    `);
  });

  test.each(around)("%d tool executions open", (count) => {
    const steps = [started(0), ...nth(count, (n) => toolStarted(2 + n, `c-${n}`)), completed(20)];
    expect(spansOf(play(steps, options)).filter(({ kind }) => kind === "tool")).toHaveLength(
      Math.min(count, LIMIT),
    );
    expect(drops(steps, options)).toEqual(count > LIMIT ? ["limit ToolExecutionStarted"] : []);
  });

  test("an execution that ends makes room for another", () => {
    const steps = [
      started(0),
      ...nth(LIMIT, (n) => toolStarted(2 + n, `c-${n}`)),
      toolFinished(9, "c-1"),
      toolStarted(10, "x"),
    ];
    expect(drops(steps, options)).toEqual([]);
  });

  test.each(around)(
    "%d finished executions wait for their tool messages, the others leave before",
    (count) => {
      const steps = [started(0), model(1), ...nth(count, (n) => toolFinished(2 + n, `c-${n}`))];
      const left = spansOf(play(steps, { ...options, end: "stay" }));
      expect(left.map((span) => span.kind === "tool" && span.callId)).toEqual(count > LIMIT ? ["c-0"] : []);
      expect(drops(steps, options)).toEqual([]);
    },
  );

  test.each(around)("%d tool messages are told apart", (count) => {
    const ids = nth(Math.min(count, LIMIT), (n) => `c-${n}`);
    const steps = [
      started(0),
      model(1),
      ...ids.map((id, n) => asked(2 + n, id)),
      said(10),
      ...nth(count, (n) => toolSaid(20 + n, `t-${n}`)),
      completed(40),
    ];
    const tools = spansOf(play(steps, options)).flatMap((span) =>
      span.kind === "tool" ? [span.messageId] : [],
    );
    // With more messages than can be kept, or than there are calls, nobody knows which is whose.
    expect(tools).toEqual(ids.map((_, n) => (count > LIMIT ? undefined : `t-${n}`)));
    expect(drops(steps, options)).toEqual([]);
  });
});

describe("maxIds", () => {
  const repeats = (count: number) => [
    started(0),
    ...nth(count, (n) => [toolStarted(10 + n, `c-${n}`), toolFinished(10.5 + n, `c-${n}`)]).flat(),
    toolStarted(50, "c-0"),
    toolFinished(51, "c-0"),
    completed(60),
  ];
  const lastOccurrence = (count: number) => {
    const heart = new Assembler({ ...HEART_DEFAULTS, maxIds: LIMIT });
    const tools = spansOf(perform(heart, repeats(count))).filter((span) => span.kind === "tool");
    return tools.at(-1)?.occurrence;
  };

  test.each(around)("a repeated call id is told from the first after %d ids", (count) => {
    expect(lastOccurrence(count)).toBe(count <= LIMIT ? 1 : 0);
  });

  test.each(around)("a repeated iteration is told from the first after %d model calls", (count) => {
    const heart = new Assembler({ ...HEART_DEFAULTS, maxIds: LIMIT });
    const steps = [started(0), ...nth(count, (n) => model(10 + n, n)), model(50, 0), completed(60)];
    const models = spansOf(perform(heart, steps)).filter((span) => span.kind === "model");
    expect(models.at(-1)?.occurrence).toBe(count <= LIMIT ? 1 : 0);
    expect(models).toHaveLength(count + 1);
  });

  test("late finishes of a closed run are counted within it too", () => {
    const heart = new Assembler({ ...HEART_DEFAULTS, maxIds: LIMIT });
    perform(heart, [started(0), completed(10), ...nth(9, (n) => toolFinished(11 + n, `c-${n}`))]);
    expect(heart.save().runs[0]?.closed?.tools).toHaveLength(LIMIT);
  });
});

describe("maxNotices", () => {
  test.each(around)("%d notices", (count) => {
    const steps = [
      started(0),
      ...nth(count, (n) => (n % 2 === 0 ? doomLoop(1 + n) : circuitOpened(1 + n, n))),
      completed(20),
    ];
    const ops = play(steps, { maxNotices: LIMIT });
    const run = spansOf(ops).find((span) => span.kind === "run");
    expect(run?.notices).toHaveLength(Math.min(count, LIMIT));
    expect(run?.noticesDropped).toBe(Math.max(0, count - LIMIT));
    // Told as log records they are all the same.
    expect(ops.filter(({ op }) => op === "notice")).toHaveLength(count);
  });
});

describe("maxCapturedText", () => {
  const text = (...deltas: readonly string[]) => {
    const steps = [started(0), model(1), ...deltas.map((each, n) => delta(2 + n, each)), completed(20)];
    const models = spansOf(play(steps, { maxCapturedText: 6 })).filter((span) => span.kind === "model");
    return models
      .flatMap(({ output }) => output ?? [])
      .flatMap((part) => (part.type === "text" ? [part.content] : []));
  };

  test.each([
    ["abcde", "abcde"],
    ["abcdef", "abcdef"],
    ["abcdefg", "abcdef"],
  ])("%s", (whole, kept) => {
    expect(text(whole)).toEqual([kept]);
    expect(text(whole.slice(0, 2), whole.slice(2, 4), whole.slice(4))).toEqual([kept]);
  });

  test("never cuts through a surrogate pair", () => {
    expect(text("abcd\u{1f600}")).toEqual(["abcd\u{1f600}"]);
    expect(text("abcde\u{1f600}")).toEqual(["abcde"]);
    expect(text("abcde", "\u{1f600}")).toEqual(["abcde"]);
  });

  test("keeps no text when none was captured", () => {
    const steps = [started(0), model(1), delta(2), delta(3), usage(4), completed(20)];
    expect(spansOf(play(steps))[0]).toMatchObject({ output: undefined, chunks: 2 });
  });
});

test("the defaults are those of the documentation", () => {
  expect(HEART_DEFAULTS).toMatchObject({
    reorderWindowMs: 0,
    runIdleMs: 600_000,
    toolIdleMs: 3_600_000,
    rememberMs: 86_400_000,
    maxOpenRuns: 100_000,
    maxRememberedRuns: 1_000_000,
    maxHashes: 4_096,
  });
});
