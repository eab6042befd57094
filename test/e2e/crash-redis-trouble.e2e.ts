import { setTimeout as after } from "node:timers/promises";

import { afterEach, beforeEach, describe, expect, onTestFailed, test } from "vitest";

import { valuesBy } from "../bridge/served-metrics.ts";
import { SEED, seeded } from "../bridge/seeded.ts";
import type { Started } from "../cli/program.ts";
import * as wire from "../bridge/wire-runs.ts";
import { Backend, startBridge } from "./crash.ts";
import { startRedis, type RedisBroker } from "./redis-broker.ts";
import { freePort, STREAM } from "./redis-server.ts";
import { eventually } from "./running.ts";

const GROUP = "behest-otel";
const MINUTE_MS = 60_000;

let broker: RedisBroker;
let backend: Backend;
const bridges: Started[] = [];
beforeEach(async () => {
  broker = await startRedis();
  backend = await Backend.start(seeded(SEED));
});
afterEach(async () => {
  for (const { child } of bridges.splice(0)) child.kill("SIGKILL");
  await backend[Symbol.asyncDispose]();
  await broker[Symbol.asyncDispose]();
});

function begin(...args: string[]): Started {
  const bridge = startBridge({
    from: broker.from(GROUP),
    otlp: backend.url,
    args: ["--commit-interval", "100ms", ...args],
  });
  bridges.push(bridge);
  onTestFailed(() => console.error(bridge.stderr));
  return bridge;
}

async function endOf(bridge: Started, signal: NodeJS.Signals = "SIGTERM") {
  bridge.child.kill(signal);
  return bridge.ended;
}

async function leftIs(count: number): Promise<void> {
  await eventually(`${count} are left`, async () => (await broker.left(GROUP)) === count);
}

describe(`15 minutes of source time with runs open (SEED=${SEED})`, () => {
  const OF_EACH = 60;
  /** Of each run, the minutes in which something is heard of it; it ends with the last where it says so. */
  const KINDS = [
    { heard: [0, 4, 8, 12, 14], completes: true },
    // Expires in minute 10, and goes on.
    { heard: [0, 12, 14], completes: true },
    { heard: [0], completes: false },
    { heard: [0, 8], completes: false },
  ];

  /** What was appended in these minutes, with its minute in the ids. */
  function heardIn(startMs: number, minutes: (minute: number) => boolean): [id: string, line: string][] {
    const entries = KINDS.flatMap(({ heard, completes }, kind) =>
      Array.from({ length: OF_EACH }, (_, index) => {
        const run = wire.teller(kind * OF_EACH + index);
        return heard.map((minute) => {
          const atMs = startMs + minute * MINUTE_MS + index * 10;
          run.at = atMs - wire.ORIGIN_MS;
          const isLast = completes && minute === heard.at(-1);
          const event = minute === 0 ? wire.started(run) : isLast ? wire.completed(run) : wire.delta(run);
          return { minute, atMs, line: JSON.stringify(event) };
        });
      }).flat(),
    );
    return entries
      .filter(({ minute }) => minutes(minute))
      .toSorted((a, b) => a.atMs - b.atMs)
      .map(({ atMs, line }, index) => [`${atMs}-${index}`, line]);
  }

  async function append(entries: readonly (readonly [string, string])[]): Promise<void> {
    await Promise.all(entries.map(([id, line]) => broker.server.ask("XADD", STREAM, id, "event", line)));
  }

  const counted = () =>
    valuesBy(backend.counted, "behest.run.ended", ["behest.run.outcome", "behest.run.resumed"]);
  const ends = {
    "completed undefined": OF_EACH,
    "completed true": OF_EACH,
    "incomplete undefined": 2 * OF_EACH,
  };

  test("while the bridge was down: nothing expires that a live bridge would have kept", async () => {
    // A server's clock is not set by a test; but an append time may be ahead of it.
    const startMs = Date.now();
    const before = begin();
    await append(heardIn(startMs, (minute) => minute === 0));
    await leftIs(0);
    await eventually("the runs are open", () => backend.total("behest.run.active") === 4 * OF_EACH);
    await endOf(before, "SIGKILL");

    await append(heardIn(startMs, (minute) => minute > 0));
    // What it takes to know that the others are out of the reorder window.
    await append([[`${startMs + 15 * MINUTE_MS}-0`, JSON.stringify(wire.started(wire.teller(999)))]]);
    const bridge = begin();
    await leftIs(1);
    await eventually("it is counted", () => backend.total("behest.run.active") === OF_EACH);
    expect((await endOf(bridge)).status).toBe(0);
    expect(counted()).toEqual(ends);
    expect(backend.faults).toEqual([]);
  });

  test("read at once by a bridge that is killed on the way: the same", async () => {
    const random = seeded(SEED);
    const startMs = Date.now() - 16 * MINUTE_MS;
    await append(heardIn(startMs, () => true));
    for (let kill = 0; kill < 4; kill += 1) {
      const life = begin();
      await life.says("taking events from");
      await after(random() * 300);
      await endOf(life, "SIGKILL");
    }
    const bridge = begin();
    await leftIs(0);
    await eventually("it is counted", () => backend.total("behest.run.active") === OF_EACH);
    expect((await endOf(bridge)).status).toBe(0);
    expect(counted()).toEqual(ends);
    expect(backend.faults).toEqual([]);
  });
});

const RUNS = 20;
const SPANS = RUNS * wire.standardSpans();
/** Long enough for a lot to be read and decided between two commits. */
const COMMITS = ["--commit-interval", "1500ms", "--reorder-window", "0s"];

function linesFrom(n: number): string[] {
  return Array.from({ length: RUNS }, (_, index) => wire.linesOf(wire.standardRun(n + index))).flat();
}

async function commits(): Promise<unknown> {
  return broker.server.ask("HGET", `behest-otel:{${STREAM}}:${GROUP}:0`, "state commits");
}

/** Waits for so many metrics, several of them between two commits. */
async function readings(count: number): Promise<void> {
  const from = backend.readings;
  await eventually("the metrics go on", () => backend.readings >= from + count);
}

function countOf(bridge: Started, text: string): number {
  return bridge.stderr.split(text).length - 1;
}

describe.each([
  {
    trouble: "has no memory left",
    word: /OOM/,
    begins: () => broker.server.ask("CONFIG", "SET", "maxmemory", "1"),
    ends: () => broker.server.ask("CONFIG", "SET", "maxmemory", "0"),
  },
  {
    trouble: "becomes a replica",
    word: /READONLY|replica/,
    begins: async () => broker.server.ask("REPLICAOF", "127.0.0.1", String(await freePort())),
    ends: () => broker.server.ask("REPLICAOF", "NO", "ONE"),
  },
])("a Redis that $trouble", ({ word, begins, ends }) => {
  /** Just after a commit, runs are read and decided; the next commit is refused. */
  async function refused(bridge: Started): Promise<readonly unknown[]> {
    await broker.publish(linesFrom(1));
    await leftIs(0);
    const lines = linesFrom(1 + RUNS);
    await broker.publish(lines);
    await eventually("all are read", async () => (await broker.server.pending()) === lines.length);
    await begins();
    await bridge.says("ERROR the state cannot be written, nothing is acknowledged");
    await readings(2);
    const stands = await standing();
    expect(stands.slice(1)).toEqual([lines.length, RUNS]);
    return stands;
  }

  async function standing(): Promise<readonly unknown[]> {
    return [await commits(), await broker.left(GROUP), backend.total("behest.run.ended")];
  }

  test("is told of once; nothing is acknowledged, and everything when it is mended", async () => {
    const bridge = begin(...COMMITS);
    const before = await refused(bridge);
    await readings(10);
    expect(await standing()).toEqual(before);
    expect(/ERROR the state cannot be written.*/.exec(bridge.stderr)?.[0]).toMatch(word);
    expect(/WARN  Redis cannot be read, trying again.*/.exec(bridge.stderr)?.[0]).toMatch(word);
    expect([countOf(bridge, " ERROR "), countOf(bridge, " WARN ")]).toEqual([1, 1]);

    await ends();
    await leftIs(0);
    await bridge.says("the state is written again");
    const { status, stderr } = await endOf(bridge);
    expect(status, stderr).toBe(0);
    expect([countOf(bridge, " ERROR "), countOf(bridge, " WARN ")]).toEqual([1, 1]);
    expect(backend.total("behest.run.ended")).toBe(2 * RUNS);
    expect([backend.spans.size, backend.faults]).toEqual([2 * SPANS, []]);
  });

  test("makes a bridge that is stopped end with status 1; the next one goes on where it was", async () => {
    const bridge = begin(...COMMITS);
    const before = await refused(bridge);
    const { status, stderr } = await endOf(bridge);
    expect(status, stderr).toBe(1);
    expect(stderr).toContain("not everything was delivered");
    expect(await standing()).toEqual(before);

    await ends();
    const next = begin(...COMMITS);
    await leftIs(0);
    await eventually("it is counted", () => backend.total("behest.run.ended") === 2 * RUNS);
    expect((await endOf(next)).status).toBe(0);
    expect(backend.total("behest.bridge.events.received")).toBe(2 * linesFrom(1).length);
    expect([backend.spans.size, backend.faults]).toEqual([2 * SPANS, []]);
  });
});
