import { describe, expect, test } from "vitest";
import type { Clock } from "../../src/clock.ts";
import { DEFAULT_MAX_LINE_BYTES, HEAD_BYTES } from "../../src/event/lines.ts";
import type { Reading, Source } from "../../src/source/source.ts";
import { manualClock, type ManualClock } from "../otel/clocks.ts";
import {
  idsOf,
  onStage,
  refusalOf,
  soon,
  textsOf,
  type Begun,
  type Beside,
  type Make,
  type Stage,
} from "./contract-life.ts";
import { event } from "./http/served.ts";

/** In what ways a source may differ from others and keep the contract. */
export interface Traits {
  /** What it does when all is read that is there. */
  readonly whenRead: "ends" | "says so" | "waits in silence";
  /** Takes what stands beside an event. */
  readonly takesBeside: boolean;
  /** Events can be appended while nobody reads. */
  readonly keepsAppends: boolean;
  /** What it promised to hand out it does hand out after a stop; else nothing comes after one. */
  readonly keepsPromises?: boolean;
  /** Whose clock a timed source goes by: the one it is given, or that of a server. */
  readonly time?: "its clock" | "a server's";
  /** What its places can show beside what is read. */
  readonly shows?: readonly ("refused" | "untaken")[];
}

export const BESIDE: Beside = {
  agent: "é",
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
};
const OUTSIDE = {
  agent: "é",
  parent: { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", flags: 1 },
};

const RUN = '"run_id":"0190b2a4-0000-7000-8000-000000000001","timestamp":"2026-06-21T00:00:00Z"';

/** Bare, in an envelope, with fields beside it, with characters of two to four bytes, and many small ones. */
export const LINES: readonly string[] = [
  event(0),
  `{"event_id":"01a20407-196c-70ca-b407-6a9461c09da4","seq":1,"event":{"RunCancelled":{${RUN}}}}`,
  `{"RunCancelled":{${RUN}},"agent":"a","n": 1.0}`,
  `{"RunFailed":{${RUN},"error":"é 漢 🎈 \\u00e9 \\\\ \\n"}}`,
  ...Array.from({ length: 20 }, (_, n) => event(n + 1)),
];

export type Fact<B extends Begun> = (
  name: string,
  show: (stage: Stage<B>) => Promise<void>,
  clock?: Clock,
) => void;

/** A test for each fact. */
export function factsOf<B extends Begun>(make: Make<B>): Fact<B> {
  // oxlint-disable-next-line vitest/valid-title -- it is a string wherever it is said
  return (name, show, clock) => test(name, () => onStage(make, show, clock));
}

/** What every source has to do (`src/source/source.ts`). */
export function describeSource<B extends Begun>(name: string, traits: Traits, make: Make<B>): void {
  describe(`${name}, as every source,`, () => {
    const fact = factsOf(make);
    readingFacts(fact, traits);
    waitingFacts(fact, traits);
    stoppingFacts(fact, traits);
    closingFacts(fact, traits);
    openingFacts(fact, traits);
  });
}

function readingFacts<B extends Begun>(fact: Fact<B>, { whenRead, takesBeside, keepsAppends }: Traits): void {
  fact("hands out what is appended, each once and in its order, with its bytes unchanged", async (stage) => {
    const life = await stage.begin().open();
    await stage.place.append(LINES);
    await life.takeUntil(LINES.length);
    stage.place.end?.();
    if (whenRead !== "waits in silence" || stage.place.end !== undefined) await life.takeAll();
    expect(textsOf(life.taken)).toEqual(LINES);
    expect(new Set(idsOf(life.taken)).size).toBe(LINES.length);
  });

  fact("changes nothing of what it handed out, and says where it stands", async (stage) => {
    const life = await stage.begin().open();
    await stage.place.append(LINES.slice(0, 4));
    await life.takeUntil(4);
    const before = life.readings.map((one) => structuredClone(one));
    if (whenRead !== "ends") await stage.place.append(LINES.slice(4));
    await life.takeUntil(whenRead === "ends" ? 4 : LINES.length);
    expect(life.readings.slice(0, before.length).map((one) => structuredClone(one))).toEqual(before);
    expectOffsets(life.readings);
  });

  fact("has a time on everything or on nothing, and none goes back", async (stage) => {
    const life = await stage.begin().open();
    for (let round = 1; round <= 3; round += 1) {
      if (round === 1 || whenRead !== "ends") await stage.place.append([event(round), event(round + 10)]);
      await life.takeUntil(whenRead === "ends" ? 2 : 2 * round);
      if (whenRead === "says so") await life.takeAll();
    }
    const { times } = life;
    if (life.source.timed) {
      const known = times.filter((time) => time !== undefined);
      expect(known).toEqual(times.toSorted((a, b) => a! - b!));
      expect(known.every(Number.isSafeInteger)).toBe(true);
    } else {
      expect(times.filter((time) => time !== undefined)).toEqual([]);
    }
  });

  fact("hands out what stands beside an event, and nothing where nothing does", async (stage) => {
    const life = await stage.begin().open();
    await stage.place.append([event(1)], BESIDE);
    await stage.place.append([event(2)]);
    const [first, second] = await life.takeUntil(2);
    expect(first?.outside).toEqual(takesBeside ? OUTSIDE : undefined);
    expect(second?.outside).toBeUndefined();
  });

  fact(
    "hands out a line of the longest length whole, and of a longer one its head and length",
    async (stage) => {
      const life = await stage.begin().open();
      const lines = [-1, 0, 1].map((more) => longEvent(DEFAULT_MAX_LINE_BYTES + more));
      await stage.place.append([...lines, event(1)]);
      const taken = await life.takeUntil(4);
      expect(taken.map(({ payload, wholeBytes = payload.length }) => wholeBytes)).toEqual(
        [...lines, event(1)].map(({ length }) => length),
      );
      expect(taken.slice(0, 2).map(({ wholeBytes }) => wholeBytes)).toEqual([undefined, undefined]);
      for (const [at, { payload }] of taken.entries()) {
        expect((lines[at] ?? event(1)).startsWith(payload.toString())).toBe(true);
      }
      expect(taken[2]!.payload.length).toBeGreaterThanOrEqual(HEAD_BYTES);
    },
  );

  if (!keepsAppends) return;
  fact("hands out what was appended before it was opened", async (stage) => {
    await stage.place.append(LINES);
    const life = await stage.begin().open();
    expect(textsOf(await life.takeUntil(LINES.length))).toEqual(LINES);
  });
}

function waitingFacts<B extends Begun>(fact: Fact<B>, { whenRead, time, shows = [] }: Traits): void {
  if (shows.includes("untaken")) {
    fact("leaves where it is what nobody asks for", async ({ begin, place }) => {
      const life = await begin().open();
      await place.append(Array.from({ length: MANY }, (_, n) => event(n)));
      expect(await place.untaken?.()).toBeGreaterThan(MANY / 2);
      await life.takeUntil(1);
      expect(await place.untaken?.()).toBeGreaterThan(MANY / 2);
      await life.takeUntil(MANY);
      expect(await place.untaken?.()).toBe(0);
    });
  }

  if (whenRead === "ends") {
    fact("ends when all is read, and for good", async (stage) => {
      const life = await stage.begin().open();
      await stage.place.append(LINES);
      await life.takeAll();
      expect(textsOf(life.taken)).toEqual(LINES);
      await stage.place.append([event(100)]);
      expect(await life.next()).toBeUndefined();
    });
    return;
  }

  fact("waits when nothing is there, and hands out what comes then", async (stage) => {
    const life = await stage.begin().open();
    if (whenRead === "says so") expect(await life.next()).toMatchObject({ kind: "caught_up" });
    let isSettled = false;
    const coming = life.takeUntil(1).finally(() => (isSettled = true));
    await turns();
    expect(isSettled).toBe(false);
    await stage.place.append([event(1)]);
    expect(textsOf(await coming)).toEqual([event(1)]);
    const caughtUp = life.readings.filter(({ kind }) => kind === "caught_up");
    // Of a source that is not timed it is said once.
    if (!life.source.timed) expect(caughtUp).toHaveLength(whenRead === "says so" ? 1 : 0);
    expect(life.readings.every((one) => one.kind !== "deliveries" || one.deliveries.length > 0)).toBe(true);
  });

  const clock = time === "its clock" ? manualClock() : undefined;
  if (time !== undefined) fact(AGAIN, (stage) => saysItAgain(stage, clock), clock);
}

function stoppingFacts<B extends Begun>(fact: Fact<B>, { whenRead, keepsPromises = false }: Traits): void {
  if (keepsPromises) {
    fact("hands out after a stop what it has taken in, and then ends for good", async ({ begin, place }) => {
      const life = await begin().open();
      await place.append(LINES);
      life.stop.abort();
      while ((await life.next()) !== undefined);
      expect(textsOf(life.taken)).toEqual(LINES);
      expect(await life.next()).toBeUndefined();
    });
  } else {
    fact("hands out nothing once it is told to stop, though there is something", async ({ begin, place }) => {
      const life = await begin().open();
      await place.append(LINES);
      life.stop.abort();
      expect(await life.next()).toBeUndefined();
      expect(await life.next()).toBeUndefined();
    });
  }

  if (whenRead === "ends") return;
  fact("ends at once when it is told to stop while it waits, and for good", async ({ begin, place }) => {
    const life = await begin().open();
    if (whenRead === "says so") await life.takeAll();
    const waits = life.next();
    await turns();
    const beganMs = performance.now();
    life.stop.abort();
    expect(await waits).toBeUndefined();
    expect(performance.now() - beganMs).toBeLessThan(400);
    // Which may be refused by now.
    await place.append([event(1)]).catch(() => {});
    expect(await life.next()).toBeUndefined();
  });
}

function closingFacts<B extends Begun>(fact: Fact<B>, { whenRead }: Traits): void {
  fact("can be closed before it was opened, and again", async ({ begin }) => {
    const { source, store } = begin();
    await soon("the end of a close", Promise.all([source.close(), source.close(), store?.close()]));
    await soon("the end of a close", Promise.all([source.close(), store?.close()]));
  });

  fact("can be closed while it is asked, which ends that, and again", async ({ begin, place }) => {
    // While it looks for something, and while it waits.
    for (const moment of [() => Promise.resolve(), turns]) {
      const life = await begin().open();
      if (whenRead === "ends") await place.append(LINES);
      if (whenRead === "says so") await life.takeAll();
      const asked = life.next();
      // Told below.
      asked.catch(() => {});
      await moment();
      await soon("the end of a close", Promise.all([life.source.close(), life.source.close()]));
      const last = await asked;
      if (whenRead !== "ends") expect(last).toBeUndefined();
      expect(await life.next()).toBeUndefined();
      await soon("the end of a close", life.source.close());
      await life.store?.close();
    }
  });
}

function openingFacts<B extends Begun>(fact: Fact<B>, { shows = [] }: Traits): void {
  if (!shows.includes("refused")) return;
  fact("says by name what cannot be opened, and no secret", async ({ place }) => {
    const refused = (await place.refused?.()) ?? [];
    expect(refused.length).toBeGreaterThan(0);
    for (const { what, source, name, secret } of refused) {
      const error = await soon(`the refusal of ${what}`, refusalOf(opened(source)));
      await source.close();
      expect(error, what).toMatchObject({ code: "BEHEST_SOURCE_OPEN" });
      expect(error.message, what).toContain(name);
      if (secret !== undefined) expect(error.message, what).not.toContain(secret);
    }
  });
}

const AGAIN = "says at least once a second that nothing is left, at a time that does not go back";

/** Events that are more than anything holds between where they lie and where they are asked for. */
const MANY = 5_000;

async function saysItAgain<B extends Begun>(
  { begin }: Stage<B>,
  clock: ManualClock | undefined,
): Promise<void> {
  const life = await begin().open();
  expect(await life.next()).toMatchObject({ kind: "caught_up" });
  for (let round = 0; round < 2; round += 1) {
    const beganMs = performance.now();
    const reading = life.next();
    if (clock !== undefined) await passASecond(clock, reading);
    expect(await reading).toMatchObject({ kind: "caught_up" });
    // With room for a busy machine: of the second itself the server's clock says more.
    expect(performance.now() - beganMs).toBeLessThan(1_500);
  }
  const [first = 0, second = 0, third = 0] = life.times;
  for (const pause of [second - first, third - second]) {
    expect(pause).toBeGreaterThanOrEqual(0);
    // A second, and what a busy machine adds.
    expect(pause).toBeLessThan(2_000);
  }
}

/** Lets the clock go on from wait to wait, until the promise is settled or a second is over. */
async function passASecond(clock: ManualClock, until: Promise<unknown>): Promise<void> {
  const settled = new AbortController();
  const settle = () => settled.abort();
  until.then(settle, settle);
  for (let leftMs = 1_000; !settled.signal.aborted;) {
    const nextMs = clock.nextIn() ?? Infinity;
    if (nextMs <= leftMs) {
      leftMs -= nextMs;
      await clock.advance(nextMs);
    }
    await new Promise(setImmediate);
  }
}

/** Lets everything that needs no more than this process happen. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
}

async function opened(source: Source): Promise<void> {
  await source.prepare?.();
  await source.open();
}

/** Chunks of one file follow each other without a gap. */
function expectOffsets(readings: readonly Reading[]): void {
  const ends = new Map<string, number>();
  for (const reading of readings) {
    if (reading.kind !== "chunk") continue;
    const { file, offset } = reading.position;
    expect(offset).toBe(ends.get(file) ?? 0);
    ends.set(file, offset + reading.bytes.length);
  }
}

function longEvent(bytes: number): string {
  const empty = `{"RunFailed":{${RUN},"error":""}}`;
  return empty.replace('""', `"${"x".repeat(bytes - empty.length)}"`);
}
