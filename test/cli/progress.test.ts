import { expect, test } from "vitest";

import { progressLine } from "../../src/cli/progress.ts";

function drawn(totalBytes: number | undefined): {
  text: string[];
  at: (ms: number, bytes: number) => void;
  erase: () => void;
} {
  const text: string[] = [];
  let now = 0;
  const line = progressLine({ totalBytes, nowMs: () => now, write: (part) => text.push(part) });
  const at = (ms: number, bytes: number) => {
    now = ms;
    line.show({ bytes, spans: 7 });
  };
  return { text, at, erase: line.erase };
}

test("says nothing in the first second, then at most four times a second, each in the place of the last", () => {
  const { text, at } = drawn(8_000_000);
  for (const ms of [0, 999, 1_000, 1_249, 1_250]) at(ms, ms * 1_000);
  expect(text).toEqual([
    "\r\u001b[2K12 %, 1.0 of 8.0 MB read, 7 spans",
    "\r\u001b[2K15 %, 1.3 of 8.0 MB read, 7 spans",
  ]);
});

test("says no share of an input whose end is not known", () => {
  const { text, at } = drawn(undefined);
  at(1_000, 2_500_000);
  expect(text).toEqual(["\r\u001b[2K2.5 MB read, 7 spans"]);
});

test("leaves an empty line behind, and nothing where it was never drawn", () => {
  const shown = drawn(10);
  shown.at(1_000, 10);
  shown.erase();
  shown.erase();
  expect(shown.text.slice(1)).toEqual(["\r\u001b[2K"]);
  const short = drawn(10);
  short.erase();
  expect(short.text).toEqual([]);
});
