import { expect, test } from "vitest";

import { SEED, seeded } from "../bridge/seeded.ts";
import { Backend, startBridge, type Broker } from "./crash.ts";
import { playOf, Producer } from "./producer.ts";
import { eventually } from "./running.ts";

const GROUP = "behest-otel";
const WANTED_PER_SECOND = 5_000;
/** Somewhat more is sent: runs begin and end, and a producer is now and then held up. */
const SENT_PER_SECOND = 5_400;
const SECONDS = 20 * Math.max(1, Number(process.env["TRIAL_SECONDS"] ?? 0) / 120);
/** Of the recordings, each sent as often as `playOf` does. */
const EVENTS_PER_RUN = 20.4;
/** The reorder window and a commit interval are 3 s; a backlog that does not grow is not much more. */
const MOST_BEHIND_MS = 10_000;
/** Commits come each second, and are not looked at in step with them. */
const GROWTH_MS = 750;

/** How things stood at one moment. */
interface Look {
  readonly atMs: number;
  readonly appended: number;
  readonly acknowledged: number;
}

/** Five thousand events a second, committed every second as by default. */
export function describeThroughput(name: string, start: () => Promise<Broker>): void {
  test(
    `a bridge on ${name} keeps up with 5,000 events a second: what is not acknowledged does not grow`,
    { timeout: 120_000 + 9_000 * SECONDS },
    async () => {
      await using broker = await start();
      await using backend = await Backend.start(seeded(SEED));
      const bridge = startBridge({ from: broker.from(GROUP), otlp: backend.url });
      await bridge.says("taking events from");
      const startMs = Date.now() + 2_000;
      const runs = Math.round((SECONDS * SENT_PER_SECOND) / EVENTS_PER_RUN);
      const play = playOf({ runs, startMs, spreadMs: SECONDS * 1_000, random: seeded(SEED) });
      const producer = new Producer(play.sends, broker.publish);
      const looks: Look[] = [];
      const isOver = async () => {
        const appended = Math.round(producer.share * play.sends.length);
        const left = await broker.left(GROUP);
        looks.push({ atMs: Date.now(), appended, acknowledged: Math.max(0, appended - left) });
        return producer.share === 1;
      };
      await eventually("all is appended", isOver, 60_000 + 3_000 * SECONDS);
      await producer.done;
      const appendedMs = Date.now();
      await eventually("all is acknowledged", async () => (await broker.left(GROUP)) === 0, 60_000);
      const endMs = Date.now() - appendedMs;
      bridge.child.kill("SIGTERM");
      expect((await bridge.ended).status, bridge.stderr).toBe(0);
      expect(backend.total("behest.bridge.events.received")).toBe(play.sends.length);

      // While runs begin and end: not at the start, when none has got far, and not when the last ones end.
      const steady = looks.filter(({ atMs }) => atMs > startMs + 3_000 && atMs < startMs + SECONDS * 1_000);
      const { perSecond, before, after, most } = judged(looks, steady);
      const reached = perSecond < WANTED_PER_SECOND ? " (NOT the 5,000: this machine is too slow)" : "";
      console.log(
        `${name}: ${Math.round(perSecond)} events/s appended${reached}, up to ${Math.round(producer.latestMs)} ms late; ` +
          `acknowledged ${Math.round(before)} ms later in the middle third, ${Math.round(after)} ms in the last one, ` +
          `${Math.round(most)} ms at most, and the last one ${endMs} ms after it was appended`,
      );
      expect(after).toBeLessThan(before + GROWTH_MS);
      expect(most).toBeLessThan(MOST_BEHIND_MS);
      expect(endMs).toBeLessThan(MOST_BEHIND_MS);
    },
  );
}

/**
 * How long ago the oldest event was appended that is not acknowledged, in the middle and the last third, and at most.
 * That is of what was appended: a producer that is held up makes the rate smaller and the time no longer.
 */
function judged(looks: readonly Look[], steady: readonly Look[]) {
  const behind = steady.map(({ atMs, acknowledged }) => {
    const since = looks.find(({ appended }) => appended > acknowledged);
    return atMs - (since?.atMs ?? atMs);
  });
  const third = Math.floor(steady.length / 3);
  const [first, last] = [steady.at(0)!, steady.at(-1)!];
  return {
    perSecond: (1_000 * (last.appended - first.appended)) / (last.atMs - first.atMs),
    before: meanOf(behind.slice(third, 2 * third)),
    after: meanOf(behind.slice(-third)),
    most: Math.max(...behind),
  };
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
