import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterAll, expect, test } from "vitest";
import { until } from "../bridge/turns.ts";
import { systemClock } from "../../src/clock.ts";
import { fillJournal } from "../../src/source/fill-journal.ts";
import { journalSource } from "../../src/source/journal.ts";
import { streamSource } from "../../src/source/stream.ts";
import { openJournal, type Journal, type JournalOptions } from "../../src/state/journal.ts";
import { entrySize, readAll } from "../state/journals.ts";
import { keptLog } from "./reader.ts";

const root = mkdtempSync(join(tmpdir(), "behest-otel-fill-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const { log } = keptLog();

function open(options: Partial<JournalOptions> = {}): Promise<Journal> {
  return openJournal(join(root, String((count += 1))), { clock: systemClock, log, groupMs: 0, ...options });
}

/** How much a stream asks for before it is asked. */
const BUFFERED_BYTES = 100;

/** A stream that is being put into a journal. */
async function filling(journal: Journal, maxLineBytes?: number) {
  const stop = new AbortController();
  const stream = new PassThrough({ highWaterMark: BUFFERED_BYTES });
  const bytes = streamSource("stdin", stream);
  await bytes.open();
  const options = { clock: systemClock, log, signal: stop.signal, ...(maxLineBytes && { maxLineBytes }) };
  return { stream, stop, done: fillJournal(bytes, journal, options) };
}

test("lines come out of the journal as they went in, the last one also without its end, and then the end", async () => {
  const journal = await open();
  const { stream, done } = await filling(journal);
  stream.write("one\r\ntw");
  stream.write("o\n\n  \n");
  stream.end("three");
  await done;
  const source = journalSource("stdin", journal, { clock: systemClock, log, keepsOrder: true });
  await source.open();
  const { signal } = new AbortController();
  const reading = await source.next(signal);
  const texts = reading?.kind === "deliveries" && reading.deliveries.map(({ payload }) => payload.toString());
  expect(texts).toEqual(["one", "two", "three"]);
  expect(await source.next(signal)).toBeUndefined();
  await source.close();
  await journal.close();
});

test.each([
  [99, undefined],
  [100, undefined],
  [101, 101],
])(
  "of a line of %i bytes, with a limit of 100, the length is kept beside its head: %s",
  async (length, wholeBytes) => {
    const journal = await open();
    const { stream, done } = await filling(journal, 100);
    stream.end(`${"x".repeat(length)}\n`);
    await done;
    const source = journalSource("stdin", journal, { clock: systemClock, log, keepsOrder: true });
    await source.open();
    const reading = await source.next(new AbortController().signal);
    const delivery = reading?.kind === "deliveries" ? reading.deliveries[0] : undefined;
    expect(delivery?.wholeBytes).toBe(wholeBytes);
    expect(delivery?.payload).toHaveLength(length);
    await source.close();
    await journal.close();
  },
);

test("half a line at a stop is no line, and the journal is not at its end", async () => {
  const journal = await open();
  const { stream, stop, done } = await filling(journal);
  const appended = new Promise<void>((resolve) => {
    journal.onChange(resolve);
  });
  stream.write("whole\nhalf");
  await appended;
  stop.abort();
  await done;
  expect((await readAll(journal)).texts).toEqual(["whole"]);
  expect(journal.finished).toBe(false);
  await journal.close();
});

test("a full journal holds up the writer until there is room, and loses nothing", async () => {
  const MAX_BYTES = 200;
  // What waits in the stream, and what moves up while that is read; far less than all.
  const READING_BYTES = 2 * BUFFERED_BYTES;
  const journal = await open({ maxBytes: MAX_BYTES });
  const { stream, done } = await filling(journal);
  const lines = Array.from({ length: 50 }, (_, n) => `line ${n}`);
  const texts = lines.map((line) => `${line}\n`);
  let written = 0;
  for (const text of texts) {
    written += text.length;
    stream.write(text);
  }
  const pulled = () => written - stream.readableLength - stream.writableLength;
  const got: string[] = [];
  let held = 0;
  for (let at = 0; got.length < lines.length;) {
    const isFull = () => journal.bytes + entrySize("line 49") > MAX_BYTES;
    await until(() => isFull() || pulled() === written, "the journal is full");
    // Not before: a stream that has ended hands out all it has at once.
    if (pulled() === written) stream.end();
    // Whoever read on would have all of it by now.
    for (let turns = 0; turns < 50; turns += 1) await new Promise((resolve) => setImmediate(resolve));
    const journaled = got.length + (await readAll(journal, at)).texts.length;
    expect(pulled() - texts.slice(0, journaled).join("").length).toBeLessThanOrEqual(READING_BYTES);
    expect(journal.bytes).toBeLessThanOrEqual(MAX_BYTES);
    if (pulled() < written) held += 1;
    const { entries, next } = await journal.read(at);
    got.push(...entries.map(({ payload }) => payload.toString()));
    at = next;
    await journal.cut(at);
  }
  await done;
  expect(got).toEqual(lines);
  expect(held).toBeGreaterThan(3);
  await journal.close();
});

test("a stop while the journal cannot be written waits for nothing", async () => {
  const journal = await open();
  // From here on nothing can be appended.
  await journal.close();
  const stop = new AbortController();
  const stream = new PassThrough();
  const bytes = streamSource("stdin", stream);
  await bytes.open();
  const done = fillJournal(bytes, journal, {
    clock: { ...systemClock, after: () => () => {} },
    log: { ...log, warn: () => stop.abort() },
    signal: stop.signal,
  });
  stream.write("one\n");
  await expect(done).rejects.toMatchObject({
    code: "BEHEST_SOURCE_READ",
    message: expect.stringContaining("1 lines that were read could not be written to the journal"),
  });
});
