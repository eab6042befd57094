import { afterEach, beforeEach, describe, expect, onTestFailed, test } from "vitest";

import { SEED, seeded } from "../bridge/seeded.ts";
import * as wire from "../bridge/wire-runs.ts";
import type { Started } from "../cli/program.ts";
import { Backend, startBridge } from "./crash.ts";
import { startNats, type NatsBroker } from "./nats-broker.ts";
import { BUCKET } from "./nats-server.ts";
import { eventually } from "./running.ts";

const GROUP = "behest-otel";
const BALLAST = "BALLAST";
const MIB = 1024 * 1024;

let broker: NatsBroker;
let backend: Backend;
const bridges: Started[] = [];
beforeEach(async () => {
  broker = await startNats(`jetstream { max_file_store: ${64 * MIB} }`);
  backend = await Backend.start(seeded(SEED));
});
afterEach(async () => {
  for (const { child } of bridges.splice(0)) child.kill("SIGKILL");
  await backend[Symbol.asyncDispose]();
  await broker[Symbol.asyncDispose]();
});

const RUNS = 20;
const SPANS = RUNS * wire.standardSpans();
/** Long enough for a lot to be read and decided between two commits. */
const COMMITS = ["--commit-interval", "1500ms", "--reorder-window", "0s"];

function begin(): Started {
  const bridge = startBridge({ from: broker.from(GROUP), otlp: backend.url, args: COMMITS });
  bridges.push(bridge);
  onTestFailed(() => console.error(bridge.stderr));
  return bridge;
}

async function endOf(bridge: Started) {
  bridge.child.kill("SIGTERM");
  return bridge.ended;
}

function linesFrom(n: number): string[] {
  return Array.from({ length: RUNS }, (_, index) => wire.linesOf(wire.standardRun(n + index))).flat();
}

const left = () => broker.left(GROUP);
const errorsOf = ({ stderr }: Started) => stderr.split(" ERROR ").length - 1;

async function bucketBytes(): Promise<number> {
  return (await broker.server.manager.streams.info(BUCKET)).state.bytes;
}

/** Leaves the server no room for anything. */
async function fillServer(): Promise<void> {
  const { manager, jetstream } = broker.server;
  await manager.streams.add({ name: BALLAST, subjects: ["ballast"], storage: "file" });
  for (const size of [MIB / 2, 50_000, 1_000]) {
    const part = new Uint8Array(size);
    while (
      await jetstream.publish("ballast", part).then(
        () => true,
        () => false,
      )
    );
  }
}

describe.each([
  {
    trouble: "a bucket at its limit",
    word: /maximum bytes exceeded/,
    begins: async () => {
      await broker.server.manager.streams.update(BUCKET, { max_bytes: (await bucketBytes()) + 100 });
    },
    ends: () => broker.server.manager.streams.update(BUCKET, { max_bytes: -1 }),
  },
  {
    trouble: "a server that is full",
    word: /insufficient|resource|storage/,
    begins: fillServer,
    ends: () => broker.server.manager.streams.delete(BALLAST),
  },
])("$trouble", ({ word, begins, ends }) => {
  /** Runs are read and decided, and the next commit is refused. */
  async function refused(bridge: Started): Promise<readonly unknown[]> {
    await broker.publish(linesFrom(1));
    await eventually("the first ones are committed", async () => (await left()) === 0);
    await eventually("they are counted", () => backend.total("behest.run.ended") === RUNS);
    await broker.publish(linesFrom(1 + RUNS));
    await begins();
    await bridge.says("ERROR the state cannot be written, nothing is acknowledged");
    const stands = await standing();
    expect(stands).toEqual([linesFrom(1 + RUNS).length, 0, RUNS]);
    return stands;
  }

  /** What is not acknowledged, what is not handed out, and what is counted. */
  async function standing(): Promise<readonly unknown[]> {
    const { num_pending } = await broker.server.consumer(GROUP);
    return [await left(), num_pending, backend.total("behest.run.ended")];
  }

  test("is told of once; nothing is acknowledged, and everything when it is mended", async () => {
    const bridge = begin();
    await bridge.says("taking events from");
    const before = await refused(bridge);
    const from = backend.readings;
    await eventually("the metrics go on", () => backend.readings >= from + 10);
    expect(await standing()).toEqual(before);
    expect(/ERROR the state cannot be written.*/.exec(bridge.stderr)?.[0]).toMatch(word);
    expect(errorsOf(bridge)).toBe(1);

    await ends();
    await eventually("everything is acknowledged", async () => (await left()) === 0);
    await bridge.says("the state is written again");
    const { status, stderr } = await endOf(bridge);
    expect(status, stderr).toBe(0);
    expect(errorsOf(bridge)).toBe(1);
    expect(backend.total("behest.run.ended")).toBe(2 * RUNS);
    expect([backend.spans.size, backend.faults]).toEqual([2 * SPANS, []]);
  });

  test("makes a bridge that is stopped end with status 1; the next one goes on where it was", async () => {
    const bridge = begin();
    await bridge.says("taking events from");
    const before = await refused(bridge);
    const { status, stderr } = await endOf(bridge);
    expect(status, stderr).toBe(1);
    expect(stderr).toContain("not everything was delivered");
    expect(await left()).toBe(before[0]);

    await ends();
    const next = begin();
    await eventually("everything is acknowledged", async () => (await left()) === 0);
    await eventually("it is counted", () => backend.total("behest.run.ended") === 2 * RUNS);
    expect((await endOf(next)).status).toBe(0);
    expect(backend.total("behest.bridge.events.received")).toBe(2 * linesFrom(1).length);
    expect([backend.spans.size, backend.faults]).toEqual([2 * SPANS, []]);
  });
});
