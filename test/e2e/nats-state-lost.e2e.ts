import { describe, expect, test } from "vitest";

import { BUCKET, inputOf } from "./nats-server.ts";
import { Cable } from "./redis-server.ts";
import { eventually } from "./running.ts";
import { HEAD, found, head, runs, store, values } from "./nats-state.ts";
import { server } from "./one-nats.ts";

describe("a state that is taken away while it is used", () => {
  const older = async () => server.jetstream.publish(HEAD, (await head()).data);
  let copy: Uint8Array;

  test.each([
    ["with its bucket", async () => server.manager.streams.delete(BUCKET)],
    ["out of its bucket", async () => server.manager.streams.purge(BUCKET)],
    ["for an older one", async () => server.jetstream.publish(HEAD, copy)],
  ])("%s is asked for as a whole, and then goes on", async (_, takeAway) => {
    await server.append(3);
    await using life = await inputOf(server.port).open();
    const read = await life.takeAll();
    await life.commit({ a: "0" });
    copy = (await head()).data;
    await life.commit({ a: "1", ...runs(100, "x") });
    await takeAway();
    const change = { puts: new Map([["a", "2"]]), removes: ["run/1"], used: read.map(({ id }) => id) };
    for (let round = 0; round < 2; round += 1) {
      await expect(life.store.commit(change)).rejects.toMatchObject({ code: "BEHEST_STATE_COMMIT" });
      expect(life.store.needsWhole).toBe(true);
    }
    expect((await server.consumer()).num_ack_pending).toBe(3);
    await life.store.commit({
      ...change,
      puts: new Map([
        ["a", "2"],
        ["b", "2"],
      ]),
      whole: true,
    });
    expect(life.store.needsWhole).toBe(false);
    await life.commit({ c: "3" });
    await eventually("acknowledged", async () => (await server.consumer()).num_ack_pending === 0);
    expect(Object.keys(await values())).toHaveLength(2);
    expect(await found()).toEqual({ a: "2", b: "2", c: "3" });
  });

  test.each([1, 2, 3, 4, 5])(
    "with its bucket after %i commits is whole in the one that takes its place",
    async (commits) => {
      await using life = await store();
      for (let n = 0; n < commits; n += 1) await life.commit({ a: `${n}` });
      await server.manager.streams.delete(BUCKET);
      await expect(life.commit({ a: "lost" })).rejects.toMatchObject({ code: "BEHEST_STATE_COMMIT" });
      await life.store.commit({ puts: new Map([["a", "whole"]]), removes: [], used: [], whole: true });
      expect(await head()).not.toBeNull();
      await life.commit({ b: "next" });
      expect(await found()).toEqual({ a: "whole", b: "next" });
    },
  );

  test("with its bucket, which another shard has made again, takes nothing out of what that one has", async () => {
    const [one, other] = [inputOf(server.port, "", { shard: 0 }), inputOf(server.port, "", { shard: 1 })];
    await using first = await one.openStore();
    await using second = await other.openStore();
    for (let n = 0; n < 3; n += 1) {
      await first.commit({ a: `${n}` });
      await second.commit({ b: `${n}` });
    }
    await server.manager.streams.delete(BUCKET);
    for (const life of [first, second]) {
      await expect(life.commit({ c: "lost" })).rejects.toMatchObject({ code: "BEHEST_STATE_COMMIT" });
      await life.store.commit({ puts: new Map([["c", "whole"]]), removes: [], used: [], whole: true });
    }
    for (const life of [first, second]) await life.commit({ d: "next" });
    for (const shard of [0, 1]) {
      await using next = await inputOf(server.port, "", { shard }).openStore();
      expect(Object.fromEntries(next.records)).toEqual({ c: "whole", d: "next" });
    }
  });

  test("and begun anew by another process is that one's", async () => {
    await using life = await store();
    await life.commit({ a: "1" });
    await server.manager.streams.delete(BUCKET);
    await using other = await store();
    for (let round = 0; round < 2; round += 1) {
      await expect(
        life.store.commit({ puts: new Map(), removes: [], used: [], whole: true }),
      ).rejects.toMatchObject({
        code: "BEHEST_STATE_REPLACED",
      });
    }
    await other.commit({ b: "1" });
    expect(await found()).toEqual({ b: "1" });
  });

  test("by a write of the same is noticed as well", async () => {
    await using life = await store();
    await life.commit({ a: "1" });
    await older();
    await expect(life.commit({ a: "2" })).rejects.toMatchObject({ code: "BEHEST_STATE_COMMIT" });
    await life.store.commit({ puts: new Map([["a", "3"]]), removes: [], used: [], whole: true });
    expect(await found()).toEqual({ a: "3" });
  });
});

test("what is committed is there, wherever the line is cut", async () => {
  await using cable = await Cable.to(server.port);
  const truth: Record<string, string> = {};
  for (let cutAt = 1; cutAt <= 40; cutAt += 3) {
    const life = await inputOf(cable.port).openStore();
    expect(Object.fromEntries(life.records)).toEqual(truth);
    let count = 0;
    cable.fate = () => {
      count += 1;
      return count === cutAt ? (cutAt % 2 === 0 ? "lose" : "lose answer") : "pass";
    };
    const key = `cut${cutAt}`;
    let attempt = -1;
    await eventually(`committed, cut at ${cutAt}`, async () => {
      attempt += 1;
      return life.commit({ [key]: `${attempt}`, filler: `${cutAt}`.repeat(40_000) }).then(
        () => true,
        (error: { code?: string }) => {
          expect(error.code).toBe("BEHEST_STATE_COMMIT");
          return false;
        },
      );
    });
    truth[key] = `${attempt}`;
    truth["filler"] = `${cutAt}`.repeat(40_000);
    cable.fate = () => "pass";
    await life[Symbol.asyncDispose]();
  }
  expect(await found()).toEqual(
    Object.fromEntries(Object.entries(truth).sort(([a], [b]) => (a < b ? -1 : 1))),
  );
});
