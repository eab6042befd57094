import type { StateChange, StateRecord, StateStore } from "../../src/state/store.ts";
import { seeded } from "../bridge/seeded.ts";

/** Keys that the commits below write. */
const KEYS = 50;

/** What the n-th commit changes, the same every time: so a state says which commit it is of. */
export function changeOf(n: number): StateChange {
  const random = seeded(n);
  const puts = new Map([["n", String(n)]]);
  const removes: string[] = [];
  for (let count = Math.floor(random() * 20); count > 0; count -= 1) {
    const key = `run/${Math.floor(random() * KEYS)}`;
    puts.delete(key);
    if (random() < 0.2) removes.push(key);
    else puts.set(key, `${n} é "x" ${"y".repeat(Math.floor(random() ** 4 * 1_000))}`);
  }
  return { puts, removes: removes.filter((key) => !puts.has(key)), used: [] };
}

/** The state after the first n commits. */
export function stateAfter(n: number): Map<string, string> {
  const state = new Map<string, string>();
  for (let each = 1; each <= n; each += 1) apply(changeOf(each), state);
  return state;
}

export async function readAll(records: AsyncIterable<StateRecord>): Promise<Map<string, string>> {
  const state = new Map<string, string>();
  for await (const [key, value] of records) {
    if (state.has(key)) throw new Error(`${key} came twice`);
    state.set(key, value);
  }
  return state;
}

/** Opens, reads and closes. */
export async function stateOf(store: StateStore): Promise<Map<string, string>> {
  const state = await readAll(await store.open());
  await store.close();
  return state;
}

/** In the order of their keys, for comparing. */
export function sorted(state: ReadonlyMap<string, string>): (readonly [string, string])[] {
  return [...state].toSorted(([a], [b]) => (a < b ? -1 : 1));
}

function apply({ puts, removes }: StateChange, state: Map<string, string>): void {
  for (const key of removes) state.delete(key);
  for (const [key, value] of puts) state.set(key, value);
}
