import { setTimeout as after } from "node:timers/promises";

import { afterAll, beforeAll, describe, expect, onTestFailed, test } from "vitest";

import { SEED, seeded } from "../bridge/seeded.ts";
import type { Started } from "../cli/program.ts";
import {
  Backend,
  countedIn,
  decidedBy,
  nonZero,
  outlinesIn,
  outlinesOf,
  startBridge,
  truthIn,
  type Broker,
  type Weather,
} from "./crash.ts";
import { paceOf, playOf, Producer, type Appended, type Play } from "./producer.ts";
import { eventually } from "./running.ts";

/** At least what `.ci/run` has time for; a longer soak when `TRIAL_SECONDS` says so. */
const STRETCH = Math.max(1, Number(process.env["TRIAL_SECONDS"] ?? 0) / 120);
/** How much the bridge bears of a machine that holds up the producer. */
interface Bearing {
  readonly windowMs: number;
  readonly idleMs: number;
}

const USUAL: Bearing = { windowMs: 2_000, idleMs: 6_000 };
/** For a machine that was too slow for that. */
const PATIENT: Bearing = { windowMs: 10_000, idleMs: 25_000 };
const GROUP = "behest-otel";
/** Small batches: many of them are under way when a life ends. */
const ENV = { OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "64" };
const PATIENCE_MS = 60_000;

function argsOf({ windowMs, idleMs }: Bearing): string[] {
  const times = ["--reorder-window", `${windowMs}ms`, "--run-idle-timeout", `${idleMs}ms`];
  return ["--commit-interval", "200ms", ...times];
}

/** What a trial leaves to be judged. */
interface Trial {
  readonly play: Play;
  readonly log: readonly Appended[];
  /** Whether the machine was too slow for the truth to be known, and how slow it was. */
  readonly tooSlow: boolean;
  readonly paceText: string;
  readonly backend: Backend;
  /** What a bridge says that reads the same log afterwards, undisturbed. */
  readonly peace: Backend;
  readonly left: number;
  readonly statuses: readonly (number | null)[];
  readonly said: string;
}

/** A bridge that is killed at random moments, with a broker that restarts and a backend that has its moods. */
export function describeCrashes(name: string, start: () => Promise<Broker>): void {
  describe(`a bridge on ${name} that is killed again and again (SEED=${SEED})`, () => {
    const hits: Hits = { kills: 0, reading: 0, sending: 0 };
    const { trial } = judged(start, (broker, bearing, seed) => crash({ broker, bearing, seed, hits }));

    test("was hit in every way: while it read, while it sent, by a backend that was away, and by every cut", () => {
      const { backend } = trial();
      expect(hits.reading).toBeGreaterThan(hits.kills / 2);
      expect(hits.sending).toBeGreaterThan(hits.kills / 4);
      expect(backend.twins).toBeGreaterThan(0);
      expect(backend.unavailable).toBeGreaterThan(0);
      expect(Object.entries(backend.cuts).filter(([, count]) => count === 0)).toEqual([]);
    });

    test("ends with status 0 and nothing pending", () => {
      expect(trial().statuses).toEqual([0]);
      expect(trial().left).toBe(0);
    });

    test("says the same over all lives: one instance, no counter that fell, no span that differs from its twin", () => {
      expect(trial().backend.faults).toEqual([]);
      expect(trial().backend.instances).toHaveLength(1);
    });
  });
}

/** Two shards: one is killed and replaced by another process, the other rolled over while it still reads. */
export function describeShards(name: string, start: () => Promise<Broker>): void {
  describe(`two shards on ${name} (SEED=${SEED})`, () => {
    const { trial } = judged(start, rollOver);

    test("the old process of a rolling deployment ends with status 1 and says why, the others with 0", () => {
      expect(trial().statuses).toEqual([1, 0, 0]);
      expect(trial().said).toContain("replaced by a newer process");
    });

    test("say the same over all lives: two instances, no counter that fell, no span that differs from its twin", () => {
      expect(trial().backend.faults).toEqual([]);
      expect(trial().backend.instances).toHaveLength(2);
      expect(trial().left).toBe(0);
    });
  });
}

/** A process that was suspended, with its machine perhaps, and wakes up when another one has taken over. */
export function describeSleeper(name: string, start: () => Promise<Broker>): void {
  test(`a bridge on ${name} that slept while it was replaced says nothing any more that was overtaken`, async () => {
    await using broker = await start();
    await using backend = await Backend.start(seeded(SEED));
    const begin = () =>
      startBridge({ from: broker.from(GROUP), otlp: backend.url, args: argsOf(USUAL), env: ENV });
    const random = seeded(SEED);
    const play = playOf({ runs: 150, startMs: Date.now() + 1_000, spreadMs: 3_000, random });
    const producer = new Producer(play.sends, broker.publish);
    const received = () => backend.total("behest.bridge.events.received");
    const old = begin();
    await eventually("something is counted", () => received() > 0);
    old.child.kill("SIGSTOP");
    const before = received();
    const newer = begin();
    await eventually("the newer one counts", () => received() > before);
    old.child.kill("SIGCONT");
    const { status, stderr } = await old.ended;
    expect([status, stderr]).toEqual([1, expect.stringContaining("replaced by a newer process")]);
    await producer.done;
    await settled({ broker, backend, log: await broker.log(), shards: [undefined] });
    newer.child.kill("SIGTERM");
    expect((await newer.ended).status).toBe(0);
    expect([backend.faults, backend.instances.length]).toEqual([[], 1]);
  });
}

type Act = (broker: Broker, bearing: Bearing, seed: number) => Promise<Trial>;

/** The facts that hold for every trial. */
function judged(start: () => Promise<Broker>, act: Act): { trial: () => Trial } {
  let broker: Broker | undefined;
  let found: Trial | undefined;
  const trial = () => found!;
  const close = async () => {
    await found?.backend[Symbol.asyncDispose]();
    await found?.peace[Symbol.asyncDispose]();
    await broker?.[Symbol.asyncDispose]();
  };
  beforeAll(async () => {
    broker = await start();
    found = await act(broker, USUAL, SEED);
    if (!found.tooSlow) return;
    console.error(`AGAIN, with more patience and another seed; this machine was too slow: ${found.paceText}`);
    await close();
    broker = await start();
    found = await act(broker, PATIENT, SEED + 1_000);
  }, 600_000 * STRETCH);
  afterAll(close);

  // Never skipped: what was not shown was not shown.
  test("had a machine that was fast enough for the truth to be known, at the second try at the latest", () => {
    expect(trial().tooSlow, trial().paceText).toBe(false);
  });

  test("every span of every run is there as its events say, and no other", () => {
    const { play, backend } = trial();
    expect(outlinesOf(backend.spans)).toEqual(outlinesIn(play));
  });

  test("every counter is that of the events", () => {
    const { play, log, backend } = trial();
    const truth = truthIn(play, log);
    expect(countedIn(backend.points)).toEqual(truth);
    expect(nonZero(backend.outcomes)).toEqual(truth["runs"]);
  });

  // Whatever the log became on a slow machine: it alone decides.
  test("a bridge that reads the log undisturbed says the same, byte for byte", () => {
    const { backend, peace, log } = trial();
    expect(peace.faults).toEqual([]);
    expect(peace.total("behest.bridge.events.received")).toBe(log.length);
    expect(Object.fromEntries(backend.spans)).toEqual(Object.fromEntries(peace.spans));
    expect(decidedBy(backend.counted)).toEqual(decidedBy(peace.counted));
  });
  return { trial };
}

/** How many kills there were, and what they hit. */
interface Hits {
  kills: number;
  /** It was reading: it had said so. */
  reading: number;
  /** It had sent spans, and so had read events. */
  sending: number;
}

interface Crashes {
  readonly broker: Broker;
  readonly bearing: Bearing;
  readonly seed: number;
  /** Filled in. */
  readonly hits: Hits;
}

async function crash({ broker, bearing, seed, hits }: Crashes): Promise<Trial> {
  const random = seeded(seed);
  const [kills, spreadMs] = [Math.round(30 * STRETCH), 30_000 * STRETCH];
  const backend = await Backend.start(random);
  const play = playOf({ runs: Math.round(2_000 * STRETCH), startMs: Date.now() + 1_000, spreadMs, random });
  const producer = new Producer(play.sends, broker.publish);
  backend.weather = () => weatherAt(producer.share);
  const args = argsOf(bearing);
  const begin = () => startBridge({ from: broker.from(GROUP), otlp: backend.url, args, env: ENV });
  const restartAt = Math.floor(kills * (0.7 + 0.2 * random()));
  Object.assign(hits, { kills, reading: 0, sending: 0 });
  for (let kill = 0; kill < kills; kill += 1) {
    const life = begin();
    const { asked } = backend;
    if (kill === restartAt) {
      await life.says("taking events from");
      const before = backend.total("behest.bridge.events.received");
      await producer.without(() => broker.restart());
      const isBack = () => backend.total("behest.bridge.events.received") > before;
      await eventually("the bridge reads and commits again", isBack, PATIENCE_MS);
    }
    // Every fourth is killed at any moment of its start, however fast this machine is; the others once they read.
    if (kill % 4 !== 0) await life.says("taking events from");
    await lives(life, (random() * 2 * 0.6 * spreadMs) / kills);
    if (life.stderr.includes("taking events from")) hits.reading += 1;
    if (backend.asked > asked) hits.sending += 1;
  }
  await producer.done;
  const last = begin();
  const log = await broker.log();
  await settled({ broker, backend, log, shards: [undefined] });
  last.child.kill("SIGTERM");
  const { status } = await last.ended;
  const { reading, sending } = hits;
  const cuts = Object.entries(backend.cuts).map(([cut, count]) => `${cut} ${count}`);
  console.log(
    `${kills} lives ended, ${reading} of them reading and ${sending} sending; ${backend.twins} spans came again; ` +
      `503 ${backend.unavailable}, ${cuts.join(", ")}`,
  );
  return {
    ...paced({ log, play, producer, bearing }),
    play,
    log,
    backend,
    peace: await undisturbed(broker, log, args),
    left: await leftOf(broker, [undefined]),
    statuses: [status],
    said: last.stderr,
  };
}

interface Paced {
  readonly log: readonly Appended[];
  readonly play: Play;
  readonly producer: Producer;
  readonly bearing: Bearing;
}

/** Whether the producer was held up for longer than the reorder window or the idle timeout can mend. */
function paced({ log, play, producer, bearing }: Paced): Pick<Trial, "tooSlow" | "paceText"> {
  const { disorderMs, silenceMs } = paceOf(log, play);
  const late = `sent up to ${Math.round(producer.latestMs)} ms late`;
  const paceText = `disorder up to ${disorderMs} ms, silence up to ${silenceMs} ms, ${late}`;
  console.log(paceText);
  const tooSlow = disorderMs > bearing.windowMs || silenceMs > bearing.idleMs - 1_000;
  return { tooSlow, paceText };
}

/** Ends a life at once after this time. That it ends before by itself is a fault. */
async function lives(life: Started, forMs: number): Promise<void> {
  const ended = await Promise.race([after(forMs), life.ended]);
  if (ended !== undefined) throw new Error(`ended by itself with ${ended.status}:\n${ended.stderr}`);
  life.child.kill("SIGKILL");
  await life.ended;
}

function weatherAt(share: number): Weather {
  if (share > 0.2 && share < 0.35) return "unavailable";
  return share > 0.5 && share < 0.65 ? "cutting" : "fine";
}

async function rollOver(broker: Broker, bearing: Bearing, seed: number): Promise<Trial> {
  const random = seeded(seed + 1);
  const backend = await Backend.start(random);
  const spreadMs = 8_000 * STRETCH;
  const play = playOf({ runs: Math.round(600 * STRETCH), startMs: Date.now() + 1_000, spreadMs, random });
  const producer = new Producer(play.sends, broker.publish);
  const args = argsOf(bearing);
  const begin = (shard: number) =>
    startBridge({
      from: broker.from(GROUP),
      otlp: backend.url,
      args: [...args, "--shard", `${shard}/2`],
      env: ENV,
    });
  const [old, victim] = [begin(0), begin(1)];
  await eventually("a part is sent", () => producer.share > 0.2 + 0.2 * random(), PATIENCE_MS * STRETCH);
  victim.child.kill("SIGKILL");
  const other = begin(1);
  await eventually("more is sent", () => producer.share > 0.5 + 0.2 * random(), PATIENCE_MS * STRETCH);
  const newer = begin(0);
  const replaced = await old.ended;
  await producer.done;
  const log = await broker.log();
  await settled({ broker, backend, log, shards: [0, 1] });
  for (const { child } of [newer, other]) child.kill("SIGTERM");
  const ends = await Promise.all([newer.ended, other.ended]);
  console.log(`${backend.twins} spans came again`);
  return {
    ...paced({ log, play, producer, bearing }),
    play,
    log,
    backend,
    peace: await undisturbed(broker, log, args),
    left: await leftOf(broker, [0, 1]),
    statuses: [replaced.status, ...ends.map(({ status }) => status)],
    said: replaced.stderr,
  };
}

interface Reading {
  readonly broker: Broker;
  readonly backend: Backend;
  readonly log: readonly Appended[];
  readonly shards: readonly (number | undefined)[];
}

/** Waits until all is acknowledged and counted, and silent runs have expired. */
async function settled({ broker, backend, log, shards }: Reading): Promise<void> {
  const isOver = async () =>
    (await leftOf(broker, shards)) === 0 &&
    backend.total("behest.bridge.events.received") === log.length &&
    backend.total("behest.run.active") === 0;
  onFailure(() => console.error(backend.faults.slice(0, 10)));
  await eventually("all is counted and no run is open", isOver, PATIENCE_MS * STRETCH);
}

function onFailure(tell: () => void): void {
  try {
    onTestFailed(tell);
  } catch {
    // In a hook there is no test.
  }
}

async function leftOf(broker: Broker, of: readonly (number | undefined)[]): Promise<number> {
  const each = await Promise.all(of.map((shard) => broker.left(GROUP, shard)));
  return each.reduce((sum, one) => sum + one, 0);
}

/** Reads the whole log as another group, with nothing in its way. */
async function undisturbed(
  broker: Broker,
  log: readonly Appended[],
  args: readonly string[],
): Promise<Backend> {
  const backend = await Backend.start(Math.random);
  const bridge = startBridge({ from: broker.from("undisturbed"), otlp: backend.url, args });
  const isOver = () =>
    backend.total("behest.bridge.events.received") === log.length && backend.total("behest.run.active") === 0;
  await eventually("the log is read again", isOver, PATIENCE_MS * STRETCH);
  bridge.child.kill("SIGTERM");
  await bridge.ended;
  return backend;
}
