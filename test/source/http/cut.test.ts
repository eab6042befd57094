import fc from "fast-check";
import { expect, test } from "vitest";

import { LineSplitter } from "../../../src/event/lines.ts";
import { cut, formOf } from "../../../src/source/http/cut.ts";
import { trial } from "../../event/trial.ts";

const pieces = fc.constantFrom("a", '{"b":1}', " ", "\t", "\r", "\n", "\r\n", "\n\n", "\ufeff", "ü");
const body = fc.array(pieces, { maxLength: 30 }).map((parts) => Buffer.from(parts.join("")));

function splitLines(bytes: Buffer): string[] {
  const lines: string[] = [];
  const splitter = new LineSplitter({
    onLine: (buffer, start, end) => lines.push(buffer.toString("utf8", start, end)),
    onTooLong: () => {},
  });
  splitter.push(bytes);
  splitter.end();
  return lines;
}

test("the lines of a body are those of a file with the same bytes, but for the space before them", () => {
  fc.assert(
    fc.property(body, (bytes) => {
      const cuts = [...cut(bytes, "lines")];
      const texts = cuts.map(({ start, end }) => bytes.toString("utf8", start, end));
      expect(texts).toEqual(splitLines(bytes).map((line) => line.replace(/^[ \t\r]+/, "")));
      // The number of a line is the number of line feeds before it, and one.
      const numbers = cuts.map(({ start }) => bytes.toString("latin1", 0, start).split("\n").length);
      expect(cuts.map(({ line }) => line)).toEqual(numbers);
    }),
    trial("lines of a body", 0.3),
  );
});

test("blank lines cost what their bytes cost, however many they are", () => {
  const bytes = Buffer.alloc(16 * 1024 * 1024, "\n");
  const begun = performance.now();
  expect([...cut(bytes, "lines")]).toEqual([]);
  expect(performance.now() - begun).toBeLessThan(5_000);
});

test.each([
  ["ndjson", "[", "lines"],
  ["ndjson", "", "lines"],
  ["json", " \n[", "array"],
  ["json", "\ufeff{", "one"],
  ["json", "", undefined],
  ["json", "17", undefined],
  [undefined, "\t[", "array"],
  [undefined, "{", "lines"],
  [undefined, "", "lines"],
] as const)("a body of type %s that begins with %j is read as %s", (type, text, form) => {
  expect(formOf(type, Buffer.from(text))).toBe(form);
});
