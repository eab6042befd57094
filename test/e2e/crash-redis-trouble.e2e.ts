import { afterEach, beforeEach, describe, expect, onTestFailed, test } from "vitest";

import { SEED, seeded } from "../bridge/seeded.ts";
import type { Started } from "../cli/program.ts";
import * as wire from "../bridge/wire-runs.ts";
import { Backend, startBridge } from "./crash.ts";
import { startRedis, type RedisBroker } from "./redis-broker.ts";
import { freePort, STREAM } from "./redis-server.ts";
import { eventually } from "./running.ts";

const GROUP = "behest-otel";

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
    // Somebody has to do something about it.
    reading: "ERROR Redis refuses to be read, trying again",
    begins: () => broker.server.ask("CONFIG", "SET", "maxmemory", "1"),
    ends: () => broker.server.ask("CONFIG", "SET", "maxmemory", "0"),
  },
  {
    trouble: "becomes a replica",
    word: /READONLY|replica/,
    reading: "WARN  Redis cannot be read, trying again",
    begins: async () => broker.server.ask("REPLICAOF", "127.0.0.1", String(await freePort())),
    ends: () => broker.server.ask("REPLICAOF", "NO", "ONE"),
  },
])("a Redis that $trouble", ({ word, reading, begins, ends }) => {
  /** Just after a commit, runs are read and decided; the next commit is refused. */
  async function refused(bridge: Started): Promise<readonly unknown[]> {
    await broker.publish(linesFrom(1));
    await leftIs(0);
    // While nobody can say whose the state is, nothing more is told of what is counted.
    await eventually("it is counted", () => backend.total("behest.run.ended") === RUNS);
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
    const bridge = begin("--health", "127.0.0.1:0", ...COMMITS);
    await bridge.says("/healthz");
    const [, base = ""] = /(http:\/\/\S+)\/healthz/.exec(bridge.stderr) ?? [];
    const before = await refused(bridge);
    await readings(10);
    expect(await standing()).toEqual(before);
    expect(/ERROR the state cannot be written.*/.exec(bridge.stderr)?.[0]).toMatch(word);
    expect(new RegExp(`${reading}.*`).exec(bridge.stderr)?.[0]).toMatch(word);
    const told = [countOf(bridge, " ERROR "), countOf(bridge, " WARN ")];
    const isGrave = reading.startsWith("ERROR");
    expect(told).toEqual(isGrave ? [2, 0] : [1, 1]);
    const ready = await fetch(`${base}/readyz`);
    const [source] = ((await ready.json()) as { sources: readonly Record<string, unknown>[] }).sources;
    expect([ready.status, source?.["written"]]).toEqual([503, false]);
    expect(source?.["refusal"]).toEqual(isGrave ? expect.stringMatching(word) : undefined);

    await ends();
    await leftIs(0);
    await bridge.says("the state is written again");
    const { status, stderr } = await endOf(bridge);
    expect(status, stderr).toBe(0);
    expect([countOf(bridge, " ERROR "), countOf(bridge, " WARN ")]).toEqual(told);
    expect(backend.total("behest.run.ended")).toBe(2 * RUNS);
    expect([backend.spans.size, backend.faults]).toEqual([2 * SPANS, []]);
  });

  test("makes a bridge that is stopped end with status 1; the next one goes on where it was", async () => {
    const bridge = begin(...COMMITS);
    const before = await refused(bridge);
    const { status, stderr } = await endOf(bridge);
    expect(status, stderr).toBe(1);
    expect(stderr).toContain("not everything was delivered; the rest was not acknowledged");
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
