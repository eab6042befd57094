import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { openJournal, type Journal, type JournalOptions } from "../../src/state/journal.ts";
import { encodeEntries, parseSegment, type Segment } from "../../src/state/journal-segment.ts";
import { SEED, seeded } from "../bridge/seeded.ts";
import { manualClock } from "../otel/clocks.ts";
import { keptLog } from "../source/reader.ts";
import { nodeArguments, startChild } from "./children.ts";
import { entry, entrySize, readAll } from "./journals.ts";

const root = mkdtempSync(join(tmpdir(), "behest-otel-journal-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;

function directory(): string {
  return join(root, String((count += 1)));
}

function open(path: string, options: Partial<JournalOptions> = {}): Promise<Journal> {
  return openJournal(path, { clock: systemClock, log: keptLog().log, groupMs: 0, ...options });
}

function segments(path: string): string[] {
  return readdirSync(path)
    .filter((name) => name.endsWith(".journal"))
    .toSorted();
}

/** A journal with these texts, one append each. */
async function written(texts: readonly string[], options: Partial<JournalOptions> = {}): Promise<string> {
  const path = directory();
  const journal = await open(path, options);
  for (const text of texts) expect(await journal.append([entry(text)])).toBe("appended");
  await journal.close();
  return path;
}

/** Opens it, reads all, appends one more and closes. */
async function goOn(path: string): Promise<{ readonly texts: readonly string[]; readonly lost: number }> {
  const journal = await open(path);
  const { texts, lost } = await readAll(journal, journal.first);
  await journal.append([entry("more")]);
  await journal.close();
  return { texts, lost };
}

describe("a journal", () => {
  test("gives back what was appended, with what is beside it, in every life", async () => {
    const path = join(directory(), "deep");
    const journal = await open(path);
    const entries = [
      { payload: Buffer.from([0xff, 0, 0x0a]), outside: '{"agent":"é"}', appendedMs: 5_000 },
      { payload: Buffer.alloc(0), outside: undefined, appendedMs: 5_001 },
      { payload: Buffer.alloc(3_000_000, "x"), outside: undefined, appendedMs: 5_002 },
    ];
    await journal.append(entries);
    await journal.close();
    const next = await open(path);
    await next.append([entry("more", 6_000)]);
    const all = (await readAll(next)).entries;
    for (const [index, { payload, ...others }] of [...entries, entry("more", 6_000)].entries()) {
      expect(all[index]).toMatchObject(others);
      expect(all[index]?.payload.equals(payload)).toBe(true);
    }
    expect(all.map(({ ordinal }) => ordinal)).toEqual([0, 1, 2, 3]);
    expect(all.map(({ position }) => position)).toEqual([0, 49, 81, 81 + 32 + 3_000_000]);
    expect(next.count).toBe(4);
    await next.close();
  });

  test("is its owner's alone", async () => {
    const path = await written(["a"]);
    expect(statSync(path).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(path)) expect(statSync(join(path, name)).mode & 0o777).toBe(0o600);
  });

  test("has append times that never go back, in one life and from one to the next", async () => {
    const path = directory();
    const journal = await open(path);
    await journal.append([entry("a", 2_000), entry("b", 1_000), entry("c", 2_500.7)]);
    await journal.append([entry("d", 1)]);
    journal.raiseTime(3_000);
    await journal.append([entry("e", 2_600)]);
    await journal.close();
    const next = await open(path);
    await next.append([entry("f", 2_900)]);
    const times = (await readAll(next)).entries.map(({ appendedMs }) => appendedMs);
    expect(times).toEqual([2_000, 2_000, 2_500, 2_500, 3_000, 3_000]);
    await next.close();
  });

  test("takes nothing in after its end or its close", async () => {
    const journal = await open(directory());
    await journal.append([entry("a")]);
    journal.finish();
    await expect(journal.append([entry("b")])).rejects.toMatchObject({ code: "BEHEST_STATE_COMMIT" });
    await journal.close();
    await journal.close();
  });

  test("writes what was appended before it was closed", async () => {
    const path = directory();
    const journal = await open(path, { clock: manualClock(), groupMs: 1_000 });
    const appends = ["a", "b", "c"].map((text) => journal.append([entry(text)]));
    await journal.close();
    expect(await Promise.all(appends)).toEqual(["appended", "appended", "appended"]);
    expect((await goOn(path)).texts).toEqual(["a", "b", "c"]);
  });

  test("lets appends share a synchronisation, for as long as a group lasts", async () => {
    const clock = manualClock();
    const journal = await open(directory(), { clock, groupMs: 20 });
    await journal.append([entry("a")]);
    const answers: string[] = [];
    for (const text of ["b", "c", "d"]) {
      void journal.append([entry(text)]).then((answer) => answers.push(answer));
    }
    await clock.advance(19);
    expect(answers).toEqual([]);
    expect(journal.end).toBe(entrySize("a"));
    const last = journal.append([entry("e")]);
    expect(clock.nextIn()).toBe(1);
    await clock.advance(1);
    await last;
    expect(answers).toEqual(["appended", "appended", "appended"]);
    expect(journal.end).toBe(5 * entrySize("a"));
    await journal.close();
  });

  test("of a newer version is refused, and stays as it is", async () => {
    const path = await written(["a"]);
    const [name = ""] = segments(path);
    writeFileSync(join(path, name.replace(".v1.", ".v2.")), "");
    await expect(open(path)).rejects.toMatchObject({
      code: "BEHEST_STATE_OPEN",
      message: expect.stringMatching(/\.v2\.journal is of version 2/),
    });
  });
});

describe("room", () => {
  test.each([
    [-1, "full"],
    [0, "appended"],
    [1, "appended"],
  ])("with %i bytes more than an append needs, it is %s", async (more, answer) => {
    const maxBytes = entrySize("one") + entrySize("two") + more;
    const journal = await open(directory(), { maxBytes });
    const both = Promise.all([journal.append([entry("one")]), journal.append([entry("two")])]);
    expect(await both).toEqual(["appended", answer]);
    await journal.close();
  });

  test("is taken by all of an append or by nothing", async () => {
    const journal = await open(directory(), { maxBytes: 200 });
    expect(await journal.append([entry("a".repeat(100)), entry("b".repeat(100))])).toBe("full");
    expect(await journal.append([entry("c".repeat(100))])).toBe("appended");
    expect((await readAll(journal)).texts).toEqual(["c".repeat(100)]);
    await journal.close();
  });

  test("is there again when what is in it was cut off, however small it is", async () => {
    const path = directory();
    const journal = await open(path, { maxBytes: 100 });
    for (let n = 0; n < 20; n += 1) {
      expect(await journal.append([entry("x".repeat(60))])).toBe("appended");
      expect(await journal.append([entry("x".repeat(60))])).toBe("full");
      await journal.cut(journal.end);
      expect(journal.bytes).toBe(0);
    }
    expect(segments(path)).toHaveLength(1);
    await journal.close();
  });
});

describe("cutting", () => {
  test("deletes the files before a position and nothing behind it", async () => {
    const text = "x".repeat(68);
    const path = await written(
      Array.from({ length: 10 }, () => text),
      { segmentBytes: 200 },
    );
    const journal = await open(path);
    expect(segments(path)).toHaveLength(5);
    for (const [upTo, first] of [
      [199, 0],
      [200, 200],
      [401, 400],
      [399, 400],
    ] as const) {
      await journal.cut(upTo);
      expect(journal.first).toBe(first);
    }
    expect((await readAll(journal)).entries.map(({ position }) => position)).toEqual([
      400, 500, 600, 700, 800, 900,
    ]);
    await journal.close();
  });

  test("all of it keeps the numbering and the time, also for the next life", async () => {
    const path = await written(["a", "b"]);
    const journal = await open(path);
    await journal.cut(journal.end);
    expect((await readAll(journal)).texts).toEqual([]);
    await journal.close();
    const next = await open(path);
    expect([next.first, next.end, next.count, next.lastMs]).toEqual([66, 66, 2, 1_000]);
    await next.append([entry("c", 1)]);
    expect((await readAll(next)).entries).toMatchObject([{ position: 66, ordinal: 2, appendedMs: 1_000 }]);
    await next.close();
  });
});

describe("a file of the journal cut or changed anywhere", () => {
  const texts = ["first", "second one", "", "fourth ".repeat(5), "5"];

  test("gives all that was whole in it, and is gone on with", async () => {
    const path = await written(texts);
    const [name = ""] = segments(path);
    const whole = readFileSync(join(path, name));
    const ends = texts.map((_, index) =>
      texts.slice(0, index + 1).reduce((sum, text) => sum + entrySize(text), 0),
    );
    for (let size = 0; size <= whole.length; size += 1) {
      const copy = directory();
      cpSync(path, copy, { recursive: true });
      writeFileSync(join(copy, name), whole.subarray(0, size));
      const kept = texts.slice(0, ends.filter((end) => end <= size).length);
      expect(await goOn(copy)).toEqual({ texts: kept, lost: 0 });
      expect(await goOn(copy)).toEqual({ texts: [...kept, "more"], lost: 0 });
      rmSync(copy, { recursive: true });
    }
  });

  test(`loses only the entry in which a bit is another, says so, and invents nothing: SEED=${SEED}`, async () => {
    const random = seeded(SEED);
    const many = Array.from({ length: 30 }, (_, n) => `${n} ${"z".repeat(Math.floor(random() * 60))}`);
    const path = await written(many, { segmentBytes: 500 });
    const names = segments(path);
    for (let trial = 0; trial < 150; trial += 1) {
      const copy = directory();
      cpSync(path, copy, { recursive: true });
      const name = names[Math.floor(random() * names.length)]!;
      const bytes = readFileSync(join(copy, name));
      const at = Math.floor(random() * bytes.length);
      bytes[at] = bytes[at]! ^ (1 << Math.floor(random() * 8));
      writeFileSync(join(copy, name), bytes);
      const { texts: got, lost } = await goOn(copy);
      const missing = many.filter((text) => !got.includes(text));
      expect(missing).toHaveLength(1);
      expect(got).toEqual(many.filter((text) => text !== missing[0]));
      // What is behind the last whole entry looks like one that was not finished: nothing says it was.
      expect(lost).toBe(missing[0] === many.at(-1) ? 0 : entrySize(missing[0]!));
      rmSync(copy, { recursive: true });
    }
  });

  test("hands out no entry that somebody sent in the text of another", async () => {
    const segment: Segment = { name: "", start: 0, ordinal: 0, lastMs: 0, epoch: 1, seed: 0 };
    // At the very place where it will stand, but for the seed, which nobody outside knows.
    const forged = encodeEntries([{ ...entry("forged"), ordinal: 1 }], { segment, offset: 32 });
    const path = directory();
    const journal = await open(path);
    await journal.append([{ payload: forged, outside: undefined, appendedMs: 1 }]);
    await journal.append([entry("b")]);
    await journal.close();
    const [name = ""] = segments(path);
    expect((parseSegment(name) as Segment).seed).not.toBe(0);
    const bytes = readFileSync(join(path, name));
    bytes[8] = bytes[8]! ^ 1;
    writeFileSync(join(path, name), bytes);
    expect(await goOn(path)).toEqual({ texts: ["b"], lost: 32 + forged.length });
  });
});

describe("the newest opener of a journal", () => {
  test("has all that was promised, and the older one promises nothing more", async () => {
    const path = directory();
    const older = await open(path);
    await older.append([entry("a")]);
    const newer = await open(path);
    await expect(older.append([entry("b")])).rejects.toMatchObject({ code: "BEHEST_STATE_REPLACED" });
    await expect(older.append([entry("b")])).rejects.toMatchObject({ code: "BEHEST_STATE_REPLACED" });
    await newer.append([entry("c")]);
    expect((await readAll(newer)).texts).toEqual(["a", "c"]);
    await Promise.all([older.close(), newer.close()]);
    expect((await goOn(path)).texts).toEqual(["a", "c"]);
  });

  test(`has it too when the older one is killed at any moment or runs on: SEED=${SEED}`, async () => {
    const random = seeded(SEED);
    const path = directory();
    const promised: string[] = [];
    const until = Date.now() + Number(process.env["TRIAL_SECONDS"] ?? 5) * 1_000;
    for (let life = 0; life < 2 || Date.now() < until; life += 1) {
      const older = startChild(process.execPath, [...nodeArguments("endless-appender.ts"), path, `${life}a`]);
      await older.line(/^appended/);
      const newer = startChild(process.execPath, [...nodeArguments("endless-appender.ts"), path, `${life}b`]);
      if (random() < 0.5) setTimeout(() => older.process.kill("SIGKILL"), random() * 300);
      await newer.line(/^appended/);
      await older.ended;
      setTimeout(() => newer.process.kill("SIGKILL"), random() * 100);
      await newer.ended;
      if (older.process.signalCode === null) expect(older.lines.at(-1)).toBe("BEHEST_STATE_REPLACED");
      for (const { lines } of [older, newer]) {
        const appended = lines.filter((line) => line.startsWith("appended "));
        promised.push(...appended.flatMap((line) => line.split(" ").slice(1)));
      }
    }
    const journal = await open(path);
    const { texts, entries, lost } = await readAll(journal);
    await journal.close();
    const found = new Set(texts.map((text) => text.split(" ")[0]!));
    expect(lost).toBe(0);
    expect(promised.filter((id) => !found.has(id))).toEqual([]);
    expect(found.size).toBe(texts.length);
    expect(entries.map(({ ordinal }) => ordinal)).toEqual(entries.map((_, index) => index));
  });
});
