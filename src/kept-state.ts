import { createHash, randomUUID } from "node:crypto";

import { BridgeError } from "./errors.ts";
import { fromMillis, laterOf, type Time } from "./event/time.ts";
import type { LedgerData } from "./metric/saved.ts";
import type { SavedHeart, SavedRecord } from "./run/saved.ts";
import type { StateRecord, StateStore } from "./state/store.ts";

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

/**
 * What the metrics of several pipelines, added up, are sent under: it changes when one of them has
 * begun anew. Undefined for none.
 */
export function jointBirth(births: readonly Birth[]): Pick<Birth, "instanceId" | "start"> | undefined {
  const [first, ...others] = births;
  if (first === undefined || others.length === 0) return first;
  const ids = births.map(({ instanceId }) => instanceId).toSorted();
  const start = others.reduce((latest, birth) => laterOf(latest, birth.start), first.start);
  return { instanceId: createHash("sha256").update(ids.join()).digest("hex").slice(0, 32), start };
}

/** A pipeline's state as it was committed last (DESIGN 8). */
export interface KeptState {
  readonly birth: Birth;
  readonly heart: SavedHeart;
  readonly ledger: LedgerData | undefined;
  /** What became of spans: of all pipelines together, so only one of them has it. */
  readonly exports: LedgerData | undefined;
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

/** Takes a store over from whoever had it. Rejects with `BEHEST_STATE_OPEN`, and then has changed nothing in it. */
export async function openKeep(
  store: StateStore,
  { nowMs, shards }: { readonly nowMs: number; readonly shards: number },
): Promise<Keep> {
  const kept = await readState(await store.open(), store.name);
  if (kept !== undefined && kept.birth.shards !== shards) {
    throw new BridgeError(
      "BEHEST_STATE_OPEN",
      `${store.name}: expected ${shards} shards, as --shard says, found the state of ${kept.birth.shards}; ` +
        "drain first (docs/delivery.md), or give every process the number it had",
    );
  }
  return { store, kept, birth: kept?.birth ?? newBirth(nowMs, shards) };
}

/** Keys of the records; a run's is `run/` and its id. */
export const KEYS = {
  birth: "birth",
  time: "time",
  ledger: "ledger",
  exports: "exports",
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
  const birth = others.get(KEYS.birth) as (Birth & { readonly format?: unknown }) | undefined;
  if (birth?.format !== FORMAT) {
    const found = birth === undefined ? "no version" : `version ${String(birth.format)}`;
    throw new BridgeError(
      "BEHEST_STATE_OPEN",
      `${store}: expected state of version ${FORMAT}, found ${found}; ` +
        "run the behest-otel that wrote it, or begin anew elsewhere",
    );
  }
  return {
    birth,
    heart: { nowMs: (others.get(KEYS.time) as number | undefined) ?? 0, runs },
    ledger: others.get(KEYS.ledger) as LedgerData | undefined,
    exports: others.get(KEYS.exports) as LedgerData | undefined,
    position: others.get(KEYS.position) as string | undefined,
  };
}

function parse(key: string, value: string, store: string): unknown {
  try {
    return JSON.parse(value);
  } catch (error) {
    throw new BridgeError("BEHEST_STATE_OPEN", `${store}: the record ${key} is damaged`, { cause: error });
  }
}
