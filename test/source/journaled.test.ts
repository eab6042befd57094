import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { PassThrough } from "node:stream";
import { afterAll, expect, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { journaledInput, streamInflow } from "../../src/source/journaled.ts";
import type { Delivery, LogSource } from "../../src/source/source.ts";
import type { StateStore } from "../../src/state/store.ts";
import { keptLog } from "./reader.ts";

const root = mkdtempSync(join(tmpdir(), "behest-otel-journaled-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;

function directory(): string {
  return join(root, String((count += 1)));
}

interface Life {
  readonly stdin: PassThrough;
  readonly source: LogSource;
  readonly store: StateStore;
  readonly signal: AbortSignal;
}

/** One life of a process that reads standard input with this state directory. */
async function begin(stateDir: string): Promise<Life> {
  const { log } = keptLog();
  const stdin = new PassThrough();
  const options = { stateDir, stateName: "stdin", clock: systemClock, log, maxBytes: 1_000_000, groupMs: 0 };
  const { source, store } = journaledInput(
    streamInflow("stdin", stdin, { clock: systemClock, log }),
    options,
  );
  const records = new Map<string, string>();
  for await (const [key, value] of await store.open()) records.set(key, value);
  await source.open(records.get("position"));
  const { signal } = new AbortController();
  return { stdin, source, store, signal };
}

async function end({ source, store }: Life): Promise<void> {
  await source.close();
  await source.close();
  await store.close();
}

/** Reads on until so many deliveries have come. */
async function take({ source, signal }: Life, most: number): Promise<Delivery[]> {
  const all: Delivery[] = [];
  while (all.length < most) {
    const reading = await source.next(signal);
    if (reading === undefined) break;
    if (reading.kind === "deliveries") all.push(...reading.deliveries);
  }
  return all;
}

async function commit({ source, store }: Life, used: readonly Delivery[], unused: readonly Delivery[] = []) {
  const last = Math.max(...[...used, ...unused].map(({ id }) => Number(id)));
  const position = source.positionOf(
    String(last),
    unused.map(({ id }) => id),
  );
  await store.commit({
    puts: new Map([["position", position]]),
    removes: [],
    used: used.map(({ id }) => id),
  });
}

const textsOf = (deliveries: readonly Delivery[]) => deliveries.map(({ payload }) => payload.toString());

test("standard input is on the disk before it is handed out, in its order, and ends when it ends", async () => {
  const path = directory();
  const life = await begin(path);
  expect([life.source.name, life.source.keepsOrder, life.source.timed]).toEqual(["stdin", true, true]);
  life.stdin.end("one\ntwo\nthree");
  const [first, ...others] = await take(life, 1);
  const [folder = ""] = readdirSync(path);
  const journal = join(path, folder, "journal");
  const files = readdirSync(journal).map((name) => readFileSync(join(journal, name), "latin1"));
  expect(files.join("")).toContain("one");
  expect(textsOf([first!, ...others, ...(await take(life, 3))])).toEqual(["one", "two", "three"]);
  expect(await life.source.next(life.signal)).toBeUndefined();
  await end(life);
});

test("the next process goes on with what was not used, and then with its own standard input", async () => {
  const path = directory();
  const first = await begin(path);
  first.stdin.write("one\ntwo\nthree\nfour\n");
  const [one, two, three] = await take(first, 4);
  await commit(first, [one!, three!], [two!]);
  await end(first);

  const second = await begin(path);
  second.stdin.end("five\n");
  const again = await take(second, 3);
  expect(textsOf(again)).toEqual(["two", "four", "five"]);
  expect(again[0]).toEqual(two);
  expect(await second.source.lag()).toBe(0);
  await commit(second, again);
  await end(second);

  const third = await begin(path);
  third.stdin.end();
  expect(await take(third, 1)).toEqual([]);
  await end(third);
});

test("a standard input that cannot be read further is handed out as far as it was, and then said to be so", async () => {
  const life = await begin(directory());
  life.stdin.write("one\n");
  expect(textsOf(await take(life, 1))).toEqual(["one"]);
  life.stdin.destroy(Object.assign(new Error("i/o error"), { code: "EIO" }));
  await expect(take(life, 1)).rejects.toMatchObject({
    code: "BEHEST_SOURCE_READ",
    message: "stdin: i/o error",
  });
  await end(life);
});

test("a process whose state a newer one has taken over reads no further", async () => {
  const path = directory();
  const older = await begin(path);
  older.stdin.write("one\n");
  expect(await take(older, 1)).toHaveLength(1);
  const newer = await begin(path);
  older.stdin.write("two\n");
  await expect(take(older, 1)).rejects.toMatchObject({ code: "BEHEST_STATE_REPLACED" });
  newer.stdin.write("three\n");
  expect(textsOf(await take(newer, 2))).toEqual(["one", "three"]);
  await end(older);
  await end(newer);
});

test("what was never opened can be closed", async () => {
  const { log } = keptLog();
  const stateDir = directory();
  const options = { stateDir, stateName: "stdin", clock: systemClock, log, maxBytes: 1_000_000 };
  const inflow = streamInflow("stdin", new PassThrough(), { clock: systemClock, log });
  const { source, store } = journaledInput(inflow, options);
  await source.close();
  await store.close();
  expect(readdirSync(root)).not.toContain(basename(stateDir));
});
