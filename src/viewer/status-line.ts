import { secondsBetween } from "../event/time.ts";
import type { Time } from "../event/time.ts";
import { counted, durationText } from "./amount.ts";
import { printable, truncate } from "./cells.ts";
import { glyphsOf, paint } from "./look.ts";
import type { Look } from "./look.ts";
import { childNames } from "./row.ts";
import type { OpenTree } from "./store.ts";

/** Ages beyond it are those of a recording, not of something that goes on now. */
const LONGEST_AGE_SECONDS = 24 * 3600;

/** Open children named of one run: more do not fit on a line. */
const MAX_CHILDREN = 8;

/**
 * One line about what goes on at the moment `now`, shorter than the terminal is wide, so that it can be erased:
 * `2 runs open · researcher 12.3s: chat gpt-4o 3.1s`.
 *
 * `newest` are some of the open runs; as many of them are named as fit.
 */
export function statusLine(
  newest: readonly OpenTree[],
  options: { openRuns: number; shownRuns: number; now: Time; look: Look },
): string {
  const { openRuns, shownRuns, now, look } = options;
  const { dot, ellipsis } = glyphsOf(look);
  const parts =
    openRuns === 0
      ? [shownRuns === 0 ? "waiting for events" : "waiting for more events"]
      : [`${counted(openRuns, "run")} open`, ...newest.map((tree) => runText(tree, now))];
  return paint(truncate(parts.join(dot), Math.max(1, look.width - 1), ellipsis), "quiet", look);
}

function runText(tree: OpenTree, now: Time): string {
  const name =
    tree.run.agent === undefined ? printable(tree.run.runId).slice(0, 8) : printable(tree.run.agent);
  const doing = tree.openChildren
    .slice(0, MAX_CHILDREN)
    .map((child) => `${childNames(child).name}${ageText(child.start, now)}`);
  return `${name}${ageText(tree.start, now)}${doing.length > 0 ? `: ${doing.join(", ")}` : ""}`;
}

function ageText(start: Time, now: Time): string {
  const seconds = secondsBetween(start, now);
  return seconds >= 0 && seconds < LONGEST_AGE_SECONDS ? ` ${durationText(seconds)}` : "";
}
