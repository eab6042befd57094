import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { stateDirectory } from "../../src/state/directory.ts";
import { resetState } from "../../src/state/inspect.ts";
import type { StateChange, StateStore } from "../../src/state/store.ts";
import { manualClock } from "../otel/clocks.ts";

const root = mkdtempSync(join(tmpdir(), "behest-otel-peek-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;

function directory(): string {
  return join(root, String((count += 1)));
}

/** A file is written anew as soon as half as much again was added to it. */
function store(path: string): StateStore {
  return stateDirectory(path, "http", { clock: manualClock(1), slackBytes: 0 });
}

function change(n: number): StateChange {
  const puts = new Map([["n", String(n)], ...(n === 0 ? [["birth", "once"] as const] : [])]);
  return { puts: puts.set("pad", "é".repeat(n % 500)), removes: [], used: [] };
}

test("a record is read without taking the state from its owner", async () => {
  const path = directory();
  const owner = store(path);
  await owner.open();
  await owner.commit(change(0));
  const before = readdirSync(owner.name);
  const other = store(path);
  expect([await other.peek("birth"), await other.peek("n"), await other.peek("never")]).toEqual([
    "once",
    "0",
    undefined,
  ]);
  expect(readdirSync(owner.name)).toEqual(before);
  await owner.commit(change(1));
  expect(await other.peek("n")).toBe("1");
  await owner.close();
});

test("where nothing is kept there is none, and nothing is made", async () => {
  const path = directory();
  expect(await store(path).peek("birth")).toBeUndefined();
  expect(() => readdirSync(path)).toThrow("ENOENT");
  const begun = store(path);
  await begun.open();
  expect(await store(path).peek("birth")).toBeUndefined();
  await begun.close();
});

test("it is read while the file is added to, written anew, and taken over", async () => {
  const path = directory();
  let owner = store(path);
  await owner.open();
  await owner.commit(change(0));
  const peeks: Promise<string | undefined>[] = [];
  const other = store(path);
  for (let n = 1; n <= 300; n += 1) {
    peeks.push(other.peek("birth"));
    if (n % 20 === 0) {
      const newer = store(path);
      for await (const _ of await newer.open());
      await owner.close();
      owner = newer;
    }
    await owner.commit(change(n));
  }
  expect(new Set(await Promise.all(peeks))).toEqual(new Set(["once"]));
  await owner.close();
});

test("a state that was reset has none", async () => {
  const path = directory();
  const owner = store(path);
  await owner.open();
  await owner.commit(change(0));
  await owner.close();
  await resetState(path, new Date("2026-11-22T18:53:00Z"));
  expect(await store(path).peek("birth")).toBeUndefined();
});

test("one that is damaged is refused with the way out, and stays as it is", async () => {
  const path = directory();
  const owner = store(path);
  await owner.open();
  await owner.commit(change(0));
  await owner.close();
  const file = join(
    owner.name,
    readdirSync(owner.name).find((name) => name.endsWith(".state"))!,
  );
  writeFileSync(file, readFileSync(file).fill(0, 0, 8));
  const damaged = readFileSync(file);
  await expect(store(path).peek("birth")).rejects.toMatchObject({
    code: "BEHEST_STATE_OPEN",
    message: expect.stringContaining("`behest-otel state reset`"),
  });
  expect(readFileSync(file)).toEqual(damaged);
});
