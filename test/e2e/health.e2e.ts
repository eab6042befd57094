import { afterEach, beforeEach, expect, onTestFailed, test } from "vitest";

import { SEED, seeded } from "../bridge/seeded.ts";
import * as wire from "../bridge/wire-runs.ts";
import type { Started } from "../cli/program.ts";
import { Backend, startBridge, type Weather } from "./crash.ts";
import { startRedis, type RedisBroker } from "./redis-broker.ts";
import { eventually } from "./running.ts";

let broker: RedisBroker;
let backend: Backend;
let bridge: Started | undefined;
let weather: Weather;
beforeEach(async () => {
  broker = await startRedis();
  weather = "fine";
  backend = await Backend.start(seeded(SEED));
  backend.weather = () => weather;
});
afterEach(async () => {
  broker.server.signal("SIGCONT");
  bridge?.child.kill("SIGKILL");
  await backend[Symbol.asyncDispose]();
  await broker[Symbol.asyncDispose]();
});

interface Status {
  readonly signals: Readonly<Record<"traces" | "metrics", { readonly phase: string }>>;
  readonly sources: readonly Readonly<Record<string, unknown>>[];
}

/** What the bridge says of itself: whether it lives, whether it is ready, and why. */
interface Said {
  readonly live: number;
  readonly ready: number;
  readonly traces: string;
  readonly source: Readonly<Record<string, unknown>>;
}

/** A running bridge on Redis, asked for its health. */
async function begin(): Promise<() => Promise<Said>> {
  const args = ["--health", "127.0.0.1:0", "--commit-interval", "100ms", "--reorder-window", "0"];
  const life = startBridge({ from: broker.from("behest-otel"), otlp: backend.url, args });
  bridge = life;
  onTestFailed(() => console.error(life.stderr));
  await life.says("taking events from");
  const [, base = ""] = /(http:\/\/[^/]+)\/healthz/.exec(life.stderr) ?? [];
  return async () => {
    const [live, ready] = await Promise.all([fetch(`${base}/healthz`), fetch(`${base}/readyz`)]);
    await live.arrayBuffer();
    const { signals, sources } = (await ready.json()) as Status;
    return { live: live.status, ready: ready.status, traces: signals.traces.phase, source: sources[0] ?? {} };
  };
}

/** Publishes runs and gives how many events they were. */
async function publish(from: number, count: number): Promise<number> {
  const runs = Array.from({ length: count }, (_, index) => wire.standardRun(from + index));
  const lines = runs.flatMap((run) => wire.linesOf(run));
  for (let at = 0; at < lines.length; at += 2_000) await broker.publish(lines.slice(at, at + 2_000));
  return lines.length;
}

const allIsTaken = () =>
  eventually("all is acknowledged", async () => (await broker.left("behest-otel")) === 0, 60_000);

const FINE = { waitsFor: "source", reachable: true, written: true };

test("a backend that is away is told from a source that hangs, and both from a bridge that has nothing to do", async () => {
  const ask = await begin();
  await publish(1, 1);
  await allIsTaken();
  expect(await ask()).toMatchObject({ live: 200, ready: 200, source: FINE });
  expect((await ask()).traces).not.toBe("retrying");

  // With little to send the source is still read.
  weather = "unavailable";
  await publish(2, 1);
  await eventually("it is tried again", async () => (await ask()).traces === "retrying");
  expect(await ask()).toMatchObject({ live: 200, ready: 200, traces: "retrying", source: FINE });

  // With more it is held up, for as long as the backend is away, and not to blame.
  await publish(3, 330);
  await eventually("nothing more is read", async () => {
    const { source } = await ask();
    return source["waitsFor"] === "export" && Number(source["forSeconds"]) > 2;
  });
  expect(await ask()).toMatchObject({
    live: 200,
    ready: 200,
    traces: "retrying",
    source: { waitsFor: "export", reachable: true },
  });
  weather = "fine";
  await allIsTaken();
  await eventually("it is waited for the source", async () => (await ask()).source["waitsFor"] === "source");
  expect(await ask()).toMatchObject({ live: 200, ready: 200, source: FINE });
  expect((await ask()).traces).not.toBe("retrying");

  broker.server.signal("SIGSTOP");
  const isReachable = async () => (await ask()).source["reachable"];
  await eventually("the source is out of reach", async () => !(await isReachable()), 60_000);
  const stuck = await ask();
  expect(stuck).toMatchObject({ live: 200, ready: 503, source: { waitsFor: "source", reachable: false } });
  expect(Number(stuck.source["forSeconds"])).toBeGreaterThan(30);
  expect(stuck.traces).not.toBe("retrying");
  broker.server.signal("SIGCONT");
  await eventually("it is ready again", async () => (await ask()).ready === 200);
  await publish(400, 1);
  await allIsTaken();
  expect(await ask()).toMatchObject({ live: 200, ready: 200, source: FINE });
  expect(backend.faults).toEqual([]);
});
