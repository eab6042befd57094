import { BridgeError } from "../../errors.ts";
import type { Log } from "../../log.ts";
import { Tail } from "../tail.ts";
import { isTelling, standsIn } from "./anchor.ts";
import type { SavedFile } from "./position.ts";
import { findCandidates, olderFirst, type Candidate, type SearchLimits } from "./search.ts";

/** How often files may be renamed while they are looked for. */
const MAX_TRIES = 10;
/** Names in one line of the log. */
const MAX_TOLD = 5;

export interface ResumeOptions {
  readonly log: Log;
  readonly limits: SearchLimits;
}

export interface Resumed {
  /** Open, oldest first. */
  readonly files: readonly ResumedFile[];
  /** Those that are neither there nor anywhere beside it. */
  readonly gone: readonly SavedFile[];
}

interface ResumedFile {
  readonly tail: Tail;
  /** Where `tail` begins to read. */
  readonly offset: number;
  /** Undefined for a file of which nothing was read. */
  readonly saved: SavedFile | undefined;
  /** It has the name now. */
  readonly isNamed: boolean;
}

/**
 * Finds again what was read under `path` and was renamed, copied, truncated or deleted since: each file under
 * its number, or as a copy, where what was read stands in it. Between the newest of them and what has the
 * name now, files may have come and gone; they are read whole. Rejects with `BEHEST_SOURCE_OPEN`.
 */
export async function resumeFiles(
  path: string,
  saved: readonly SavedFile[],
  { log, limits }: ResumeOptions,
): Promise<Resumed> {
  for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
    const plan = await planOf(path, saved, limits);
    const opened = await openAll(plan.steps);
    if (opened === undefined) continue;
    tell({ ...plan, ...opened }, { path, log });
    return { files: opened.files, gone: plan.gone };
  }
  const message = `${path} was rotated ${MAX_TRIES} times while it was opened; start again`;
  throw new BridgeError("BEHEST_SOURCE_OPEN", message);
}

interface Step {
  readonly candidate: Candidate;
  readonly saved: SavedFile | undefined;
}

interface Plan {
  readonly steps: readonly Step[];
  readonly gone: readonly SavedFile[];
  /** The file that was being read is gone. */
  readonly lost: SavedFile | undefined;
  /** Files that were rotated meanwhile and are not read. */
  readonly compressed: readonly Candidate[];
  readonly tooMany: readonly Candidate[];
  readonly tooLarge: readonly string[];
}

async function planOf(path: string, saved: readonly SavedFile[], limits: SearchLimits): Promise<Plan> {
  const earlier = saved.map((file) => file.path);
  const { candidates, tooLarge } = await findCandidates(path, earlier, limits);
  const claims = await match(saved, candidates);
  const known = new Set(claims.values());
  const named = candidates.filter((candidate) => candidate.isNamed && !known.has(candidate));
  const newest = saved.at(-1);
  const later = newest === undefined ? [] : laterThan(newest, claims.get(newest), candidates);
  const unknown = later.filter(
    (candidate) => !known.has(candidate) && (isRead(candidate) || isCompressed(candidate)),
  );
  const missed = (await withoutCopies(unknown, saved)).toReversed();
  const between = missed.filter(isRead);
  const room = Math.max(0, limits.maxFiles - claims.size - named.length);
  const first = Math.max(0, between.length - room);
  const resumed = saved.flatMap((file) => {
    const candidate = claims.get(file);
    return candidate === undefined ? [] : [{ candidate, saved: file }];
  });
  const unread = [...between.slice(first), ...named];
  const gone = saved.filter((file) => !claims.has(file));
  return {
    steps: [...resumed, ...unread.map((candidate) => ({ candidate, saved: undefined }))],
    gone,
    lost: gone.find((file) => file === newest),
    compressed: missed.filter(isCompressed),
    tooMany: between.slice(0, first),
    tooLarge,
  };
}

function isRead({ suffix: { kind } }: Candidate): boolean {
  return kind === "count" || kind === "date";
}

function isCompressed({ suffix: { kind } }: Candidate): boolean {
  return kind === "compressed";
}

/**
 * The number first, which a renamed file keeps; then copies, those of a rotator before any others, which may be
 * older than the file's last lines.
 */
async function match(
  saved: readonly SavedFile[],
  candidates: readonly Candidate[],
): Promise<Map<SavedFile, Candidate>> {
  const claims = new Map<SavedFile, Candidate>();
  const free = new Set(candidates);
  const claim = async (file: SavedFile, suitable: (candidate: Candidate) => boolean) => {
    for (const candidate of free) {
      if (!suitable(candidate) || !(await standsIn(candidate.path, file))) continue;
      claims.set(file, candidate);
      free.delete(candidate);
      return;
    }
  };
  for (const file of saved) await claim(file, ({ identity }) => identity === file.file);
  const newest = saved.at(-1);
  for (const file of saved) {
    // Of a file that was read to its end nothing is missed when it is gone.
    const isMissed = !claims.has(file) && (file === newest || file.unused.length > 0);
    if (!isMissed || !isTelling(file.anchor)) continue;
    await claim(file, (candidate) => candidate.isNamed || isRead(candidate));
    if (!claims.has(file)) await claim(file, (candidate) => !isCompressed(candidate));
  }
  return claims;
}

/** What was written to after the newest file that was read, where that no longer has the name. */
function laterThan(
  newest: SavedFile,
  place: Candidate | undefined,
  candidates: readonly Candidate[],
): Candidate[] {
  if (place?.isNamed === true) return [];
  const sinceMs = Math.floor(newest.modifiedMs);
  return candidates.filter((candidate) => {
    if (candidate.isNamed || candidate === place) return false;
    if (place === undefined) return candidate.modifiedMs >= sinceMs;
    const areCounted = candidate.suffix.kind === "count" && place.suffix.kind === "count";
    return areCounted ? olderFirst(place, candidate) < 0 : candidate.modifiedMs >= place.modifiedMs;
  });
}

/** A copy of what was read is not read again. */
async function withoutCopies(
  candidates: readonly Candidate[],
  saved: readonly SavedFile[],
): Promise<Candidate[]> {
  const telling = saved.filter(({ anchor }) => isTelling(anchor));
  const others: Candidate[] = [];
  for (const candidate of candidates) {
    const copied = await Promise.all(telling.map((file) => standsIn(candidate.path, file)));
    if (!copied.includes(true)) others.push(candidate);
  }
  return others;
}

interface Opened {
  readonly files: readonly ResumedFile[];
  /** Those of which nothing was read yet and that may not be read. */
  readonly refused: readonly Candidate[];
}

/** Undefined when one of them was renamed or deleted since it was found. */
async function openAll(steps: readonly Step[]): Promise<Opened | undefined> {
  const files: ResumedFile[] = [];
  const refused: Candidate[] = [];
  for (const { candidate, saved } of steps) {
    const offset = saved === undefined ? 0 : Math.min(saved.offset, ...saved.unused.slice(0, 1));
    const tail = await Tail.open(candidate.path, offset).catch((error: NodeJS.ErrnoException) => error);
    if (tail instanceof Tail) {
      files.push({ tail, offset, saved, isNamed: candidate.isNamed });
      if (tail.identity === candidate.identity) continue;
    } else if (tail.code !== "ENOENT" && saved === undefined) {
      refused.push(candidate);
      continue;
    }
    await Promise.all(files.map((file) => file.tail.close()));
    return undefined;
  }
  return { files, refused };
}

/** Why a file that was rotated meanwhile is not read. */
const UNREAD = {
  compressed: "Files that were rotated since the last stop are compressed, and are not read",
  refused: "Files that were rotated since the last stop may not be opened, and are not read",
  tooMany: "More files were rotated since the last stop than are read, and these are not",
} as const;

function tell(told: Plan & Opened, { path: file, log }: { readonly path: string; readonly log: Log }): void {
  const between = told.files.filter(({ saved, isNamed }) => saved === undefined && !isNamed);
  if (between.length > 0) {
    log.info("reading files that were rotated since the last stop", { file, files: between.length });
  }
  if (told.lost !== undefined) {
    log.warn(
      "The file that was being read is gone or was written anew, and what was not read of it is lost",
      {
        file,
        read_up_to: told.lost.offset,
      },
    );
  }
  for (const [reason, message] of Object.entries(UNREAD)) {
    const files = told[reason as keyof typeof UNREAD].filter(({ isNamed }) => !isNamed);
    if (files.length > 0) log.warn(message, { file, files: namesOf(files) });
  }
  for (const directory of told.tooLarge) {
    log.warn("A directory has more names than are looked at, and rotated files in it may not be found", {
      file,
      directory,
    });
  }
}

function namesOf(candidates: readonly Candidate[]): string {
  const names = candidates.slice(0, MAX_TOLD).map(({ path }) => path);
  const rest = candidates.length - names.length;
  return rest > 0 ? `${names.join(", ")} and ${rest} more` : names.join(", ");
}
