import { isEntryId } from "./entry-id.ts";
import type { Refusal } from "./refusal.ts";

/** What the server answers (RESP 2): bulk strings come as bytes. */
export type Reply = string | number | Buffer | Refusal | null | readonly Reply[];

/** An entry; without fields when it is pending and was trimmed or deleted since. */
export interface Entry {
  readonly id: string;
  /** Names and values in turn. */
  readonly fields: readonly Buffer[] | undefined;
}

/** Names and values that a server gives as a flat list, as `XINFO` does. */
export type Info = ReadonlyMap<string, Reply>;

export function textOf(reply: Reply | undefined): string | undefined {
  if (typeof reply === "string") return reply;
  return Buffer.isBuffer(reply) ? reply.toString() : undefined;
}

/** A whole number, also one that stands in a string; undefined for anything else. */
export function numberOf(reply: Reply | undefined): number | undefined {
  if (typeof reply === "number") return reply;
  const text = textOf(reply);
  return text !== undefined && /^\d{1,16}$/.test(text) ? Number(text) : undefined;
}

export function listOf(reply: Reply | undefined): readonly Reply[] {
  return isList(reply) ? reply : [];
}

export function infoOf(reply: Reply | undefined): Info {
  const info = new Map<string, Reply>();
  const list = listOf(reply);
  for (let at = 0; at + 1 < list.length; at += 2) info.set(textOf(list[at]) ?? "", list[at + 1] ?? null);
  return info;
}

/** The entries of the one stream that `XREADGROUP` or `XREAD` was asked for. */
export function streamEntries(reply: Reply | undefined): Entry[] {
  return entriesOf(listOf(listOf(reply)[0])[1]);
}

/** Of nil in their place, as `XCLAIM` of Redis 6.2 has for entries that are gone, nothing is made. */
export function entriesOf(reply: Reply | undefined): Entry[] {
  const entries: Entry[] = [];
  for (const one of listOf(reply)) {
    const [head, fields] = listOf(one);
    const id = textOf(head);
    if (id === undefined || !isEntryId(id)) continue;
    entries.push({
      id,
      fields: isList(fields) ? fields.filter((field) => Buffer.isBuffer(field)) : undefined,
    });
  }
  return entries;
}

function isList(reply: Reply | undefined): reply is readonly Reply[] {
  return Array.isArray(reply);
}
