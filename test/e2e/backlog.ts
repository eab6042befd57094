import { setTimeout as after } from "node:timers/promises";

import { afterEach, beforeEach, describe, expect, onTestFailed, test } from "vitest";

import { SEED, seeded } from "../bridge/seeded.ts";
import { valuesBy } from "../bridge/served-metrics.ts";
import * as wire from "../bridge/wire-runs.ts";
import type { Started } from "../cli/program.ts";
import { Backend, startBridge, type Broker } from "./crash.ts";
import type { TimedLine } from "./live.ts";
import { eventually } from "./running.ts";

const GROUP = "behest-otel";
const MINUTE_MS = 60_000;
const OF_EACH = 60;
/** Of each run, the minutes in which something is heard of it; it ends with the last where it says so. */
const KINDS = [
  { heard: [0, 4, 8, 12, 14], completes: true },
  // Expires in minute 10, and goes on.
  { heard: [0, 12, 14], completes: true },
  { heard: [0], completes: false },
  { heard: [0, 8], completes: false },
];
const ENDS = {
  "completed undefined": OF_EACH,
  "completed true": OF_EACH,
  "incomplete undefined": 2 * OF_EACH,
};

/** A broker whose entries were appended when the test says so. */
export interface TimedBroker extends Pick<Broker, "from" | "left">, AsyncDisposable {
  readonly append: (entries: readonly TimedLine[]) => Promise<unknown>;
}

/** Runs that are open for 15 minutes of source time, most of which no bridge was there for. */
export function describeBacklog(name: string, start: () => Promise<TimedBroker>): void {
  describe(`15 minutes of source time with runs open on ${name} (SEED=${SEED})`, () => {
    let broker: TimedBroker;
    let backend: Backend;
    const bridges: Started[] = [];
    beforeEach(async () => {
      broker = await start();
      backend = await Backend.start(seeded(SEED));
    });
    afterEach(async () => {
      for (const { child } of bridges.splice(0)) child.kill("SIGKILL");
      await backend[Symbol.asyncDispose]();
      await broker[Symbol.asyncDispose]();
    });

    const begin = () => {
      const args = ["--commit-interval", "100ms"];
      const bridge = startBridge({ from: broker.from(GROUP), otlp: backend.url, args });
      bridges.push(bridge);
      onTestFailed(() => console.error(bridge.stderr));
      return bridge;
    };
    const endOf = async (bridge: Started, signal: NodeJS.Signals = "SIGTERM") => {
      bridge.child.kill(signal);
      return bridge.ended;
    };
    const leftIs = (count: number) =>
      eventually(`${count} are left`, async () => (await broker.left(GROUP)) === count);
    const openIs = (count: number) =>
      eventually(`${count} runs are open`, () => backend.total("behest.run.active") === count);
    const counted = () =>
      valuesBy(backend.counted, "behest.run.ended", ["behest.run.outcome", "behest.run.resumed"]);

    test("while the bridge was down: nothing expires that a live bridge would have kept", async () => {
      // A server's clock is not set by a test; but an append time may be ahead of it.
      const startMs = Date.now();
      const before = begin();
      await broker.append(heardIn(startMs, (minute) => minute === 0));
      await leftIs(0);
      await openIs(4 * OF_EACH);
      await endOf(before, "SIGKILL");

      await broker.append(heardIn(startMs, (minute) => minute > 0));
      // What it takes to know that the others are out of the reorder window.
      const line = JSON.stringify(wire.started(wire.teller(999)));
      await broker.append([{ atMs: startMs + 15 * MINUTE_MS, line }]);
      const bridge = begin();
      await leftIs(1);
      await openIs(OF_EACH);
      expect((await endOf(bridge)).status).toBe(0);
      expect(counted()).toEqual(ENDS);
      expect(backend.faults).toEqual([]);
    });

    test("read at once by a bridge that is killed on the way: the same", async () => {
      const random = seeded(SEED);
      const startMs = Date.now() - 16 * MINUTE_MS;
      await broker.append(heardIn(startMs, () => true));
      for (let kill = 0; kill < 4; kill += 1) {
        const life = begin();
        await life.says("taking events from");
        await after(random() * 300);
        await endOf(life, "SIGKILL");
      }
      const bridge = begin();
      await leftIs(0);
      await openIs(OF_EACH);
      expect((await endOf(bridge)).status).toBe(0);
      expect(counted()).toEqual(ENDS);
      expect(backend.faults).toEqual([]);
    });
  });
}

/** What was appended in these minutes, in the order of their times. */
function heardIn(startMs: number, minutes: (minute: number) => boolean): readonly TimedLine[] {
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
  return entries.filter(({ minute }) => minutes(minute)).toSorted((a, b) => a.atMs - b.atMs);
}
