import { isUtf8 } from "node:buffer";
import fc, { type Arbitrary } from "fast-check";
import { describe, expect, it } from "vitest";
import { HEAD_BYTES, LineSplitter } from "../../src/event/lines.ts";
import { trial } from "./trial.ts";
import { heldMemory } from "../held-memory.ts";

type Seen =
  | { line: string; valid: boolean; from: number; to: number }
  | { tooLong: number; head: string; from: number; to: number };

/** What the splitter reports of these chunks, each of them written over as soon as it was pushed. */
function split(chunks: readonly Buffer[], { maxLineBytes = 1_048_576, end = true, offset = 0 } = {}) {
  const seen: Seen[] = [];
  const splitter = new LineSplitter({
    maxLineBytes,
    offset,
    onLine: (buffer, start, stop, valid) => {
      const line = buffer.toString("latin1", start, stop);
      seen.push({ line, valid, from: splitter.lineStart, to: splitter.offset });
    },
    onTooLong: (bytes, head) => {
      seen.push({
        tooLong: bytes,
        head: head.toString("latin1"),
        from: splitter.lineStart,
        to: splitter.offset,
      });
    },
  });
  for (const chunk of chunks) {
    const lent = Buffer.from(chunk);
    splitter.push(lent);
    lent.fill("#");
  }
  const unfinished = splitter.offset;
  if (end) splitter.end();
  return {
    seen,
    lines: seen.map((one) => ("line" in one ? one.line : one.tooLong)),
    unfinished,
    offset: splitter.offset,
  };
}

function linesOf(text: string, options = {}) {
  return split([Buffer.from(text)], options).lines;
}

describe("a line splitter", () => {
  it.each([
    ["LF", "a\nb\n", ["a", "b"]],
    ["CRLF", "a\r\nb\r\n", ["a", "b"]],
    ["both mixed", "a\r\nb\nc\r\n", ["a", "b", "c"]],
    ["a last line without an end", "a\nb", ["a", "b"]],
    ["a last line that ends in CR", "a\nb\r", ["a", "b"]],
    ["blank lines", "\n\r\na\n\n \t \n\r\r\nb\n \n", ["a", "b"]],
    ["a CR within a line", "a\rb\n", ["a\rb"]],
    ["only one CR of two", "a\r\r\n", ["a\r"]],
    ["spaces around", "  a \n", ["  a "]],
    ["nothing", "", []],
    ["one LF", "\n", []],
  ])("reads lines with %s", (_, text, expected) => {
    expect(linesOf(text)).toEqual(expected);
  });

  it("skips a byte order mark at the very start, and nowhere else", () => {
    const bom = Buffer.from("\uFEFF");
    const mark = bom.toString("latin1");
    expect(split([bom, Buffer.from("a\n"), bom, Buffer.from("b\n")]).lines).toEqual(["a", `${mark}b`]);
    expect(split([bom, Buffer.from("\n")]).lines).toEqual([]);
    expect(split([bom]).lines).toEqual([]);
    expect(split([bom.subarray(0, 2), Buffer.from("\n")]).lines).toEqual([mark.slice(0, 2)]);
    // Where reading goes on in the middle of a file, a mark is no mark.
    expect(split([bom, Buffer.from("a\n")], { offset: 5 }).lines).toEqual([`${mark}a`]);
  });

  it("skips a byte order mark that is cut anywhere", () => {
    const bytes = Buffer.from("\uFEFFab\n");
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      expect(split([bytes.subarray(0, cut), bytes.subarray(cut)]).lines).toEqual(["ab"]);
    }
  });

  it("says where in the input each line lies, and where the last complete one ends", () => {
    const { seen, unfinished, offset } = split([Buffer.from("ab\r\n\nc"), Buffer.from("d\nef")], {
      offset: 100,
    });
    expect(seen).toEqual([
      { line: "ab", valid: true, from: 100, to: 104 },
      { line: "cd", valid: true, from: 105, to: 108 },
      { line: "ef", valid: true, from: 108, to: 110 },
    ]);
    expect(unfinished).toBe(108);
    expect(offset).toBe(110);
  });

  it("keeps an unfinished line back until it is told that the input ended", () => {
    expect(split([Buffer.from("a\nb")], { end: false }).lines).toEqual(["a"]);
  });

  it("says of each line whether it is UTF-8, however its neighbours are", () => {
    const chunk = Buffer.concat([
      Buffer.from("é\n"),
      Buffer.of(0xff, 0x0a),
      Buffer.from("日本\n"),
      Buffer.of(0xed, 0xa0, 0x80, 0x0a),
      Buffer.from("x"),
    ]);
    for (let cut = 0; cut <= chunk.length; cut += 1) {
      const { seen } = split([chunk.subarray(0, cut), chunk.subarray(cut)]);
      expect(seen.map((one) => "valid" in one && one.valid)).toEqual([true, false, true, false, true]);
    }
  });

  it.each([
    ["in one chunk", (text: string) => [Buffer.from(text)]],
    ["byte by byte", (text: string) => [...Buffer.from(text)].map((byte) => Buffer.of(byte))],
  ])("takes lines up to the limit and reports longer ones once, %s", (_, cut) => {
    const options = { maxLineBytes: 10 };
    for (const end of ["\n", "\r\n", ""]) {
      expect(split(cut(`${"x".repeat(9)}${end}`), options).lines).toEqual(["x".repeat(9)]);
      expect(split(cut(`${"x".repeat(10)}${end}`), options).lines).toEqual(["x".repeat(10)]);
      expect(split(cut(`${"x".repeat(11)}${end}`), options).lines).toEqual([11]);
      expect(split(cut(`${"x".repeat(1_000)}${end}`), options).lines).toEqual([1_000]);
    }
    expect(split(cut(`\uFEFF${"x".repeat(10)}\n`), options).lines).toEqual(["x".repeat(10)]);
    expect(split(cut(`\uFEFF${"x".repeat(10)}\r\n`), options).lines).toEqual(["x".repeat(10)]);
    expect(split(cut(`\uFEFF${"x".repeat(11)}\n`), options).lines).toEqual([11]);
    expect(split(cut(`\uFEFF${"x".repeat(11)}\r\n`), options).lines).toEqual([11]);
    expect(split(cut(`\uFEFF${"x".repeat(100)}\r\n`), options).lines).toEqual([100]);
  });

  it("takes lines up to a limit above 64 KiB, in many chunks", () => {
    const maxLineBytes = HEAD_BYTES + 5_000;
    for (const extra of [-1, 0, 1]) {
      const text = "x".repeat(maxLineBytes + extra);
      for (const whole of [`${text}\n`, `\uFEFF${text}\r\n`, `\uFEFF${text}`]) {
        const bytes = Buffer.from(whole);
        const chunks = Array.from({ length: bytes.length }, (_, at) => bytes.subarray(at, at + 1));
        const { lines } = split(chunks, { maxLineBytes });
        expect(lines).toEqual([extra > 0 ? text.length : text]);
      }
    }
  });

  it("reports a line that is too long also when it is blank", () => {
    expect(linesOf(`${" ".repeat(10)}\n${" ".repeat(11)}\n`, { maxLineBytes: 10 })).toEqual([11]);
    expect(split([Buffer.from(" ".repeat(60)), Buffer.from(" \n")], { maxLineBytes: 10 }).lines).toEqual([
      61,
    ]);
  });

  it("goes on behind a line that is too long", () => {
    const { seen } = split([Buffer.from(`a\n${"x".repeat(50)}`), Buffer.from(`${"x".repeat(50)}\nb\n`)], {
      maxLineBytes: 10,
    });
    expect(seen).toEqual([
      { line: "a", valid: true, from: 0, to: 2 },
      { tooLong: 100, head: "x".repeat(100), from: 2, to: 103 },
      { line: "b", valid: true, from: 103, to: 105 },
    ]);
  });

  it("keeps the first 64 KiB of a line that is too long", () => {
    for (const extra of [-1, 0, 1]) {
      const bytes = Buffer.alloc(HEAD_BYTES + extra, "x");
      for (const chunks of [[bytes], [bytes.subarray(0, 1_000), bytes.subarray(1_000)]]) {
        const [report] = split(chunks, { maxLineBytes: 10 }).seen;
        expect(report).toMatchObject({ tooLong: HEAD_BYTES + extra });
        expect(report && "head" in report && report.head.length).toBe(
          Math.min(HEAD_BYTES, HEAD_BYTES + extra),
        );
      }
    }
  });

  it("gives a copy of the head, which the next chunk does not write over", () => {
    const heads: Buffer[] = [];
    const splitter = new LineSplitter({
      maxLineBytes: 2,
      onLine: () => {},
      onTooLong: (_, head) => heads.push(head),
    });
    const chunk = Buffer.from("aaa\n");
    splitter.push(chunk);
    chunk.fill("b");
    splitter.push(Buffer.from("cc"));
    splitter.push(Buffer.from("cc\ndd"));
    splitter.push(Buffer.from("dd\n"));
    expect(heads.map(String)).toEqual(["aaa", "cccc", "dddd"]);
  });

  it("holds no more than one line of the limit, however long the line", async () => {
    const splitter = new LineSplitter({ maxLineBytes: 100_000, onLine: () => {}, onTooLong: () => {} });
    const before = await heldMemory();
    const chunk = Buffer.alloc(65_536, "x");
    for (let n = 0; n < 2_000; n += 1) splitter.push(chunk);
    const { arrayBuffers } = await heldMemory();
    expect(arrayBuffers - before.arrayBuffers).toBeLessThan(200_000);
    splitter.end();
    expect(splitter.offset).toBe(2_000 * 65_536);
  });

  it("hands lines of one chunk on without copying them", () => {
    const chunk = Buffer.from("first\nsecond\n");
    const buffers: Buffer[] = [];
    const splitter = new LineSplitter({ onLine: (buffer) => buffers.push(buffer), onTooLong: () => {} });
    splitter.push(chunk);
    expect(buffers.every((buffer) => buffer === chunk)).toBe(true);
    expect(buffers).toHaveLength(2);
  });

  it("gives the same lines wherever the input is cut", () => {
    fc.assert(
      fc.property(
        input,
        fc.array(fc.nat(400), { maxLength: 12 }),
        fc.constantFrom(3, 8, 1_000),
        (bytes, cuts, maxLineBytes) => {
          const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort(
            (a, b) => a - b,
          );
          const chunks = places.slice(1).map((place, n) => bytes.subarray(places[n], place));
          const { seen, offset } = split(chunks, { maxLineBytes });
          expect(seen).toEqual(reference(bytes, maxLineBytes));
          expect(offset).toBe(bytes.length);
        },
      ),
      trial("lines", 0.3),
    );
  });
});

const input: Arbitrary<Buffer> = fc
  .tuple(
    fc.boolean(),
    fc.array(
      fc.oneof(
        fc
          .constantFrom("\n", "\r\n", "\r", " ", "\t", "", "\n\n", "\uFEFF", "é", "日本\n", '{"a":1}\n')
          .map((part) => Buffer.from(part)),
        fc.string({ maxLength: 12 }).map((part) => Buffer.from(part)),
        fc.uint8Array({ maxLength: 4 }).map((part) => Buffer.from(part)),
        fc.constant(Buffer.of(0xff)),
      ),
      { maxLength: 20 },
    ),
  )
  .map(([marked, parts]) => Buffer.concat([Buffer.from(marked ? "\uFEFF" : ""), ...parts]));

/** The same by looking at the whole input at once. */
function reference(bytes: Buffer, maxLineBytes: number): Seen[] {
  const seen: Seen[] = [];
  for (let from = 0; from < bytes.length;) {
    const feed = bytes.indexOf(0x0a, from);
    const to = feed < 0 ? bytes.length : feed + 1;
    let line = bytes.subarray(from, feed < 0 ? bytes.length : feed);
    if (from === 0 && line.subarray(0, 3).equals(Buffer.from("\uFEFF"))) line = line.subarray(3);
    if (line.at(-1) === 0x0d) line = line.subarray(0, -1);
    const text = line.toString("latin1");
    if (line.length > maxLineBytes) {
      seen.push({ tooLong: line.length, head: text.slice(0, HEAD_BYTES), from, to });
    } else if (/[^ \t\r]/.test(text)) {
      seen.push({ line: text, valid: isUtf8(line), from, to });
    }
    from = to;
  }
  return seen;
}
