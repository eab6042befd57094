import { describe, expect, test } from "vitest";

import { Decoder } from "../src/event/decode.ts";
import { isOfShard } from "../src/shard.ts";

const decoder = new Decoder();

function cancelled(runId: string) {
  return decoder.value({ RunCancelled: { run_id: runId, timestamp: "2026-01-02T03:04:05Z" } });
}

function idOf(number: number): string {
  return `0197a0b2-0000-7000-8000-${number.toString(16).padStart(12, "0")}`;
}

function shardOf(runId: string, count: number): number[] {
  const event = cancelled(runId);
  return [...Array(count).keys()].filter((index) => isOfShard(event, { index, count }));
}

describe("a run", () => {
  test("falls to exactly one shard, and always to the same", () => {
    for (let number = 1; number <= 500; number += 1) {
      const [shard, ...others] = shardOf(idOf(number), 3);
      expect(others).toEqual([]);
      expect(shardOf(idOf(number), 3)).toEqual([shard]);
    }
  });

  test("falls to the same shard in every version", () => {
    expect([1, 2, 3, 4, 5, 6].map((number) => shardOf(idOf(number), 4))).toEqual([
      [1],
      [2],
      [3],
      [2],
      [2],
      [2],
    ]);
  });

  test("falls to each of them about as often", () => {
    const counts = [0, 0, 0, 0];
    for (let number = 1; number <= 4_000; number += 1) counts[shardOf(idOf(number), 4)[0]!]! += 1;
    for (const count of counts) expect(Math.abs(count - 1_000)).toBeLessThan(150);
  });
});

test("what is no event falls to the first shard, unless its run is known", () => {
  const odd = [decoder.value("text"), decoder.value({ NotKnown: {} })];
  for (const one of odd) {
    expect([0, 1].map((index) => isOfShard(one, { index, count: 2 }))).toEqual([true, false]);
  }
  const runId = [1, 2, 3, 4, 5].map(idOf).find((id) => shardOf(id, 2)[0] === 1)!;
  const broken = decoder.value({ RunCancelled: { run_id: runId, timestamp: "yesterday" } });
  expect(broken.type).toBe("rejected");
  expect(isOfShard(broken, { index: 1, count: 2 })).toBe(true);
});
