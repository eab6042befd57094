import { describe, expect, test } from "vitest";

import { BUCKET, inputOf, NatsServer, STREAM, type Life } from "./nats-server.ts";
import { Cable } from "./redis-server.ts";
import { eventually } from "./running.ts";
import { HEAD, found, head, runs, store, values } from "./nats-state.ts";
import { server } from "./one-nats.ts";

describe("a state", () => {
  test("is the same after the server was killed", async () => {
    await using life = await store();
    await life.commit(runs(1_000, "x".repeat(1_000)));
    await server.restart();
    expect(Object.keys(await found())).toHaveLength(1_000);
  });

  test("of one consumer is none of another, in the same bucket", async () => {
    await using one = await store();
    await one.commit({ a: "1" });
    await using other = await store("&durable=other");
    expect(other.records.size).toBe(0);
    await other.commit({ a: "2" });
    await one.commit({ b: "1" });
    expect(await found()).toEqual({ a: "1", b: "1" });
  });

  test("with records longer than a value is cut into several", async () => {
    await using life = await store();
    const long = Array.from({ length: 300_000 }, (_, at) => at).join(" ");
    await life.commit({ long, short: "1" });
    expect(long.length).toBeGreaterThan(3 * 512 * 1024);
    expect(await found()).toEqual({ long, short: "1" });
  });

  test("lies in a bucket that keeps one value a key, on disk, and asks its leader", async () => {
    await using life = await store();
    expect(life.store.name).toBe(`nats://127.0.0.1:${server.port}/${BUCKET}/behest-otel`);
    expect((await server.manager.streams.info(BUCKET)).config).toMatchObject({
      max_msgs_per_subject: 1,
      storage: "file",
      num_replicas: 1,
      allow_direct: false,
    });
  });
});

describe("a commit", () => {
  test("of 5,000 runs takes few values, of at most 512 KiB", async () => {
    await using life = await store();
    const before = (await server.manager.streams.info(BUCKET)).state.last_seq;
    await life.commit(runs(5_000, "x".repeat(1_400)));
    const after = await server.manager.streams.info(BUCKET);
    expect(life.store.bytes).toBeGreaterThan(5_000 * 1_400);
    expect(life.store.bytes).toBeLessThan(after.state.bytes);
    // 7 MB of records, and the head.
    expect(after.state.last_seq - before).toBeLessThanOrEqual(16);
    expect(after.state.last_seq - before).toBeGreaterThan(13);
    for (let seq = before + 1; seq < after.state.last_seq; seq += 1) {
      const message = await server.manager.streams.getMessage(BUCKET, { seq });
      expect(message!.data.length).toBeLessThanOrEqual(512 * 1024);
    }
  });

  test("of little takes one value, which the next takes over, and leaves nothing behind", async () => {
    await using life = await store();
    for (let round = 0; round < 20; round += 1) {
      await life.commit({ position: `${round}`, [`k${round}`]: "v" });
    }
    expect(Object.keys(await values())).toHaveLength(2);
    expect((await server.manager.streams.info(BUCKET)).state.messages).toBe(2);
    expect(Object.keys(await found())).toHaveLength(21);
  });

  test("keeps the bucket within twice of what is alive", async () => {
    await using life = await store();
    for (let round = 0; round < 60; round += 1) await life.commit(runs(1_000, `${round}`.repeat(500)));
    const { state } = await server.manager.streams.info(BUCKET);
    expect(state.bytes).toBeLessThan(2 * 1_000_000 + 10 * 1024 * 1024);
    // And the server knows that the rest is free.
    expect((await server.manager.getAccountInfo()).storage).toBe(state.bytes);
    expect((await found())["run/7"]).toBe(`7${"59".repeat(500)}`);
  });

  test("acknowledges when it is safe, and not when it failed", async () => {
    await server.append(5);
    await using life = await inputOf(server.port).open();
    const read = await life.takeAll();
    await server.manager.streams.delete(BUCKET);
    await expect(life.use(read)).rejects.toMatchObject({
      code: "BEHEST_STATE_COMMIT",
      message: expect.stringContaining(BUCKET),
    });
    expect((await server.consumer()).num_ack_pending).toBe(5);
  });

  test("into a full bucket fails, and goes on when there is room", async () => {
    await using life = await store();
    await life.commit({ a: "1" });
    const { bytes } = (await server.manager.streams.info(BUCKET)).state;
    await server.manager.streams.update(BUCKET, { max_bytes: bytes + 100_000 });
    const change = { big: "x".repeat(200_000) };
    for (let round = 0; round < 3; round += 1) {
      await expect(life.commit(change)).rejects.toMatchObject({
        code: "BEHEST_STATE_COMMIT",
        message: expect.stringMatching(/maximum bytes exceeded \(\d+\)$/),
      });
    }
    await life.commit({ a: "2" });
    await server.manager.streams.update(BUCKET, { max_bytes: -1 });
    await life.commit(change);
    expect(await found()).toEqual({ a: "2", ...change });
  });

  test("onto a full server fails, and goes on when there is room", async () => {
    await using small = await NatsServer.start("jetstream { max_file_store: 3MB }");
    await small.makeStream();
    await small.append(20, () => "x".repeat(100_000));
    await using life = await inputOf(small.port).openStore();
    await life.commit({ a: "1" });
    const change = runs(2_500, "x".repeat(1_000));
    for (let round = 0; round < 5; round += 1) {
      await expect(life.commit(change)).rejects.toMatchObject({
        code: "BEHEST_STATE_COMMIT",
        message: expect.stringContaining("insufficient"),
      });
      expect((await small.manager.streams.info(BUCKET)).state.messages).toBe(2);
    }
    await small.manager.streams.purge(STREAM);
    await life.commit(change);
    await using next = await inputOf(small.port).openStore();
    expect(next.records.size).toBe(2_501);
  });

  test("without a connection fails at once, and may be tried again when it is back", async () => {
    await using cable = await Cable.to(server.port);
    await using life = await inputOf(cable.port).openStore();
    await life.commit({ a: "1" });
    cable.fate = () => "lose";
    cable.cut();
    await eventually("noticed", () => life.said.count("warn lost the connection") === 1);
    await expect(life.commit({ a: "2" })).rejects.toMatchObject({ code: "BEHEST_STATE_COMMIT" });
    cable.fate = () => "pass";
    await retried(life, { a: "2" });
    await life[Symbol.asyncDispose]();
    expect(await found()).toEqual({ a: "2" });
  });

  test.each([
    ["came about though its answer was lost", "lose answer"],
    ["was lost on its way", "lose"],
  ] as const)("that %s is not taken for another process's", async (_, fate) => {
    await using cable = await Cable.to(server.port);
    await using life = await inputOf(cable.port).openStore();
    await life.commit({ a: "1", old: "1" });
    for (let round = 0; round < 3; round += 1) {
      let struck = 0;
      cable.fate = (sent) => (sent.includes(`HPUB ${HEAD} `) && (struck += 1) === 1 ? fate : "pass");
      await expect(life.commit({ [`k${round}`]: "1" }, [], ["old"])).rejects.toMatchObject({
        code: "BEHEST_STATE_COMMIT",
      });
      expect(struck).toBe(1);
      await retried(life, { a: `${round}`, [`k${round}`]: "2" });
    }
    await life.commit({ end: "1" });
    expect(Object.keys(await values())).toHaveLength(2);
    await life[Symbol.asyncDispose]();
    const isOldThere = fate === "lose" ? { old: "1" } : {};
    expect(await found()).toEqual({ a: "2", end: "1", k0: "2", k1: "2", k2: "2", ...isOldThere });
  });

  test("that is cut off before its head leaves the last one as it was, and its chunks are taken out", async () => {
    await using cable = await Cable.to(server.port);
    await using life = await inputOf(cable.port).openStore();
    await life.commit({ a: "1" });
    const chunks = Object.keys(await values()).length;
    cable.fate = (sent) => (sent.includes(`HPUB ${HEAD} `) ? "lose" : "pass");
    await expect(life.commit(runs(2_000, "x".repeat(1_000)))).rejects.toMatchObject({
      code: "BEHEST_STATE_COMMIT",
    });
    expect(Object.keys(await values()).length).toBeGreaterThan(chunks);
    expect(await found()).toEqual({ a: "1" });
    expect(Object.keys(await values())).toHaveLength(chunks);
  });
});

describe("a newer process", () => {
  test("that started at the same time is one of several, and the last of them wins", async () => {
    const lives = await Promise.all(Array.from({ length: 5 }, async () => store()));
    const results = await Promise.allSettled(lives.map(async (life, at) => life.commit({ winner: `${at}` })));
    const winners = results.flatMap(({ status }, at) => (status === "fulfilled" ? [`${at}`] : []));
    expect(winners).toHaveLength(1);
    for (const result of results) {
      if (result.status === "rejected") {
        expect(result.reason).toMatchObject({ code: "BEHEST_STATE_REPLACED" });
      }
    }
    for (const life of lives) await life[Symbol.asyncDispose]();
    expect(await found()).toEqual({ winner: winners[0] });
  });

  test("takes over while the older one commits as fast as it can", async () => {
    let last = 0;
    let life = await store();
    for (let round = 0; round < 10; round += 1) {
      const older = life;
      const committing = (async () => {
        for (;;) {
          await older.commit({ n: `${last + 1}`, [`pad${last % 7}`]: "x".repeat(50_000) });
          last += 1;
        }
      })().catch((error: unknown) => error);
      const before = last;
      await eventually("some commits", () => last > before + 3);
      life = await store();
      expect(await committing).toMatchObject({ code: "BEHEST_STATE_REPLACED" });
      expect(life.records.get("n")).toBe(`${last}`);
      await older[Symbol.asyncDispose]();
    }
    await life[Symbol.asyncDispose]();
  });
});

describe("a state that cannot be read", () => {
  const refused = async (message: string) => {
    const life = inputOf(server.port);
    await expect(life.openStore()).rejects.toMatchObject({
      code: "BEHEST_STATE_OPEN",
      message: expect.stringContaining(message),
    });
    await life[Symbol.asyncDispose]();
  };

  test("for its version is left as it is, with a way out", async () => {
    await using life = await store();
    await life.commit({ a: "1" });
    const text = (await head()).string().replace('"version":1', '"version":2');
    await server.jetstream.publish(HEAD, text);
    await refused("the state has version 2, expected 1. Run the program that wrote it; or, to begin anew");
    expect((await head()).string()).toBe(text);
  });

  test("for it is none is left as it is", async () => {
    await (await store())[Symbol.asyncDispose]();
    await server.jetstream.publish(HEAD, "hello");
    await refused("damaged or somebody else's");
    expect((await head()).string()).toBe("hello");
  });

  test("for a part of it is gone says which", async () => {
    await using life = await store();
    await life.commit(runs(2_000, "x".repeat(1_000)));
    const chunk = Object.keys(await values()).find((subject) => subject.includes(".c."));
    await server.manager.streams.purge(BUCKET, { filter: chunk! });
    await refused("is gone");
  });

  test("for it expires is not trusted with anything", async () => {
    await server.manager.streams.add({
      name: BUCKET,
      subjects: [HEAD.replace(/behest-otel.head$/, ">")],
      max_age: 1e12,
    });
    await refused("lets its values expire");
  });

  test("can be begun anew by deleting it", async () => {
    await (await store())[Symbol.asyncDispose]();
    await server.jetstream.publish(HEAD, "hello");
    await server.manager.streams.purge(BUCKET, { filter: HEAD.replace(/head$/, ">") });
    expect(await found()).toEqual({});
  });
});

async function retried(life: Life, puts: Record<string, string>): Promise<void> {
  await eventually("committed", async () =>
    life.commit(puts).then(
      () => true,
      (error: { code?: string }) => {
        expect(error.code).toBe("BEHEST_STATE_COMMIT");
        return false;
      },
    ),
  );
}
