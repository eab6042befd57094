import { describe, expect, test } from "vitest";

import { Decoder } from "../src/event/decode.ts";
import { ShardGate } from "../src/shard.ts";

const decoder = new Decoder();

function cancelled(runId: string) {
  return decoder.value({ RunCancelled: { run_id: runId, timestamp: "2026-01-02T03:04:05Z" } });
}

function idOf(number: number): string {
  return `0197a0b2-0000-7000-8000-${number.toString(16).padStart(12, "0")}`;
}

function gatesOf(count: number): ShardGate[] {
  return Array.from({ length: count }, (_, index) => new ShardGate({ index, count }));
}

const [two, three, four] = [gatesOf(2), gatesOf(3), gatesOf(4)];

function shardOf(runId: string, gates: readonly ShardGate[]): number[] {
  const event = cancelled(runId);
  return gates.flatMap((gate, index) => (gate.isOurs(event) ? [index] : []));
}

describe("a run", () => {
  test("falls to exactly one shard, and always to the same", () => {
    // More than are remembered, so that some are forgotten in between.
    const shards = Array.from({ length: 5_000 }, (_, number) => shardOf(idOf(number), three));
    expect(new Set(shards.map(({ length }) => length))).toEqual(new Set([1]));
    expect(Array.from({ length: 5_000 }, (_, number) => shardOf(idOf(number), three))).toEqual(shards);
  });

  test("falls to the same shard in every version", () => {
    expect([1, 2, 3, 4, 5, 6].map((number) => shardOf(idOf(number), four))).toEqual([
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
    for (let number = 1; number <= 4_000; number += 1) counts[shardOf(idOf(number), four)[0]!]! += 1;
    for (const count of counts) expect(Math.abs(count - 1_000)).toBeLessThan(150);
  });
});

test("what is no event falls to the first shard, unless its run is known", () => {
  const odd = [decoder.value("text"), decoder.value({ NotKnown: {} })];
  for (const one of odd) expect(two.map((gate) => gate.isOurs(one))).toEqual([true, false]);
  const runId = [1, 2, 3, 4, 5].map(idOf).find((id) => shardOf(id, two)[0] === 1)!;
  const broken = decoder.value({ RunCancelled: { run_id: runId, timestamp: "yesterday" } });
  expect(broken.type).toBe("rejected");
  expect(two.map((gate) => gate.isOurs(broken))).toEqual([false, true]);
});

describe("a line of another shard", () => {
  const runId = [1, 2, 3, 4, 5].map(idOf).find((id) => shardOf(id, two)[0] === 1)!;
  const ours = [1, 2, 3, 4, 5].map(idOf).find((id) => shardOf(id, two)[0] === 0)!;
  const session = "0198a3b2-0000-7000-8000-000000000001";
  const time = "2026-06-21T00:00:00.123456789Z";
  const failed = (id = runId, text = "word ") =>
    `{"RunFailed":{"run_id":"${id}","error":"${text}","timestamp":"${time}"}}`;
  const enveloped = (event: string, id = runId) =>
    `{"event_id":"${session}","seq":7,"run_id":"${id}","session_id":"${session}","event":${event},"emitted_at":"${time}"}`;
  const call = `{"id":"c","name":"n","arguments":{"a":[1,-2.5e3,true,null,"x\\n"],"run_id":"${ours}"}}`;
  const isOthers = (text: string, gate = two[0]!) => {
    const line = Buffer.from(text);
    return gate.isOthers(line, 0, line.length);
  };

  test.each([
    ["an event", failed()],
    ["one in an envelope", enveloped(failed())],
    ["one in an envelope of another run, which is rejected as that of its own", enveloped(failed(), ours)],
    ["one without a session", enveloped(failed()).replace(`"${session}","event"`, 'null,"event"')],
    ["text beyond ASCII, and escapes", failed(runId, String.raw`é日😀 \"\\\u0001`)],
    ["a run id in its text", failed(runId, String.raw`{\"run_id\":\"${ours}\"}`)],
    [
      "a run id in arguments",
      `{"ToolCallCompleted":{"run_id":"${runId}","call":${call},"timestamp":"${time}"}}`,
    ],
    ["an end of its run", `{"RunCancelled":{"run_id":"${runId}","timestamp":"${time}"}}`],
    ["a time that is none", failed().replace(time, "yesterday")],
  ])("is told by its bytes: %s", (_, line) => {
    expect(isOthers(line)).toBe(true);
    expect(isOthers(line, two[1])).toBe(false);
    // And decoding says no other.
    const bytes = Buffer.from(line);
    expect(two[0]!.isOurs(decoder.line(bytes, 0, bytes.length, true))).toBe(false);
  });

  test.each([
    ["a run id that comes again", failed().replace("}}", `,"run_id":"${ours}"}}`)],
    ["one that comes again with an escape", failed().replace("}}", String.raw`,"run\u005fid":"${ours}"}}`)],
    ["an event that comes again", failed().replace(/\}$/, `,${failed(ours).slice(1)}`)],
    [
      "an event beside it",
      `${failed().slice(0, -1)},"RunCancelled":{"run_id":"${ours}","timestamp":"${time}"}}`,
    ],
    ["upper case", failed(runId.toUpperCase())],
    ["a space", failed().replace(":", ": ")],
    ["another order", `{"RunFailed":{"error":"x","run_id":"${runId}","timestamp":"${time}"}}`],
    ["a delta", `{"TextDelta":{"run_id":"${runId}","delta":"x","timestamp":"${time}"}}`],
    ["a line cut off", failed().slice(0, -1)],
    ["something behind it", `${failed()}}`],
    ["a control character", failed(runId, "a\u0001b")],
    ["an escape that does not exist", failed(runId, "\\x")],
    ["a number that does not exist", failed().replace('"word "', "01")],
    ["a variant that nobody knows", failed().replace("RunFailed", "RunFoiled")],
    ["a line over 64 KiB", failed(runId, "x".repeat(65_536))],
  ])("is left to the decoder when it is unusual, or little work: %s", (_, line) => {
    expect(isOthers(line)).toBe(false);
  });

  test("is told up to a length of 64 KiB", () => {
    const around = failed(runId, "").length;
    expect(
      [65_535, 65_536, 65_537].map((bytes) => isOthers(failed(runId, "x".repeat(bytes - around)))),
    ).toEqual([true, true, false]);
  });
});
