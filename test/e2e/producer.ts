import { setTimeout as after } from "node:timers/promises";

import { timeOf } from "../bridge/lives.ts";
import { recordingsOf } from "../bridge/recordings.ts";
import { retold, runsOf, traceIdOf, type TimedLine } from "./live.ts";

/** Runs as the stock runtime tells them, and how they are to be sent. */
export interface Play {
  /** Each event once, those of a run in its order. */
  readonly events: readonly string[];
  /** In the order in which they are sent: neighbours swapped, some twice, and a few that are no events. */
  readonly sends: readonly TimedLine[];
}

export interface PlayOptions {
  readonly runs: number;
  readonly startMs: number;
  /** From the start of the first run to that of the last. */
  readonly spreadMs: number;
  readonly random: () => number;
}

/** An entry of a log, as the broker gives it. */
export interface Appended {
  readonly line: string;
  readonly appendedMs: number;
}

/** How far events get out of order: far less than the reorder window, and more than the real publishers do. */
const SWAP_MS = 300;
const DOUBLED = 0.1;
const BROKEN = 0.003;
const MOST_AT_ONCE = 500;

/**
 * Runs of every recording of behest 0.5.9, each as another run, beginning evenly over the time. Every scenario is told
 * as often as any other, but for the one of fifty runs, of which each counts as one.
 */
export function playOf({ runs, startMs, spreadMs, random }: PlayOptions): Play {
  const scenarios = recordingsOf("").filter(({ version }) => version === "0.5.9");
  const shapes = scenarios.flatMap(({ scenario }) => runsOf(scenario));
  const told = Array.from({ length: runs }, (_, index) => {
    const shape = shapes[Math.floor(random() * shapes.length)]!;
    return retold(shape, index, Math.round(startMs + (index / runs) * spreadMs));
  });
  const sends = told.flat().flatMap((event) => sendsOf(event, random));
  return {
    events: told.flat().map(({ line }) => line),
    sends: sends.toSorted((a, b) => a.atMs - b.atMs),
  };
}

function sendsOf({ line, atMs }: TimedLine, random: () => number): TimedLine[] {
  const late = () => atMs + random() * SWAP_MS;
  const sends = [{ line, atMs: late() }];
  if (random() < DOUBLED) sends.push({ line, atMs: late() });
  if (random() < BROKEN) sends.push({ line: line.slice(0, line.length / 2), atMs: late() });
  return sends;
}

/** Sends each line when it is due, in order, and notes how late it was. */
export class Producer {
  /** Resolves when everything is appended. */
  readonly done: Promise<void>;
  /** The longest time between when a line was due and when the broker had it. */
  latestMs = 0;
  #sent = 0;
  readonly #sends: readonly TimedLine[];
  readonly #publish: (lines: readonly string[]) => Promise<unknown>;
  #gate: Promise<void> = Promise.resolve();
  #underWay: Promise<unknown> = Promise.resolve();

  constructor(sends: readonly TimedLine[], publish: (lines: readonly string[]) => Promise<unknown>) {
    this.#sends = sends;
    this.#publish = publish;
    this.done = this.#run();
    // Whoever waits for it hears of it.
    this.done.catch(() => {});
  }

  /** The part that is sent, from 0 to 1. */
  get share(): number {
    return this.#sent / this.#sends.length;
  }

  /** Does something while nothing is being sent. */
  async without(act: () => Promise<void>): Promise<void> {
    const gate = Promise.withResolvers<void>();
    this.#gate = gate.promise;
    try {
      await this.#underWay;
      await act();
    } finally {
      gate.resolve();
    }
  }

  async #run(): Promise<void> {
    for (let next = this.#sends[0]; next !== undefined; next = this.#sends[this.#sent]) {
      const earlyMs = next.atMs - Date.now();
      if (earlyMs > 0) await after(Math.ceil(earlyMs));
      await this.#gate;
      const nowMs = Date.now();
      const some = this.#sends
        .slice(this.#sent, this.#sent + MOST_AT_ONCE)
        .filter(({ atMs }) => atMs <= nowMs);
      this.#underWay = this.#publish(some.map(({ line }) => line));
      await this.#underWay;
      this.#sent += some.length;
      this.latestMs = Math.max(this.latestMs, Date.now() - next.atMs);
    }
  }
}

/** What the log says of the machine that wrote it, whoever reads it. */
export interface Pace {
  /** The longest that an event came after one of its run that belongs behind it. */
  readonly disorderMs: number;
  /** The longest silence between two events of a run. */
  readonly silenceMs: number;
}

export function paceOf(log: readonly Appended[], play: Play): Pace {
  const known = new Set(play.events);
  const events = log.filter(({ line }) => known.has(line));
  let [disorderMs, silenceMs] = [0, 0];
  for (const run of Map.groupBy(events, ({ line }) => traceIdOf(line)).values()) {
    const timed = run.map(({ line, appendedMs }) => ({ nanos: timeOf(line), appendedMs }));
    for (const [index, { nanos, appendedMs }] of timed.entries()) {
      const later = timed.slice(0, index).find((earlier) => earlier.nanos > nanos);
      if (later !== undefined) disorderMs = Math.max(disorderMs, appendedMs - later.appendedMs);
      const before = timed[index - 1]?.appendedMs ?? appendedMs;
      silenceMs = Math.max(silenceMs, appendedMs - before);
    }
  }
  return { disorderMs, silenceMs };
}
