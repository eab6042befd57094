import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import type { Delivery, Failed } from "../../src/otel/courier.ts";
import { Pipe, type PipeCounts, type PipeOptions } from "../../src/otel/pipe.ts";
import { seeded } from "../viewer/seeded.ts";
import { manualClock, settle } from "./clocks.ts";

interface Flight {
  readonly records: readonly number[];
  readonly land: (over?: Partial<Delivery<number>>) => void;
}

/** A pipe whose batches stay in the air until the test lets them land. */
function bench(over: Partial<PipeOptions<number>> = {}) {
  const clock = manualClock();
  const flights: Flight[] = [];
  const pipe = new Pipe<number>({
    deliver: (records) =>
      new Promise((resolve) => {
        const land: Flight["land"] = (delivery) =>
          resolve({ delivered: records.length, discarded: 0, failed: [], ...delivery });
        flights.push({ records, land });
      }),
    clock,
    maxBatchRecords: 4,
    ...over,
  });
  const sent = () => flights.map(({ records }) => records);
  return { clock, pipe, flights, sent };
}

/** Whether a promise has settled by now. */
async function isDone(promise: Promise<unknown> | undefined): Promise<boolean> {
  let done = false;
  void promise?.then(() => (done = true));
  await settle();
  return done;
}

describe("batches", () => {
  test("leave when they are full, by number", () => {
    const { pipe, sent } = bench();
    for (const record of [1, 2, 3]) void pipe.push(record, 10);
    expect(sent()).toEqual([]);
    void pipe.push(4, 10);
    expect(sent()).toEqual([[1, 2, 3, 4]]);
  });

  test("leave when they are full, by size, and never hold more than that", () => {
    const { pipe, sent } = bench({ maxBatchBytes: 100 });
    void pipe.push(1, 60);
    void pipe.push(2, 39);
    expect(sent()).toEqual([]);
    void pipe.push(3, 1);
    expect(sent()).toEqual([[1, 2, 3]]);
    void pipe.push(4, 60);
    void pipe.push(5, 41);
    expect(sent()).toEqual([[1, 2, 3], [4]]);
  });

  test("of one record may be larger, since it cannot be smaller", () => {
    const { pipe, sent } = bench({ maxBatchBytes: 100 });
    void pipe.push(1, 1_000);
    expect(sent()).toEqual([[1]]);
  });

  test("that are not full leave after a short wait for company", async () => {
    const { clock, pipe, sent } = bench({ lingerMs: 200 });
    void pipe.push(1, 10);
    await clock.advance(150);
    void pipe.push(2, 10);
    await clock.advance(49);
    expect(sent()).toEqual([]);
    await clock.advance(1);
    expect(sent()).toEqual([[1, 2]]);
    expect(clock.nextIn()).toBeUndefined();
  });

  test("begin a new wait for company when the last ones have left in time", async () => {
    const { clock, pipe, sent } = bench({ lingerMs: 200 });
    void pipe.push(1, 10);
    await clock.advance(150);
    for (const record of [2, 3, 4, 5]) void pipe.push(record, 10);
    await clock.advance(199);
    expect(sent()).toEqual([[1, 2, 3, 4]]);
    await clock.advance(1);
    expect(sent()).toEqual([[1, 2, 3, 4], [5]]);
  });

  test("are at most two in the air; the next leaves when one has landed", async () => {
    const { pipe, flights, sent } = bench();
    for (let record = 1; record <= 16; record += 1) void pipe.push(record, 10);
    expect(sent()).toHaveLength(2);
    flights[1]?.land();
    await settle();
    expect(sent()).toEqual([
      [1, 2, 3, 4],
      [5, 6, 7, 8],
      [9, 10, 11, 12],
    ]);
  });
});

describe("room", () => {
  test.each([
    [7, false],
    [8, true],
    [9, true],
  ])("of 8 records: push number %i is asked to wait: %s", (count, waits) => {
    const { pipe } = bench({ maxWaitingRecords: 8 });
    let last: Promise<void> | undefined;
    for (let record = 0; record < count; record += 1) last = pipe.push(record, 1);
    expect(last !== undefined).toBe(waits);
    expect(pipe.counts.waiting).toBe(count);
  });

  test.each([
    [99, false],
    [100, true],
    [101, true],
  ])("of 100 bytes: a push that makes it %i is asked to wait: %s", (bytes, waits) => {
    const { pipe } = bench({ maxWaitingBytes: 100 });
    expect(pipe.push(1, 40)).toBeUndefined();
    expect(pipe.push(2, bytes - 40) !== undefined).toBe(waits);
    expect(pipe.waitingBytes).toBe(bytes);
  });

  test("is there again when a batch has landed, and one promise serves all who wait", async () => {
    const { pipe, flights } = bench({ maxWaitingRecords: 8 });
    let room: Promise<void> | undefined;
    for (let record = 0; record < 8; record += 1) room = pipe.push(record, 1);
    expect(pipe.push(8, 1)).toBe(room);
    expect(await isDone(room)).toBe(false);
    flights[0]?.land();
    expect(await isDone(room)).toBe(true);
    expect(pipe.push(9, 1)).toBeUndefined();
  });
});

describe("flushed", () => {
  test("sends what lingers and resolves when it is decided", async () => {
    const { pipe, flights, sent } = bench();
    void pipe.push(1, 10);
    const flushed = pipe.flushed();
    expect(sent()).toEqual([[1]]);
    expect(await isDone(flushed)).toBe(false);
    flights[0]?.land();
    expect(await flushed).toEqual({ pushed: 1, waiting: 0, exported: 1, discarded: 0, failed: {} });
  });

  test("of an empty pipe is over at once", async () => {
    const { pipe } = bench();
    expect(await pipe.flushed()).toMatchObject({ pushed: 0, waiting: 0 });
  });

  test("waits for a batch that was in the air before, even when a later one lands first", async () => {
    const { pipe, flights } = bench();
    for (let record = 1; record <= 8; record += 1) void pipe.push(record, 10);
    const flushed = pipe.flushed();
    flights[1]?.land();
    expect(await isDone(flushed)).toBe(false);
    flights[0]?.land();
    expect(await isDone(flushed)).toBe(true);
  });

  test("does not wait for what is pushed later", async () => {
    const { pipe, flights } = bench();
    void pipe.push(1, 10);
    const flushed = pipe.flushed();
    for (let record = 2; record <= 5; record += 1) void pipe.push(record, 10);
    flights[0]?.land();
    expect(await isDone(flushed)).toBe(true);
    expect(pipe.counts.waiting).toBe(4);
  });

  test("sends a short batch in a hurry even while the air is full", async () => {
    const { pipe, flights, sent } = bench();
    for (let record = 1; record <= 9; record += 1) void pipe.push(record, 10);
    const flushed = pipe.flushed();
    flights[0]?.land();
    await settle();
    expect(sent()[2]).toEqual([9]);
    flights[1]?.land();
    flights[2]?.land();
    expect(await isDone(flushed)).toBe(true);
  });

  test("counts what was given up and what was discarded as decided", async () => {
    const lost: Failed<number>[] = [];
    let exported = 0;
    const { pipe, flights } = bench({
      onFailed: (failed) => lost.push(failed),
      onExported: (count) => (exported += count),
    });
    for (const record of [1, 2, 3, 4]) void pipe.push(record, 10);
    const flushed = pipe.flushed();
    const failed: Failed<number> = { reason: "refused", message: "no", count: 1, records: [3] };
    flights[0]?.land({ delivered: 2, discarded: 1, failed: [failed] });
    expect(await flushed).toEqual({
      pushed: 4,
      waiting: 0,
      exported: 2,
      discarded: 1,
      failed: { refused: 1 },
    });
    expect(lost).toEqual([failed]);
    expect(exported).toBe(2);
  });
});

test("whatever is pushed, landed and flushed in whatever order: nothing is lost, doubled or reordered", async () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant("push" as const), bytes: fc.nat(60) }) },
    {
      weight: 3,
      arbitrary: fc.record({ do: fc.constant("land" as const), which: fc.nat(1), lost: fc.nat(2) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("flush" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("wait" as const) }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const { clock, pipe, flights } = bench({ maxBatchBytes: 100 });
      const inAir: Flight[] = [];
      const flushes: { readonly upTo: number; readonly counts: Promise<PipeCounts> }[] = [];
      let pushed = 0;
      let taken = 0;
      const land = (which: number, lost: number) => {
        while (taken < flights.length) inAir.push(flights[taken++]!);
        const [flight] = inAir.splice(Math.min(which, inAir.length - 1), 1);
        if (flight === undefined) return;
        const count = Math.min(lost, flight.records.length);
        flight.land({
          delivered: flight.records.length - count,
          failed: count === 0 ? [] : [{ reason: "refused", message: "", count, records: undefined }],
        });
      };
      for (const one of steps) {
        if (one.do === "push") void pipe.push(pushed++, one.bytes);
        else if (one.do === "land") land(one.which, one.lost);
        else if (one.do === "flush") flushes.push({ upTo: pushed, counts: pipe.flushed() });
        else await clock.advance(200);
        await settle();
        const { waiting, exported, failed } = pipe.counts;
        expect(waiting + exported + (failed.refused ?? 0)).toBe(pushed);
      }
      const end = pipe.flushed();
      for (let turn = 0; turn < 100; turn += 1) {
        land(0, 0);
        await settle();
      }
      expect((await end).waiting).toBe(0);
      for (const { upTo, counts } of flushes) {
        const { waiting, pushed: then } = await counts;
        expect(then - waiting).toBeGreaterThanOrEqual(upTo);
      }
      const all = flights.flatMap(({ records }) => records);
      expect(all).toEqual(Array.from({ length: pushed }, (_, record) => record));
    }),
    { numRuns: 200, ...seeded() },
  );
});
