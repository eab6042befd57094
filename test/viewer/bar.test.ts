import { expect, test } from "vitest";

import { barText } from "../../src/viewer/bar.ts";
import type { BarLine } from "../../src/viewer/bar.ts";
import { glyphsOf } from "../../src/viewer/look.ts";
import { at } from "./span-builder.ts";

const glyphs = glyphsOf({ width: 80, colour: false, unicode: true }).bar;

/** A bar from `start` to `end` on a scale from 0 to 100 ms, in ten cells of 10 ms. */
function bar(start: number, end: number, line: BarLine = "solid"): string {
  return barText(
    { start: at(start), end: at(end) },
    { scale: { start: at(0), end: at(100) }, cells: 10, line, glyphs },
  );
}

test.each([
  ["the whole scale", 0, 100, "━━━━━━━━━━"],
  ["the first half", 0, 50, "━━━━━"],
  ["the second half", 50, 100, "     ━━━━━"],
  ["from the middle of a cell to the middle of a cell", 15, 45, " ╺━━╸"],
  ["half a cell", 15, 20, " ╺"],
  ["too short to be seen", 30, 30.01, "   ╸"],
  ["no length", 30, 30, "   ╸"],
  ["no length at the very end", 100, 100, "         ╺"],
  ["beginning before the scale", -50, 20, "━━"],
  ["ending after the scale", 80, 500, "        ━━"],
])("%s", (_, start, end, text) => {
  expect(bar(start, end)).toBe(text);
});

test("a dashed bar has no half cells", () => {
  expect(bar(15, 45, "dashed")).toBe(" ╍╍╍╍");
  expect(bar(15, 20, "dashed")).toBe(" ╍");
});

test("a bar that has not ended has an arrow for its last cell", () => {
  expect(bar(0, 100, "open")).toBe("━━━━━━━━━▸");
  expect(bar(99, 100, "open")).toBe("         ▸");
});

test("a moment is one mark", () => {
  expect(bar(0, 0, "point")).toBe("!");
  expect(bar(100, 100, "point")).toBe("         !");
});

test("on a scale without length every bar is the shortest one", () => {
  const nothing = { start: at(0), end: at(0) };
  expect(barText(nothing, { scale: nothing, cells: 10, line: "solid", glyphs })).toBe("╸");
});
