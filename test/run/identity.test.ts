import { describe, expect, test } from "vitest";
import type { RunSpan } from "../../src/run/op.ts";
import { spansOf } from "../viewer/text-tree.ts";
import { play, type Play, type Step } from "./play.ts";
import {
  circuitOpened,
  completed,
  context,
  delta,
  HOUR,
  model,
  ORIGIN_MS,
  parentOf,
  runId,
  said,
  SESSION,
  started,
  within,
} from "./story.ts";

function runs(steps: readonly Step[], options: Play = {}): RunSpan[] {
  return spansOf(play(steps, options)).filter(
    (span) => span.kind === "run" && span.run.runId === runId(1),
  ) as RunSpan[];
}

/** Decimal nanoseconds of a moment of the story. */
function nanos(ms: number): string {
  return String(BigInt(ORIGIN_MS) * 1_000_000n + BigInt(Math.round(ms * 1e6)));
}

describe("the name of a segment", () => {
  const first = (steps: readonly Step[]) => runs(steps)[0];

  test("is empty when it began with its RunStarted", () => {
    expect(first([started(5)])).toMatchObject({
      run: { segment: "" },
      startMissing: false,
      corrected: false,
    });
  });

  test("is the time of its first event when that is another", () => {
    expect(first([model(5.000001)])).toMatchObject({ run: { segment: nanos(5.000001) }, startMissing: true });
  });

  test("is empty when the RunStarted was late, as long as no span has left", () => {
    const run = first([context(5), model(6), delta(7), started(4), said(8), completed(9)]);
    expect(run).toMatchObject({
      run: { segment: "", sessionId: SESSION },
      startMissing: false,
      start: expect.anything(),
    });
    // The run begins with the earliest event used, since its spans may have begun there.
    expect(run?.start).toEqual(first([context(5)])?.start);
    expect(run?.corrected).toBe(true);
  });

  test("stays when a span has left before the RunStarted came", () => {
    const steps = [model(6, 1), said(7), model(8, 2), started(4), completed(9)];
    expect(first(steps)).toMatchObject({
      run: { segment: nanos(6), sessionId: SESSION },
      startMissing: true,
    });
    const segments = spansOf(play(steps)).map(({ run }) => run.segment);
    expect(new Set(segments)).toEqual(new Set([nanos(6)]));
  });

  test("a late RunStarted with a later time than the first event corrects the start as well", () => {
    expect(first([context(5), started(5.5), completed(9)])).toMatchObject({
      corrected: true,
      startMissing: false,
    });
  });

  test("is empty for one segment of a run only", () => {
    const steps = [
      context(0),
      { tick: HOUR },
      context(HOUR),
      started(HOUR + 1),
      { tick: 3 * HOUR },
      started(4 * HOUR),
      completed(4 * HOUR + 1),
    ];
    expect(runs(steps).map(({ run }) => run.segment)).toEqual([nanos(0), "", nanos(4 * HOUR)]);
  });
});

describe("the remote parent", () => {
  const parents = (steps: readonly Step[]) => runs(steps).map(({ run }) => run.parent?.spanId.at(-1));

  test("is the one on RunStarted's delivery", () => {
    expect(
      parents([
        within(started(0), { parent: parentOf(1) }),
        within(model(1), { parent: parentOf(2) }),
        completed(3),
      ]),
    ).toEqual(["1"]);
  });

  test("is the one of RunStarted also when that was late", () => {
    expect(
      parents([
        within(context(1), { parent: parentOf(2) }),
        within(started(0), { parent: parentOf(1) }),
        completed(3),
      ]),
    ).toEqual(["1"]);
  });

  test("is else the one on the first event used, and fixed then", () => {
    expect(
      parents([
        within(model(1), { parent: parentOf(2) }),
        within(said(2), { parent: parentOf(3) }),
        completed(3),
      ]),
    ).toEqual(["2"]);
    expect(parents([model(1), within(said(2), { parent: parentOf(3) }), completed(3)])).toEqual([undefined]);
    expect(parents([within(context(1), { parent: parentOf(2) }), started(0), completed(3)])).toEqual(["2"]);
  });

  test("does not change when a span has left", () => {
    expect(
      parents([model(1), model(2, 2), within(started(0), { parent: parentOf(1) }), completed(3)]),
    ).toEqual([undefined]);
  });

  test("is one for all segments of a run", () => {
    const later = [
      within(context(HOUR), { parent: parentOf(3) }),
      within(started(HOUR + 1), { parent: parentOf(4) }),
      completed(HOUR + 2),
    ];
    expect(parents([within(started(0), { parent: parentOf(1) }), ...later])).toEqual(["1", "1"]);
    expect(parents([context(0), ...later])).toEqual([undefined, undefined]);
  });

  test("is of the first event in the order of the run when events wait", () => {
    const steps = [
      { event: within(context(1), { parent: parentOf(2) }), ms: 1 },
      { event: within(model(0), { parent: parentOf(3) }), ms: 2 },
    ];
    expect(spansOf(play(steps, { reorderWindowMs: 10 })).at(-1)?.run.parent).toEqual(parentOf(3));
  });
});

describe("session and agent", () => {
  const factsOf = (steps: readonly Step[], options: Play = {}) =>
    runs(steps, options).map(({ run }) => [run.sessionId, run.agent]);

  test("the session is RunStarted's, else the envelope's, else none", () => {
    expect(factsOf([started(0, { session: "s-1" })])).toEqual([["s-1", undefined]]);
    expect(factsOf([model(0), within(said(1), { sessionId: "s-2" })])).toEqual([["s-2", undefined]]);
    expect(factsOf([model(0), within(delta(1), { sessionId: "s-2" })])).toEqual([["s-2", undefined]]);
    expect(factsOf([within(model(0), { sessionId: "s-2" }), started(1, { session: "s-1" })])).toEqual([
      ["s-1", undefined],
    ]);
    expect(factsOf([model(0)])).toEqual([[undefined, undefined]]);
  });

  test("a later segment has the session of the one before it", () => {
    expect(factsOf([started(0, { session: "s-1" }), model(HOUR, 2)])).toEqual([
      ["s-1", undefined],
      ["s-1", undefined],
    ]);
  });

  test("the agent is the one beside the first event, else the configured one, and fixed then", () => {
    const options = { agentName: "configured" };
    expect(factsOf([within(started(0), { agent: "beside" })], options)).toEqual([[SESSION, "beside"]]);
    expect(factsOf([started(0), within(model(1), { agent: "beside" })], options)).toEqual([
      [SESSION, "configured"],
    ]);
    expect(factsOf([within(started(0), { agent: "beside" }), circuitOpened(HOUR)], options)).toEqual([
      [SESSION, "beside"],
      [SESSION, "beside"],
    ]);
  });
});
