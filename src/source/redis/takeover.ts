import type { Command, Link } from "./link.ts";
import { entriesOf, infoOf, listOf, numberOf, textOf, type Entry, type Reply } from "./reply.ts";

/** Milliseconds for which nobody asked for an entry again, before its consumer is taken for dead. */
const DEAD_MS = 60_000;
const MAX_ENTRIES = 100;

export interface Abandoned {
  /** The consumer that read them. */
  readonly by: string;
  /** In order of their ids. */
  readonly ids: readonly string[];
}

interface Group {
  readonly stream: string;
  readonly group: string;
  readonly consumer: string;
}

/**
 * Entries of the group that another consumer read and never acknowledged.
 *
 * Shards have groups of their own and a process keeps its consumer's name, so another name in the group is no other
 * shard: it is an earlier release, or somebody's trial. `XAUTOCLAIM` would take our own entries as well,
 * which wait as long as the backend is down, so they are looked up by their consumer.
 */
export async function abandoned(
  link: Link,
  { stream, group, consumer }: Group,
): Promise<Abandoned | undefined> {
  const consumers = listOf(await link.ask(["XINFO", "CONSUMERS", stream, group])).map(infoOf);
  for (const info of consumers) {
    const by = textOf(info.get("name"));
    if (by === undefined || by === consumer || (numberOf(info.get("pending")) ?? 0) === 0) continue;
    const range = ["IDLE", String(DEAD_MS), "-", "+", String(MAX_ENTRIES), by];
    const rows = listOf(await link.ask(["XPENDING", stream, group, ...range]));
    const ids = rows.map((row) => textOf(listOf(row)[0])).filter((id) => id !== undefined);
    if (ids.length > 0) return { by, ids };
  }
  return undefined;
}

/**
 * Makes them ours, by way of an `ask` that a process which was replaced is refused: its successor has the same name.
 * May be asked again when there was no answer; what is gone from the stream is not among the entries, and pending
 * no more.
 */
export async function takeOver(
  ask: (command: Command) => Promise<Reply>,
  { stream, group, consumer }: Group,
  ids: readonly string[],
): Promise<Entry[]> {
  const entries = entriesOf(await ask(["XCLAIM", stream, group, consumer, "0", ...ids]));
  const present = new Set(entries.map(({ id }) => id));
  const gone = ids.filter((id) => !present.has(id));
  // Redis 6.2 leaves them pending.
  if (gone.length > 0) await ask(["XACK", stream, group, ...gone]);
  return entries;
}
