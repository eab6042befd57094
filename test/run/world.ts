import type { Event } from "../../src/event/event.ts";
import type { Random } from "./random.ts";
import { DAY, HOUR, MINUTE, runId, storyOf, type Story, type Tokens } from "./story.ts";

/**
 * Runs as producers tell them: what the runtime does (reference: behest.md, section 3), with its
 * surprises, but whole and in order. What happens to the events on their way is `weather.ts`.
 */
export interface ToldRun {
  readonly runId: string;
  /** In the order of the run, no two with one timestamp. */
  readonly events: readonly Event[];
  /** Where another process went on: indices of its first events. */
  readonly resumes: readonly number[];
  /** It was silent for so long that nobody remembers what was before. */
  readonly forgotten: boolean;
}

export interface WorldOptions {
  /** Silences stay well away from the idle timeouts and from forgetting, on which side is left to chance. */
  readonly runIdleMs: number;
  readonly toolIdleMs: number;
}

const HOSTILE = ["__proto__", "constructor", "", "a\u0000b", "\ud800", "'; DROP--", "é".repeat(40), " "];

/** How one producer behaves in all of its iterations. */
interface Producer {
  readonly story: Story;
  readonly executions: "never" | "sometimes" | "always";
  readonly order: "stock" | "documented";
  readonly streams: boolean;
  readonly ids: "unique" | "repeated" | "hostile";
  readonly usage: "always" | "sometimes" | "never";
  readonly provider: { readonly provider: string; readonly model: string };
}

export function tellRun(random: Random, n: number, options: WorldOptions): ToldRun {
  const teller = tellerOf(random, n);
  const { producer, events } = teller;
  const resumes: number[] = [];
  // Nobody can tell a second RunStarted from the first one when the first one is forgotten.
  let forgotten = false;
  if (random.chance(0.95)) teller.say((ms) => producer.story.started(ms, producer.provider));
  for (let iteration = 1; ;) {
    const last = tellPart(teller, iteration);
    if (events.length > 150 || !random.chance(last === "terminal" ? 0.05 : 0.6)) break;
    // The process died; another one goes on in the middle, without a RunStarted. Or somebody starts
    // the same run again, which the runtime does not.
    const silentMs = silence(random, options, last === "terminal" ? 3 : 4);
    forgotten ||= silentMs > DAY;
    teller.pause(silentMs);
    resumes.push(events.length);
    if (last === "terminal") {
      if (!forgotten && random.chance(0.5)) teller.say((ms) => producer.story.started(ms, producer.provider));
      iteration = random.pick([1, 1, iteration + 10]);
      continue;
    }
    iteration = last + 1;
    if (random.chance(0.4)) teller.say((ms) => producer.story.toolSaid(ms));
  }
  return { runId: runId(n), events, resumes, forgotten };
}

interface Teller {
  readonly random: Random;
  readonly producer: Producer;
  readonly events: Event[];
  /** The next event, at most so many milliseconds after the last one. */
  say(make: (ms: number) => Event, withinMs?: number): void;
  pause(ms: number): void;
}

function tellerOf(random: Random, n: number): Teller {
  const events: Event[] = [];
  let nanos = random.below(20 * MINUTE) * 1e6 + random.below(1e6);
  return {
    random,
    events,
    producer: producerOf(random, n),
    say(make, withinMs = random.pick([0.01, 1, 100])) {
      nanos += 1 + random.below(withinMs * 1e6);
      events.push(make(nanos / 1e6));
    },
    pause(ms) {
      nanos += ms * 1e6;
    },
  };
}

function producerOf(random: Random, n: number): Producer {
  return {
    story: storyOf(runId(n)),
    executions: random.pick(["never", "never", "sometimes", "always"]),
    order: random.pick(["stock", "stock", "documented"]),
    streams: random.chance(0.5),
    ids: random.pick(["unique", "unique", "repeated", "hostile"]),
    usage: random.pick(["always", "always", "sometimes", "never"]),
    provider: random.pick([
      { provider: "openai", model: "gpt-4o" },
      { provider: "anthropic", model: "claude-sonnet-4-5" },
      { provider: "My-Gateway", model: "claude-opus-4-1" },
      { provider: "My-Gateway", model: "llama" },
      { provider: random.pick(HOSTILE), model: random.pick(HOSTILE) },
    ]),
  };
}

/** Silence after which a run goes on: in the same segment, in the next one, or as a run nobody remembers. */
function silence(random: Random, { runIdleMs, toolIdleMs }: WorldOptions, kinds: 3 | 4): number {
  const longest = Math.max(runIdleMs, toolIdleMs);
  const ranges = [
    [0, Math.floor(Math.min(runIdleMs, toolIdleMs) / 2)],
    [2 * longest, 4 * longest],
    [5 * HOUR, 8 * HOUR],
    [2 * DAY, 9 * DAY],
  ] as const;
  const [least, most] = random.pick(ranges.slice(0, kinds));
  return random.between(least, most);
}

/** Tells a run from an iteration to its end, or to where it just stops: then the last iteration. */
function tellPart(teller: Teller, from: number): "terminal" | number {
  const { random, producer } = teller;
  const { story } = producer;
  for (let iteration = from; ; iteration += 1) {
    const begun = teller.events.length;
    const went = tellIteration(teller, iteration);
    if (went === "looped") {
      teller.say((ms) => story.doomLoop(ms, random.chance(0.5) ? "search three times" : undefined));
      teller.say((ms) => story.failed(ms, "doom_loop", "doom loop detected: search"));
      return "terminal";
    }
    if (random.chance(0.12)) {
      // It ended in the middle of all that.
      teller.events.length = random.between(begun, teller.events.length);
      const end = random.pick(["silence", "cancelled", "failed", "completed"] as const);
      if (end === "silence") return iteration;
      return tellEnd(teller, end, iteration);
    }
    if (went === "answered" && random.chance(0.7)) return tellEnd(teller, "completed", iteration);
    if (iteration - from > 6) return tellEnd(teller, random.pick(["completed", "failed"]), iteration);
  }
}

function tellEnd(teller: Teller, end: "cancelled" | "failed" | "completed", iteration: number): "terminal" {
  const { random, producer } = teller;
  const { story } = producer;
  const reason = random.pick(["stop", "stop", "length", "error", "tool_calls", "pause_turn"]);
  if (end === "completed") teller.say((ms) => story.completed(ms, reason, iteration));
  if (end === "failed") teller.say((ms) => story.failed(ms));
  if (end === "cancelled") teller.say((ms) => story.cancelled(ms));
  // What was on its way says it too late, or not at all.
  if (random.chance(0.2)) teller.say((ms) => story.delta(ms));
  if (random.chance(0.1)) teller.say((ms) => story.usage(ms, 10, 1));
  if (random.chance(0.2)) {
    const took = random.pick([0, 1, 50, 100 * MINUTE]);
    teller.say((ms) => story.toolFinished(ms, callId(producer, random, iteration, 0), { took }), 60_000);
  }
  return "terminal";
}

function tellIteration(teller: Teller, iteration: number): "answered" | "ran" | "looped" {
  const { random, producer } = teller;
  const { story } = producer;
  if (random.chance(0.9)) teller.say((ms) => story.context(ms, random.below(50)));
  teller.say((ms) => story.model(ms, iteration, producer.provider));
  if (random.chance(0.04)) {
    if (random.chance(0.3)) teller.say((ms) => story.circuitOpened(ms));
    return "ran";
  }
  const calls = random.chance(0.5) ? [] : ids(producer, random, iteration);
  tellOutput(teller, calls);
  if (producer.order === "documented") {
    tellExecutions(teller, calls);
    if (random.chance(0.9)) teller.say((ms) => story.said(ms));
    tellUsage(teller);
    if (random.chance(0.5)) for (const _ of calls) teller.say((ms) => story.toolSaid(ms));
    return calls.length === 0 ? "answered" : "ran";
  }
  tellUsage(teller);
  if (random.chance(0.95)) teller.say((ms) => story.said(ms));
  if (calls.length === 0) return "answered";
  if (random.chance(0.05)) return "looped";
  tellExecutions(teller, calls);
  for (const _ of calls) teller.say((ms) => story.toolSaid(ms));
  return "ran";
}

function ids(producer: Producer, random: Random, iteration: number): string[] {
  const asked = Array.from({ length: random.between(1, 4) }, (_, index) =>
    callId(producer, random, iteration, index),
  );
  // Executions of one id in one iteration cannot be told apart, by nobody.
  return producer.executions === "never" ? asked : [...new Set(asked)];
}

function callId({ ids: kind }: Producer, random: Random, iteration: number, index: number): string {
  switch (kind) {
    case "unique":
      return `call_${iteration}_${index}`;
    case "repeated":
      return `call_${random.below(2)}`;
    case "hostile":
      return random.pick(HOSTILE);
  }
}

function tellOutput(teller: Teller, calls: readonly string[]): void {
  const { random, producer } = teller;
  const { story } = producer;
  const stream = (share: number) => {
    for (let count = random.below(5); count > 0; count -= 1) teller.say((ms) => story.delta(ms));
    for (const id of calls) {
      if (!random.chance(share)) return;
      teller.say((ms) => story.callStarted(ms, id));
      for (let count = random.below(3); count > 0; count -= 1) teller.say((ms) => story.callDelta(ms, id));
      teller.say((ms) => story.asked(ms, id));
    }
  };
  if (producer.streams) {
    const breaks = random.chance(0.1);
    stream(breaks ? 0.5 : 1);
    if (!breaks) return;
  }
  if (random.chance(0.6)) teller.say((ms) => story.delta(ms));
  for (const id of calls) teller.say((ms) => story.asked(ms, id));
}

function tellUsage(teller: Teller): void {
  const { random, producer } = teller;
  const { story } = producer;
  if (producer.usage === "never" || (producer.usage === "sometimes" && random.chance(0.5))) return;
  const cache: Tokens = random.pick([
    {},
    { read: random.below(90) },
    { cached: random.below(90) },
    { read: random.below(90), write: random.below(9) },
  ]);
  teller.say((ms) => story.usage(ms, random.between(100, 5_000), random.below(500), cache));
  const repeated: Tokens = random.chance(0.5) ? cache : { read: 5, write: 7 };
  if (random.chance(0.3)) teller.say((ms) => story.cache(ms, repeated));
  if (random.chance(0.1)) teller.say((ms) => story.cache(ms, repeated));
}

/** Executions side by side, each finished at some time after it began, or never. */
function tellExecutions(teller: Teller, calls: readonly string[]): void {
  const { random, producer } = teller;
  const { story, executions } = producer;
  if (executions === "never") return;
  const seen = calls.filter(() => executions === "always" || random.chance(0.5));
  const open: string[] = [];
  const finish = () => {
    const [id] = open.splice(random.below(open.length), 1);
    if (random.chance(0.2)) teller.say((ms) => story.toolFailed(ms, id!, "no such page", random.below(100)));
    else teller.say((ms) => story.toolFinished(ms, id!, { took: random.below(100) }));
  };
  for (const id of random.shuffled(seen)) {
    if (random.chance(0.9)) teller.say((ms) => story.toolStarted(ms, id), 1_000);
    open.push(id);
    if (random.chance(0.5)) finish();
  }
  while (open.length > 0 && random.chance(0.95)) finish();
}
