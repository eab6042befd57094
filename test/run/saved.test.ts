import { describe, expect, test } from "vitest";
import type { Event } from "../../src/event/event.ts";
import { Assembler } from "../../src/run/assembler.ts";
import { HEART_DEFAULTS, type HeartOptions } from "../../src/run/limits.ts";
import type { Op } from "../../src/run/op.ts";
import type { SavedHeart } from "../../src/run/saved.ts";
import { checkInvariants } from "./invariants.ts";
import { perform, play, textOf } from "./play.ts";
import {
  asked,
  cache,
  callStarted,
  completed,
  context,
  DAY,
  delta,
  doomLoop,
  enveloped,
  HOUR,
  model,
  numbered,
  ORIGIN_MS,
  parentOf,
  runId,
  said,
  started,
  storyOf,
  toolFinished,
  toolSaid,
  toolStarted,
  usage,
  within,
} from "./story.ts";

const other = storyOf(runId(2));

function written(heart: Assembler): SavedHeart {
  return JSON.parse(JSON.stringify(heart.save())) as SavedHeart;
}

interface Arrival {
  readonly event: Event;
  readonly ms: number;
}

/** As many lives as there are cuts and one more: before each arrival in `cuts` the process dies. */
function live(arrivals: readonly Arrival[], options: HeartOptions, cuts: readonly number[]): Op[] {
  let heart = new Assembler(options);
  const ops: Op[] = [];
  for (const [index, { event, ms }] of arrivals.entries()) {
    if (cuts.includes(index)) {
      const waiting = new Set(heart.undecided());
      heart = Assembler.restore(written(heart), options);
      perform(
        heart,
        arrivals.slice(0, index).filter((each) => waiting.has(each.event)),
        ops,
      );
    }
    heart.accept(event, ORIGIN_MS + ms, ops);
  }
  heart.drain(ops);
  checkInvariants(ops, { accepted: arrivals.length, waiting: 0, whole: true });
  return ops;
}

/** Nearly everything that may happen, in three runs at once. */
const story: readonly Event[] = [
  ...enveloped([
    within(started(0), { parent: parentOf(1), agent: "researcher" }),
    context(1, 3),
    model(2, 1),
    callStarted(3, "a"),
    asked(4, "a", "search", "{}"),
    asked(5, "b"),
    cache(6, { read: 4 }),
    usage(7),
    said(8),
    toolStarted(9, "a"),
  ]),
  other.started(9.5),
  other.model(9.6, 1),
  other.delta(9.7, "text"),
  other.completed(9.8),
  ...enveloped([toolFinished(10, "a"), toolSaid(11), toolSaid(12), doomLoop(13, "twice")], 12),
  other.usage(13.5, 1, 1),
  ...enveloped([context(14), model(15, 2), delta(16), delta(17), usage(18), said(19)], 16),
  storyOf(runId(3)).toolStarted(19.5, "x"),
  ...enveloped([completed(20, "stop", 2)], 22),
];

describe("a heart that was written down and read back goes on as if nothing had been", () => {
  const inOrder = story.map((event, index) => ({ event, ms: index }));

  test("cut before any event", () => {
    const uncut = live(inOrder, HEART_DEFAULTS, []);
    expect(textOf(uncut)).toContain("missing=1");
    for (const index of story.keys()) expect(live(inOrder, HEART_DEFAULTS, [index])).toEqual(uncut);
    expect(live(inOrder, HEART_DEFAULTS, [...story.keys()])).toEqual(uncut);
  });

  test("cut while events wait, which are delivered again", () => {
    const options = { ...HEART_DEFAULTS, reorderWindowMs: 6 };
    // Pairs swapped, and a duplicate of each of a few.
    const swapped = inOrder.map(({ ms }, index) => ({ event: story[index ^ 1] ?? story[index]!, ms }));
    const echoes = [3, 8, 14].map((index) => ({ event: structuredClone(story[index]!), ms: index + 5 }));
    const arrivals = [...swapped, ...echoes].toSorted((a, b) => a.ms - b.ms);
    const uncut = live(arrivals, options, []);
    expect(uncut.filter(({ op }) => op === "dropped")).toHaveLength(3);
    for (const index of arrivals.keys()) expect(live(arrivals, options, [index])).toEqual(uncut);
    for (const index of arrivals.keys()) expect(live(arrivals, options, [index, index + 2])).toEqual(uncut);
  });

  test("also when it dies again before all of it was delivered again", () => {
    const options = { ...HEART_DEFAULTS, reorderWindowMs: 100 };
    const events = enveloped([started(0), model(1), usage(2), said(3), completed(4)]);
    const first = new Assembler(options);
    perform(first, [...events.slice(0, 1), { tick: 200 }]);
    perform(
      first,
      events.slice(1).map((event) => ({ event, ms: 200 })),
    );
    const second = Assembler.restore(written(first), options);
    perform(
      second,
      events.slice(1, 3).map((event) => ({ event, ms: 200 })),
    );
    const third = Assembler.restore(written(second), options);
    const ops = perform(
      third,
      events.slice(1).map((event) => ({ event, ms: 200 })),
    );
    third.drain(ops);
    expect(ops.filter(({ op }) => op === "used")).toHaveLength(4);
    expect(textOf(ops)).toBe(textOf(play(events)));
  });
});

describe("what is written down", () => {
  const heart = () => {
    const made = new Assembler({ ...HEART_DEFAULTS, reorderWindowMs: 5 });
    perform(
      made,
      story.map((event, index) => ({ event, ms: index })),
    );
    return made;
  };

  test("is plain data, the same when read back", () => {
    const saved = heart().save();
    const again = Assembler.restore(written(heart()), { ...HEART_DEFAULTS, reorderWindowMs: 5 }).save();
    expect(JSON.parse(JSON.stringify(saved))).toEqual(JSON.parse(JSON.stringify(again)));
  });

  test("does not change with what is read from it", () => {
    const saved = written(heart());
    const before = JSON.stringify(saved);
    const restored = Assembler.restore(saved, HEART_DEFAULTS);
    perform(restored, [model(50, 7), delta(51), toolStarted(52, "q"), completed(60)]);
    expect(JSON.stringify(saved)).toBe(before);
  });

  test("holds of a closed run no hashes of deltas, which are most of all", () => {
    const made = new Assembler(HEART_DEFAULTS);
    perform(made, [started(0), model(1), delta(2), delta(3), model(4, 2), delta(5), completed(6)]);
    const [record] = made.save().runs;
    expect([record?.hashes.deltas, record?.hashes.earlierDeltas]).toEqual([undefined, undefined]);
    expect(record?.hashes.events.values).toHaveLength(4);
  });

  test("holds no event that waits, nor a run of which nothing else is known", () => {
    const made = new Assembler({ ...HEART_DEFAULTS, reorderWindowMs: 5 });
    perform(made, [delta(0, "secret text")]);
    expect(made.waitingEvents).toBe(1);
    expect(JSON.stringify(made.save())).not.toContain("secret");
    expect(made.save()).toMatchObject({ runs: [] });
  });
});

describe("a heart read back", () => {
  const restored = (steps: Parameters<typeof perform>[1]) => {
    const heart = new Assembler(HEART_DEFAULTS);
    perform(heart, steps);
    return Assembler.restore(written(heart), HEART_DEFAULTS);
  };

  test("has its source time, its open runs and its remembered ones", () => {
    const heart = restored([started(0), other.started(1), other.completed(2)]);
    expect([heart.nowMs, heart.openRuns, heart.rememberedRuns]).toEqual([ORIGIN_MS + 2, 1, 1]);
    expect(heart.oldestStart()).toEqual([ORIGIN_MS / 1_000, 0]);
  });

  test("expires a silent run when the first one would have", () => {
    const heart = restored([started(0), toolStarted(1, "a")]);
    expect(perform(heart, [{ tick: HOUR }])).toEqual([]);
    expect(perform(heart, [{ tick: HOUR + 1 }]).filter(({ op }) => op === "span")).toHaveLength(2);
  });

  test("forgets a closed run when the first one would have", () => {
    const heart = restored([started(0), completed(2)]);
    perform(heart, [{ tick: DAY + 1 }]);
    expect(heart.rememberedRuns).toBe(1);
    perform(heart, [{ tick: DAY + 2 }]);
    expect(heart.rememberedRuns).toBe(0);
  });

  test("knows the duplicates of what it saw", () => {
    const heart = restored([started(0), model(1), delta(2), numbered(said(3), 1, 42), completed(4)]);
    const again = [started(0), model(1), delta(2), numbered(said(30), 7, 42), completed(4)];
    expect(perform(heart, again).map((op) => op.op === "dropped" && op.reason)).toEqual([
      "duplicate",
      "duplicate",
      "late",
      "duplicate",
      "duplicate",
    ]);
  });

  test("gives a delta that waited, and comes again when its run has gone on, to nobody", () => {
    const options = { ...HEART_DEFAULTS, reorderWindowMs: 10 };
    const first = new Assembler(options);
    const waiting = { event: delta(15), ms: 16 };
    perform(first, [{ event: started(0), ms: 0 }, { event: model(1), ms: 1 }, { tick: 15 }, waiting]);
    const heart = Assembler.restore(written(first), options);
    perform(heart, [
      { event: completed(17), ms: 17 },
      { tick: 40 },
      { event: model(50), ms: 50 },
      { tick: 70 },
    ]);
    expect(perform(heart, [{ event: delta(15), ms: 80 }, { tick: 100 }])).toEqual([
      { op: "dropped", type: "TextDelta", reason: "late" },
    ]);
  });
});
