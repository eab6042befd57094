import { beforeEach, describe, expect, test } from "vitest";

import { linesOf, recording } from "../bridge/recordings.ts";
import { lastPoints, total } from "../bridge/served-metrics.ts";
import { startHttpBackend, take } from "../otel/otlp-server.ts";
import { startBridge } from "./crash.ts";
import { inputOf as natsOf, STREAM, SUBJECT, type Life } from "./nats-server.ts";
import { inputOf as redisOf, STREAM as KEY } from "./redis-server.ts";
import { server as nats } from "./one-nats.ts";
import { server as redis } from "./one-redis.ts";
import { eventually } from "./running.ts";

const [LINE = ""] = linesOf(recording("0.5.9", "fifty-runs").path);
const ARGS = ["--commit-interval", "50ms", "--reorder-window", "50ms"];
const LOST = "behest.bridge.source.lost";

/** What lives of the built program say in turn that was lost, each killed when it has said so for a while. */
async function counted(from: string, lives: readonly (() => Promise<unknown>)[]): Promise<number[]> {
  const backend = await startHttpBackend(() => take);
  const counts: number[] = [];
  for (const begin of lives) {
    await begin();
    const life = startBridge({ from, otlp: backend.url, args: ARGS });
    await life.says("taking events from");
    const readings = () => backend.requests.filter(({ signal }) => signal === "metrics").length;
    const before = readings();
    await eventually("it has said so for a while", () => readings() >= before + 4);
    life.child.kill("SIGKILL");
    await life.ended;
    counts.push(total(lastPoints(backend.requests), LOST));
  }
  await backend.close();
  return counts;
}

const nothing = () => Promise.resolve();

// What is gone before it could be read is counted by one life of all.

describe("a NATS stream", () => {
  beforeEach(async () => {
    await nats.makeStream();
  });

  /** A life that commits ten messages, two of which wait. */
  async function begin(): Promise<void> {
    await using life = await natsOf(nats.port).open();
    await nats.append(10);
    await life.use(await life.takeAll(), ["4", "9"]);
  }

  /** Commits that nothing was used, as the bridge does when something was lost. */
  const note = (life: Life) => life.commit({ position: life.source.positionOf(undefined, []) });

  test("that was purged while nobody read is missed once, whatever comes or does not come after it", async () => {
    await begin();
    await nats.append(7);
    await nats.manager.streams.purge(STREAM);
    const lost: number[] = [];
    for (let start = 0; start < 3; start += 1) {
      await using life = await natsOf(nats.port).open();
      expect(await life.takeAll()).toEqual([]);
      lost.push(life.source.lost);
      await note(life);
    }
    expect(lost).toEqual([9, 0, 0]);
    await using last = await natsOf(nats.port).open();
    await nats.append(1);
    expect(await last.take(1)).toMatchObject([{ id: "18" }]);
    expect(last.source.lost).toBe(0);
  });

  test("of which a part is gone is missed once, and what is left of it comes until it is used", async () => {
    await begin();
    await nats.append(7);
    await nats.manager.streams.purge(STREAM, { seq: 6 });
    await nats.manager.streams.deleteMessage(STREAM, 13);
    const lives: unknown[] = [];
    for (let start = 0; start < 3; start += 1) {
      await using life = await natsOf(nats.port).open();
      const read = await life.takeAll();
      lives.push([life.source.lost, read.map(({ id }) => Number(id))]);
      if (start < 2) await note(life);
      else await life.use(read);
    }
    const left = [9, 11, 12, 14, 15, 16, 17];
    expect(lives).toEqual([
      [2, left],
      [0, left],
      [0, left],
    ]);
    await using last = await natsOf(nats.port).open();
    expect([await last.takeAll(), last.source.lost]).toEqual([[], 0]);
  });

  test("that is purged again is missed again, and what no commit says is counted by the next life", async () => {
    await begin();
    const lost: number[] = [];
    for (const isNoted of [true, false, true, true]) {
      await nats.append(5);
      await nats.manager.streams.purge(STREAM);
      await using life = await natsOf(nats.port).open();
      await life.takeAll();
      lost.push(life.source.lost);
      if (isNoted) await note(life);
    }
    expect(lost).toEqual([7, 5, 10, 5]);
  });

  test("that is purged while the program is away is counted once, over all that follow", async () => {
    const from = `nats://127.0.0.1:${nats.port}?stream=${STREAM}&subject=${SUBJECT}`;
    const purge = async () => {
      await nats.append(7, () => LINE);
      await nats.manager.streams.purge(STREAM);
    };
    const first = () => nats.append(1, () => LINE);
    expect(await counted(from, [first, purge, nothing, nothing, purge])).toEqual([0, 7, 7, 7, 14]);
  });
});

describe("a Redis stream", () => {
  async function begin(): Promise<void> {
    const ids = await redis.append(10);
    await using life = await redisOf(redis.port).open();
    await life.takeAll();
    await life.commit({ position: life.source.positionOf(ids.at(-1), []) }, ids);
  }

  test("that was trimmed while nobody read is missed once, whatever comes or does not come after it", async () => {
    await begin();
    await redis.append(7);
    await redis.ask("XTRIM", KEY, "MAXLEN", "0");
    const lost: number[] = [];
    for (let start = 0; start < 3; start += 1) {
      await using life = await redisOf(redis.port).open();
      expect(await life.takeAll()).toEqual([]);
      lost.push(life.source.lost);
      await life.commit({ position: life.source.positionOf(undefined, []) });
    }
    expect(lost).toEqual([7, 0, 0]);
    const [id] = await redis.append(1);
    await using last = await redisOf(redis.port).open();
    expect(await last.takeAll()).toMatchObject([{ id }]);
    expect([last.source.lost, await last.source.lag()]).toEqual([0, 0]);
  });

  test("that is trimmed under what waits is missed once, and what waits is handed out as long as it is there", async () => {
    const ids = await redis.append(10);
    const first = await redisOf(redis.port).open();
    await first.takeAll();
    const waiting = [ids[2]!, ids[6]!];
    const used = ids.filter((id) => !waiting.includes(id));
    await first.commit({ position: first.source.positionOf(ids[9], waiting) }, used);
    await first[Symbol.asyncDispose]();
    await redis.ask("XDEL", KEY, ids[2]!);
    const lives: unknown[] = [];
    for (let start = 0; start < 2; start += 1) {
      await using life = await redisOf(redis.port).open();
      const read = await life.takeAll();
      lives.push([life.source.lost, read.map(({ id }) => id)]);
      await life.commit({ position: life.source.positionOf(undefined, []) });
    }
    expect(lives).toEqual([
      [1, [ids[6]]],
      [0, [ids[6]]],
    ]);
  });

  test("that is trimmed while the program is away is counted once, over all that follow", async () => {
    const from = `redis://127.0.0.1:${redis.port}`;
    const trim = async () => {
      await redis.append(7, () => LINE);
      await redis.ask("XTRIM", KEY, "MAXLEN", "0");
    };
    const first = () => redis.append(1, () => LINE);
    expect(await counted(from, [first, trim, nothing, nothing, trim])).toEqual([0, 7, 7, 7, 14]);
  });
});
