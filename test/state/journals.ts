import type { Journal } from "../../src/state/journal.ts";
import type { JournalEntry, JournalFrame } from "../../src/state/journal-segment.ts";

export function entry(text: string, appendedMs = 1_000): JournalEntry {
  return { payload: Buffer.from(text), outside: undefined, appendedMs };
}

/** Bytes that an entry with so long a text takes. */
export function entrySize(text: string): number {
  return 16 + 16 + text.length;
}

/** Everything from a position on, and how many bytes could not be read. */
export async function readAll(
  journal: Journal,
  from = 0,
): Promise<{
  readonly entries: readonly JournalFrame[];
  readonly texts: readonly string[];
  readonly lost: number;
}> {
  const entries: JournalFrame[] = [];
  let lost = 0;
  for (let at = from; ;) {
    const read = await journal.read(at);
    if (read.entries.length === 0 && read.lostBytes === 0) break;
    entries.push(...read.entries);
    lost += read.lostBytes;
    at = read.next;
  }
  return { entries, texts: entries.map(({ payload }) => payload.toString()), lost };
}
