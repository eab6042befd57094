import { open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { findEntry, parseSegment, readEntries, type Segment } from "./journal-segment.ts";
import { UnreadableState } from "./state-file.ts";

/** The folder of a journal in that of its source. */
export const JOURNAL_FOLDER = "journal";

/** How far a journal got, as far as can be read. */
export interface Reached {
  /** Position behind the newest entry. */
  readonly end: number;
  /** Entries before that. */
  readonly ordinal: number;
  readonly lastMs: number;
  /** What stands behind the newest entry, and was never promised to anybody. */
  readonly unfinishedBytes: number;
}

/**
 * The files of a journal, oldest first. Each ends where the next begins. `voided` are those that a
 * process wrote after a newer one had gone on from an earlier place: nothing in them was promised.
 */
export function layOut(names: readonly string[]): { segments: Segment[]; voided: string[] } {
  const all: Segment[] = [];
  for (const name of names) {
    const parsed = parseSegment(name);
    if (parsed === undefined) continue;
    if ("version" in parsed) {
      throw new UnreadableState(`${name} is of version ${parsed.version}: run the behest-otel that wrote it`);
    }
    all.push(parsed);
  }
  all.sort((a, b) => a.start - b.start || a.epoch - b.epoch);
  const segments: Segment[] = [];
  const voided: string[] = [];
  let newest = 0;
  for (const [index, segment] of all.entries()) {
    newest = Math.max(newest, segment.epoch);
    const next = all[index + 1];
    const isOvertaken =
      segment.epoch < newest || (next?.start === segment.start && next.epoch > segment.epoch);
    if (isOvertaken) voided.push(segment.name);
    else segments.push(segment);
  }
  return { segments, voided };
}

/** Reads the last file to its end. */
export async function readReached(path: string, last: Segment | undefined): Promise<Reached> {
  if (last === undefined) return { end: 0, ordinal: 0, lastMs: 0, unfinishedBytes: 0 };
  const handle = await open(join(path, last.name), "r");
  try {
    return await readToEnd(handle, last);
  } finally {
    await handle.close();
  }
}

async function readToEnd(handle: FileHandle, segment: Segment): Promise<Reached> {
  const { size } = await handle.stat();
  let { ordinal, lastMs } = segment;
  let reached = 0;
  for (let offset = 0; offset < size;) {
    const { entries, next } = await readEntries(handle, segment, { offset, end: size });
    const newest = entries.at(-1);
    if (newest === undefined) {
      offset = await findEntry(handle, segment, { offset: offset + 1, end: size });
      continue;
    }
    ordinal = newest.ordinal + 1;
    lastMs = newest.appendedMs;
    reached = next;
    offset = next;
  }
  return { end: segment.start + reached, ordinal, lastMs, unfinishedBytes: size - reached };
}
