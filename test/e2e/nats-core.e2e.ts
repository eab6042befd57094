import { readFileSync } from "node:fs";
import { join } from "node:path";

import { headers } from "@nats-io/transport-node";
import { afterAll, beforeAll, expect, test } from "vitest";

import { systemClock } from "../../src/clock.ts";
import { natsCoreSource } from "../../src/source/nats/core.ts";
import { parseNatsSpec } from "../../src/source/nats/spec.ts";
import type { Delivery } from "../../src/source/source.ts";
import { NatsServer, textsOf } from "./nats-server.ts";
import { Said } from "./redis-server.ts";
import { eventually } from "./running.ts";

let server: NatsServer;
beforeAll(async () => {
  // No JetStream.
  server = await NatsServer.start("");
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

async function listening(more = "", limits: { maxWaiting?: number; maxWaitingBytes?: number } = {}) {
  const spec = parseNatsSpec(new URL(`nats://127.0.0.1:${server.port}?mode=core${more}`));
  if (typeof spec === "string") throw new Error(spec);
  const said = new Said();
  const options = { clock: systemClock, log: said.log, env: {}, random: Math.random, ...limits };
  const source = natsCoreSource(spec, options);
  const ending = new AbortController();
  await source.open();
  const take = async (count: number) => {
    const taken: Delivery[] = [];
    while (taken.length < count) {
      const reading = await source.next(ending.signal);
      if (reading === undefined) throw new Error("the source ended");
      if (reading.kind === "deliveries") taken.push(...reading.deliveries);
    }
    return taken;
  };
  return {
    source,
    said,
    take,
    next: async () => source.next(ending.signal),
    [Symbol.asyncDispose]: async () => source.close(),
  };
}

const RUN = "behest.rt.run.0190b2a4-0000-7000-8000-000000000001";

test("what the rooms of all runs say is read as it was sent, with the time it came at", async () => {
  const recording = join(import.meta.dirname, "../fixtures/recordings/0.5.9/nats-run/parallel-tools.ndjson");
  const lines = readFileSync(recording, "utf8").trimEnd().split("\n");
  await using live = await listening();
  const before = Date.now();
  for (const line of lines) server.connection.publish(RUN, line);
  // The session's room has the same once more.
  for (const line of lines) server.connection.publish("behest.rt.session.x", line);
  const read = await live.take(lines.length);
  expect(textsOf(read)).toEqual(lines);
  expect(new Set(read.map(({ id }) => id)).size).toBe(lines.length);
  for (const { appendedMs } of read) {
    expect(appendedMs).toBeGreaterThanOrEqual(before);
    expect(appendedMs).toBeLessThanOrEqual(Date.now());
  }
  expect((await live.next())?.kind).toBe("caught_up");
});

test("headers name the agent and the parent", async () => {
  await using live = await listening("&subject=events");
  const said = headers();
  said.append("Behest-Agent", "a");
  server.connection.publish("events", "{}", { headers: said });
  const [delivery] = await live.take(1);
  expect(delivery).toMatchObject({ outside: { agent: "a" } });
});

test("at the start it says once that nothing is kept", async () => {
  server.connection.publish(RUN, "too early");
  await server.connection.flush();
  await using live = await listening();
  server.connection.publish(RUN, "in time");
  expect(textsOf(await live.take(1))).toEqual(["in time"]);
  expect(live.said.lines.filter((line) => line.includes("core NATS keeps nothing"))).toHaveLength(1);
});

test.each([
  ["events", { maxWaiting: 3 }, "x"],
  ["bytes", { maxWaitingBytes: 30 }, "x".repeat(10)],
])("what is too many %s while nobody asks is dropped, counted and told", async (_, limits, text) => {
  await using live = await listening("", limits);
  for (let count = 0; count < 3; count += 1) server.connection.publish(RUN, text);
  await server.connection.flush();
  await eventually("arrived", async () => live.source.lost === 0);
  server.connection.publish(RUN, text);
  await eventually("dropped", () => live.source.lost === 1);
  expect(live.said.count("error events come faster than they are taken")).toBe(1);
  expect(await live.take(3)).toHaveLength(3);
  server.connection.publish(RUN, text);
  expect(await live.take(1)).toHaveLength(1);
  expect(live.source.lost).toBe(1);
});

test("a lost connection is told, lets no time pass, and is made again", async () => {
  await using live = await listening();
  expect((await live.next())?.kind).toBe("caught_up");
  await server.kill();
  await eventually("noticed", () => live.said.count("warn lost the connection") === 1);
  let answered = false;
  const reading = live.next().finally(() => (answered = true));
  const start = Date.now();
  await eventually("a second passed", () => Date.now() - start > 1_100);
  expect(answered).toBe(false);
  await server.start();
  expect((await reading)?.kind).toBe("caught_up");
  // The server may hear of us a little later than of what is published.
  const heard: string[] = [];
  const taking = live.take(1).then((deliveries) => heard.push(...textsOf(deliveries)));
  await eventually("heard", () => {
    server.connection.publish(RUN, "again");
    return heard.length > 0;
  });
  await taking;
  expect(new Set(heard)).toEqual(new Set(["again"]));
});

test("a subject that may not be listened to is refused at the start", async () => {
  await using guarded = await NatsServer.start(
    `authorization { users = [
      { user: u, password: p, permissions: { subscribe: ["_INBOX.>"] } }
    ] }`,
    { user: "u", pass: "p" },
  );
  const spec = parseNatsSpec(new URL(`nats://u:p@127.0.0.1:${guarded.port}?mode=core`));
  if (typeof spec === "string") throw new Error(spec);
  const options = { clock: systemClock, log: new Said().log, env: {}, random: Math.random };
  const refused = {
    code: "BEHEST_SOURCE_OPEN",
    message: expect.stringContaining("Permissions Violation"),
  };
  await expect(natsCoreSource(spec, options).prepare()).rejects.toMatchObject(refused);
  await expect(natsCoreSource(spec, options).open()).rejects.toMatchObject(refused);
});
