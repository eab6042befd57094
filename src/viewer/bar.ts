import { secondsBetween } from "../event/time.ts";
import type { Time } from "../event/time.ts";
import type { BarGlyphs } from "./look.ts";

/** `solid` was observed, `dashed` was inferred or ended without its own end, `open` has not ended, `point` has no length. */
export type BarLine = "solid" | "dashed" | "open" | "point";

export interface Stretch {
  readonly start: Time;
  readonly end: Time;
}

/**
 * The part of a time scale that `stretch` takes, as spaces and then a bar: together at most `cells` cells.
 * The shortest bar is half a cell, so that nothing that happened is invisible.
 */
export function barText(
  stretch: Stretch,
  options: { scale: Stretch; cells: number; line: BarLine; glyphs: BarGlyphs },
): string {
  const { scale, cells, line, glyphs } = options;
  const total = secondsBetween(scale.start, scale.end);
  const halves = cells * 2;
  const at = (time: Time): number =>
    total > 0 ? Math.round((secondsBetween(scale.start, time) / total) * halves) : 0;
  const first = clamp(at(stretch.start), 0, halves - 1);
  if (line === "point") return " ".repeat(first >> 1) + glyphs.point;
  const last = clamp(at(stretch.end), first + 1, halves);
  return " ".repeat(first >> 1) + drawn(first, last, line, glyphs);
}

/** The bar from half cell `first` up to, not with, half cell `last`. */
function drawn(first: number, last: number, line: BarLine, glyphs: BarGlyphs): string {
  // There are no halves of a dashed cell: a cell is dashed when any of it is meant.
  if (line === "dashed") return glyphs.dashed.repeat(((last + 1) >> 1) - (first >> 1));
  const beginsInside = first % 2 === 1;
  const endsInside = last % 2 === 1;
  const whole = (last >> 1) - ((first + 1) >> 1);
  const text =
    (beginsInside ? glyphs.rightHalf : "") +
    glyphs.whole.repeat(Math.max(0, whole)) +
    (endsInside ? glyphs.leftHalf : "");
  return line === "open" ? text.slice(0, -1) + glyphs.openEnd : text;
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value));
}
