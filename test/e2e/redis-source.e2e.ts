import { readFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { systemClock } from "../../src/clock.ts";
import { timeOf } from "../../src/source/redis/entry-id.ts";
import { idsOf, inputOf, STREAM, textsOf } from "./redis-server.ts";
import { server } from "./one-redis.ts";

describe("what is read", () => {
  test("comes in order of its ids, with the time it was appended at", async () => {
    const ids = await server.append(1_234);
    await using life = await inputOf(server.port).open();
    const read = await life.takeAll();
    expect(idsOf(read)).toEqual(ids);
    expect(read.map(({ appendedMs }) => appendedMs)).toEqual(ids.map(timeOf));
    expect(textsOf(read)).toEqual(ids.map((_, at) => `{"n":${at}}`));
  });

  test("has the bytes that the runtime's publisher wrote", async () => {
    const folder = join(import.meta.dirname, "../fixtures/recordings/0.5.9");
    const bare = linesOf(join(folder, "redis/parallel-tools.ndjson"));
    const enveloped = linesOf(join(folder, "redis-run/parallel-tools.ndjson"));
    for (const line of bare) await server.ask("XADD", STREAM, "*", "event", line);
    for (const line of enveloped) await server.ask("XADD", STREAM, "*", "data", line);
    await using life = await inputOf(server.port).open();
    expect(textsOf(await life.takeAll())).toEqual([...bare, ...enveloped]);
  });

  test("has the agent and the parent of its fields", async () => {
    const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    await server.ask(
      "XADD",
      STREAM,
      "*",
      "agent",
      "a",
      "event",
      "{}",
      "traceparent",
      parent,
      "tracestate",
      "x=1",
    );
    await using life = await inputOf(server.port).open();
    const [delivery] = await life.take(1);
    expect(delivery?.outside).toEqual({
      agent: "a",
      parent: {
        traceId: "0af7651916cd43dd8448eb211c80319c",
        spanId: "b7ad6b7169203331",
        flags: 1,
        tracestate: "x=1",
      },
    });
  });

  test("is all of an entry without an event", async () => {
    const id = await server.ask("XADD", STREAM, "*", "kind", "other", "kind", "again");
    await using life = await inputOf(server.port).open();
    expect(textsOf(await life.take(1))).toEqual([
      JSON.stringify({ redis_entry: id, fields: ["kind", "other", "kind", "again"] }),
    ]);
  });

  test("is asked for in smaller batches when events are large", async () => {
    await server.append(600, () => "x".repeat(100_000));
    await using life = await inputOf(server.port).open();
    const sizes: number[] = [];
    for (let left = 600; left > 0; left -= sizes.at(-1) ?? 0) {
      const reading = await life.next();
      sizes.push(reading?.kind === "deliveries" ? reading.deliveries.length : 0);
    }
    expect(sizes.slice(1).every((size) => size <= 42)).toBe(true);
  });
});

describe("when nothing is left", () => {
  test("the server's clock says the time, again within a second", async () => {
    await server.append(3);
    await using life = await inputOf(server.port).open();
    await life.take(3);
    const first = await life.next();
    const startMs = performance.now();
    const second = await life.next();
    const waitedMs = performance.now() - startMs;
    const [seconds = "0"] = (await server.ask("TIME")) as string[];
    expect([first?.kind, second?.kind]).toEqual(["caught_up", "caught_up"]);
    const times = [first, second].map((one) => (one?.kind === "caught_up" ? (one.nowMs ?? 0) : 0)) as [
      number,
      number,
    ];
    expect(times[0]).toBeLessThan(times[1]);
    expect(Math.abs(times[1] / 1_000 - Number(seconds))).toBeLessThan(2);
    expect(waitedMs).toBeGreaterThan(500);
    expect(waitedMs).toBeLessThan(1_500);
  });

  test("the next entry comes at once", async () => {
    await using life = await inputOf(server.port).open();
    await life.takeAll();
    const reading = life.take(1);
    const startMs = performance.now();
    const [id] = await server.append(1);
    expect(idsOf(await reading)).toEqual([id]);
    expect(performance.now() - startMs).toBeLessThan(500);
  });

  test("a stop is heeded at once, and nothing comes after it", async () => {
    await using life = await inputOf(server.port).open();
    await life.takeAll();
    const stop = new AbortController();
    const reading = life.source.next(stop.signal);
    stop.abort();
    const startMs = performance.now();
    expect(await reading).toBeUndefined();
    expect(await life.source.next(new AbortController().signal)).toBeUndefined();
    expect(performance.now() - startMs).toBeLessThan(400);
  });
});

describe("the next life", () => {
  test("gets what was not committed again: the same entries, order and times", async () => {
    await server.append(1_500);
    const before = await inputOf(server.port).open();
    const read = await before.take(1_500);
    await before.commit({}, idsOf(read).slice(0, 700));
    await before[Symbol.asyncDispose]();
    await server.append(10);
    await using after = await inputOf(server.port).open();
    const again = await after.takeAll();
    expect(again.slice(0, 800)).toEqual(read.slice(700));
    expect(again).toHaveLength(810);
    expect(after.source.redelivered).toBe(800);
  });

  test("gets nothing again that was committed", async () => {
    await server.append(20);
    const before = await inputOf(server.port).open();
    await before.commit({ a: "1" }, idsOf(await before.take(20)));
    await before[Symbol.asyncDispose]();
    await using after = await inputOf(server.port).open();
    expect(await after.takeAll()).toEqual([]);
    expect(await server.pending()).toBe(0);
    expect([...after.records]).toEqual([["a", "1"]]);
  });

  test("misses nothing that the one before read on when it had been replaced", async () => {
    await server.append(10);
    await using old = await inputOf(server.port).open();
    await old.take(5);
    await using young = await inputOf(server.port).open();
    const more = await server.append(10);
    await expect(old.next()).rejects.toMatchObject({ code: "BEHEST_STATE_REPLACED" });
    const read = await young.takeAll();
    expect(read).toHaveLength(20);
    expect(idsOf(read).slice(10)).toEqual(more);
  });
});

describe("shards", () => {
  test("have groups of their own, and so each gets everything", async () => {
    const ids = await server.append(10);
    await using first = await inputOf(server.port, "", { shard: 0 }).open();
    await using second = await inputOf(server.port, "", { shard: 1 }).open();
    expect(idsOf(await first.takeAll())).toEqual(ids);
    expect(idsOf(await second.takeAll())).toEqual(ids);
    await first.commit({ a: "0" }, ids);
    expect([await server.pending("behest-otel:0"), await server.pending("behest-otel:1")]).toEqual([0, 10]);
    expect(first.store.name).toBe("behest-otel:{behest:events}:behest-otel:0");
    expect(second.store.name).toBe("behest-otel:{behest:events}:behest-otel:1");
  });
});

describe("a group that does not exist", () => {
  test("begins at the beginning, with a stream that does not exist either", async () => {
    await using life = await inputOf(server.port).open();
    expect(await life.takeAll()).toEqual([]);
    expect(await server.ask("TYPE", STREAM)).toBe("stream");
    const ids = await server.append(2);
    expect(idsOf(await life.takeAll())).toEqual(ids);
  });

  test("begins at the end when the URL says so", async () => {
    await server.append(5);
    await using life = await inputOf(server.port, "&start=new").open();
    expect(await life.takeAll()).toEqual([]);
    const ids = await server.append(2);
    expect(idsOf(await life.takeAll())).toEqual(ids);
  });

  test("begins behind the entry that the URL says", async () => {
    const ids = await server.append(5);
    await using life = await inputOf(server.port, `&start=${ids[1]}`).open();
    expect(idsOf(await life.takeAll())).toEqual(ids.slice(2));
  });

  test("begins where the last commit was when its stream and the state are still there", async () => {
    const ids = await server.append(10);
    const before = await inputOf(server.port).open();
    await before.take(10);
    const position = before.source.positionOf(ids[7], [ids[5]!, ids[6]!]);
    await before.commit({ position }, [...ids.slice(0, 5), ids[7]!]);
    await before[Symbol.asyncDispose]();
    await server.ask("XGROUP", "DESTROY", STREAM, "behest-otel");
    await using after = await inputOf(server.port).open();
    expect(idsOf(await after.takeAll())).toEqual([ids[5], ids[6], ids[8], ids[9]]);
    expect(after.said.lines).toEqual([expect.stringContaining("warn The consumer group was gone")]);
  });

  test("begins at the beginning of a stream that was deleted and made again with lower ids", async () => {
    const ids = await server.append(3);
    const before = await inputOf(server.port).open();
    await before.take(3);
    await before.commit({ position: before.source.positionOf(ids[2], []) }, ids);
    await before[Symbol.asyncDispose]();
    await server.ask("DEL", STREAM);
    await server.ask("XADD", STREAM, "5-1", "event", "{}");
    await using after = await inputOf(server.port).open();
    expect(idsOf(await after.takeAll())).toEqual(["5-1"]);
  });

  test("is not made at a position that is none", async () => {
    await using life = inputOf(server.port);
    await expect(life.source.open("elsewhere")).rejects.toMatchObject({ code: "BEHEST_SOURCE_OPEN" });
  });
});

describe("lag", () => {
  test("is what was not handed out: new entries and those of earlier lives", async () => {
    await server.append(1_000);
    const before = await inputOf(server.port).open();
    expect(await before.source.lag()).toBe(1_000);
    await before.take(500);
    expect(await before.source.lag()).toBe(500);
    await before[Symbol.asyncDispose]();
    await using after = await inputOf(server.port).open();
    expect(await after.source.lag()).toBe(1_000);
    await after.take(500);
    expect(await after.source.lag()).toBe(500);
    await after.takeAll();
    expect(await after.source.lag()).toBe(0);
  });
});

describe("entries that are gone", () => {
  test("before they were read are counted, told once, and counted as lag no more", async () => {
    await using life = await inputOf(server.port).open();
    await server.append(10);
    await life.takeAll();
    await server.append(100);
    await server.ask("XTRIM", STREAM, "MAXLEN", "=", "30");
    expect(await life.takeAll()).toHaveLength(30);
    expect(life.source.lost).toBe(70);
    expect(life.said.count("warn Entries were trimmed")).toBe(1);
    await life.takeAll();
    expect(await life.source.lag()).toBe(0);
    await server.append(5);
    await server.ask("XTRIM", STREAM, "MAXLEN", "=", "0");
    await life.takeAll();
    await life.takeAll();
    expect(life.source.lost).toBe(75);
  });

  test("before they were ever this group's are not missed", async () => {
    await server.append(50);
    await server.ask("XTRIM", STREAM, "MAXLEN", "=", "10");
    await using life = await inputOf(server.port).open();
    expect(await life.takeAll()).toHaveLength(10);
    expect(life.source.lost).toBe(0);
  });

  test("that were read and can be trimmed are not missed", async () => {
    await using life = await inputOf(server.port).open();
    await server.append(50);
    await life.takeAll();
    await server.ask("XTRIM", STREAM, "MAXLEN", "=", "0");
    await server.append(1);
    await life.takeAll();
    expect(life.source.lost).toBe(0);
  });

  test("and were pending are counted, acknowledged, and the others come", async () => {
    const ids = await server.append(10);
    const before = await inputOf(server.port).open();
    await before.take(10);
    await before[Symbol.asyncDispose]();
    await server.ask("XDEL", STREAM, ids[3]!, ids[4]!);
    await using after = await inputOf(server.port).open();
    expect(idsOf(await after.takeAll())).toEqual(ids.filter((_, at) => at !== 3 && at !== 4));
    expect(after.source.lost).toBe(2);
    expect(await server.pending()).toBe(8);
    expect(after.said.count("warn Entries were trimmed")).toBe(1);
  });
});

describe("entries of another consumer", () => {
  const abandon = async (count: number, idleMs: number) => {
    const ids = await server.append(count);
    await server.ask("XGROUP", "CREATE", STREAM, "behest-otel", "0").catch(() => {});
    await server.ask("XREADGROUP", "GROUP", "behest-otel", "older", "COUNT", "1000", "STREAMS", STREAM, ">");
    await server.ask("XCLAIM", STREAM, "behest-otel", "older", "0", ...ids, "IDLE", String(idleMs));
    return ids;
  };

  test("that is dead are taken over before anything new", async () => {
    const left = await abandon(250, 120_000);
    await server.ask("XDEL", STREAM, left[7]!);
    const ids = await server.append(5);
    await using life = await inputOf(server.port).open();
    expect(idsOf(await life.takeAll())).toEqual([...left.filter((_, at) => at !== 7), ...ids]);
    expect(life.source.lost).toBe(1);
    await life.commit({}, [...left, ...ids]);
    expect(await server.pending()).toBe(0);
  });

  test("are left where they are by a process that was replaced", async () => {
    let aheadMs = 0;
    const clock = { ...systemClock, now: () => systemClock.now() + aheadMs };
    await using older = await inputOf(server.port, "", { clock }).open();
    expect(await older.takeAll()).toEqual([]);
    await using newer = await inputOf(server.port).open();
    const left = await abandon(5, 120_000);
    // It is time to look for them.
    aheadMs = 60_000;
    await expect(older.next()).rejects.toMatchObject({ code: "BEHEST_STATE_REPLACED" });
    const pending = await server.ask("XPENDING", STREAM, "behest-otel", "-", "+", "10", "older");
    expect(pending).toHaveLength(left.length);
    expect(idsOf(await newer.takeAll())).toEqual(left);
  });

  test("that may live are left to it", async () => {
    await abandon(5, 1_000);
    await using life = await inputOf(server.port).open();
    expect(await life.takeAll()).toEqual([]);
  });
});

function linesOf(file: string): string[] {
  return readFileSync(file, "utf8").trimEnd().split("\n");
}
