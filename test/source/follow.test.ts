import {
  appendFileSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { stat } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { followSource } from "../../src/source/follow.ts";
import { CHUNK_BYTES } from "../../src/source/source.ts";
import { randomOf, seedFromEnvironment, trialMs } from "../run/random.ts";
import { isHeldOpen, keptLog, Reader } from "./reader.ts";

let path: string;
let reader: Reader;
let log: string[];

beforeEach(() => {
  path = join(mkdtempSync(join(tmpdir(), "behest-otel-")), "events.ndjson");
});
afterEach(async () => {
  await reader.stop();
  vi.useRealTimers();
});

/** Opens the file at `path` and begins to read it. */
async function follow(options: { readonly lingerLooks?: number } = {}): Promise<void> {
  const kept = keptLog();
  log = kept.lines;
  reader = new Reader(followSource(path, { log: kept.log, lookMs: 10, ...options }));
  await reader.source.open();
  reader.start();
}

async function reads(text: string): Promise<void> {
  await reader.until(() => reader.text.length >= text.length);
  expect(reader.text).toBe(text);
}

/** Lets the source look this many times, and do what comes of it; for a clock that is held. */
async function looks(times: number): Promise<void> {
  for (let look = 0; look < times; look++) {
    vi.advanceTimersByTime(10);
    for (let turn = 0; turn < 10; turn++) await stat(dirname(path));
  }
}

describe("a followed file", () => {
  test("is read from its beginning, and then as it grows", async () => {
    writeFileSync(path, "1\n2\n");
    await follow();
    await reads("1\n2\n");
    appendFileSync(path, "3\n");
    await reads("1\n2\n3\n");
  });

  test("hands out a line only when its end has been written", async () => {
    writeFileSync(path, '1\n{"a":');
    await follow();
    await reads("1\n");
    appendFileSync(path, "1");
    await reader.until(() => reader.caughtUp > 0);
    appendFileSync(path, "}\n2");
    await reads('1\n{"a":1}\n');
  });

  test("hands out a line longer than a chunk in parts", async () => {
    const line = `${"x".repeat(3 * CHUNK_BYTES)}\n`;
    writeFileSync(path, line);
    await follow();
    await reader.until(() => reader.text.length >= line.length);
    expect(reader.text === line).toBe(true);
  });

  test("says once that nothing is left, until more comes", async () => {
    writeFileSync(path, "1\n");
    await follow();
    await reader.until(() => reader.caughtUp === 1);
    appendFileSync(path, "2\n");
    await reader.until(() => reader.caughtUp === 2);
    expect(reader.text).toBe("1\n2\n");
  });

  test("may be missing at first, its directory included", async () => {
    path = join(path, "deep", "events.ndjson");
    await follow();
    expect(log.join("")).toContain("waiting for a file that does not exist yet");
    mkdirSync(join(path, ".."), { recursive: true });
    writeFileSync(path, "1\n");
    await reads("1\n");
  });

  test("that is a directory is told once, and waited on", async () => {
    mkdirSync(path);
    await follow();
    await reader.until(() => reader.caughtUp > 0);
    expect(log).toHaveLength(1);
    expect(log[0]).toContain("cannot open a followed file, trying again: it is a directory");
    rmSync(path, { recursive: true });
    writeFileSync(path, "1\n");
    await reads("1\n");
  });
});

describe("rotation", () => {
  test("by rename and a new file loses nothing and reads nothing twice", async () => {
    writeFileSync(path, "1\n");
    await follow();
    await reads("1\n");
    appendFileSync(path, "2\n");
    renameSync(path, `${path}.1`);
    writeFileSync(path, "3\n");
    await reads("1\n2\n3\n");
    appendFileSync(path, "4\n");
    await reads("1\n2\n3\n4\n");
  });

  test("waits for a writer that has not moved on to the new file, however long that takes", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    writeFileSync(path, "1\n");
    await follow({ lingerLooks: 2 });
    await reads("1\n");
    renameSync(path, `${path}.1`);
    writeFileSync(path, "");
    await looks(10);
    appendFileSync(`${path}.1`, "2\n");
    await looks(1);
    await reads("1\n2\n");
    appendFileSync(`${path}.1`, "3\n");
    writeFileSync(path, "4\n");
    await reads("1\n2\n3\n4\n");
  });

  test("hears out a writer that goes on with the old file after another has moved on", async () => {
    writeFileSync(path, "1\n");
    await follow();
    const late = openSync(path, "a");
    renameSync(path, `${path}.1`);
    writeFileSync(path, "2\n");
    await reads("1\n2\n");
    writeSync(late, "3\n");
    await reads("1\n2\n3\n");
    closeSync(late);
    appendFileSync(path, "4\n");
    await reads("1\n2\n3\n4\n");
  });

  test("lets nothing come between the parts of a long line in the old file", async () => {
    writeFileSync(path, "1\n");
    await follow({ lingerLooks: 100_000 });
    const late = openSync(path, "a");
    await reads("1\n");
    renameSync(path, `${path}.1`);
    writeFileSync(path, "2\n");
    await reads("1\n2\n");
    const half = "x".repeat(CHUNK_BYTES);
    writeSync(late, half);
    await reader.until(() => reader.text.length > 4);
    const { caughtUp } = reader;
    appendFileSync(path, "3\n");
    await reader.until(() => reader.caughtUp > caughtUp);
    writeSync(late, `${half}\n`);
    closeSync(late);
    await reader.until(() => reader.text.endsWith("3\n"));
    expect(reader.text === `1\n2\n${half}${half}\n3\n`).toBe(true);
  });

  test("hands out the last line of the old file, though its end was never written", async () => {
    writeFileSync(path, "1\n2");
    await follow({ lingerLooks: 2 });
    await reads("1\n");
    renameSync(path, `${path}.1`);
    writeFileSync(path, "3\n");
    await reads("1\n3\n2|");
  });

  test("by deleting and making again is followed", async () => {
    writeFileSync(path, "1\n");
    await follow();
    await reads("1\n");
    rmSync(path);
    writeFileSync(path, "2\n");
    await reads("1\n2\n");
  });

  test("that is taken back goes on where it was, and is not let go", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    writeFileSync(path, "1\n");
    await follow({ lingerLooks: 2 });
    await reads("1\n");
    renameSync(path, `${path}.1`);
    writeFileSync(path, "2\n");
    await reads("1\n2\n");
    renameSync(`${path}.1`, path);
    await looks(10);
    appendFileSync(path, "3\n");
    await reads("1\n2\n3\n");
  });

  test.runIf(process.platform === "linux")("several times while nobody asks loses nothing", async () => {
    writeFileSync(path, "0\n");
    const { log: quiet } = keptLog();
    reader = new Reader(followSource(path, { log: quiet, lookMs: 10 }));
    await reader.source.open();
    for (let generation = 1; generation <= 5; generation++) {
      renameSync(path, `${path}.old`);
      writeFileSync(path, `${generation}\n`);
      while (!isHeldOpen(path)) await setImmediate();
      rmSync(`${path}.old`);
    }
    reader.start();
    await reads("0\n1\n2\n3\n4\n5\n");
  });
});

describe("truncation", () => {
  test("to nothing is read from the beginning again", async () => {
    writeFileSync(path, "1\n2\n");
    await follow();
    await reads("1\n2\n");
    truncateSync(path);
    appendFileSync(path, "3\n");
    await reads("1\n2\n3\n");
  });

  test("is noticed although the file has grown beyond where it was before", async () => {
    writeFileSync(path, "1\n");
    await follow();
    await reads("1\n");
    writeFileSync(path, "2\n3\n4\n");
    await reads("1\n2\n3\n4\n");
  });

  test("in the middle of a line forgets the line's beginning", async () => {
    writeFileSync(path, '1\n{"a":');
    await follow();
    await reads("1\n");
    writeFileSync(path, "2\n");
    await reads("1\n2\n");
  });

  test("and written anew to just the length that was read is seen", async () => {
    writeFileSync(path, "1\n");
    await follow();
    await reads("1\n");
    await reader.until(() => reader.caughtUp > 0);
    // In one step, so that no look can come between the truncation and what is written.
    const file = openSync(path, "r+");
    writeSync(file, "2\n");
    closeSync(file);
    await reads("1\n2\n");
  });

  test("in a line longer than a chunk breaks it off", async () => {
    writeFileSync(path, "x".repeat(CHUNK_BYTES));
    await follow();
    await reader.until(() => reader.text.length === CHUNK_BYTES);
    writeFileSync(path, "1\n");
    await reader.until(() => reader.text.endsWith("\n"));
    expect(reader.text.slice(CHUNK_BYTES)).toBe("|1\n");
  });
});

test(
  "whatever a log rotator does, every line comes once and in order",
  { timeout: trialMs() + 30_000 },
  async () => {
    const seed = seedFromEnvironment();
    const random = randomOf(seed);
    const endsAt = Date.now() + Math.min(trialMs(), 600_000);
    writeFileSync(path, "");
    await follow();
    let written = 0;
    let unfinished = "";
    while (Date.now() < endsAt) {
      const act = random.below(20);
      if (unfinished !== "" || act < 14) {
        // A whole line, or one in two pieces with something else in between.
        const line = unfinished === "" ? `${(written += 1)}:${"x".repeat(random.below(200))}\n` : unfinished;
        const cut =
          unfinished === "" && random.chance(0.3) ? random.between(1, line.length - 1) : line.length;
        appendFileSync(path, line.slice(0, cut));
        unfinished = line.slice(cut);
      } else if (act < 16) {
        renameSync(path, `${path}.1`);
        writeFileSync(path, "");
        // The one thing that cannot be seen is a file that came and went between two looks.
        while (process.platform === "linux" && !isHeldOpen(path)) await setImmediate();
      } else if (act === 16) {
        // As copytruncate does, but when all is read: it cannot be safe before.
        await reader.until(() => reader.lines.length === written);
        truncateSync(path);
      } else {
        await setImmediate();
      }
    }
    appendFileSync(path, unfinished);
    await reader.until(() => reader.lines.length >= written);
    const wrong = reader.lines.findIndex((line, index) => !line.startsWith(`${index + 1}:`));
    expect({ seed, wrong, lines: reader.lines.length }).toEqual({ seed, wrong: -1, lines: written });
  },
);
