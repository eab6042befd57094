import { createHash, randomUUID } from "node:crypto";

import { BridgeError } from "./errors.ts";
import { fromMillis, laterOf, type Time } from "./event/time.ts";
import { addSnapshots } from "./metric/combine.ts";
import { Ledger } from "./metric/ledger.ts";
import type { LedgerData } from "./metric/saved.ts";
import type { Reading } from "./metric/snapshot.ts";
import type { SemconvMode } from "./metric/table.ts";
import type { Counting } from "./otel/outlet.ts";
import type { SavedHeart, SavedRecord } from "./run/saved.ts";
import type { Relative, StateRecord, StateStore } from "./state/store.ts";

/** Version of the records below. A version reads those of the one before it, and refuses any other. */
const FORMAT = 1;

/** Said once when a state begins: what all lives of it have in common. */
export interface Birth {
  /** `service.instance.id` of the metrics: a counter goes on under the name it began with. */
  readonly instanceId: string;
  /** When counting began. */
  readonly start: Time;
  /** Between how many processes the runs are shared. */
  readonly shards: number;
}

/** A state, or a process without one, begins to count. */
export function newBirth(nowMs: number, shards = 1): Birth {
  return { instanceId: randomUUID(), start: fromMillis(nowMs), shards };
}

/** What a pipeline had counted at one moment: its ledger, and that of its spans. */
export interface Counted {
  readonly ledger: LedgerData;
  readonly exports: LedgerData;
}

/** The last reading of metrics that the backend took, kept where it is told what is new since then. */
export interface Told extends Counted {
  /** Milliseconds since 1970. */
  readonly timeMs: number;
}

/**
 * Who counts, when several pipelines with a state add up what they counted: it changes when one of them has
 * begun anew. Undefined for none.
 */
export function jointCounting(keeps: readonly Keep[], mode: SemconvMode): Counting | undefined {
  const [first, ...others] = keeps;
  if (first === undefined) return undefined;
  const told = keeps.flatMap(({ kept }) => kept?.told ?? []);
  const accepted = told.length === 0 ? undefined : readingOf(told, mode);
  const { instanceId, start } = first.birth;
  if (others.length === 0) return { instanceId, start, accepted };
  const ids = keeps.map(({ birth }) => birth.instanceId).toSorted();
  return {
    instanceId: createHash("sha256").update(ids.join()).digest("hex").slice(0, 32),
    start: others.reduce((latest, { birth }) => laterOf(latest, birth.start), start),
    accepted,
  };
}

function readingOf(told: readonly Told[], mode: SemconvMode): Reading {
  const parts = told.flatMap(({ ledger, exports }) => [ledger, exports]);
  return {
    snapshot: addSnapshots(parts.map((data) => new Ledger({}, data).snapshot(mode))),
    time: fromMillis(Math.max(...told.map(({ timeMs }) => timeMs))),
  };
}

/** A pipeline's state as it was committed last (docs/delivery.md). */
export interface KeptState {
  readonly birth: Birth;
  readonly heart: SavedHeart;
  readonly ledger: LedgerData | undefined;
  /** What became of spans. */
  readonly exports: LedgerData | undefined;
  readonly told: Told | undefined;
  /** Where the source goes on. */
  readonly position: string | undefined;
}

/** Where the state of a pipeline is kept, opened, and what it held. */
export interface Keep {
  readonly store: StateStore;
  readonly birth: Birth;
  /** Undefined when it was empty. */
  readonly kept: KeptState | undefined;
}

/** What a state must agree with, before it is taken over. */
export interface Expected {
  /** Between how many processes the runs are shared. */
  readonly shards: number;
  /** States that say so where it is empty itself. */
  readonly relatives: readonly Relative[];
}

/**
 * Looks at a state before it is taken: of two processes with different ideas the one that runs is right. Rejects with
 * `BEHEST_STATE_OPEN` when it, or where there is none yet one of its relatives, shares the runs among another
 * number of processes, or cannot be read. Changes nothing, and whoever has it goes on.
 */
export async function checkKeep(store: StateStore, { shards, relatives }: Expected): Promise<void> {
  if (await isOfShards(store, shards)) return;
  try {
    for (const relative of relatives) await isOfShards(relative, shards);
  } finally {
    await Promise.all(relatives.map((relative) => relative.close()));
  }
}

/** Takes a store over from whoever had it. Rejects with `BEHEST_STATE_OPEN`, and then has changed nothing in it. */
export async function openKeep(
  store: StateStore,
  { nowMs, shards }: { readonly nowMs: number; readonly shards: number },
): Promise<Keep> {
  const kept = await readState(await store.open(), store.name);
  if (kept !== undefined) expectShards(kept.birth, { store: store.name, shards });
  return { store, kept, birth: kept?.birth ?? newBirth(nowMs, shards) };
}

/** False when nothing is kept there. */
async function isOfShards(store: Relative, shards: number): Promise<boolean> {
  const text = await store.peek(KEYS.birth);
  if (text === undefined) return false;
  expectShards(birthOf(parse(KEYS.birth, text, store.name), store.name), { store: store.name, shards });
  return true;
}

function expectShards(birth: Birth, { store, shards }: { store: string; shards: number }): void {
  if (birth.shards === shards) return;
  const expected = shards === 1 ? "1 process, as without --shard" : `${shards} shards, as --shard says`;
  const found = birth.shards === 1 ? "that of 1 process for all runs" : `the state of ${birth.shards} shards`;
  throw new BridgeError(
    "BEHEST_STATE_OPEN",
    `${store}: expected the state of ${expected}, found ${found}. Nothing was changed. Drain first, then begin with a ` +
      'state of another name, or remove this one: docs/delivery.md, "Shards"; or start every process as it was',
  );
}

/** Keys of the records; a run's is `run/` and its id. */
export const KEYS = {
  birth: "birth",
  time: "time",
  ledger: "ledger",
  exports: "exports",
  told: "told",
  position: "position",
} as const;

export function runKey(runId: string): string {
  return `run/${runId}`;
}

export function writeBirth(birth: Birth): string {
  return JSON.stringify({ format: FORMAT, ...birth });
}

/** Reads the records of a store, undefined when there are none. Rejects with `BEHEST_STATE_OPEN`. */
async function readState(records: AsyncIterable<StateRecord>, store: string): Promise<KeptState | undefined> {
  const runs: SavedRecord[] = [];
  const others = new Map<string, unknown>();
  let count = 0;
  for await (const [key, value] of records) {
    count += 1;
    const data = parse(key, value, store);
    if (key.startsWith("run/")) runs.push(data as SavedRecord);
    else others.set(key, data);
  }
  if (count === 0) return undefined;
  return {
    birth: birthOf(others.get(KEYS.birth), store),
    heart: { nowMs: (others.get(KEYS.time) as number | undefined) ?? 0, runs },
    ledger: others.get(KEYS.ledger) as LedgerData | undefined,
    exports: others.get(KEYS.exports) as LedgerData | undefined,
    told: others.get(KEYS.told) as Told | undefined,
    position: others.get(KEYS.position) as string | undefined,
  };
}

function birthOf(record: unknown, store: string): Birth {
  const birth = record as (Birth & { readonly format?: unknown }) | undefined;
  if (birth?.format === FORMAT) return birth;
  const found = birth === undefined ? "no version" : `version ${String(birth.format)}`;
  throw new BridgeError(
    "BEHEST_STATE_OPEN",
    `${store}: expected state of version ${FORMAT}, found ${found}; ` +
      "run the behest-otel that wrote it, or begin anew elsewhere",
  );
}

function parse(key: string, value: string, store: string): unknown {
  try {
    return JSON.parse(value);
  } catch (error) {
    throw new BridgeError("BEHEST_STATE_OPEN", `${store}: the record ${key} is damaged`, { cause: error });
  }
}
