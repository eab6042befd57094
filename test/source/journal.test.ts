import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { systemClock, type Clock } from "../../src/clock.ts";
import { cuttingStore, journalEntry, journalSource, type JournalSource } from "../../src/source/journal.ts";
import type { Delivery, Reading } from "../../src/source/source.ts";
import { stateDirectory } from "../../src/state/directory.ts";
import { openJournal, type Journal, type JournalOptions } from "../../src/state/journal.ts";
import { SEED, seeded } from "../bridge/seeded.ts";
import { hastyClock, manualClock } from "../otel/clocks.ts";
import { entry, entrySize } from "../state/journals.ts";
import { keptLog } from "./reader.ts";

const root = mkdtempSync(join(tmpdir(), "behest-otel-journal-source-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const { signal } = new AbortController();

function directory(): string {
  return join(root, String((count += 1)));
}

interface Pair {
  readonly journal: Journal;
  readonly source: JournalSource;
  readonly lines: readonly string[];
}

async function open(
  path: string,
  {
    position,
    clock = systemClock,
    ...options
  }: { readonly position?: string; readonly clock?: Clock } & Partial<JournalOptions> = {},
): Promise<Pair> {
  const { log, lines } = keptLog();
  const journal = await openJournal(path, { clock, log, groupMs: 0, ...options });
  const source = journalSource("http", journal, { clock, log, keepsOrder: true });
  await source.open(position);
  return { journal, source, lines };
}

async function close({ journal, source }: Pair): Promise<void> {
  await source.close();
  await source.close();
  await journal.close();
}

function append(journal: Journal, ...texts: readonly string[]): Promise<unknown> {
  return Promise.all(texts.map((text) => journal.append([entry(text)])));
}

/** Reads until it is said that nothing is left. */
async function readOut(source: JournalSource): Promise<Delivery[]> {
  const all: Delivery[] = [];
  for (;;) {
    const reading = await source.next(signal);
    if (reading?.kind !== "deliveries") return all;
    all.push(...reading.deliveries);
  }
}

/** One reading; none when nothing is left. */
async function readOnce(source: JournalSource): Promise<readonly Delivery[]> {
  const reading = await source.next(signal);
  return reading?.kind === "deliveries" ? reading.deliveries : [];
}

const textsOf = (deliveries: readonly Delivery[]) => deliveries.map(({ payload }) => payload.toString());

describe("a journal as a source", () => {
  test("hands out what was appended, in its order, with its append times and what is beside it", async () => {
    const pair = await open(directory());
    const parent = { traceId: "1".repeat(32), spanId: "2".repeat(16), flags: 1 };
    const beside = { agent: "é", parent };
    await pair.journal.append([
      journalEntry({ payload: Buffer.from("a"), outside: beside, appendedMs: 5_000 }),
      journalEntry({ payload: Buffer.from("b"), outside: undefined, appendedMs: 4_000 }),
    ]);
    expect(await readOut(pair.source)).toEqual([
      { id: "0", payload: Buffer.from("a"), outside: beside, appendedMs: 5_000 },
      {
        id: String(entrySize("a") + JSON.stringify({ around: beside }).length + 1),
        payload: Buffer.from("b"),
        outside: undefined,
        appendedMs: 5_000,
      },
    ]);
    await close(pair);
  });

  test("hands out what is appended while it is asked", async () => {
    const pair = await open(directory());
    expect(await pair.source.next(signal)).toMatchObject({ kind: "caught_up" });
    const reading = pair.source.next(signal);
    await append(pair.journal, "a");
    expect(await reading).toMatchObject({ kind: "deliveries", deliveries: [{ payload: Buffer.from("a") }] });
    await close(pair);
  });

  test("says once a second that nothing is left, and never of a time that something is appended before", async () => {
    const clock = manualClock(1_000_000);
    const pair = await open(directory(), { clock });
    expect(await pair.source.next(signal)).toEqual({ kind: "caught_up", nowMs: 1_000_000 });
    const readings: (Reading | undefined)[] = [];
    const second = pair.source.next(signal).then((reading) => readings.push(reading));
    await clock.advance(999);
    expect(readings).toEqual([]);
    await clock.advance(1);
    await second;
    expect(readings).toEqual([{ kind: "caught_up", nowMs: 1_001_000 }]);
    await pair.journal.append([entry("late", 1_000_500)]);
    expect(await pair.source.next(signal)).toMatchObject({ deliveries: [{ appendedMs: 1_001_000 }] });
    expect(await pair.source.next(signal)).toEqual({ kind: "caught_up", nowMs: 1_001_000 });
    await close(pair);
  });

  test("does not say that nothing is left while something is on its way to the disk", async () => {
    const clock = manualClock();
    const pair = await open(directory(), { clock, groupMs: 20 });
    await append(pair.journal, "a");
    await pair.source.next(signal);
    const appended = append(pair.journal, "b");
    const reading = pair.source.next(signal);
    await clock.advance(20);
    await appended;
    expect(await reading).toMatchObject({ kind: "deliveries" });
    await close(pair);
  });

  test("ends when it is finished and all was handed out", async () => {
    const pair = await open(directory());
    await append(pair.journal, "a");
    const waiting = readOut(pair.source);
    expect(textsOf(await waiting)).toEqual(["a"]);
    const appending = append(pair.journal, "b");
    pair.journal.finish();
    await appending;
    expect(textsOf(await readOut(pair.source))).toEqual(["b"]);
    expect(await pair.source.next(signal)).toBeUndefined();
    expect(await pair.source.next(signal)).toBeUndefined();
    await close(pair);
  });

  test("ends for whoever stops asking", async () => {
    const pair = await open(directory());
    const stop = new AbortController();
    await pair.source.next(stop.signal);
    const reading = pair.source.next(stop.signal);
    stop.abort();
    expect(await reading).toBeUndefined();
    const other = pair.source.next(signal);
    await close(pair);
    expect(await other).toBeUndefined();
  });

  test("refuses a position that is none of its", async () => {
    await expect(open(directory(), { position: '{"inode":5}' })).rejects.toMatchObject({
      code: "BEHEST_SOURCE_OPEN",
      message: 'http: expected the position of a journal, found {"inode":5}',
    });
  });
});

describe("a position", () => {
  test("leaves out what was used, and lag counts what is still to come", async () => {
    const path = directory();
    const first = await open(path);
    await append(first.journal, "a", "b", "c", "d", "e", "f");
    expect(await first.source.lag()).toBe(6);
    const ids = (await readOut(first.source)).map(({ id }) => id);
    expect(await first.source.lag()).toBe(0);
    const position = first.source.positionOf(ids[4], [ids[1]!, ids[3]!]);
    await append(first.journal, "g");
    expect(await first.source.lag()).toBe(1);
    await close(first);
    const second = await open(path, { position });
    expect(await second.source.lag()).toBe(4);
    expect(textsOf(await readOut(second.source))).toEqual(["b", "d", "f", "g"]);
    expect(await second.source.lag()).toBe(0);
    await close(second);
  });

  test("of a later life still has what an earlier one used behind it, and what it left unused", async () => {
    const path = directory();
    const first = await open(path, { segmentBytes: 1 });
    for (const text of ["a", "b", "c", "d", "e"]) await append(first.journal, text);
    const ids = (await readOut(first.source)).map(({ id }) => id);
    const left = first.source.positionOf(ids[4], [ids[1]!, ids[3]!]);
    await close(first);
    const second = await open(path, { position: left, segmentBytes: 1 });
    expect(textsOf(await readOnce(second.source))).toEqual(["b"]);
    const position = second.source.positionOf(ids[1], []);
    await close(second);
    const third = await open(path, { position, segmentBytes: 1 });
    expect(textsOf(await readOut(third.source))).toEqual(["d"]);
    await close(third);
  });

  test(`of any moment goes on with just what was not used, and keeps it until then: SEED=${SEED}`, async () => {
    const random = seeded(SEED);
    for (let trial = 0; trial < 20; trial += 1) {
      const path = directory();
      const used: string[] = [];
      const appended: string[] = [];
      let position: string | undefined;
      for (let life = 0; life < 5; life += 1) {
        const pair: Pair = await open(path, {
          clock: hastyClock(),
          segmentBytes: 150,
          ...(position && { position }),
        });
        let waiting: Delivery[] = [];
        let last: Delivery | undefined;
        const steps = 1 + Math.floor(random() * 10);
        for (let step = 0; step < steps; step += 1) {
          if (random() < 0.6) {
            const texts = Array.from({ length: Math.floor(random() * 4) }, (_, n) => `${life}.${step}.${n}`);
            await append(pair.journal, ...texts);
            appended.push(...texts);
          }
          const lag = await pair.source.lag();
          const isAll = random() < 0.5;
          const got = await (isAll ? readOut(pair.source) : readOnce(pair.source));
          if (isAll) expect(got).toHaveLength(lag);
          last = got.at(-1) ?? last;
          waiting.push(...got);
          if (last === undefined || random() < 0.5) continue;
          const decided = waiting.filter(() => random() < 0.7);
          waiting = waiting.filter((delivery) => !decided.includes(delivery));
          if (decided.length === 0) continue;
          position = pair.source.positionOf(
            last.id,
            waiting.map(({ id }) => id),
          );
          await pair.source.acknowledge(decided.map(({ id }) => id));
          used.push(...textsOf(decided));
        }
        await close(pair);
      }
      const final = await open(path, position === undefined ? {} : { position });
      const rest = textsOf(await readOut(final.source));
      expect(final.lines).toEqual([]);
      await close(final);
      expect([...used, ...rest].toSorted()).toEqual(appended.toSorted());
      expect(rest).toEqual(appended.filter((text) => rest.includes(text)));
    }
  });

  test("of ten thousand that wait is some tens of thousands of bytes", async () => {
    const pair = await open(directory());
    const unused = Array.from({ length: 10_000 }, (_, n) => String(1e12 + n * 700));
    expect(pair.source.positionOf(String(2e12), unused).length).toBeLessThan(50_000);
    await close(pair);
  });
});

describe("a commit", () => {
  test("cuts the journal up to the oldest delivery that is not part of it", async () => {
    const path = directory();
    const pair = await open(join(path, "journal"), { segmentBytes: 1 });
    const store = cuttingStore(stateDirectory(path, "http", { clock: systemClock }), pair.source);
    await store.open();
    await append(pair.journal, "a");
    await append(pair.journal, "b");
    await append(pair.journal, "c");
    const ids = (await readOut(pair.source)).map(({ id }) => id);
    const commit = (used: readonly string[]) =>
      store.commit({ puts: new Map([["n", "1"]]), removes: [], used });
    await commit([ids[1]!]);
    expect(pair.journal.first).toBe(0);
    await commit([ids[0]!]);
    expect(pair.journal.first).toBe(2 * entrySize("a"));
    await commit([ids[2]!]);
    expect(pair.journal.bytes).toBe(0);
    await store.close();
    await close(pair);
  });

  test("that is refused cuts nothing", async () => {
    const path = directory();
    const pair = await open(join(path, "journal"));
    const store = cuttingStore(stateDirectory(path, "http", { clock: systemClock }), pair.source);
    await store.open();
    await append(pair.journal, "a");
    const [{ id } = { id: "" }] = await readOut(pair.source);
    const newer = stateDirectory(path, "http", { clock: systemClock });
    await newer.open();
    await expect(store.commit({ puts: new Map(), removes: [], used: [id] })).rejects.toMatchObject({
      code: "BEHEST_STATE_REPLACED",
    });
    expect(pair.journal.bytes).toBe(entrySize("a"));
    await Promise.all([store.close(), newer.close(), close(pair)]);
  });
});

describe("what is lost is told:", () => {
  test("damage, with its bytes", async () => {
    const path = directory();
    const pair = await open(path);
    await append(pair.journal, "a", "b", "c");
    await close(pair);
    const file = join(
      path,
      readdirSync(path).find((name) => name.endsWith(".journal"))!,
    );
    const bytes = readFileSync(file);
    bytes[entrySize("a") + 20] = 0xff;
    writeFileSync(file, bytes);
    const next = await open(path);
    expect(textsOf(await readOut(next.source))).toEqual(["a", "c"]);
    expect(next.lines).toHaveLength(1);
    expect(next.lines[0]).toMatch(/ERROR Part of the journal is damaged or gone.* bytes=33$/m);
    expect(await next.source.lag()).toBe(0);
    await close(next);
  });

  test("a journal that is gone, which gives no number a second time", async () => {
    const path = directory();
    const pair = await open(path);
    await append(pair.journal, "a", "b", "c");
    const last = (await readOut(pair.source)).at(-1)!.id;
    const position = pair.source.positionOf(last, []);
    await close(pair);
    rmSync(path, { recursive: true });
    const next = await open(path, { position });
    expect(next.lines[0]).toMatch(/WARN  The journal is not the one that was read before/);
    await append(next.journal, "d");
    expect(await readOut(next.source)).toMatchObject([
      { id: String(Number(last) + 1), payload: Buffer.from("d") },
    ]);
    await close(next);
  });
});
