import { execFileSync } from "node:child_process";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { systemClock } from "../../src/clock.ts";
import { hurriedClock } from "../bridge/clocks.ts";
import { Cable, freePort, idsOf, inputOf, RedisServer, STREAM } from "./redis-server.ts";
import { eventually } from "./running.ts";

const TLS = join(import.meta.dirname, "../otel/tls");

/** The server is asked again every second or so. */
const WITHIN = { timeout: 10_000 };

/** Rights that are enough, as the documentation has them. */
const RIGHTS =
  "resetkeys ~behest:events ~behest-otel:* -@all +xreadgroup +xread +xack +xclaim +xpending +xgroup +xinfo " +
  "+hset +hdel +del +hmget +hlen +hscan +watch +multi +exec +time +select";

describe("opening", () => {
  test("with rights for nothing but what it does, over TLS, with the password in the environment", async () => {
    const tls = ["--tls-cert-file", `${TLS}/server.pem`, "--tls-key-file", `${TLS}/server-key.pem`];
    const port = await freePort();
    await using server = await RedisServer.start(
      "--tls-port",
      String(port),
      ...tls,
      "--tls-ca-cert-file",
      `${TLS}/ca.pem`,
    );
    await server.ask("ACL", "SETUSER", "bridge", "on", ">s3cret", ...RIGHTS.split(" "));
    const ids = await server.append(10);
    const more = `&ca=${TLS}/ca.pem&cert=${TLS}/client.pem&key=${TLS}/client-key.pem`;
    const env = { BEHEST_OTEL_REDIS_PASSWORD: "s3cret" };
    await using life = inputOf(`bridge@localhost:${port}`, more, { scheme: "rediss", env });
    await life.open();
    expect(idsOf(await life.takeAll())).toEqual(ids);
    expect(await life.source.lag()).toBe(0);
    await life.commit({ a: "1", b: "1" }, ids);
    await life.store.commit({ puts: new Map(), removes: ["b"], used: [] });
    await life.commit({ a: "1" }, [], true);
    expect(await server.pending()).toBe(0);
    await using next = inputOf(`bridge@localhost:${port}`, more, { scheme: "rediss", env });
    await next.open();
    expect([...next.records]).toEqual([["a", "1"]]);
    await using stranger = inputOf(port, "", { scheme: "rediss" });
    await expect(stranger.source.open()).rejects.toMatchObject({ code: "BEHEST_SOURCE_OPEN" });
  });

  test("with a wrong password says what the server said, and no password", async () => {
    await using server = await RedisServer.start();
    await server.ask("ACL", "SETUSER", "bridge", "on", ">right", "allkeys", "+@all");
    await using life = inputOf(`bridge:s3cret@127.0.0.1:${server.port}`);
    const error = await life.source.open().catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: "BEHEST_SOURCE_OPEN",
      message: expect.stringContaining("WRONGPASS"),
    });
    expect(error).toMatchObject({ message: expect.stringContaining(`127.0.0.1:${server.port}`) });
    expect(String(error)).not.toContain("s3cret");
    await expect(life.store.open()).rejects.toMatchObject({ code: "BEHEST_STATE_OPEN" });
  });

  test("where nothing listens says so", async () => {
    const port = await freePort();
    await using life = inputOf(port);
    await expect(life.source.open()).rejects.toMatchObject({
      code: "BEHEST_SOURCE_OPEN",
      message: `redis://127.0.0.1:${port}?stream=${STREAM}: 127.0.0.1:${port}: nothing listens there`,
    });
    await expect(life.store.open()).rejects.toMatchObject({ code: "BEHEST_STATE_OPEN" });
  });

  test("a key that is no stream says so", async () => {
    await using server = await RedisServer.start();
    await server.ask("SET", STREAM, "text");
    await using life = inputOf(server.port);
    await expect(life.source.open()).rejects.toMatchObject({
      code: "BEHEST_SOURCE_OPEN",
      message: expect.stringContaining(`the key ${STREAM} is no stream: WRONGTYPE`),
    });
  });

  test("waits for a server that loads its data", async () => {
    await using server = await RedisServer.start();
    await using cable = await Cable.to(server.port);
    const ids = await server.append(2);
    let refusals = 6;
    cable.answer = (sent) => {
      const commands = sent.match(/^\*\d/gm)?.length ?? 0;
      refusals -= 1;
      return refusals < 0
        ? undefined
        : "-LOADING Redis is loading the dataset in memory\r\n".repeat(commands);
    };
    await using life = await inputOf(cable.port).open();
    expect(refusals).toBeLessThan(0);
    expect(idsOf(await life.takeAll())).toEqual(ids);
  });
});

describe("a connection that breaks", () => {
  test("anywhere: every entry comes, in order, once", async () => {
    await using server = await RedisServer.start();
    await using cable = await Cable.to(server.port);
    await using life = await inputOf(cable.port, "", { clock: hurriedClock(5) }).open();
    const ids: string[] = [];
    const read: string[] = [];
    let count = 0;
    cable.fate = (sent) => {
      count += 1;
      if (count % 7 === 0) return "lose answer";
      return count % 11 === 0 && sent.includes("XREADGROUP") ? "lose" : "pass";
    };
    for (let round = 0; round < 40; round += 1) {
      ids.push(...(await server.append(25)));
      read.push(...idsOf(await life.take(ids.length - read.length)));
    }
    expect(read).toEqual(ids);
    expect(life.said.count("warn The connection to Redis is lost")).toBeGreaterThan(5);
    expect(life.said.count("info Redis is read again")).toBe(life.said.count("warn "));
  });

  test("since the server is killed: told once, silent meanwhile, and goes on when it is back", async () => {
    await using server = await RedisServer.start("--appendonly", "yes", "--appendfsync", "always");
    const ids = await server.append(10);
    await using life = await inputOf(server.port, "", { clock: hurriedClock(5) }).open();
    await life.takeAll();
    await life.commit({ a: "1" }, ids.slice(0, 4));
    await server.kill();
    const reading = life.take(3);
    await expect.poll(() => life.said.count("warn The connection to Redis is lost"), WITHIN).toBe(1);
    await expect(life.commit({ a: "2" })).rejects.toMatchObject({ code: "BEHEST_STATE_COMMIT" });
    expect(await life.source.lag()).toBeUndefined();
    await server.start();
    await eventually("the admin is back", () => server.admin.isReady);
    const more = await server.append(3);
    expect(idsOf(await reading)).toEqual(more);
    expect(life.said.lines).toHaveLength(2);
    await life.commit({ a: "2" }, [...ids.slice(4), ...more]);
    expect(await server.pending()).toBe(0);
  });

  test("since the server says nothing any more: it is given up and asked anew", async () => {
    await using server = await RedisServer.start();
    await server.append(1);
    await using life = await inputOf(server.port, "", { clock: hurriedClock(5) }).open();
    await life.takeAll();
    server.signal("SIGSTOP");
    const reading = life.take(1);
    await expect.poll(() => life.said.count("warn The connection to Redis is lost"), WITHIN).toBe(1);
    expect(life.said.lines[0]).toContain("no answer within 10 s");
    server.signal("SIGCONT");
    const [id] = await server.append(1);
    expect(idsOf(await reading)).toEqual([id]);
  });
});

describe("while it is read", () => {
  test("a stream that becomes something else is told of once, and read when it is one again", async () => {
    await using server = await RedisServer.start();
    await using life = await inputOf(server.port, "", { clock: hurriedClock(5) }).open();
    await life.takeAll();
    await server.ask("SET", STREAM, "text");
    const reading = life.take(1);
    await expect.poll(() => life.said.count("error Redis refuses to be read"), WITHIN).toBe(1);
    await server.ask("DEL", STREAM);
    const [id] = await server.append(1);
    expect(idsOf(await reading)).toEqual([id]);
    expect(life.said.count("error")).toBe(1);
    expect(life.said.count("info Redis is read again")).toBe(1);
  });

  test("a group that is destroyed is made again: nothing is missing or twice, nor after a kill", async () => {
    await using server = await RedisServer.start();
    const ids = await server.append(10);
    const life = await inputOf(server.port).open();
    await life.takeAll();
    await life.commit({ position: life.source.positionOf(ids[3], []) }, ids.slice(0, 4));
    await server.ask("XGROUP", "DESTROY", STREAM, "behest-otel");
    const more = await server.append(5);
    expect(idsOf(await life.take(5))).toEqual(more);
    expect(life.said.lines).toEqual([expect.stringContaining("warn The consumer group was gone")]);
    await life[Symbol.asyncDispose]();
    await using next = await inputOf(server.port).open();
    expect(idsOf(await next.takeAll())).toEqual([...ids.slice(4), ...more]);
  });

  test("a server without memory is told of once as an error, and is read again when it has some", async () => {
    await using server = await RedisServer.start();
    await using life = await inputOf(server.port, "", { clock: hurriedClock(5) }).open();
    await life.takeAll();
    await server.ask("CONFIG", "SET", "maxmemory", "1");
    const reading = life.take(1);
    await expect.poll(() => life.said.count("error Redis refuses to be read"), WITHIN).toBe(1);
    expect(life.source.refusal).toContain("OOM command not allowed");
    await server.ask("CONFIG", "SET", "maxmemory", "0");
    const [id] = await server.append(1);
    expect(idsOf(await reading)).toEqual([id]);
    expect(life.source.refusal).toBeUndefined();
    expect(life.said.lines).toHaveLength(2);
  });

  test("a server that cannot save what is written is told of once as an error", async () => {
    await using server = await RedisServer.start();
    await using cable = await Cable.to(server.port);
    await using life = await inputOf(cable.port, "", { clock: hurriedClock(5) }).open();
    await life.takeAll();
    const refusal = "-MISCONF Redis is configured to save RDB snapshots, but it cannot persist to disk\r\n";
    let refused = 0;
    cable.answer = (sent) => {
      if (!sent.includes("XREADGROUP") || refused === 3) return undefined;
      refused += 1;
      return refusal.repeat(sent.match(/^\*\d/gm)?.length ?? 0);
    };
    const reading = life.take(1);
    await expect.poll(() => life.said.count("error Redis refuses to be read"), WITHIN).toBe(1);
    const [id] = await server.append(1);
    expect(idsOf(await reading)).toEqual([id]);
    expect(life.said.count("error")).toBe(1);
  });

  test("rights that are taken away are told of once", async () => {
    await using server = await RedisServer.start();
    await server.ask("ACL", "SETUSER", "bridge", "on", ">p", ...RIGHTS.split(" "));
    await using life = await inputOf(`bridge:p@127.0.0.1:${server.port}`, "", {
      clock: hurriedClock(5),
    }).open();
    await life.takeAll();
    await server.ask("ACL", "SETUSER", "bridge", "-xreadgroup");
    const reading = life.take(1);
    await expect.poll(() => life.said.count("error Redis refuses to be read"), WITHIN).toBe(1);
    await server.ask("ACL", "SETUSER", "bridge", "+xreadgroup");
    const [id] = await server.append(1);
    expect(idsOf(await reading)).toEqual([id]);
    expect(life.said.count("error")).toBe(1);
  });

  test("entries that a consumer left are taken over, also when the answer is lost", async () => {
    await using server = await RedisServer.start();
    await using cable = await Cable.to(server.port);
    let laterMs = 0;
    const clock = { now: () => Date.now() + laterMs, after: systemClock.after };
    await using life = await inputOf(cable.port, "", { clock }).open();
    await life.takeAll();
    const left = await server.append(5);
    await server.ask("XREADGROUP", "GROUP", "behest-otel", "older", "COUNT", "10", "STREAMS", STREAM, ">");
    await server.ask("XCLAIM", STREAM, "behest-otel", "older", "0", ...left, "IDLE", "120000");
    // The group is past them.
    expect(await life.takeAll()).toEqual([]);
    let isLost = false;
    cable.fate = (sent) => {
      if (isLost || !sent.includes("XCLAIM")) return "pass";
      isLost = true;
      return "lose answer";
    };
    laterMs = 60_000;
    const read = await life.take(5);
    expect(isLost).toBe(true);
    expect(idsOf(read)).toEqual(left);
    await life.commit({}, left);
    expect(await server.pending()).toBe(0);
  });
});

describe("closing", () => {
  test("ends a reading under way, may be done twice, and before anything was opened", async () => {
    await using server = await RedisServer.start();
    await using life = await inputOf(server.port).open();
    await life.takeAll();
    const reading = life.next();
    await life.source.close();
    await life.source.close();
    expect(await reading).toBeUndefined();
    expect(await life.next()).toBeUndefined();
    const unopened = inputOf(server.port);
    await unopened[Symbol.asyncDispose]();
  });
});

describe("Sentinel", () => {
  test("says which server to read, also after another one took over", { timeout: 60_000 }, async () => {
    await using master = await RedisServer.start();
    await using replica = await RedisServer.start("--replicaof", "127.0.0.1", String(master.port));
    await using sentinel = await sentinelOf(master.port);
    const ids = await master.append(10);
    const life = inputOf(`127.0.0.1:1,127.0.0.1:${sentinel.port}`, "&sentinel=mymaster", {
      clock: hurriedClock(4),
    });
    await using _ = await life.open();
    await life.takeAll();
    await life.commit({ a: "1" }, ids.slice(0, 5));
    await expect.poll(() => replica.pending().catch(() => -1), WITHIN).toBe(5);
    const askSentinel = () =>
      execFileSync("redis-cli", ["-p", String(sentinel.port), "SENTINEL", "REPLICAS", "mymaster"]).toString();
    await eventually("the sentinel knows the replica", () => askSentinel().includes(String(replica.port)));
    await master.kill();
    const reading = life.take(1);
    const isMaster = async () => ((await replica.ask("ROLE")) as string[])[0] === "master";
    await eventually("the replica is promoted", isMaster);
    const [id] = await replica.append(1);
    expect(idsOf(await reading)).toEqual([id]);
    // Tried again as the bridge does it: the connection of the state may still find out about the old master.
    const isWritten = () =>
      life.commit({ a: "2" }, [...ids.slice(5), String(id)]).then(
        () => true,
        () => false,
      );
    await eventually("the state is written there", isWritten);
    expect(await replica.pending()).toBe(0);
  });

  test("that does not know the name says so", async () => {
    await using master = await RedisServer.start();
    await using sentinel = await sentinelOf(master.port);
    await using life = inputOf(sentinel.port, "&sentinel=other");
    await expect(life.source.open()).rejects.toMatchObject({
      code: "BEHEST_SOURCE_OPEN",
      message: expect.stringContaining("the sentinel knows no master of that name"),
    });
  });
});

describe("a cluster", () => {
  test(
    "is followed to where the stream is, at the start and when it moves",
    { timeout: 60_000 },
    async () => {
      await using one = await nodeOfCluster();
      await using two = await nodeOfCluster();
      const slot = String(await one.ask("CLUSTER", "KEYSLOT", STREAM));
      const [idOne, idTwo] = [
        String(await one.ask("CLUSTER", "MYID")),
        String(await two.ask("CLUSTER", "MYID")),
      ];
      // Each keeps slots of its own, or it would become the other's replica.
      const [before, behind] = [String(Number(slot) - 1), String(Number(slot) + 1)];
      await one.ask("CLUSTER", "ADDSLOTSRANGE", "0", before);
      await two.ask("CLUSTER", "ADDSLOTSRANGE", slot, slot, behind, "16383");
      await two.ask("CLUSTER", "SET-CONFIG-EPOCH", "2");
      await one.ask("CLUSTER", "MEET", "127.0.0.1", String(two.port), await busPort(two));
      for (const node of [one, two]) {
        await eventually("the cluster is whole", async () =>
          String(await node.ask("CLUSTER", "INFO")).includes("cluster_state:ok"),
        );
      }
      const ids = await two.append(10);
      await using life = await inputOf(one.port, "", { clock: hurriedClock(4) }).open();
      expect(idsOf(await life.takeAll())).toEqual(ids);
      await life.commit({ a: "1" }, ids.slice(0, 5));
      // The slot moves, and with it the stream and the state that lies beside it.
      await one.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", idTwo);
      await two.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", idOne);
      const keys = (await two.ask("CLUSTER", "GETKEYSINSLOT", slot, "10")) as string[];
      expect(keys).toHaveLength(2);
      await two.ask("MIGRATE", "127.0.0.1", String(one.port), "", "0", "5000", "KEYS", ...keys);
      for (const node of [one, two]) await node.ask("CLUSTER", "SETSLOT", slot, "NODE", idOne);
      const more = await one.append(3);
      expect(idsOf(await life.take(3))).toEqual(more);
      expect(await life.source.lag()).toBe(0);
      await life.commit({ a: "2" }, [...ids.slice(5), ...more]);
      expect(await one.pending()).toBe(0);
    },
  );
});

async function busPort(node: RedisServer): Promise<string> {
  const [, port = ""] = /@(\d+)/.exec(String(await node.ask("CLUSTER", "NODES"))) ?? [];
  return port;
}

async function nodeOfCluster(): Promise<RedisServer> {
  return RedisServer.start("--cluster-enabled", "yes", "--cluster-port", String(await freePort()));
}

async function sentinelOf(masterPort: number): Promise<RedisServer> {
  const lines = [
    `sentinel monitor mymaster 127.0.0.1 ${masterPort} 1`,
    "sentinel down-after-milliseconds mymaster 500",
    "sentinel failover-timeout mymaster 3000",
  ];
  return RedisServer.startSentinel(lines);
}
