import { chmodSync, existsSync, mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { openDeadLetter, type Refusal } from "../src/dead-letter.ts";
import { openLetter } from "../src/event/letter.ts";
import { DEFAULT_MAX_LINE_BYTES, HEAD_BYTES, LineSplitter } from "../src/event/lines.ts";
import { keptLog } from "./source/reader.ts";

let path: string;
beforeEach(() => {
  path = join(mkdtempSync(join(tmpdir(), "behest-otel-")), "dead.ndjson");
});

const refusal: Refusal = {
  kind: "event",
  code: "BEHEST_DECODE_JSON",
  message: "the line is no JSON",
  source: "stdin",
  deliveryId: undefined,
  at: new Date("2026-11-22T16:00:00.123Z"),
  payload: Buffer.from("{"),
};

/** The lines that come of these refusals. */
async function linesOf(...refusals: readonly Refusal[]): Promise<Record<string, unknown>[]> {
  const letters = await openDeadLetter(path, keptLog().log);
  for (const each of refusals) await letters.add(each);
  await letters.close();
  expect(letters.counts).toEqual({ written: refusals.length, failed: 0 });
  return readFileSync(path, "utf8")
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe("a dead letter", () => {
  test("is one line with all that is known", async () => {
    expect(await linesOf(refusal)).toEqual([
      {
        kind: "event",
        code: "BEHEST_DECODE_JSON",
        message: "the line is no JSON",
        source: "stdin",
        delivery_id: null,
        at: "2026-11-22T16:00:00.123Z",
        payload: "{",
        bytes: 1,
      },
    ]);
  });

  test("keeps bytes that are no text as base64", async () => {
    const payload = Buffer.from([0x7b, 0xff, 0x00]);
    expect(await linesOf({ ...refusal, payload, deliveryId: "1-0" })).toMatchObject([
      { payload_base64: payload.toString("base64"), bytes: 3, delivery_id: "1-0" },
    ]);
  });

  test.each([
    ["whole below the line limit", DEFAULT_MAX_LINE_BYTES - 1, DEFAULT_MAX_LINE_BYTES - 1],
    ["whole at the line limit", DEFAULT_MAX_LINE_BYTES, DEFAULT_MAX_LINE_BYTES],
    ["by its first 64 KiB beyond it", DEFAULT_MAX_LINE_BYTES + 1, HEAD_BYTES],
  ])("keeps its payload %s", async (_, bytes, kept) => {
    const [line] = await linesOf({ ...refusal, payload: Buffer.alloc(bytes, "x") });
    expect([String(line?.["payload"]).length, line?.["bytes"]]).toEqual([kept, bytes]);
  });

  test("says how long the whole was when it is given only the beginning", async () => {
    const [line] = await linesOf({ ...refusal, payload: Buffer.alloc(10, "x"), bytes: 5_000_000 });
    expect(line).toMatchObject({ payload: "x".repeat(10), bytes: 5_000_000 });
  });

  test.each([1, 2, 3])(
    "that is cut %d bytes into a character ends before it, and stays text",
    async (into) => {
      const payload = Buffer.from(`${"x".repeat(HEAD_BYTES - into)}😀${"x".repeat(DEFAULT_MAX_LINE_BYTES)}`);
      const [line] = await linesOf({ ...refusal, payload });
      expect(line?.["payload"] === "x".repeat(HEAD_BYTES - into)).toBe(true);
    },
  );

  test("says what stood beside it, unless that is longer than anything that may stand there", async () => {
    const outside = { agent: "planner", traceparent: "00-aa-bb-01" };
    expect(await linesOf({ ...refusal, outside })).toMatchObject([{ payload: "{", bytes: 1, outside }]);
    const long = (units: number) => ({ agent: "x".repeat(units - '{"agent":""}'.length) });
    const lines = await linesOf(
      ...[-1, 0, 1].map((extra) => ({ ...refusal, outside: long(16_384 + extra) })),
    );
    expect(lines.slice(1).map((line) => "outside" in line)).toEqual([true, true, false]);
  });

  test.each([-1, 0, 1])(
    "is read back, however its bytes are escaped, %d bytes from the limit",
    async (extra) => {
      const long = "\u0001".repeat(4_096);
      const payload = Buffer.alloc(DEFAULT_MAX_LINE_BYTES + extra, 1);
      const more = { source: long, deliveryId: long, outside: { agent: "\u0001".repeat(1_024) } };
      await linesOf({ ...refusal, ...more, payload });
      const lines: Buffer[] = [];
      const splitter = new LineSplitter({
        onLine: (buffer, start, end) => lines.push(Buffer.from(buffer.subarray(start, end))),
        onTooLong: (bytes) => lines.push(Buffer.from(`too long: ${bytes}`)),
      });
      splitter.push(readFileSync(path));
      splitter.end();
      const letter = openLetter(lines[0]!);
      expect(letter).toMatchObject(more);
      expect(letter?.payload.equals(extra > 0 ? payload.subarray(0, HEAD_BYTES) : payload)).toBe(true);
    },
  );

  test("is appended to those that are there", async () => {
    await linesOf(refusal);
    expect(await linesOf({ ...refusal, code: "BEHEST_DECODE_SCHEMA" })).toMatchObject([
      { code: "BEHEST_DECODE_JSON" },
      { code: "BEHEST_DECODE_SCHEMA" },
    ]);
  });
});

describe("the dead-letter file", () => {
  test.skipIf(process.platform === "win32")("is its owner's alone, also when it was not before", async () => {
    await linesOf(refusal);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    chmodSync(path, 0o644);
    await linesOf(refusal).catch(() => {});
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test("that cannot be made is told before anything is read", async () => {
    const missing = join(path, "deep");
    await expect(openDeadLetter(missing, keptLog().log)).rejects.toMatchObject({
      code: "BEHEST_USAGE",
      message: `--dead-letter: ${missing} does not exist`,
    });
    writeFileSync(path, "");
    expect(existsSync(missing)).toBe(false);
  });

  test("asks to be waited for when more than 256 KiB wait, and not before", async () => {
    const letters = await openDeadLetter(path, keptLog().log);
    const payload = Buffer.alloc(64 * 1024, "x");
    const waits = [1, 2, 3, 4].map(() => letters.add({ ...refusal, payload }));
    expect(waits.map((wait) => wait === undefined)).toEqual([true, true, true, false]);
    await waits.at(-1);
    expect(letters.counts).toEqual({ written: 4, failed: 0 });
    expect(letters.add(refusal)).toBeUndefined();
    await letters.close();
  });

  test.runIf(existsSync("/dev/full"))(
    "that cannot be written is told once, counted, and stops nothing",
    async () => {
      const { log, lines } = keptLog();
      const letters = await openDeadLetter("/dev/full", log);
      for (let count = 0; count < 3; count++) {
        await letters.add(refusal);
        await letters.add({ ...refusal, payload: Buffer.alloc(300 * 1024, "x") });
      }
      expect(letters.counts).toEqual({ written: 0, failed: 6 });
      expect(lines).toHaveLength(1);
      expect(lines[0]).toContain("has no space left on its disk file=/dev/full");
      await letters.close();
      expect(lines[1]).toContain("could not be kept file=/dev/full lines=6");
    },
  );
});
