import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { stateDirectory } from "../../src/state/directory.ts";
import { inspectState, resetState } from "../../src/state/inspect.ts";
import type { StateStore } from "../../src/state/store.ts";
import { manualClock } from "../otel/clocks.ts";
import { changeOf, sorted, stateAfter, stateOf } from "./commits.ts";

const root = mkdtempSync(join(tmpdir(), "behest-otel-inspect-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const COMMITTED_MS = 1_700_000_000_000;
const now = new Date("2026-11-22T18:53:00.123Z");
let count = 0;

function directory(): string {
  return join(root, String((count += 1)));
}

function store(path: string, name: string): StateStore {
  return stateDirectory(path, name, { clock: manualClock(COMMITTED_MS) });
}

async function write(path: string, name: string, commits: number): Promise<StateStore> {
  const one = store(path, name);
  await one.open();
  for (let n = 1; n <= commits; n += 1) await one.commit(changeOf(n));
  return one;
}

test("a state directory says what it holds of which source", async () => {
  const path = directory();
  const one = await write(path, "redis://host/a", 9);
  await one.close();
  await (await write(path, "stdin", 0)).close();
  const damaged = await write(path, "z", 1);
  await damaged.close();
  writeFileSync(join(damaged.name, "0000000001.state"), "hello");
  const found = await inspectState(path);
  expect(found).toMatchObject([
    {
      folder: one.name,
      name: "redis://host/a",
      version: 1,
      epoch: 1,
      records: stateAfter(9).size,
      committedMs: COMMITTED_MS,
      problem: undefined,
    },
    { name: undefined, version: undefined, epoch: 1, records: 0, bytes: 0, committedMs: undefined },
    {
      name: undefined,
      bytes: 5,
      problem: "0000000001.state is damaged: its first bytes are not those of a state",
    },
  ]);
  expect(found[0]?.bytes).toBeGreaterThan([...stateAfter(9).values()].join("").length);
});

test("looking changes nothing, and who writes goes on", async () => {
  const path = directory();
  const one = await write(path, "a", 1);
  const before = readdirSync(one.name);
  await inspectState(path);
  expect(readdirSync(one.name)).toEqual(before);
  await one.commit(changeOf(2));
  await one.close();
});

test("a reset moves the state aside whole, and what opens it next begins anew", async () => {
  const path = directory();
  await (await write(path, "a", 5)).close();
  const [folder = ""] = readdirSync(path);
  const bytes = readFileSync(join(path, folder, "0000000001.state"));
  const old = `${folder}.20261122T185300Z.old`;
  expect(await resetState(path, now)).toEqual([{ from: join(path, folder), to: join(path, old) }]);
  expect(readFileSync(join(path, old, "0000000001.state")).equals(bytes)).toBe(true);
  expect(await stateOf(store(path, "a"))).toEqual(new Map());
  expect((await inspectState(path)).map((each) => basename(each.folder))).toEqual([folder]);
});

test("a reset is the way out of a state that cannot be read", async () => {
  const path = directory();
  const one = await write(path, "a", 5);
  await one.close();
  writeFileSync(join(one.name, "0000000001.state"), "hello");
  await expect(store(path, "a").open()).rejects.toMatchObject({ code: "BEHEST_STATE_OPEN" });
  await resetState(path, now);
  const next = await write(path, "a", 2);
  await next.close();
  expect(sorted(await stateOf(store(path, "a")))).toEqual(sorted(stateAfter(2)));
});

test("a process that runs while its state is reset or removed is replaced, and leaves nothing behind", async () => {
  const path = directory();
  const one = await write(path, "a", 2);
  await resetState(path, now);
  await expect(one.commit(changeOf(3))).rejects.toMatchObject({ code: "BEHEST_STATE_REPLACED" });
  await one.close();
  expect(await stateOf(store(path, "a"))).toEqual(new Map());
  const two = await write(path, "a", 2);
  rmSync(two.name, { recursive: true });
  await expect(two.commit(changeOf(3))).rejects.toMatchObject({ code: "BEHEST_STATE_REPLACED" });
  await two.close();
  expect(existsSync(two.name)).toBe(false);
});

test("a reset leaves the journal where it is", async () => {
  const path = directory();
  const one = await write(path, "a", 1);
  await one.close();
  writeFileSync(join(one.name, "other"), "journal");
  await resetState(path, now);
  expect(readFileSync(join(one.name, "other"), "utf8")).toBe("journal");
});

test.each(["inspectState", "resetState"])("%s of a directory that is not there is refused", async (which) => {
  const path = directory();
  const done = which === "inspectState" ? inspectState(path) : resetState(path, now);
  await expect(done).rejects.toMatchObject({
    code: "BEHEST_STATE_OPEN",
    message: expect.stringMatching(/does not exist/),
  });
});
