import { expect, test } from "vitest";

import { DEFAULT_MAX_LINE_BYTES, HEAD_BYTES, LineSplitter } from "../../src/event/lines.ts";
import { heldMemory } from "../held-memory.ts";

/** The longest line of a letter where events have at most so many bytes. */
const limitOf = (maxLineBytes: number) => 6 * maxLineBytes + 131_072;

interface Seen {
  readonly lines: string[];
  readonly tooLong: { readonly bytes: number; readonly head: string }[];
}

/** What comes of a text that is pushed in chunks of so many bytes. */
function split(text: string, size: number, maxLineBytes = DEFAULT_MAX_LINE_BYTES): Seen {
  const seen: Seen = { lines: [], tooLong: [] };
  const splitter = new LineSplitter({
    maxLineBytes,
    onLine: (buffer, start, end) => seen.lines.push(buffer.toString("utf8", start, end)),
    onTooLong: (bytes, head) => seen.tooLong.push({ bytes, head: head.toString("utf8") }),
  });
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) splitter.push(bytes.subarray(at, at + size));
  splitter.end();
  return seen;
}

/** A line that begins as a letter does. */
function letterOf(bytes: number, head = '{"kind":"event","payload":"'): string {
  return `${head}${"x".repeat(bytes - head.length - 2)}"}`;
}

const CHUNKS = [1, 7, 1_000, 65_536, 10_000_000];

test.each(CHUNKS)(
  "a line that begins as a dead letter may be longer than others, in chunks of %d",
  (size) => {
    for (const extra of [-1, 0, 1]) {
      const line = letterOf(limitOf(10) + extra);
      const tooLong = extra > 0 ? [{ bytes: line.length, head: line.slice(0, HEAD_BYTES) }] : [];
      const taken = extra > 0 ? [] : [line];
      expect(split(`a\n${line}\nb\n`, size, 10)).toEqual({ lines: ["a", ...taken, "b"], tooLong });
      expect(split(`a\r\n${line}\r\nb`, size, 10)).toEqual({ lines: ["a", ...taken, "b"], tooLong });
      expect(split(`\uFEFF${line}`, size, 10)).toEqual({ lines: taken, tooLong });
    }
  },
);

test.each([65_536, 1_048_576, 10_000_000])(
  "at the limit of the program a letter has room for a payload of 1 MiB, in chunks of %d",
  (size) => {
    for (const extra of [-1, 0, 1]) {
      const line = letterOf(limitOf(DEFAULT_MAX_LINE_BYTES) + extra);
      const { lines, tooLong } = split(`${line}\n`, size);
      expect([lines.length, tooLong.map(({ bytes }) => bytes)]).toEqual(
        extra > 0 ? [0, [line.length]] : [1, []],
      );
    }
  },
);

test.each(CHUNKS.slice(1))("a line of any other kind is too long as before, in chunks of %d", (size) => {
  for (const head of [
    '{"payload":"',
    '{"kind":"log","payload":"',
    '{"kinds":"event"',
    '["kind":"event"',
    "x",
  ]) {
    const line = letterOf(HEAD_BYTES + 100, head);
    expect(split(`${line}\na\n`, size, 1_000)).toEqual({
      lines: ["a"],
      tooLong: [{ bytes: line.length, head: line.slice(0, HEAD_BYTES) }],
    });
  }
});

test("spaces within the beginning of a letter make no difference", () => {
  for (const head of [' { "kind" : "event" , "payload":"', '{"kind":"span","payload":"']) {
    expect(split(letterOf(5_000, head), 100, 1_000).lines).toHaveLength(1);
  }
});

test("the memory that letters took is given back behind each", async () => {
  const splitters = Array.from(
    { length: 20 },
    () => new LineSplitter({ onLine: () => {}, onTooLong: () => {} }),
  );
  const chunk = Buffer.alloc(65_536, "x");
  const before = await heldMemory();
  for (const splitter of splitters) {
    splitter.push(Buffer.from('{"kind":"event","payload":"'));
    for (let n = 0; n < 90; n += 1) splitter.push(chunk);
    splitter.push(Buffer.from('"}\n{"a'));
  }
  expect(splitters.every(({ offset }) => offset === 27 + 90 * 65_536 + 3)).toBe(true);
  const { arrayBuffers } = await heldMemory();
  expect(arrayBuffers - before.arrayBuffers).toBeLessThan(2_000_000);
});

test("of a line longer than any letter only the head is held", async () => {
  let told = 0;
  const splitter = new LineSplitter({ onLine: () => {}, onTooLong: (bytes) => (told = bytes) });
  const before = await heldMemory();
  const chunk = Buffer.alloc(65_536, "x");
  splitter.push(Buffer.from('{"kind":"event","payload":"'));
  for (let n = 0; n < 1_000; n += 1) splitter.push(chunk);
  const { arrayBuffers } = await heldMemory();
  expect(arrayBuffers - before.arrayBuffers).toBeLessThan(7_000_000);
  splitter.end();
  expect(told).toBe(27 + 1_000 * 65_536);
});
