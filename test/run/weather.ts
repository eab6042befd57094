import type { Event } from "../../src/event/event.ts";
import { hashText } from "../../src/event/hash.ts";
import { toMillis } from "../../src/event/time.ts";
import type { Random } from "./random.ts";
import { at, DAY, HOUR, numbered, ORIGIN_MS, parentOf, within } from "./story.ts";
import type { ToldRun } from "./world.ts";

/** An event as it arrives, with its place in source time. */
export interface Delivery {
  readonly event: Event;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
  /** The same event was delivered before. */
  readonly again: boolean;
}

/** What may happen to events between a run and the heart. */
export interface Weather {
  /** An event arrives at most this much later than it happened. */
  readonly delayMs: number;
  /** Of a hundred events, how many arrive twice. */
  readonly duplicates: number;
  /** Of a hundred events, how many never arrive. */
  readonly losses: number;
  /** Neighbours may swap only, which is how a process that counts from 1 again can be told. */
  readonly envelopes: "none" | "some";
  /** Of a hundred runs, how many have a clock that is wrong in the middle. */
  readonly wrongClocks: number;
}

/** Longer after its event than any duplicate comes. */
const LONGEST_ECHO_MS = 15 * HOUR;

export function disturb(random: Random, runs: readonly ToldRun[], weather: Weather): Delivery[] {
  const deliveries: Delivery[] = [];
  for (const run of runs) {
    for (const [index, event] of envelop(random, run, weather).entries()) {
      if (random.below(100) < weather.losses) continue;
      // The broker's clock is right, whatever the producer's says.
      const nowMs = toMillis(run.events[index]!.time) + random.below(weather.delayMs + 1);
      deliveries.push({ event, nowMs, again: false });
      for (let copies = 0; copies < 2 && random.below(100) < weather.duplicates; copies += 1) {
        const later = random.pick([0, 1, 100, weather.delayMs, LONGEST_ECHO_MS]);
        deliveries.push({ event: copyOf(event), nowMs: nowMs + random.below(later + 1), again: true });
      }
    }
  }
  return inOrder(deliveries);
}

/** By arrival; what arrives in one millisecond keeps its order, copies behind. */
export function inOrder(deliveries: readonly Delivery[]): Delivery[] {
  return deliveries.toSorted((a, b) => a.nowMs - b.nowMs || Number(a.again) - Number(b.again));
}

/** The same event, not the same object. */
function copyOf(event: Event): Event {
  return structuredClone(event);
}

function envelop(random: Random, { events, resumes, forgotten }: ToldRun, weather: Weather): Event[] {
  const parent = random.chance(0.2) ? parentOf(random.below(10)) : undefined;
  const enveloped = weather.envelopes === "some" && random.chance(0.5);
  const countsAnew = forgotten || random.chance(0.5);
  const skewMs = random.below(100) < weather.wrongClocks ? random.pick([-5, -900, -HOUR, HOUR, -2 * DAY]) : 0;
  const from = random.below(events.length);
  const to = random.between(from, events.length);
  let seq = 0;
  return events.map((event, index) => {
    let told = event;
    if (skewMs !== 0 && index >= from && index < to) {
      const time = at(toMillis(event.time) - ORIGIN_MS + skewMs);
      told = { ...told, time, hash: hashText(`${event.hash} ${skewMs}`) };
    }
    if (parent !== undefined) told = within(told, { parent });
    if (!enveloped) return told;
    seq = countsAnew && resumes.includes(index) ? 1 : seq + 1;
    return numbered(told, seq);
  });
}
