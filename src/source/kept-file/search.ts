import { opendir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { identityOf } from "../tail.ts";

export interface SearchLimits {
  /** Names looked at in a directory. Default 10,000. */
  readonly maxEntries: number;
  /** Files that are read on or read for the first time. Default 1,000. */
  readonly maxFiles: number;
}

export const SEARCH_LIMITS: SearchLimits = { maxEntries: 10_000, maxFiles: 1_000 };

/** A file beside the one that is read, or that one. */
export interface Candidate {
  readonly path: string;
  readonly identity: string;
  /** When it was last written to, milliseconds since 1970. */
  readonly modifiedMs: number;
  /** It has the name that is read. */
  readonly isNamed: boolean;
  readonly suffix: Suffix;
}

/** What stands behind the name, as programs that rotate files write it. */
type Suffix =
  | { readonly kind: "none" | "other" }
  /** `.1` is newer than `.2`. */
  | { readonly kind: "count"; readonly count: number }
  /** A date, or `.old`. */
  | { readonly kind: "date" }
  | { readonly kind: "compressed" };

const COMPRESSED = /\.(?:gz|zst|bz2|xz|lz4|zip)$/i;
const COUNT = /^[.-](\d{1,3})$/;
const DATE = /^[._-](?:\d[\dTZ:._-]*|old)$/i;

export interface Found {
  /** Newest first, the named one before all others. */
  readonly candidates: readonly Candidate[];
  /** Directories with more names than were looked at. */
  readonly tooLarge: readonly string[];
}

/**
 * The files that may be what was read under `path` earlier: what has the name now, and what stands beside it
 * and begins with its name; the same where a link leads to, and for the paths that are given in `earlier`.
 */
export async function findCandidates(
  path: string,
  earlier: readonly string[],
  { maxEntries }: Pick<SearchLimits, "maxEntries">,
): Promise<Found> {
  const named = await realpath(path).catch(() => path);
  const tooLarge: string[] = [];
  const places = new Map<string, string>([[named, ""]]);
  for (const origin of new Set([path, named, ...earlier])) {
    const listed = await namesBeside(origin, maxEntries);
    if (listed.isMore) tooLarge.push(dirname(origin));
    for (const name of listed.names) {
      const place = join(dirname(origin), name);
      if (!places.has(place)) places.set(place, name.slice(basename(origin).length));
    }
  }
  const candidates = new Map<string, Candidate>();
  for (const [place, suffix] of places) {
    const candidate = await look(place, { suffix, isNamed: place === named });
    // A link and what it leads to are one file.
    if (candidate !== undefined && !candidates.has(candidate.identity)) {
      candidates.set(candidate.identity, candidate);
    }
  }
  const newestFirst = [...candidates.values()].toSorted(
    (a, b) => Number(b.isNamed) - Number(a.isNamed) || olderFirst(b, a),
  );
  return { candidates: newestFirst, tooLarge };
}

/** For sorting. Where counts say which is older they are right, and clocks where they do not. */
export function olderFirst(a: Candidate, b: Candidate): number {
  if (a.suffix.kind === "count" && b.suffix.kind === "count") return b.suffix.count - a.suffix.count;
  return a.modifiedMs - b.modifiedMs || (a.path < b.path ? -1 : 1);
}

async function namesBeside(
  path: string,
  maxEntries: number,
): Promise<{ readonly names: readonly string[]; readonly isMore: boolean }> {
  const names: string[] = [];
  let entries = 0;
  try {
    for await (const { name } of await opendir(dirname(path))) {
      if ((entries += 1) > maxEntries) return { names, isMore: true };
      if (name.startsWith(basename(path))) names.push(name);
    }
  } catch {
    // A directory that is not there, or may not be read, has nothing to find.
  }
  return { names, isMore: false };
}

async function look(
  path: string,
  { suffix, isNamed }: { readonly suffix: string; readonly isNamed: boolean },
): Promise<Candidate | undefined> {
  try {
    const stats = await stat(path, { bigint: true });
    if (!stats.isFile()) return undefined;
    const modifiedMs = Number(stats.mtimeNs / 1_000n) / 1_000;
    return { path, identity: identityOf(stats), modifiedMs, isNamed, suffix: suffixOf(suffix) };
  } catch {
    return undefined;
  }
}

function suffixOf(text: string): Suffix {
  if (text === "") return { kind: "none" };
  if (COMPRESSED.test(text)) return { kind: "compressed" };
  const [, count] = COUNT.exec(text) ?? [];
  if (count !== undefined) return { kind: "count", count: Number(count) };
  return { kind: DATE.test(text) ? "date" : "other" };
}
