import { describe, expect, test } from "vitest";
import type { StateChange, StateStore } from "../../src/state/store.ts";
import { readAll, stateOf } from "./commits.ts";

/** Somewhere a state is kept, with nothing in it. */
export interface StatePlace {
  /** The store of another process; it is not opened. */
  begin(): StateStore;
  close(): Promise<void>;
}

const REPLACED = { code: "BEHEST_STATE_REPLACED" };

/** What every place does that keeps a state (`src/state/store.ts`). */
export function describeStore(name: string, make: () => StatePlace | Promise<StatePlace>): void {
  describe(`${name}, as every state,`, () => {
    // oxlint-disable-next-line vitest/valid-title -- it is a string wherever it is said
    const fact: Fact = (text, show) => test(text, () => onPlace(make, show));
    keeping(fact);
    owning(fact);
  });
}

type Fact = (text: string, show: (begin: () => StateStore) => Promise<void>) => void;

function keeping(fact: Fact): void {
  fact("is empty at first, and then what was committed, in every life", async (begin) => {
    const first = begin();
    expect(await readAll(await first.open())).toEqual(new Map());
    const longKey = "k".repeat(100);
    const values = { empty: "", text: 'é 漢 🎈 \\ " \n\0', long: "é".repeat(150_000), [longKey]: "1" };
    await first.commit(changeOf({ ...values, a: "1", b: "1" }));
    await first.commit(changeOf({ a: "2" }, ["b", "never"]));
    await first.commit(changeOf({ b: "2" }, ["empty"]));
    await first.close();
    const { empty: _, ...rest } = values;
    const expected = { ...rest, a: "2", b: "2" };
    expect(Object.fromEntries(await stateOf(begin()))).toEqual(expected);
    expect(Object.fromEntries(await stateOf(begin()))).toEqual(expected);
  });

  fact("goes on in the next life from what is there", async (begin) => {
    for (let life = 1; life <= 3; life += 1) {
      const store = begin();
      expect((await readAll(await store.open())).size).toBe(life === 1 ? 0 : life);
      await store.commit(changeOf({ [`life/${life}`]: "1", n: String(life) }));
      await store.close();
    }
    expect(Object.fromEntries(await stateOf(begin()))).toEqual({
      "life/1": "1",
      "life/2": "1",
      "life/3": "1",
      n: "3",
    });
  });

  fact("of a whole change keeps that and nothing else", async (begin) => {
    const store = begin();
    await readAll(await store.open());
    await store.commit(changeOf({ a: "1", b: "1" }));
    await store.commit({ ...changeOf({ b: "2", c: "2" }), whole: true });
    await store.commit(changeOf({ d: "3" }));
    await store.close();
    expect(Object.fromEntries(await stateOf(begin()))).toEqual({ b: "2", c: "2", d: "3" });
  });

  fact("takes the same change again", async (begin) => {
    const store = begin();
    await readAll(await store.open());
    await store.commit(changeOf({ a: "1", b: "1" }));
    for (let time = 0; time < 2; time += 1) await store.commit(changeOf({ a: "2" }, ["b"]));
    await store.close();
    expect(Object.fromEntries(await stateOf(begin()))).toEqual({ a: "2" });
  });

  fact("has a size or does not know it", async (begin) => {
    const store = begin();
    await readAll(await store.open());
    await store.commit(changeOf({ long: "x".repeat(100_000) }));
    expect(store.bytes ?? Infinity).toBeGreaterThan(50_000);
    await store.close();
  });
}

function owning(fact: Fact): void {
  fact("is the newest opener's: an older one commits nothing, for ever", async (begin) => {
    const [older, newer] = [begin(), begin()];
    await readAll(await older.open());
    await older.commit(changeOf({ a: "older" }));
    expect(Object.fromEntries(await readAll(await newer.open()))).toEqual({ a: "older" });
    await expect(older.commit(changeOf({ a: "refused" }))).rejects.toMatchObject(REPLACED);
    await expect(older.commit(changeOf({}))).rejects.toMatchObject(REPLACED);
    await newer.commit(changeOf({ b: "newer" }));
    await expect(older.commit({ ...changeOf({ a: "refused" }), whole: true })).rejects.toMatchObject(
      REPLACED,
    );
    await older.close();
    await newer.close();
    expect(Object.fromEntries(await stateOf(begin()))).toEqual({ a: "older", b: "newer" });
  });

  fact("is one process's, however many open it at once, and be it for the first time", async (begin) => {
    const stores = Array.from({ length: 5 }, begin);
    await Promise.all(stores.map(async (store) => readAll(await store.open())));
    const commits = await Promise.allSettled(
      stores.map((store, at) => store.commit(changeOf({ winner: String(at) }))),
    );
    const winners = commits.flatMap(({ status }, at) => (status === "fulfilled" ? [String(at)] : []));
    const refusals = commits.flatMap((one) => (one.status === "rejected" ? [one.reason as unknown] : []));
    expect(winners).toHaveLength(1);
    for (const refusal of refusals) expect(refusal).toMatchObject(REPLACED);
    await Promise.all(stores.map((store) => store.close()));
    expect(Object.fromEntries(await stateOf(begin()))).toEqual({ winner: winners[0] });
  });

  fact("lets a record be looked at by others, and takes nothing over for that", async (begin) => {
    const [owner, looking] = [begin(), begin()];
    expect(await looking.peek("birth")).toBeUndefined();
    await readAll(await owner.open());
    await owner.commit(changeOf({ birth: "é", a: "1" }));
    expect(await looking.peek("birth")).toBe("é");
    expect(await looking.peek("never")).toBeUndefined();
    await owner.commit(changeOf({ a: "2" }));
    await looking.close();
    await owner.commit(changeOf({ a: "3" }));
    await owner.close();
    expect(Object.fromEntries(await stateOf(begin()))).toEqual({ birth: "é", a: "3" });
  });

  fact("can be closed at any time and again", async (begin) => {
    const never = begin();
    await never.close();
    await never.close();
    const store = begin();
    await readAll(await store.open());
    await store.commit(changeOf({ a: "1" }));
    await Promise.all([store.close(), store.close()]);
    expect(Object.fromEntries(await stateOf(begin()))).toEqual({ a: "1" });
  });
}

async function onPlace(
  make: () => StatePlace | Promise<StatePlace>,
  show: (begin: () => StateStore) => Promise<void>,
): Promise<void> {
  const place = await make();
  const stores: StateStore[] = [];
  const begin = () => {
    const store = place.begin();
    stores.push(store);
    return store;
  };
  try {
    await show(begin);
  } finally {
    for (const store of stores) await store.close();
    await place.close();
  }
}

function changeOf(puts: Readonly<Record<string, string>>, removes: readonly string[] = []): StateChange {
  return { puts: new Map(Object.entries(puts)), removes, used: [] };
}
