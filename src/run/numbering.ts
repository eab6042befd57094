import type { Around } from "../event/event.ts";
import { isAfter, laterOf, type Time } from "../event/time.ts";

/**
 * The envelope's `seq` as it arrived for one run: counts from 1, shows gaps, may start anew in
 * another process (behest's MemoryRuntimeEventStore does).
 */
export interface Numbering {
  /** How often counting began again. */
  count: number;
  highest: number;
  /** Numbers below `highest` that have not arrived, lowest first. */
  missing: number[];
  /** The highest number used: what is missing below it was waited for in vain, and counted. */
  passed: number;
  /** Earliest timestamp of the present count, to tell its events from those of the one before. */
  since: Time;
  /** Latest timestamp of the present count. */
  newest: Time;
}

/** Gaps remembered per run; a longer one is counted whole and its events cannot fill it. */
export const MAX_GAPS = 4_096;

interface Placed {
  /** Which count the number belongs to. */
  readonly count: number;
  /** A gap that was already counted is filled after all. */
  readonly fills: boolean;
  /** Numbers that are missing for good: too many to remember, or of a count that is over. */
  readonly lost: number;
}

/** What of a run's record has to do with numbers. */
interface Numbered {
  numbering: Numbering | undefined;
  missing: number;
}

/** Takes note of the envelope's number, if there is one; says which count of the producer it belongs to. */
export function placeInRun(run: Numbered, around: Around | undefined, time: Time): number {
  if (around?.seq === undefined) return 0;
  run.numbering ??= startNumbering(time);
  const placed = place(run.numbering, around.seq, time);
  run.missing = Math.max(0, run.missing + placed.lost - (placed.fills ? 1 : 0));
  return placed.count;
}

/** An event is used: what is still missing before its number counts as missing. */
export function countGaps(run: Numbered, around: Around | undefined, count: number): void {
  if (around?.seq === undefined || run.numbering === undefined) return;
  run.missing += recordGaps(run.numbering, count, around.seq);
}

/**
 * Takes note of a number that arrived on an event that is not known to be a duplicate, and says which
 * count it belongs to. The same number again on a later event means that a producer began to count
 * anew; on an event that is no later it is a duplicate that nobody remembers.
 */
function place(numbering: Numbering, seq: number, time: Time): Placed {
  const { count, highest, missing, passed, newest } = numbering;
  if (count > 0 && isAfter(numbering.since, time)) return { count: count - 1, fills: false, lost: 0 };
  numbering.newest = laterOf(newest, time);
  if (seq > highest) {
    const room = Math.max(0, MAX_GAPS - missing.length);
    const gap = seq - highest - 1;
    for (let each = 1; each <= Math.min(gap, room); each++) missing.push(highest + each);
    numbering.highest = seq;
    return { count, fills: false, lost: Math.max(0, gap - room) };
  }
  const at = missing.indexOf(seq);
  if (at >= 0) {
    missing.splice(at, 1);
    return { count, fills: seq < passed, lost: 0 };
  }
  if (!isAfter(time, newest)) return { count, fills: false, lost: 0 };
  // Gaps of the old count that were still waited for can no longer be filled.
  const lost = missing.filter((each) => each > passed).length;
  Object.assign(numbering, startNumbering(time), { count: count + 1, highest: seq });
  return { count: count + 1, fills: false, lost };
}

/** How many are still not there when the event with number `seq` is used, and count as missing from then on. */
function recordGaps(numbering: Numbering, count: number, seq: number): number {
  const { missing, passed } = numbering;
  if (count !== numbering.count || seq <= passed) return 0;
  let recorded = 0;
  for (let at = missing.length - 1; at >= 0; at--) {
    const gap = missing[at];
    if (gap === undefined || gap <= passed) break;
    if (gap < seq) recorded += 1;
  }
  numbering.passed = seq;
  return recorded;
}

/** A run's first number: what lies before it is missing. */
function startNumbering(time: Time): Numbering {
  return { count: 0, highest: 0, missing: [], passed: 0, since: time, newest: time };
}
