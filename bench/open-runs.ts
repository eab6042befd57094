/**
 * What an event costs with 100,000 runs open, against the same with 100 open; and what an open run
 * holds. Goals: at most 2.5 times when events are spread over all of them, 1.1 times when 100 of
 * them are busy; at most 1.5 KB per open run.
 *
 *   node --expose-gc bench/open-runs.ts [open runs]
 */
import { Decoder } from "../src/event/decode.ts";
import type { Event } from "../src/event/event.ts";
import type { AgentEvent } from "../src/event/schema.ts";
import { Ledger } from "../src/metric/ledger.ts";
import { Assembler } from "../src/run/assembler.ts";
import { HEART_DEFAULTS } from "../src/run/limits.ts";
import type { Op } from "../src/run/op.ts";
import { median, medianRatio, tell } from "./measure.ts";
import { runIdOf, standardRun } from "./standard-run.ts";

const many = Number(process.argv[2] ?? 100_000);
const FEW = 100;
const EVENTS = 200_000;
const gc = globalThis.gc;
if (gc === undefined) throw new Error("run with node --expose-gc");

const decoder = new Decoder();
let nanos = 0;
const few = open(FEW);
gc();
const before = process.memoryUsage().heapUsed;
const lots = open(many);
gc();
const perRun = (process.memoryUsage().heapUsed - before) / many;

const rounds = { few: [] as number[], spread: [] as number[], busy: [] as number[] };
for (let round = -1; round < 7; round++) {
  const times = { few: feed(few, FEW), spread: feed(lots, many), busy: feed(lots, FEW) };
  if (round < 0) continue;
  for (const key of ["few", "spread", "busy"] as const) rounds[key].push(times[key]);
}
const base = median(rounds.few);
const spread = medianRatio(rounds.spread, rounds.few);
const busy = medianRatio(rounds.busy, rounds.few);
console.log(`${(base * 1e6).toFixed(0)} ns per event with ${FEW} runs open`);
tell(`${many} runs open, events spread evenly`, `${spread.toFixed(2)} times`, "at most 2.5", spread <= 2.5);
tell(`${many} runs open, ${FEW} of them busy`, `${busy.toFixed(2)} times`, "at most 1.1", busy <= 1.1);
tell("memory per open run", `${(perRun / 1024).toFixed(2)} KB`, "at most 1.5 KB", perRun <= 1536);

interface Bridge {
  readonly heart: Assembler;
  readonly ledger: Ledger;
}

/** Runs that have begun, called a model and received a few chunks. */
function open(runs: number): Bridge {
  const bridge = { heart: new Assembler({ ...HEART_DEFAULTS, maxOpenRuns: runs }), ledger: new Ledger() };
  for (let n = 0; n < runs; n++) {
    for (const event of standardRun(runIdOf(n), 1_799_999_000_000).slice(0, 10)) give(bridge, event);
  }
  return bridge;
}

/** So many deltas, each to the next of the first `runs` runs; milliseconds per event. */
function feed(bridge: Bridge, runs: number): number {
  const events: Event[] = [];
  for (let n = 0; n < EVENTS; n++) events.push(delta(n % runs));
  const ops: Op[] = [];
  // What making the events left behind is not an event's cost.
  gc?.();
  const began = performance.now();
  for (const event of events) {
    bridge.heart.accept(event, 1_800_000_000_000, ops);
    for (const op of ops) bridge.ledger.apply(op);
    ops.length = 0;
  }
  return (performance.now() - began) / EVENTS;
}

/** A delta whose run id is a string of its own, as one from a line is. */
function delta(run: number): Event {
  const text = JSON.stringify({ TextDelta: { run_id: runIdOf(run), delta: "word ", timestamp: stamp() } });
  const line = Buffer.from(text);
  return decoder.line(line, 0, line.length, true) as Event;
}

/** Later with every call, by ten nanoseconds. */
function stamp(): string {
  nanos += 10;
  const seconds = Math.floor(nanos / 1e9);
  return `2027-01-15T08:10:${String(seconds).padStart(2, "0")}.${String(nanos % 1e9).padStart(9, "0")}Z`;
}

function give(bridge: Bridge, wire: AgentEvent): void {
  const ops: Op[] = [];
  const line = Buffer.from(JSON.stringify(wire));
  bridge.heart.accept(decoder.line(line, 0, line.length, true) as Event, 1_800_000_000_000, ops);
  for (const op of ops) bridge.ledger.apply(op);
}
