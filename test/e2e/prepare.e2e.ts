import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { idsOf, inputOf as natsOf, NatsServer, STREAM, SUBJECT } from "./nats-server.ts";
import { inputOf as redisOf, STREAM as KEY } from "./redis-server.ts";
import { server as redis } from "./one-redis.ts";

// What a source finds out before a state is taken over, and that it changes nothing for who reads there.

const SECRET = "s3cret";

describe("NATS JetStream", () => {
  let server: NatsServer;
  beforeAll(async () => {
    const denied = (name: string, subject: string) =>
      `{ user: ${name}, password: ${SECRET}, permissions: { publish: { deny: ["$JS.API.CONSUMER.${subject}"] } } }`;
    server = await NatsServer.start(
      `jetstream {}\nauthorization { users = [ { user: all, password: ${SECRET} },
        ${denied("undeleting", "DELETE.>")}, ${denied("unmaking", "CREATE.>")} ] }`,
      { user: "all", pass: SECRET },
    );
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    await server.clear();
  });

  const at = (user = "all") => `${user}:${SECRET}@127.0.0.1:${server.port}`;
  const prepare = async (place: string, more = "") => {
    await using life = natsOf(place, more);
    await life.source.prepare();
  };

  test.each(["limits", "interest", "workqueue"] as const)(
    "(%s) does not touch the consumer of the process that runs",
    async (retention) => {
      await server.makeStream({ retention });
      await using life = await natsOf(at()).open();
      await server.append(10);
      const read = await life.take(10);
      // How many requests wait for messages is the running process's own doing.
      const known = async () => ({ ...(await server.consumer()), num_waiting: 0, ts: "" });
      const before = await known();
      for (let round = 0; round < 3; round += 1) await prepare(at());
      expect(await known()).toEqual(before);
      await life.use(read);
      await server.append(1);
      expect(await life.take(1)).toHaveLength(1);
      expect(life.said.lines).toEqual([]);
    },
  );

  test("finds out that the stream has no such subject, with a consumer and without one", async () => {
    await server.makeStream({ subjects: ["another"] });
    const wrong = {
      code: "BEHEST_SOURCE_OPEN",
      message: expect.stringContaining(`takes another and nothing of ${SUBJECT}`),
    };
    await expect(prepare(at())).rejects.toMatchObject(wrong);
    expect((await server.manager.streams.info(STREAM)).state.consumer_count).toBe(0);
    await server.manager.streams.update(STREAM, { subjects: ["another", SUBJECT] });
    await using life = await natsOf(at()).open();
    const { created } = await server.consumer();
    await server.manager.streams.update(STREAM, { subjects: ["another"] });
    await expect(prepare(at())).rejects.toMatchObject(wrong);
    expect((await server.consumer()).created).toBe(created);
    expect(await life.takeAll()).toEqual([]);
  });

  test("makes a consumer that is soon forgotten where there is none, and nothing of it is left", async () => {
    await server.makeStream();
    await server.append(5);
    await server.manager.streams.purge(STREAM, { seq: 3 });
    await using life = natsOf(at());
    await life.source.prepare();
    expect((await server.consumer()).config.inactive_threshold).toBe(60 * 1e9);
    await life.open();
    expect((await server.consumer()).config.inactive_threshold ?? 0).toBe(0);
    expect(idsOf(await life.takeAll())).toEqual(["3", "4", "5"]);
    expect([life.source.redelivered, life.source.lost]).toEqual([0, 0]);
  });

  test.each([
    ["undeleting", "CONSUMER.DELETE.BEHEST.behest-otel"],
    ["unmaking", "CONSUMER.CREATE.BEHEST.behest-otel"],
  ])("finds out what the user may not do (%s)", async (user, subject) => {
    await server.makeStream();
    await using life = await natsOf(at()).open();
    const { created } = await server.consumer();
    const failure: unknown = await prepare(at(user)).catch((error: unknown) => error);
    expect(failure).toMatchObject({
      code: "BEHEST_SOURCE_OPEN",
      message: expect.stringContaining(subject),
    });
    expect(String(failure)).not.toContain(SECRET);
    expect((await server.consumer()).created).toBe(created);
    expect(await life.takeAll()).toEqual([]);
  });

  test("finds out that there is no stream, and makes it where that is asked for", async () => {
    await expect(prepare(at())).rejects.toMatchObject({ code: "BEHEST_SOURCE_OPEN" });
    await prepare(at(), "&create=true");
    expect((await server.manager.streams.info(STREAM)).config.subjects).toEqual([SUBJECT]);
  });
});

describe("Redis", () => {
  const prepare = async (place: number | string = redis.port) => {
    await using life = redisOf(place);
    await life.source.prepare();
  };
  const groups = async () => JSON.stringify(await redis.ask("XINFO", "GROUPS", KEY));

  test("makes no stream, no group and no consumer", async () => {
    await prepare();
    expect(await redis.ask("KEYS", "*")).toEqual([]);
    await redis.append(1);
    await prepare();
    expect(await redis.ask("XINFO", "GROUPS", KEY)).toEqual([]);
    await redis.ask("XGROUP", "CREATE", KEY, "behest-otel", "0");
    await prepare();
    expect(await redis.ask("XINFO", "CONSUMERS", KEY, "behest-otel")).toEqual([]);
  });

  test("takes nothing from the process that runs", async () => {
    await using life = await redisOf(redis.port).open();
    const ids = await redis.append(3);
    await life.take(3);
    const before = await groups();
    await prepare();
    expect(await groups()).toBe(before);
    await life.commit({}, ids);
    await redis.append(1);
    expect(await life.take(1)).toHaveLength(1);
    expect(life.said.lines).toEqual([]);
  });

  test("finds out that the key is no stream", async () => {
    await redis.ask("SET", KEY, "text");
    await expect(prepare()).rejects.toMatchObject({
      code: "BEHEST_SOURCE_OPEN",
      message: expect.stringContaining(`the key ${KEY} is no stream: WRONGTYPE`),
    });
  });

  test("finds out that the server is a replica, whose master is away", async () => {
    await redis.append(1);
    await redis.ask("REPLICAOF", "127.0.0.1", "1");
    try {
      await expect(prepare()).rejects.toMatchObject({
        code: "BEHEST_SOURCE_OPEN",
        message: expect.stringContaining("READONLY"),
      });
    } finally {
      await redis.ask("REPLICAOF", "NO", "ONE");
    }
  });

  test("finds out that the user may not read, is not known, or that nobody is there", async () => {
    const unprivileged = ["~*", "+@all", "-xreadgroup"];
    await redis.ask("ACL", "SETUSER", "few", "on", `>${SECRET}`, ...unprivileged);
    for (const [place, message] of [
      [`few:${SECRET}@127.0.0.1:${redis.port}`, "NOPERM"],
      [`nobody:${SECRET}@127.0.0.1:${redis.port}`, "WRONGPASS"],
      ["127.0.0.1:1", "nothing listens there"],
    ] as const) {
      const failure: unknown = await prepare(place).catch((error: unknown) => error);
      expect(failure).toMatchObject({
        code: "BEHEST_SOURCE_OPEN",
        message: expect.stringContaining(message),
      });
      expect(String(failure)).not.toContain(SECRET);
    }
  });
});
