import { beforeEach, describe, expect, test } from "vitest";

import type { RedisServer } from "./redis-server.ts";
import { Cable, idsOf, inputOf, STREAM } from "./redis-server.ts";
import { server } from "./one-redis.ts";

const KEY = "behest-otel:{behest:events}:behest-otel:0";

beforeEach(async () => {
  await server.ask("CONFIG", "SET", "maxmemory", "0");
});

const committed = () => stateOf(server);

describe("a commit", () => {
  test("puts and removes records and acknowledges, and the next life reads them", async () => {
    const ids = await server.append(4);
    await using life = await inputOf(server.port).open();
    await life.take(4);
    await life.commit({ "run/1": "ä", "run/2": "b", bridge: "x" }, ids.slice(0, 2));
    await life.store.commit({ puts: new Map([["bridge", "y"]]), removes: ["run/2"], used: ids.slice(2) });
    await using next = await inputOf(server.port).open();
    expect(Object.fromEntries(next.records)).toEqual({ "run/1": "ä", bridge: "y" });
    expect(await server.pending()).toBe(0);
  });

  test("of nothing but deliveries acknowledges them", async () => {
    const ids = await server.append(2);
    await using life = await inputOf(server.port).open();
    await life.take(2);
    await life.commit({}, ids);
    expect(await server.pending()).toBe(0);
  });

  test("of 100,000 records is one, and is read back whole", { timeout: 60_000 }, async () => {
    const puts = Object.fromEntries(
      Array.from({ length: 100_000 }, (_, at) => [`run/${at}`, `${at}`.padEnd(1_000, ".")]),
    );
    const life = await inputOf(server.port).open();
    const startMs = performance.now();
    await life.commit(puts);
    console.log(`100,000 records of 1 KB are committed in ${Math.round(performance.now() - startMs)} ms`);
    await life[Symbol.asyncDispose]();
    const readMs = performance.now();
    await using next = await inputOf(server.port).open();
    console.log(`and read in ${Math.round(performance.now() - readMs)} ms`);
    expect(next.records.size).toBe(100_000);
    expect(next.repeated).toBe(0);
    expect(next.records.get("run/99999")).toBe(puts["run/99999"]);
    await next.store.commit({ puts: new Map(), removes: Object.keys(puts), used: [] });
    expect(await committed()).toEqual({});
  });

  test("of a record of half a megabyte is read back", async () => {
    const large = "€".repeat(170_000);
    const life = await inputOf(server.port).open();
    await life.commit({ large, small: "s" });
    await life[Symbol.asyncDispose]();
    await using next = await inputOf(server.port).open();
    expect(next.records.get("large")).toBe(large);
  });
});

test("the size of a state is about what its records take, and unknown to a user who may not ask", async () => {
  await using life = await inputOf(server.port).open();
  expect(life.store.bytes).toBeUndefined();
  await life.commit(
    Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`run/${n}`, "x".repeat(1_000)])),
  );
  expect(life.store.bytes).toBeGreaterThan(1_000_000);
  expect(life.store.bytes).toBeLessThan(2_000_000);
  await server.ask("ACL", "SETUSER", "bridge", "on", ">p", "allkeys", "+@all", "-memory");
  await using other = await inputOf(`bridge:p@127.0.0.1:${server.port}`).open();
  await other.commit({ a: "1" });
  expect(other.store.bytes).toBeUndefined();
});

describe("a connection that breaks within a commit", () => {
  test("before the server has all of it: nothing is done, and the same commit can be made again", async () => {
    await using cable = await Cable.to(server.port);
    const ids = await server.append(10);
    await using life = await inputOf(cable.port).open();
    await life.take(10);
    cable.fate = (sent) => (sent.includes("EXEC") ? "lose" : "pass");
    await expect(life.commit({ a: "1" }, ids)).rejects.toMatchObject({ code: "BEHEST_STATE_COMMIT" });
    expect([await committed(), await server.pending()]).toEqual([{}, 10]);
    cable.fate = () => "pass";
    await life.commit({ a: "1", b: "2" }, ids);
    expect([await committed(), await server.pending()]).toEqual([{ a: "1", b: "2" }, 0]);
  });

  test("after the server did it: that is found out, and the next commit goes on from it", async () => {
    await using cable = await Cable.to(server.port);
    const ids = await server.append(10);
    await using life = await inputOf(cable.port).open();
    await life.take(10);
    cable.fate = (sent) => (sent.includes("EXEC") && sent.includes("XACK") ? "lose answer" : "pass");
    await expect(life.commit({ a: "1" }, ids)).rejects.toMatchObject({ code: "BEHEST_STATE_COMMIT" });
    expect([await committed(), await server.pending()]).toEqual([{ a: "1" }, 0]);
    cable.fate = () => "pass";
    await life.commit({ a: "2" }, ids);
    await life.commit({ b: "3" });
    expect(await committed()).toEqual({ a: "2", b: "3" });
    expect(life.store.needsWhole).toBe(false);
  });

  test("at any byte: what is there is all of one commit, and the next life goes on from it", async () => {
    await using cable = await Cable.to(server.port);
    for (let trial = 0; trial < 12; trial += 1) {
      await server.ask("FLUSHALL");
      const ids = await server.append(3);
      const life = await inputOf(cable.port).open();
      await life.take(3);
      await life.commit({ a: "old", b: "old" }, ids.slice(0, 1));
      let left = trial;
      cable.fate = () => (left-- > 0 ? "pass" : trial % 2 === 0 ? "lose" : "lose answer");
      // A record that is too long for one packet, so that there is a middle.
      const failed = await life
        .commit({ a: "new", large: "x".repeat(2_000_000), b: "new" }, ids.slice(1))
        .then(
          () => false,
          () => true,
        );
      cable.fate = () => "pass";
      await life[Symbol.asyncDispose]();
      await using next = await inputOf(cable.port).open();
      const isNew = next.records.get("a") === "new";
      expect(next.records.get("b")).toBe(next.records.get("a"));
      expect(next.records.has("large")).toBe(isNew);
      expect(isNew || failed).toBe(true);
      expect(idsOf(await next.takeAll())).toEqual(isNew ? [] : ids.slice(1));
    }
  });
});

describe("a newer process", () => {
  test("ends the commits of the older one, which acknowledge nothing", async () => {
    const ids = await server.append(5);
    await using old = await inputOf(server.port).open();
    await old.take(5);
    await old.commit({ a: "1" });
    await using young = await inputOf(server.port).open();
    expect(young.records.get("a")).toBe("1");
    const commit = old.commit({ a: "2" }, ids);
    await expect(commit).rejects.toMatchObject({ code: "BEHEST_STATE_REPLACED" });
    await expect(old.commit({}, ids)).rejects.toMatchObject({ code: "BEHEST_STATE_REPLACED" });
    expect([await committed(), await server.pending()]).toEqual([{ a: "1" }, 5]);
    await young.commit({ a: "3" }, idsOf(await young.takeAll()));
    expect([await committed(), await server.pending()]).toEqual([{ a: "3" }, 0]);
  });

  test("that opens in the middle of a commit of the older one: nothing of it is done", async () => {
    await using cable = await Cable.to(server.port);
    const ids = await server.append(5);
    await using old = await inputOf(cable.port).open();
    await old.take(5);
    await using young = inputOf(server.port);
    cable.before = (sent) => (sent.includes("XACK") ? young.open() : undefined);
    await expect(old.commit({ a: "1" }, ids)).rejects.toMatchObject({ code: "BEHEST_STATE_REPLACED" });
    expect(young.records.size).toBe(0);
    expect([await committed(), await server.pending()]).toEqual([{}, 5]);
  });

  test("that opens in the middle of a reading of the older one: the older one gets nothing", async () => {
    await using cable = await Cable.to(server.port);
    await using old = await inputOf(cable.port).open();
    await old.takeAll();
    await using young = inputOf(server.port);
    const ids = await server.append(5);
    cable.before = (sent) => (sent.includes("XREADGROUP") ? young.open() : undefined);
    await expect(old.next()).rejects.toMatchObject({ code: "BEHEST_STATE_REPLACED" });
    expect(await server.pending()).toBe(0);
    expect(idsOf(await young.takeAll())).toEqual(ids);
  });
});

describe("a state that is not what was committed last", () => {
  test("because all was flushed takes only a whole one", async () => {
    await using life = await inputOf(server.port).open();
    await server.append(3);
    await life.takeAll();
    await life.commit({ a: "1", b: "1" });
    await server.ask("FLUSHALL");
    const ids = await server.append(2);
    expect(idsOf(await life.take(2))).toEqual(ids);
    expect(life.said.count("warn The consumer group was gone")).toBe(1);
    expect(life.said.count("warn The state in Redis is not what")).toBe(1);
    await expect(life.commit({ b: "2" }, ids)).rejects.toMatchObject({ code: "BEHEST_STATE_COMMIT" });
    expect(life.store.needsWhole).toBe(true);
    expect([await committed(), await server.pending()]).toEqual([{}, 2]);
    await life.commit({ a: "1", b: "2" }, ids, true);
    expect([await committed(), await server.pending()]).toEqual([{ a: "1", b: "2" }, 0]);
    expect(life.store.needsWhole).toBe(false);
    await life.commit({ c: "3" });
    expect(await committed()).toEqual({ a: "1", b: "2", c: "3" });
  });

  test.each(["of the same process", "of the process before"])(
    "because an older copy %s came back",
    async (whose) => {
      const before = await inputOf(server.port).open();
      await before.commit({ a: "0" });
      await before[Symbol.asyncDispose]();
      let copy = whose === "of the process before" ? await dump(server) : "";
      await using life = await inputOf(server.port).open();
      await life.commit({ a: "1" });
      if (copy === "") copy = await dump(server);
      await life.commit({ a: "2", b: "2" });
      await restore(server, copy);
      await expect(life.commit({ a: "3" })).rejects.toMatchObject({
        code: "BEHEST_STATE_COMMIT",
        message: expect.stringContaining("only the whole state can follow"),
      });
      await life.commit({ a: "3", b: "2" }, [], true);
      expect(await committed()).toEqual({ a: "3", b: "2" });
      await using next = await inputOf(server.port).open();
      expect(Object.fromEntries(next.records)).toEqual({ a: "3", b: "2" });
      await expect(life.commit({})).rejects.toMatchObject({ code: "BEHEST_STATE_REPLACED" });
    },
  );

  test("can be gone on from by opening again", async () => {
    await using life = await inputOf(server.port).open();
    await life.commit({ a: "1" });
    const copy = await dump(server);
    await life.commit({ a: "2" });
    await restore(server, copy);
    await expect(life.commit({ a: "3" })).rejects.toMatchObject({ code: "BEHEST_STATE_COMMIT" });
    await life.open();
    expect(life.records.get("a")).toBe("1");
    await life.commit({ a: "4" });
    expect(await committed()).toEqual({ a: "4" });
  });
});

describe("a state that cannot be read stays as it is, and opening says what to do", () => {
  test.each([
    ["of another format", ["HSET", KEY, "state format", "9", "state epoch", "3"], "has format 9"],
    ["of somebody else", ["HSET", KEY, "name", "value"], 'has no field "state format"'],
    ["of another type", ["SET", KEY, "value"], "is no hash"],
  ])("%s", async (_, command, message) => {
    await server.ask(...command);
    const dumped = await dump(server);
    await using life = inputOf(server.port);
    const opening = life.store.open();
    await expect(opening).rejects.toMatchObject({
      code: "BEHEST_STATE_OPEN",
      message: expect.stringMatching(`${KEY} ${message}.*DEL ${KEY}`),
    });
    expect(await dump(server)).toBe(dumped);
  });
});

describe("a server that refuses to write", () => {
  test("for lack of memory: nothing is acknowledged, and it goes on when there is some", async () => {
    const ids = await server.append(5);
    await using life = await inputOf(server.port).open();
    await life.take(5);
    await life.commit({ a: "1" });
    await server.ask("CONFIG", "SET", "maxmemory", "1");
    await expect(life.commit({ a: "2" }, ids)).rejects.toMatchObject({
      code: "BEHEST_STATE_COMMIT",
      message: expect.stringContaining("OOM command not allowed"),
    });
    expect([await committed(), await server.pending()]).toEqual([{ a: "1" }, 5]);
    await server.ask("CONFIG", "SET", "maxmemory", "0");
    await life.commit({ a: "2" }, ids);
    expect([await committed(), await server.pending()]).toEqual([{ a: "2" }, 0]);
  });

  test("because it is a replica now: nothing is acknowledged, and both go on when it is none", async () => {
    const ids = await server.append(5);
    await using life = await inputOf(server.port).open();
    await life.take(5);
    await server.ask("REPLICAOF", "127.0.0.1", "1");
    await expect(life.commit({ a: "2" }, ids)).rejects.toMatchObject({
      code: "BEHEST_STATE_COMMIT",
      message: expect.stringContaining("READONLY"),
    });
    const reading = life.take(1);
    await expect.poll(() => life.said.count("warn Redis cannot be read"), { timeout: 10_000 }).toBe(1);
    await server.ask("REPLICAOF", "NO", "ONE");
    const [id] = await server.append(1);
    expect(idsOf(await reading)).toEqual([id]);
    expect(life.said.lines).toHaveLength(2);
    expect(life.said.count("info Redis is read again")).toBe(1);
    await life.commit({ a: "2" }, ids);
    expect([await committed(), await server.pending()]).toEqual([{ a: "2" }, 1]);
  });

  test("to acknowledge, since the stream is none any more: it is said, and can be made again", async () => {
    const ids = await server.append(1);
    await using life = await inputOf(server.port).open();
    await life.take(1);
    await server.ask("SET", STREAM, "text");
    await expect(life.commit({ a: "1" }, ids)).rejects.toMatchObject({
      code: "BEHEST_STATE_COMMIT",
      message: expect.stringContaining("WRONGTYPE"),
    });
    await server.ask("DEL", STREAM);
    await life.commit({ a: "2" }, ids);
    expect(await committed()).toEqual({ a: "2" });
  });
});

async function stateOf({ admin }: RedisServer): Promise<Record<string, string>> {
  const fields = await admin.hGetAll(KEY);
  return Object.fromEntries(Object.entries(fields).filter(([field]) => !field.startsWith("state ")));
}

async function dump({ admin }: RedisServer): Promise<string> {
  const { RESP_TYPES } = await import("redis");
  const options = { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } };
  const bytes: unknown = await admin.sendCommand(["DUMP", KEY], options);
  return (bytes as Buffer).toString("base64");
}

async function restore({ admin }: RedisServer, copy: string): Promise<void> {
  await admin.sendCommand(["RESTORE", KEY, "0", Buffer.from(copy, "base64"), "REPLACE"]);
}
