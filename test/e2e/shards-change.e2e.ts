import { describe, expect, onTestFailed, test } from "vitest";

import { SEED, seeded } from "../bridge/seeded.ts";
import * as wire from "../bridge/wire-runs.ts";
import { Backend, startBridge, type Broker } from "./crash.ts";
import { startNats } from "./nats-broker.ts";
import { startRedis } from "./redis-broker.ts";
import { eventually } from "./running.ts";

const RUNS = 24;
const EVENTS = wire.linesOf(wire.standardRun(0)).length;

function linesFrom(n: number): string[] {
  return Array.from({ length: RUNS }, (_, index) => wire.linesOf(wire.standardRun(n + index))).flat();
}

/** Shards that are all there, and how to stop them. */
async function begin(from: string, count: number, backend: Backend): Promise<() => Promise<void>> {
  const shards = Array.from({ length: count }, (_, index) =>
    startBridge({
      from,
      otlp: backend.url,
      args: ["--commit-interval", "100ms", "--reorder-window", "0", "--shard", `${index}/${count}`],
    }),
  );
  onTestFailed(() => shards.forEach(({ child, stderr }) => child.kill("SIGKILL") && console.error(stderr)));
  await Promise.all(shards.map((shard) => shard.says("taking events from")));
  return async () => {
    for (const { child } of shards) child.kill("SIGTERM");
    for (const { status, stderr } of await Promise.all(shards.map(({ ended }) => ended))) {
      expect(status, stderr).toBe(0);
    }
  };
}

/** Waits as docs/delivery.md says, for what everybody can see. */
async function drained(backend: Backend, received: number): Promise<void> {
  const total = (metric: string) => backend.total(metric);
  await eventually("no run is open and nothing is left to be read", () => {
    const open = total("behest.run.active") + total("behest.bridge.source.lag");
    return open === 0 && total("behest.bridge.events.received") === received;
  });
}

describe.each<[string, () => Promise<Broker>, string, number]>([
  // A new group begins where the old one ended, a new durable at the beginning of the stream.
  ["Redis", startRedis, "&start=new", 0],
  ["NATS JetStream", () => startNats(), "", RUNS],
])("on %s,", (_, start, anew, again) => {
  test("from two shards to three by the steps of docs/delivery.md: every run once, no span another one", async () => {
    await using broker = await start();
    await using backend = await Backend.start(seeded(SEED));
    const stopTwo = await begin(broker.from("two"), 2, backend);
    await broker.publish(linesFrom(1));
    await drained(backend, RUNS * EVENTS);
    await stopTwo();
    expect([backend.instances.length, backend.spans.size]).toEqual([2, RUNS * wire.standardSpans()]);

    const stopThree = await begin(`${broker.from("three")}${anew}`, 3, backend);
    await broker.publish(linesFrom(1 + RUNS));
    await drained(backend, (2 * RUNS + again) * EVENTS);
    await stopThree();
    expect(backend.instances).toHaveLength(5);
    expect(backend.spans.size).toBe(2 * RUNS * wire.standardSpans());
    expect(backend.twins).toBe(again * wire.standardSpans());
    expect(backend.total("behest.run.ended")).toBe(2 * RUNS + again);
    expect(backend.faults).toEqual([]);
  });
});
