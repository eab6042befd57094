import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { setTimeout as after } from "node:timers/promises";

import { beforeEach, describe, expect, test } from "vitest";

import type { Delivery } from "../../src/source/source.ts";
import { idsOf, inputOf, NatsServer, STREAM, SUBJECT, type Life } from "./nats-server.ts";
import { server } from "./one-nats.ts";
import { Cable } from "./redis-server.ts";
import { eventually } from "./running.ts";

beforeEach(async () => {
  await server.makeStream();
});

const upTo = (count: number) => Array.from({ length: count }, (_, at) => String(at + 1));

describe("a consumer", () => {
  test("that is deleted is made again, and nothing is handed out twice", async () => {
    await using life = await inputOf(server.port).open();
    await server.append(100);
    const first = await life.takeAll();
    await life.use(first.slice(0, 40), ["7"]);
    await server.manager.consumers.delete(STREAM, "behest-otel");
    await server.append(50);
    const second = await life.take(50);
    expect(idsOf([...first, ...second])).toEqual(upTo(150));
    // The server has all of what is not committed again, and hears of it.
    await life.use(second);
    await life.use([...first, ...second]);
    await eventually("acknowledged", async () => (await server.consumer()).num_ack_pending === 0);
    expect(life.said.count("warn cannot read on")).toBe(1);
    expect(life.said.count("info reading again")).toBe(1);
  });

  test("that somebody else reads from hands out everything all the same", async () => {
    await using life = await inputOf(server.port).open();
    await life.takeAll();
    const other = await server.jetstream.consumers.get(STREAM, "behest-otel");
    const stolen: string[] = [];
    const reading = (async () => {
      for await (const message of await other.fetch({ max_messages: 20, expires: 5_000 })) {
        stolen.push(String(message.seq));
        message.ack();
      }
    })();
    await eventually("both ask", async () => (await server.consumer()).num_waiting === 2);
    await server.append(60);
    const read = await life.take(60);
    expect(idsOf(read)).toEqual(upTo(60));
    await reading.catch(() => {});
    expect(stolen.length).toBeGreaterThan(0);
  });

  test("that hands out again what is being worked on is known to do so", async () => {
    await using life = await inputOf(server.port).open();
    await server.append(10);
    const read = await life.takeAll();
    await server.manager.consumers.update(STREAM, "behest-otel", { ack_wait: 200 * 1e6 });
    await eventually("again", async () => {
      await life.takeAll().then((more) => expect(more).toEqual([]));
      return (await server.consumer()).num_redelivered === 10;
    });
    await life.use(read);
    await eventually("acknowledged", async () => (await server.consumer()).num_ack_pending === 0);
  });
});

describe("a stream", () => {
  test("that drops messages before they are read is noticed, with how many", async () => {
    const first = await inputOf(server.port).open();
    await server.append(100);
    await first.use(await first.takeAll(), ["10", "20", "95"]);
    await first[Symbol.asyncDispose]();
    await server.append(100);
    await server.manager.streams.purge(STREAM, { seq: 91 });
    await server.manager.streams.deleteMessage(STREAM, 150);
    await using second = await inputOf(server.port).open();
    const read = await second.takeAll();
    expect(idsOf(read)).toEqual(["95", ...upTo(200).slice(100)].filter((id) => id !== "150"));
    expect(second.source.lost).toBe(3);
    expect(second.said.count("warn the stream has dropped messages")).toBe(1);
  });

  test("that is purged while it is read is noticed as well, and goes on", async () => {
    await using life = await inputOf(server.port).open();
    await server.append(5_000);
    const before = await life.take(1);
    await server.manager.streams.purge(STREAM);
    const rest = await life.takeAll();
    expect(before.length + rest.length + life.source.lost).toBe(5_000);
    expect(life.source.lost).toBeGreaterThan(0);
    await server.append(3);
    expect(idsOf(await life.take(3))).toEqual(["5001", "5002", "5003"]);
  });

  test("that others use as well says how many at most are lost", async () => {
    await server.manager.streams.update(STREAM, { subjects: [SUBJECT, "other"] });
    await using life = await inputOf(server.port).open();
    await life.takeAll();
    const readBefore = life.source.lost;
    await server.append(10, undefined, "other");
    await server.append(10);
    await life.take(10);
    expect([readBefore, life.source.lost]).toEqual([0, 0]);
    await server.append(5, undefined, "other");
    await server.manager.streams.purge(STREAM);
    await server.append(1);
    await life.take(1);
    expect(life.source.lost).toBe(5);
    expect(life.said.lines.find((line) => line.includes("dropped messages"))).toContain(
      '"count":"at most 5"',
    );
  });

  test("that is deleted and made again is read from its beginning, under ids of its own", async () => {
    await using life = await inputOf(server.port).open();
    await server.append(10);
    const old = await life.takeAll();
    await life.use(old.slice(0, 5));
    await server.manager.streams.delete(STREAM);
    await server.makeStream();
    await server.append(3, (at) => `{"new":${at}}`);
    const read = await life.take(3);
    expect(idsOf(read)).toEqual(["1:1", "1:2", "1:3"]);
    expect(life.said.count("warn the stream was deleted and made again")).toBe(1);
    // A commit of both lives.
    await life.use([...old.slice(5), ...read], ["9", "1:2"]);
    await using next = await inputOf(server.port).open();
    expect(idsOf(await next.takeAll())).toEqual(["1:2"]);
  });

  test("that is deleted and made again while nobody reads is noticed at the next start", async () => {
    const first = await inputOf(server.port).open();
    await server.append(10);
    await first.use(await first.takeAll());
    await first[Symbol.asyncDispose]();
    await server.manager.streams.delete(STREAM);
    await server.makeStream();
    await server.append(20);
    await using second = await inputOf(server.port).open();
    expect(idsOf(await second.takeAll())).toEqual(upTo(20).map((id) => `1:${id}`));
  });

  test("that is gone is waited for, and made where that is asked for", async () => {
    await using life = await inputOf(server.port, "&create=true").open();
    await life.takeAll();
    await server.manager.streams.delete(STREAM);
    const reading = life.take(1);
    await eventually("made", async () =>
      server.manager.streams.info(STREAM).then(
        () => true,
        () => false,
      ),
    );
    await server.append(1);
    expect(idsOf(await reading)).toEqual(["1:1"]);
  });
});

describe("a server", () => {
  test("that is killed and comes back is read on, and its streams are as they were", async () => {
    await using life = await inputOf(server.port).open();
    await server.append(500);
    const read: Delivery[] = await life.takeAll();
    await life.use(read.slice(0, 200));
    const rest = life.take(300);
    await server.kill();
    await eventually("noticed", () => life.said.count("warn lost the connection") === 1);
    await server.start();
    await server.append(300);
    read.push(...(await rest));
    expect(idsOf(read)).toEqual(upTo(800));
    expect(life.said.count("info connected to NATS again")).toBe(1);
    await life.use(read);
    await using next = await inputOf(server.port).open();
    expect(await next.takeAll()).toEqual([]);
  });

  test("that cannot be asked lets no time pass", async () => {
    await using cable = await Cable.to(server.port);
    await using life = await inputOf(cable.port).open();
    await life.takeAll();
    cable.fate = () => "lose";
    cable.cut();
    await eventually("noticed", () => life.said.count("warn lost the connection") === 1);
    let answered = false;
    const reading = life.next().finally(() => (answered = true));
    // It would say so twice a second.
    await eventually("a second passed", hasPassed(1_200));
    expect(answered).toBe(false);
    expect(await life.source.lag()).toBeUndefined();
    cable.fate = () => "pass";
    expect((await reading)?.kind).toBe("caught_up");
  });

  test("to which the line is cut again and again is read to the end", async () => {
    await server.append(3_000);
    await using cable = await Cable.to(server.port);
    await using life = await inputOf(cable.port).open();
    const read: Delivery[] = [];
    for (let cuts = 0; read.length < 3_000;) {
      const reading = await life.next();
      if (reading?.kind !== "deliveries") continue;
      read.push(...reading.deliveries);
      if (cuts >= 8) continue;
      // In the middle of whatever is being sent.
      cable.cut();
      cuts += 1;
    }
    expect(idsOf(read)).toEqual(upTo(3_000));
  });

  test("that is slow is read to the end, and committed meanwhile", async () => {
    await server.append(800, (at) => `${at}`.padEnd(2_000));
    await using line = await SlowLine.to(server.port, 250_000);
    await using life = await inputOf(line.port).open();
    const first = await life.take(300);
    await life.use(first);
    expect(idsOf([...first, ...(await life.take(800 - first.length))])).toEqual(upTo(800));
    expect(life.said.lines).toEqual([]);
  });

  test("that stops without a word is noticed", async () => {
    await using other = await NatsServer.start();
    await other.makeStream();
    await using life = await inputOf(other.port).open();
    await life.takeAll();
    other.signal("SIGSTOP");
    const waiting = life.next();
    await eventually("noticed", () => life.said.count("warn lost the connection") === 1, 40_000);
    other.signal("SIGCONT");
    expect((await waiting)?.kind).toBe("caught_up");
  });
});

describe("a newer process", () => {
  const ended = async (life: Life) => {
    for (;;) await life.next();
  };

  test("takes over: the older one ends, and its commits are refused", async () => {
    await server.append(10);
    await using older = await inputOf(server.port).open();
    const read = await older.takeAll();
    const end = ended(older).catch((error: unknown) => error);
    await using newer = await inputOf(server.port).open();
    expect(await end).toMatchObject({ code: "BEHEST_STATE_REPLACED" });
    await expect(older.use(read)).rejects.toMatchObject({ code: "BEHEST_STATE_REPLACED" });
    expect(await newer.takeAll()).toEqual(read);
    expect((await server.consumer()).num_ack_pending).toBe(10);
    await server.append(1);
    expect(idsOf(await newer.take(1))).toEqual(["11"]);
  });

  test("misses nothing, however the two of them take turns", async () => {
    let expected = 0;
    let life = await inputOf(server.port).open();
    const used = new Set<string>();
    for (let round = 0; round < 10; round += 1) {
      await server.append(50);
      expected += 50;
      const older = life;
      const reading = ended(older).catch((error: unknown) => error);
      const next = inputOf(server.port);
      const [opened] = await Promise.all([next.open(), server.append(50)]);
      expected += 50;
      life = opened;
      const read = await life.takeAll();
      expect(await reading).toMatchObject({ code: "BEHEST_STATE_REPLACED" });
      await older[Symbol.asyncDispose]();
      await life.use(read);
      for (const id of idsOf(read)) {
        expect(used.has(id), `${id} is committed once`).toBe(false);
        used.add(id);
      }
    }
    await life[Symbol.asyncDispose]();
    expect(used.size).toBe(expected);
  });
});

test("thirty lives that are closed, with kills of the server, lose nothing and commit nothing twice", async () => {
  const seed = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);
  const random = randomFrom(seed);
  const committed: string[] = [];
  /** Commits that failed, after which nobody knows: the next life sees whether they came about. */
  let doubtful: { readonly position: string; readonly ids: readonly string[] }[] = [];
  const open = async () => {
    const life = await inputOf(server.port).open();
    const position = life.records.get("position");
    committed.push(...(doubtful.find((one) => one.position === position)?.ids ?? []));
    doubtful = [];
    return life;
  };
  let appended = 0;
  for (let kill = 0; kill < 30; kill += 1) {
    const life = await open();
    const waiting: Delivery[] = [];
    for (let step = random(6); step > 0; step -= 1) {
      await server.append(50);
      appended += 50;
      waiting.push(...(await life.take(1)));
      const restarting = random(4) === 0 ? server.restart() : undefined;
      if (random(2) === 0) {
        await restarting;
        continue;
      }
      const unused = idsOf(waiting).filter(() => random(5) === 0);
      const ids = idsOf(waiting).filter((id) => !unused.includes(id));
      const position = life.source.positionOf(waiting.at(-1)!.id, unused);
      try {
        await life.use(waiting, unused);
      } catch (error) {
        expect(error, `SEED=${seed}`).toMatchObject({ code: "BEHEST_STATE_COMMIT" });
        doubtful.push({ position, ids });
        continue;
      } finally {
        await restarting;
      }
      doubtful = [];
      committed.push(...ids);
      waiting.splice(0, Infinity, ...waiting.filter(({ id }) => unused.includes(id)));
    }
    await life[Symbol.asyncDispose]();
  }
  await using last = await open();
  committed.push(...idsOf(await last.takeAll()));
  const sorted = committed.map(Number).toSorted((a, b) => a - b);
  expect(sorted, `SEED=${seed}`).toEqual(upTo(appended).map(Number));
});

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

function hasPassed(ms: number): () => boolean {
  const start = Date.now();
  return () => Date.now() - start >= ms;
}

/** A way to the server on which data takes its time. */
class SlowLine {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(listening: Server) {
    this.#server = listening;
    this.port = (listening.address() as AddressInfo).port;
  }

  static async to(target: number, bytesPerSecond: number): Promise<SlowLine> {
    const listening = createServer();
    await new Promise<void>((resolve) => {
      listening.listen(0, "127.0.0.1", resolve);
    });
    const line = new SlowLine(listening);
    listening.on("connection", (near) => {
      const far = connect(target, "127.0.0.1");
      for (const socket of [near, far]) {
        line.#sockets.add(socket.on("error", () => {}));
        socket.on("close", () => [near, far].forEach((one) => one.destroy()));
      }
      near.pipe(far);
      void (async () => {
        for await (const data of far.iterator({ destroyOnReturn: false })) {
          near.write(data as Buffer);
          await after(((data as Buffer).length / bytesPerSecond) * 1_000);
        }
      })().catch(() => {});
    });
    return line;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }
}
