import { describe, expect, test } from "vitest";

import { ChunkLog, type Chunk } from "../../../src/source/nats/chunk-log.ts";
import { packRecords, parseChunk, type Changes } from "../../../src/source/nats/chunk-text.ts";

const OPTIONS = { chunkBytes: 4_096, tailBytes: 1_024, slackBytes: 8_192, maxChunks: 40 };

/** Chunks as a bucket keeps them, under their names. */
class Shelf {
  readonly texts = new Map<string, Buffer>();
  readonly put = (chunk: Chunk, text: Buffer) => this.texts.set(name(chunk), text);
  readonly get = (chunk: Chunk) => this.texts.get(name(chunk))!;
}

const name = ({ epoch, number }: Chunk) => `${epoch}.${number}`;

function commit(log: ChunkLog, shelf: Shelf, changes: Changes): void {
  const bytes = [...changes].reduce((sum, [key, value]) => sum + key.length + (value?.length ?? 0), 0);
  const plan = log.plan(changes, log.toClean(bytes).map(shelf.get));
  for (const { chunk, text } of plan.written) shelf.put(chunk, text);
  log.apply(plan);
  for (const chunk of plan.dropped) shelf.texts.delete(name(chunk));
}

function load(
  chunks: readonly Chunk[],
  shelf: Shelf,
  epoch: number,
): { log: ChunkLog; state: Map<string, string> } {
  const log = new ChunkLog(chunks, epoch, OPTIONS);
  const state = new Map<string, string>();
  for (let chunk = log.toRead; chunk !== undefined; chunk = log.toRead) {
    for (const [key, value] of log.read(shelf.get(chunk))) {
      expect(state.has(key), `${key} is given once`).toBe(false);
      state.set(key, value);
    }
  }
  return { log, state };
}

const changes = (of: Record<string, string | undefined>): Changes => new Map(Object.entries(of));
const sorted = (state: ReadonlyMap<string, string>) => [...state].sort(([a], [b]) => (a < b ? -1 : 1));

/** Numbers that follow from a seed (mulberry32). */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

describe("the text of a chunk", () => {
  test("holds records of any text", () => {
    const records = changes({ a: "", "run/1": "put x 3\nabc\n", umlaut: "Grüße 🎈\u0000", gone: undefined });
    const [packed] = packRecords(records, 1_000);
    expect([...parseChunk(packed!.text)]).toEqual([...records]);
    expect(packed!.changes).toEqual(records);
  });

  test("is cut before a record that would be one byte too long", () => {
    // "put a 10\n" + 10 + "\n" is 20 bytes.
    const records = changes({ a: "x".repeat(10), b: "y".repeat(10) });
    expect(packRecords(records, 40).map(({ text }) => text.length)).toEqual([40]);
    expect(packRecords(records, 39).map(({ text }) => text.length)).toEqual([20, 20]);
  });

  test("is longer than a chunk for a single record that is", () => {
    const packed = packRecords(changes({ a: "1", big: "x".repeat(100), c: "3" }), 50);
    expect(packed.map(({ changes: one }) => [...one.keys()])).toEqual([["a"], ["big"], ["c"]]);
  });

  test.each([
    ["cut off in a value", Buffer.from("put a 5\nabc"), "the record at byte 8 is cut off"],
    ["cut off in a header", Buffer.from("put a 1\nx\nput b"), "no record begins at byte 10"],
    ["something else", Buffer.from("<html>"), "no record begins at byte 0"],
  ])("that is %s is told so", (_, text, message) => {
    expect(() => parseChunk(text)).toThrow(message);
  });
});

describe("a log of chunks", () => {
  test("writes short commits into one chunk again and again", () => {
    const shelf = new Shelf();
    const { log } = load([], shelf, 1);
    for (let index = 0; index < 10; index += 1) commit(log, shelf, changes({ [`k${index}`]: "v" }));
    expect(log.chunks.map(name)).toEqual(["1.10"]);
    expect([...shelf.texts.keys()]).toEqual(["1.10"]);
    expect(load(log.chunks, shelf, 2).state.size).toBe(10);
  });

  test("leaves a chunk that is long enough as it is", () => {
    const shelf = new Shelf();
    const { log } = load([], shelf, 1);
    commit(log, shelf, changes({ a: "x".repeat(1_024) }));
    commit(log, shelf, changes({ b: "1" }));
    commit(log, shelf, changes({ c: "2" }));
    expect(log.chunks.map(name)).toEqual(["1.1", "1.3"]);
  });

  test("says that a record is gone only where an older chunk has it", () => {
    const shelf = new Shelf();
    const { log } = load([], shelf, 1);
    commit(log, shelf, changes({ a: "x".repeat(2_000) }));
    commit(log, shelf, changes({ a: undefined, never: undefined, b: "1" }));
    expect(shelf.get(log.chunks[1]!).toString()).toBe("remove a\nput b 1\n1\n");
    // A second removal does not undo the first.
    commit(log, shelf, changes({ a: undefined }));
    expect(sorted(load(log.chunks, shelf, 2).state)).toEqual([["b", "1"]]);
  });

  test("is empty when everything was removed from its only chunk", () => {
    const shelf = new Shelf();
    const { log } = load([], shelf, 1);
    commit(log, shelf, changes({ a: "1", b: "2" }));
    commit(log, shelf, changes({ a: undefined, b: undefined }));
    expect([log.chunks, log.keys, shelf.texts.size]).toEqual([[], 0, 0]);
  });

  test("that is written anew as a whole has nothing else", () => {
    const shelf = new Shelf();
    const { log } = load([], shelf, 1);
    commit(log, shelf, changes({ a: "x".repeat(3_000), b: "1" }));
    commit(log, shelf, changes({ c: "x".repeat(3_000) }));
    const plan = log.planWhole(new Map([["b", "2"]]));
    for (const { chunk, text } of plan.written) shelf.put(chunk, text);
    expect(plan.dropped).toEqual(log.chunks);
    log.apply(plan);
    expect(log.keys).toBe(1);
    commit(log, shelf, changes({ d: "1", c: undefined }));
    expect(sorted(load(log.chunks, shelf, 2).state)).toEqual([
      ["b", "2"],
      ["d", "1"],
    ]);
  });

  test("a plan that is not applied changes nothing, and its names are not used again", () => {
    const shelf = new Shelf();
    const { log } = load([], shelf, 1);
    commit(log, shelf, changes({ a: "1" }));
    log.plan(changes({ a: "2" }));
    commit(log, shelf, changes({ b: "1" }));
    expect(log.chunks.map(name)).toEqual(["1.3"]);
    expect(sorted(load(log.chunks, shelf, 2).state)).toEqual([
      ["a", "1"],
      ["b", "1"],
    ]);
  });

  test("holds at most twice what is alive, some slack, and no more than its share of chunks", () => {
    const shelf = new Shelf();
    const { log } = load([], shelf, 1);
    const random = randomFrom(7);
    let live = 0;
    for (let round = 0; round < 3_000; round += 1) {
      const few = Array.from({ length: 1 + random(8) }, () => [`k${random(100)}`, "v".repeat(random(300))]);
      commit(log, shelf, new Map(few as [string, string][]));
      live = sorted(load(log.chunks, shelf, 2).state).reduce(
        (sum, [key, value]) => sum + key.length + value.length + 10,
        0,
      );
      const bytes = [...shelf.texts.values()].reduce((sum, text) => sum + text.length, 0);
      expect(log.bytes).toBe(bytes);
      expect(bytes).toBeLessThan(2 * live + OPTIONS.slackBytes + 2 * OPTIONS.chunkBytes);
      expect(log.chunks.length).toBeLessThanOrEqual(OPTIONS.maxChunks + 1);
    }
    expect(live).toBeGreaterThan(10_000);
  });

  test("is the same as a map, whatever is put, removed, committed in vain and read again", () => {
    const seed = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);
    const random = randomFrom(seed);
    const until = Date.now() + 1_000 * Math.min(10, Number(process.env["TRIAL_SECONDS"] ?? 3));
    for (let trial = 0; Date.now() < until; trial += 1) {
      const shelf = new Shelf();
      const truth = new Map<string, string>();
      let { log } = load([], shelf, 1);
      const keys = 1 + random(200);
      const longest = [20, 300, 6_000][random(3)]!;
      for (let round = 0, epoch = 2; round < 200; round += 1) {
        const change = new Map<string, string | undefined>();
        for (let index = random(20); index > 0; index -= 1) {
          change.set(`k${random(keys)}`, random(3) === 0 ? undefined : `${round}ü`.repeat(random(longest)));
        }
        if (random(10) === 0) {
          const { written } = log.plan(change);
          for (const { chunk, text } of written) shelf.put(chunk, text);
          continue;
        }
        commit(log, shelf, change);
        for (const [key, value] of change) {
          if (value === undefined) truth.delete(key);
          else truth.set(key, value);
        }
        if (random(8) !== 0) continue;
        const read = load(log.chunks, shelf, epoch);
        expect(sorted(read.state), `SEED=${seed}, trial ${trial}, round ${round}`).toEqual(sorted(truth));
        expect(read.log.keys).toBe(truth.size);
        if (random(2) === 0) {
          log = read.log;
          epoch += 1;
        }
      }
    }
  });
});
