import { compareIds, FIRST_ID } from "./entry-id.ts";
import type { Link } from "./link.ts";
import { Refusal } from "./refusal.ts";
import { infoOf, listOf, numberOf, textOf, type Info, type Reply } from "./reply.ts";

/** Pending entries asked for at a time. */
const PENDING_COUNT = 1_000;

/** A consumer group as `XINFO GROUPS` tells of it. */
export interface GroupInfo {
  /** Everything up to here was handed to some consumer. */
  readonly lastDelivered: string;
  /** Entries read so far, counted from the stream's first one ever; Redis 7, and not always known there. */
  readonly entriesRead: number | undefined;
  /** Entries not handed to any consumer. */
  readonly lag: number | undefined;
}

/** A stream as `XINFO STREAM` tells of it. */
export interface StreamInfo {
  readonly length: number;
  readonly lastId: string;
  readonly firstId: string | undefined;
  /** Redis 7. */
  readonly entriesAdded: number | undefined;
}

export interface Made {
  readonly kind: "made";
  /** The group begins behind it. */
  readonly at: string;
  /** The stream is another one than it was, so that nothing known of its entries holds. */
  readonly isOtherStream: boolean;
}

export function groupInfoOf(reply: Reply | undefined, group: string): GroupInfo | undefined {
  const row = listOf(reply)
    .map(infoOf)
    .find((info) => textOf(info.get("name")) === group);
  if (row === undefined) return undefined;
  return {
    lastDelivered: textOf(row.get("last-delivered-id")) ?? FIRST_ID,
    entriesRead: numberOf(row.get("entries-read")),
    lag: numberOf(row.get("lag")),
  };
}

export function streamInfoOf(reply: Reply | undefined): StreamInfo | undefined {
  if (reply instanceof Refusal) return undefined;
  const info: Info = infoOf(reply);
  return {
    length: numberOf(info.get("length")) ?? 0,
    lastId: textOf(info.get("last-generated-id")) ?? FIRST_ID,
    firstId: textOf(listOf(info.get("first-entry"))[0]),
    entriesAdded: numberOf(info.get("entries-added")),
  };
}

/**
 * Entries that were trimmed or deleted before this group got them; 0 where that cannot be known (Redis 6.2).
 *
 * Only once everything up to the last entry handed out is gone can something behind it be missing. The
 * number of the first entry that is left tells how many there were before it. Up to `passed` they are known.
 */
export function goneUnread(stream: StreamInfo, group: GroupInfo, passed = 0): number {
  const { entriesAdded, length, firstId } = stream;
  if (entriesAdded === undefined || group.entriesRead === undefined) return 0;
  const isBehindFirst = firstId === undefined || compareIds(group.lastDelivered, firstId) < 0;
  return isBehindFirst ? Math.max(0, entriesAdded - length - Math.max(group.entriesRead, passed)) : 0;
}

/**
 * Makes the group unless there is one, and the stream with it. It begins where `resume` says, or at `start` when
 * nothing is known; in a stream that was made anew, at its beginning.
 */
export async function makeGroup(
  link: Link,
  { stream, group, start }: { readonly stream: string; readonly group: string; readonly start: string },
  resume: string | undefined,
): Promise<GroupInfo | Made> {
  const known = groupInfoOf(await existing(link, ["XINFO", "GROUPS", stream]), group);
  if (known !== undefined) return known;
  const now = await existing(link, ["XINFO", "STREAM", stream]);
  const lastId = now === undefined ? undefined : streamInfoOf(now)?.lastId;
  const isOtherStream = resume !== undefined && (lastId === undefined || compareIds(lastId, resume) < 0);
  const from = isOtherStream ? FIRST_ID : (resume ?? start);
  try {
    await link.ask(["XGROUP", "CREATE", stream, group, from, "MKSTREAM"]);
  } catch (error) {
    if (!(error instanceof Refusal && error.word === "BUSYGROUP")) throw error;
    return makeGroup(link, { stream, group, start }, resume);
  }
  return { kind: "made", at: from === "$" ? (lastId ?? FIRST_ID) : from, isOtherStream };
}

/** Entries that are pending for a consumer, in order of their ids. */
export async function pendingIds(
  link: Link,
  { stream, group, consumer }: { readonly stream: string; readonly group: string; readonly consumer: string },
): Promise<string[]> {
  const ids: string[] = [];
  for (let from = "-"; ; from = `(${ids.at(-1)}`) {
    const range = [from, "+", String(PENDING_COUNT), consumer];
    const rows = listOf(await link.ask(["XPENDING", stream, group, ...range]));
    for (const row of rows) ids.push(textOf(listOf(row)[0]) ?? "");
    if (rows.length < PENDING_COUNT) return ids;
  }
}

/** What is known of a stream that may not be there. */
export async function existing(link: Link, command: readonly string[]): Promise<Reply | undefined> {
  try {
    return await link.ask(command);
  } catch (error) {
    if (error instanceof Refusal && error.word === "ERR" && error.message.includes("no such key")) {
      return undefined;
    }
    throw error;
  }
}
