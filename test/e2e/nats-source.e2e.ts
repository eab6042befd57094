import { readFileSync } from "node:fs";
import { join } from "node:path";

import { headers } from "@nats-io/transport-node";
import { describe, expect, test } from "vitest";

import { BUCKET, idsOf, inputOf, NatsServer, STREAM, SUBJECT, textsOf, type Life } from "./nats-server.ts";
import { server } from "./one-nats.ts";
import { eventually } from "./running.ts";

describe("what is read", () => {
  test("comes in order of its sequences, with the time it was appended at", async () => {
    await server.makeStream();
    const before = Date.now();
    const ids = await server.append(1_234);
    await using life = await inputOf(server.port).open();
    const read = await life.takeAll();
    expect(idsOf(read)).toEqual(ids);
    expect(textsOf(read)).toEqual(ids.map((_, at) => `{"n":${at}}`));
    const { time } = (await server.manager.streams.getMessage(STREAM, { seq: 1_234 }))!;
    expect(read.at(-1)?.appendedMs).toBe(time.getTime());
    expect(read[0]!.appendedMs).toBeGreaterThanOrEqual(before);
    expect(read.map(({ appendedMs }) => appendedMs)).toEqual(
      read.map(({ appendedMs }) => appendedMs).toSorted((a, b) => a! - b!),
    );
  });

  test("has the bytes that the runtime's publishers wrote", async () => {
    const folder = join(import.meta.dirname, "../fixtures/recordings");
    const lines = ["0.2.2/nats", "0.5.9/nats", "0.5.9/nats-run"].flatMap((from) =>
      readFileSync(join(folder, from, "fifty-runs.ndjson"), "utf8")
        .trimEnd()
        .split("\n"),
    );
    await server.makeStream();
    await server.append(lines.length, (at) => lines[at]!);
    await using life = await inputOf(server.port).open();
    expect(textsOf(await life.takeAll())).toEqual(lines);
  });

  test("has the agent and the parent of its headers", async () => {
    await server.makeStream();
    const said = headers();
    said.append("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    said.append("Behest-Agent", "a");
    await server.jetstream.publish(SUBJECT, "{}", { headers: said });
    await using life = await inputOf(server.port).open();
    const [delivery] = await life.take(1);
    expect(delivery).toMatchObject({
      outside: { agent: "a", parent: { spanId: "b7ad6b7169203331", flags: 1 } },
    });
    expect(delivery!.payload.toString()).toBe("{}");
  });

  test("may be as large as the server takes, and empty", async () => {
    await server.makeStream();
    const sizes = Array.from({ length: 40 }, (_, at) => (at % 10 === 0 ? 0 : 1024 * 1024 - 1_000));
    await server.append(sizes.length, (at) => "x".repeat(sizes[at]!));
    await using life = await inputOf(server.port).open();
    expect((await life.takeAll()).map(({ payload }) => payload.length)).toEqual(sizes);
  });

  test("is what the subject says, of a stream that others use as well", async () => {
    await server.makeStream({ subjects: [SUBJECT, "other.*"] });
    const ids: string[] = [];
    for (let round = 0; round < 5; round += 1) {
      ids.push(...(await server.append(3)));
      await server.append(4, undefined, "other.x");
    }
    await using life = await inputOf(server.port).open();
    expect(idsOf(await life.takeAll())).toEqual(ids);
    expect(life.source.lost).toBe(0);
  });

  test("is not asked for when nobody asks", async () => {
    await server.makeStream();
    await server.append(5_000);
    await using life = await inputOf(server.port).open();
    await life.take(1);
    await eventually("a batch is here", async () => (await server.consumer()).num_ack_pending >= 512);
    expect((await server.consumer()).num_ack_pending).toBeLessThanOrEqual(3 * 512);
    expect(await life.source.lag()).toBeGreaterThan(5_000 - 3 * 512);
  });
});

describe("what is left", () => {
  test("is said by the server, and goes down as it is read", async () => {
    await server.makeStream();
    await server.append(3_000);
    await using life = await inputOf(server.port).open();
    const first = (await life.take(1)).length;
    expect(await life.source.lag()).toBe(3_000 - first);
    await life.takeAll();
    expect(await life.source.lag()).toBe(0);
  });

  test("is nothing at a time of the server that is behind every event before, and not ahead of the next", async () => {
    await server.makeStream();
    await using life = await inputOf(server.port).open();
    let latestMs = 0;
    for (let round = 0; round < 20; round += 1) {
      await server.append(1);
      const [delivery] = await life.take(1);
      expect(delivery!.appendedMs).toBeGreaterThanOrEqual(latestMs);
      const reading = await life.next();
      if (reading?.kind !== "caught_up") throw new Error("more came than was appended");
      expect(reading.nowMs).toBeGreaterThanOrEqual(delivery!.appendedMs!);
      latestMs = reading.nowMs!;
    }
  });

  test("is nothing although others have appended to the same stream", async () => {
    await server.makeStream({ subjects: [SUBJECT, "other"] });
    await server.append(2);
    await server.append(2, undefined, "other");
    await using life = await inputOf(server.port).open();
    expect(await life.takeAll()).toHaveLength(2);
    expect((await life.next())?.kind).toBe("caught_up");
  });
});

describe("a commit", () => {
  test("is when the server is told, and not before", async () => {
    await server.makeStream();
    await server.append(10);
    await using life = await inputOf(server.port).open();
    const read = await life.takeAll();
    expect((await server.consumer()).num_ack_pending).toBe(10);
    await life.use(read, ["3", "10"]);
    await eventually("acknowledged", async () => (await server.consumer()).num_ack_pending === 2);
    expect((await server.consumer()).ack_floor.stream_seq).toBe(2);
  });

  test("is where the next life begins: what was unused comes again, in the same order, with the same times", async () => {
    await server.makeStream();
    await server.append(1_000);
    const unused = ["3", "4", "700", "1000"];
    const first = inputOf(server.port);
    const read = await (await first.open()).takeAll();
    await first.use(read, unused);
    await first[Symbol.asyncDispose]();
    await server.append(1);
    await using second = await inputOf(server.port).open();
    const again = await second.takeAll();
    expect(idsOf(again)).toEqual([...unused, "1001"]);
    expect(again.slice(0, -1)).toEqual(read.filter(({ id }) => unused.includes(id)));
    expect(second.source.lost).toBe(0);
  });

  test("that never was leaves everything to the next life", async () => {
    await server.makeStream();
    await server.append(600);
    const first = await inputOf(server.port).open();
    const read = await first.takeAll();
    await first[Symbol.asyncDispose]();
    await using second = await inputOf(server.port).open();
    expect(await second.takeAll()).toEqual(read);
    expect([first.source.redelivered, second.source.redelivered]).toEqual([0, 600]);
  });

  test("counts even if no acknowledgement ever arrived", async () => {
    await server.makeStream();
    await server.append(20);
    const first = await inputOf(server.port).open();
    await first.use(await first.takeAll());
    await first[Symbol.asyncDispose]();
    await server.manager.consumers.delete(STREAM, "behest-otel");
    await using second = await inputOf(server.port).open();
    expect(await second.takeAll()).toEqual([]);
    expect(await second.source.lag()).toBe(0);
  });

  test("of one shard is none of another", async () => {
    await server.makeStream();
    await server.append(10);
    await using one = await inputOf(server.port, "", { shard: 0 }).open();
    await using other = await inputOf(server.port, "", { shard: 1 }).open();
    await one.use(await one.takeAll());
    expect(await other.takeAll()).toHaveLength(10);
    expect((await server.consumer("behest-otel-shard-1")).num_ack_pending).toBe(10);
  });
});

describe("a stream that keeps only what is wanted", () => {
  test.each(["interest", "workqueue"] as const)("(%s) loses nothing when a life ends", async (retention) => {
    await server.makeStream({ retention });
    const first = await inputOf(server.port).open();
    await server.append(10);
    await first.use(await first.take(10), ["4", "9"]);
    await first[Symbol.asyncDispose]();
    await server.append(2);
    await using second = await inputOf(server.port).open();
    const read = await second.takeAll();
    expect(idsOf(read)).toEqual(["4", "9", "11", "12"]);
    await second.use(read);
    const isEmpty = async () => (await server.manager.streams.info(STREAM)).state.messages === 0;
    await eventually("everything is let go", isEmpty);
    expect((await server.manager.streams.info(STREAM)).state.consumer_count).toBe(1);
    expect(second.source.lost).toBe(0);
  });
});

describe("opening", () => {
  test("makes the stream when asked to, which keeps a week on disk", async () => {
    await using life = await inputOf(server.port, "&create=true").open();
    const { config } = await server.manager.streams.info(STREAM);
    expect(config).toMatchObject({
      subjects: [SUBJECT],
      storage: "file",
      retention: "limits",
      discard: "old",
      max_age: 7 * 24 * 3_600 * 1e9,
      max_bytes: 4 * 1024 ** 3,
    });
    expect(life.said.count("info made a stream")).toBe(1);
    await server.append(1);
    expect(await life.take(1)).toHaveLength(1);
  });

  test("at once with others makes one stream and one state, for each that is asked to", async () => {
    const shards = [0, 1, 2, 3];
    for (let round = 0; round < 200; round += 1) {
      const lives = shards.map((shard) => inputOf(server.port, "&create=true", { shard }));
      // Each as the program does: it looks, and takes over.
      const begin = async (life: Life) => {
        await life.source.prepare();
        await life.store.peek("birth");
        await life.open();
      };
      await Promise.all(lives.map(begin));
      expect((await server.manager.streams.info(STREAM)).state.consumer_count).toBe(shards.length);
      const heads = await server.manager.streams.info(BUCKET, { subjects_filter: "$KV.*.*.head" });
      expect(Object.values(heads.state.subjects ?? {})).toEqual(shards.map(() => 1));
      await Promise.all(lives.map((life) => life[Symbol.asyncDispose]()));
      await server.clear();
    }
  });

  test("has the consumer that it says", async () => {
    await server.makeStream();
    await using life = await inputOf(server.port, "&durable=mine", { shard: 2 }).open();
    expect((await server.consumer("mine-shard-2")).config).toMatchObject({
      ack_policy: "explicit",
      max_ack_pending: 65_536,
      filter_subject: SUBJECT,
      deliver_policy: "by_start_sequence",
    });
    expect(life.source.name).toBe(`nats://127.0.0.1:${server.port}/${STREAM}/mine-shard-2`);
  });

  test.each([
    ["a stream that is not there", STREAM, "no such stream; make it, or add create=true"],
    ["a subject that is not of the stream", "OTHER", "the stream OTHER takes x and nothing of behest.events"],
  ])("refuses %s", async (_, stream, message) => {
    await server.manager.streams.add({ name: "OTHER", subjects: ["x"] });
    await using life = inputOf(server.port, "", { stream });
    await expect(life.open()).rejects.toMatchObject({
      code: expect.stringMatching(/^BEHEST_(SOURCE|STATE)_OPEN$/),
      message: expect.stringContaining(message),
    });
  });

  test("refuses a server without JetStream, and one that is not there", async () => {
    const life = inputOf(1);
    await expect(life.open()).rejects.toMatchObject({
      code: "BEHEST_SOURCE_OPEN",
      message: "nats://127.0.0.1:1: connection refused",
    });
    await using plain = await NatsServer.start("");
    await expect(inputOf(plain.port).open()).rejects.toMatchObject({
      message: expect.stringContaining("JetStream is off"),
    });
  });

  test("refuses a position of another kind of source", async () => {
    await server.makeStream();
    await using life = await inputOf(server.port).openStore();
    await expect(life.source.open("1234-0")).rejects.toMatchObject({ code: "BEHEST_SOURCE_OPEN" });
  });
});

describe("ending", () => {
  test("leaves no connection behind", async () => {
    await server.makeStream();
    const life = await inputOf(server.port).open();
    await server.append(3);
    const read = await life.takeAll();
    await life.source.close();
    // The last commit comes after the last reading.
    await life.use(read);
    await life.store.close();
    expect((await server.consumer()).ack_floor.stream_seq).toBe(3);
    expect(process.getActiveResourcesInfo().filter((one) => one === "TCPSocketWrap")).toHaveLength(1);
  });
});
