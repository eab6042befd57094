import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { statSync, truncateSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { BridgeError } from "../../src/errors.ts";
import { sourceFolder, stateDirectory } from "../../src/state/directory.ts";
import { FRAME_HEAD_BYTES, sealFrame } from "../../src/state/frame.ts";
import { readStateFile, storedRecords, UnreadableState } from "../../src/state/state-file.ts";
import type { StateStore } from "../../src/state/store.ts";
import { SEED, seeded } from "../bridge/seeded.ts";
import { manualClock } from "../otel/clocks.ts";
import { changeOf, readAll, sorted, stateAfter, stateOf } from "./commits.ts";

const root = mkdtempSync(join(tmpdir(), "behest-otel-state-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;

function directory(): string {
  return join(root, String((count += 1)));
}

function store(path: string, slackBytes?: number): StateStore {
  return stateDirectory(path, "a source", { clock: manualClock(), ...(slackBytes && { slackBytes }) });
}

/** Makes a state of so many commits; the file that holds it. */
async function written(path: string, commits: number, slackBytes?: number): Promise<string> {
  const one = store(path, slackBytes);
  await readAll(await one.open());
  for (let n = 1; n <= commits; n += 1) await one.commit(changeOf(n));
  await one.close();
  return join(
    one.name,
    readdirSync(one.name).find((name) => name.endsWith(".state"))!,
  );
}

async function refusal(promise: Promise<unknown>): Promise<BridgeError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof BridgeError) return error;
    throw error;
  }
  throw new Error("was not refused");
}

/** What a later version might write: the first frame says so, whatever follows. */
function newerFile(): Buffer {
  const header = Buffer.from(`\0\x01\0\0\0${JSON.stringify({ format: "behest-otel state", version: 2 })}`);
  const bytes = Buffer.concat([Buffer.alloc(FRAME_HEAD_BYTES), header, Buffer.from("what is not known")]);
  sealFrame(bytes, 0, { length: header.length, seed: 0 });
  return bytes;
}

describe("a state directory", () => {
  test("that is not there yet is made, for its owner alone, and is empty", async () => {
    const path = join(directory(), "deep");
    const one = store(path);
    expect(await readAll(await one.open())).toEqual(new Map());
    await one.commit(changeOf(1));
    const files = readdirSync(one.name).map((name) => join(one.name, name));
    expect(statSync(one.name).mode & 0o777).toBe(0o700);
    expect(files.map((file) => statSync(file).mode & 0o777)).toEqual(files.map(() => 0o600));
    await one.close();
    await one.close();
  });

  test.each([
    ["one commit", 1, undefined],
    ["many commits", 60, undefined],
    ["many commits that write it anew again and again", 200, 2_000],
  ])("gives back what was committed: %s", async (_, commits, slackBytes) => {
    const path = directory();
    await written(path, commits, slackBytes);
    expect(sorted(await stateOf(store(path)))).toEqual(sorted(stateAfter(commits)));
  });

  test("keeps a record longer than what is read at once, and an empty one", async () => {
    const path = directory();
    const long = "é".repeat(1_500_000);
    const one = store(path);
    await one.open();
    await one.commit({
      puts: new Map([
        ["long", long],
        ["empty", ""],
      ]),
      removes: [],
      used: [],
    });
    await one.close();
    expect(await stateOf(store(path))).toEqual(
      new Map([
        ["long", long],
        ["empty", ""],
      ]),
    );
  });

  test("is as big as what was changed since, and not as all that ever was", async () => {
    const file = await written(directory(), 1_000, 10_000);
    const live = [...stateAfter(1_000).values()].reduce((sum, value) => sum + value.length, 0);
    expect(statSync(file).size).toBeLessThan(3 * live + 20_000);
  });

  test("says how long its file is: that of the process before, and then its own", async () => {
    const path = directory();
    const size = statSync(await written(path, 20)).size;
    const one = store(path);
    expect(one.bytes).toBeUndefined();
    await readAll(await one.open());
    expect(one.bytes).toBe(size);
    for (let n = 21; n <= 25; n += 1) await one.commit(changeOf(n));
    const file = readdirSync(one.name).find((name) => name.endsWith(".state")) ?? "";
    expect(one.bytes).toBe(statSync(join(one.name, file)).size);
    await one.close();
  });

  test("adds a commit to its file, and does not write all of it again", async () => {
    const path = directory();
    const one = store(path);
    await one.open();
    await one.commit({ puts: new Map([["big", "x".repeat(1_000_000)]]), removes: [], used: [] });
    const file = join(one.name, "0000000001.state");
    const { size, ino } = statSync(file);
    await one.commit({ puts: new Map([["small", "y"]]), removes: [], used: [] });
    expect(statSync(file)).toMatchObject({ ino });
    expect(statSync(file).size - size).toBeLessThan(200);
    await one.close();
  });

  test("has a state for each source", async () => {
    const path = directory();
    const names = ["a/b", "a_b", "../a", "", "x".repeat(300)];
    for (const name of names) {
      const one = stateDirectory(path, name, { clock: manualClock() });
      expect(await readAll(await one.open())).toEqual(new Map());
      await one.commit({ puts: new Map([["name", name]]), removes: [], used: [] });
      await one.close();
    }
    expect(readdirSync(path)).toHaveLength(names.length);
    for (const name of names) {
      expect(await stateOf(stateDirectory(path, name, { clock: manualClock() }))).toEqual(
        new Map([["name", name]]),
      );
    }
  });
});

describe("the newest opener", () => {
  test("wins also over one that has not committed yet", async () => {
    const path = directory();
    await written(path, 3);
    const [older, newer] = [store(path), store(path)];
    await older.open();
    const records = await newer.open();
    await expect(older.commit(changeOf(4))).rejects.toMatchObject({ code: "BEHEST_STATE_REPLACED" });
    expect(sorted(await readAll(records))).toEqual(sorted(stateAfter(3)));
    await newer.commit(changeOf(4));
    expect(sorted(await stateOf(store(path)))).toEqual(sorted(stateAfter(4)));
    await Promise.all([older.close(), newer.close()]);
  });

  test("is one, however many open at once", async () => {
    const path = directory();
    const stores = Array.from({ length: 8 }, () => store(path));
    await Promise.all(stores.map((one) => one.open()));
    const results = await Promise.allSettled(stores.map((one) => one.commit(changeOf(1))));
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    await Promise.all(stores.map((one) => one.close()));
  });
});

describe("what cannot be opened is refused with the way out, and stays as it is:", () => {
  test.each<[string, (path: string) => void, RegExp]>([
    [
      "a file in place of the directory",
      (path) => writeFileSync(path, ""),
      /under something that is not a directory; name another/,
    ],
    [
      "a file in place of the folder",
      (path) => {
        mkdirSync(path);
        writeFileSync(sourceFolder(path, "a source"), "");
      },
      /is a file where a directory is expected; name another/,
    ],
  ])("%s", async (_, make, message) => {
    const path = directory();
    make(path);
    const error = await refusal(store(path).open());
    expect(error.code).toBe("BEHEST_STATE_OPEN");
    expect(error.message).toMatch(message);
  });

  test.each<[string, (file: string) => void, RegExp]>([
    [
      "a file that holds nothing",
      (file) => writeFileSync(file, ""),
      /0000000001\.state is damaged: its first bytes/,
    ],
    [
      "a file of something else",
      (file) => writeFileSync(file, "hello ".repeat(1_000)),
      /is damaged: its first bytes/,
    ],
    [
      "a file whose first commit is cut",
      (file) => truncateSync(file, 200),
      /is damaged: no commit in it is whole/,
    ],
    [
      "a file of a newer version",
      (file) => writeFileSync(file, newerFile()),
      /is of version 2, and this behest-otel reads version 1/,
    ],
  ])("%s", async (_, damage, message) => {
    const path = directory();
    const file = await written(path, 5);
    damage(file);
    const before = readFileSync(file);
    const error = await refusal(store(path).open());
    expect(error.code).toBe("BEHEST_STATE_OPEN");
    expect(error.message).toMatch(message);
    expect(error.message).toMatch(/`behest-otel state reset` moves it aside/);
    expect(readFileSync(file).equals(before)).toBe(true);
    expect(readdirSync(join(file, ".."))).toEqual(["0000000001.claim", "0000000001.state"]);
  });
});

describe("a file cut or changed anywhere", () => {
  test("is exactly some commit when it is cut, the last one whose end is there", async () => {
    const commits = 6;
    const whole = readFileSync(await written(directory(), commits));
    const texts = Array.from({ length: commits + 1 }, (_, n) => JSON.stringify(sorted(stateAfter(n))));
    const seen: string[] = [];
    for (let size = 0; size < whole.length; size += 1) {
      const state = await stateIn(whole.subarray(0, size));
      if (state === undefined) continue;
      const n = state.get("n") ?? "";
      const isOfCommit = JSON.stringify(sorted(state)) === texts[Number(n)];
      if (!isOfCommit) throw new Error(`cut at ${size}: not commit ${n}`);
      if (seen.at(-1) !== n) seen.push(n);
    }
    expect(seen).toEqual(["1", "2", "3", "4", "5"]);
  });

  test(`is refused when a bit is another, or is the commit before the last: SEED=${SEED}`, async () => {
    const random = seeded(SEED);
    const whole = readFileSync(await written(directory(), 6));
    const seen = new Map<string, number>();
    for (let trial = 0; trial < 2_000; trial += 1) {
      const bytes = Buffer.from(whole);
      const at = Math.floor(random() * bytes.length);
      bytes[at] = bytes[at]! ^ (1 << Math.floor(random() * 8));
      const state = await stateIn(bytes);
      const outcome = state?.get("n") ?? "refused";
      seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
      if (state !== undefined) expect(sorted(state)).toEqual(sorted(stateAfter(5)));
    }
    expect([...seen.keys()].toSorted()).toEqual(["5", "refused"]);
  });

  test(`loses only its last commit to a power cut, whichever blocks of it were written: SEED=${SEED}`, async () => {
    const random = seeded(SEED + 1);
    const path = directory();
    const one = store(path);
    await one.open();
    await one.commit(changeOf(1));
    const file = join(one.name, "0000000001.state");
    const { size } = statSync(file);
    const long = Array.from({ length: 40 }, (_, index) => [`long/${index}`, "z".repeat(100_000)] as const);
    await one.commit({ puts: new Map(long), removes: [], used: [] });
    await one.close();
    const whole = readFileSync(file);
    for (let trial = 0; trial < 20; trial += 1) {
      const bytes = Buffer.from(whole);
      for (let block = Math.ceil(size / 4_096) * 4_096; block < bytes.length; block += 4_096) {
        if (random() < 0.3) bytes.fill(0, block, Math.min(block + 4_096, bytes.length));
      }
      expect(sorted((await stateIn(bytes))!)).toEqual(sorted(stateAfter(1)));
    }
  });
});

/** What is made of a file with these bytes; undefined when it is refused. */
async function stateIn(bytes: Buffer): Promise<Map<string, string> | undefined> {
  const path = join(root, "changed.state");
  writeFileSync(path, bytes);
  const handle = await open(path, "r");
  try {
    return await readAll(storedRecords(handle, await readStateFile(handle, bytes.length)));
  } catch (error) {
    expect(error).toBeInstanceOf(UnreadableState);
    return undefined;
  } finally {
    await handle.close();
  }
}
