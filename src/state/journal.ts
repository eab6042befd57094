import { randomInt } from "node:crypto";
import { open, readdir, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { BridgeError, systemReason } from "../errors.ts";
import type { Log } from "../log.ts";
import { claimEpoch, epochOf, isNewest } from "./claim.ts";
import { makeFolder, syncFolder } from "./directory.ts";
import { writeBytes } from "./frame.ts";
import { layOut, readReached, type Reached } from "./journal-layout.ts";
import { SegmentReader, type JournalRead } from "./journal-reader.ts";
import {
  encodeEntries,
  entryBytes,
  segmentName,
  type JournalEntry,
  type Segment,
} from "./journal-segment.ts";
import { commitError, openError } from "./refusal.ts";

const DEFAULT_MAX_BYTES = 1024 ** 3;
const DEFAULT_SEGMENT_BYTES = 16 * 1024 ** 2;
const DEFAULT_GROUP_MS = 20;

export interface JournalOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Bytes on the disk beyond which nothing is taken in. Default 1 GiB. */
  readonly maxBytes?: number;
  /** Bytes after which a file is followed by the next, at most a quarter of `maxBytes`. Default 16 MiB. */
  readonly segmentBytes?: number;
  /** Milliseconds within which appends share one synchronisation with the disk. Default 20. */
  readonly groupMs?: number;
}

/** Appends that wait for the disk, all or nothing each. */
interface Group {
  readonly entries: readonly JournalEntry[];
  readonly bytes: number;
  readonly resolve: (answer: "appended") => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Opens the journal in a directory, which is made when it is not there: what is appended is on the disk
 * and is kept until it is cut off. Rejects with `BEHEST_STATE_OPEN`.
 */
export async function openJournal(path: string, options: JournalOptions): Promise<Journal> {
  try {
    await makeFolder(path);
    const epoch = await claimEpoch(path);
    const names = await readdir(path);
    const { segments, voided } = layOut(names);
    const reached = await readReached(path, segments.at(-1));
    if (reached.unfinishedBytes > 0) {
      const facts = { journal: path, bytes: reached.unfinishedBytes };
      options.log.info("What an earlier process had not finished writing to the journal is let go", facts);
    }
    // Whoever has one of these is no longer the newest, and finds out by its being gone.
    const older = names.filter((name) => epochOf(name) > 0 && epochOf(name) < epoch);
    for (const name of [...older, ...voided]) await rm(join(path, name), { force: true });
    return new Journal(path, { ...options, epoch, segments, reached });
  } catch (error) {
    throw openError(path, error);
  }
}

interface Open {
  readonly segment: Segment;
  readonly handle: FileHandle;
}

export class Journal {
  readonly path: string;
  readonly #options: Required<JournalOptions>;
  readonly #epoch: number;
  /** Oldest first; the last one is added to when it is ours and whole. */
  #segments: Segment[];
  /** Where the next entry goes; what lies before it is on the disk. */
  #end: number;
  /** Entries before `#end`, cut ones included. */
  #ordinal: number;
  #lastMs: number;
  /** Our file at the end; undefined before the first append, and after one has failed. */
  #active: Open | undefined;
  readonly #reader: SegmentReader;
  /** Name of a file of ours that nothing in is relied upon. */
  #leftover: string | undefined;
  #pending: Group[] = [];
  #pendingBytes = 0;
  /** One thing at a time is done to the files. */
  #turn: Promise<unknown> = Promise.resolve();
  #cancelTimer: (() => void) | undefined;
  #syncedAtMs = -Infinity;
  #writing = false;
  #finished = false;
  #replaced = false;
  #closed = false;
  readonly #listeners = new Set<() => void>();

  constructor(
    path: string,
    {
      epoch,
      segments,
      reached,
      ...options
    }: JournalOptions & {
      readonly epoch: number;
      readonly segments: readonly Segment[];
      readonly reached: Reached;
    },
  ) {
    const {
      maxBytes = DEFAULT_MAX_BYTES,
      segmentBytes = DEFAULT_SEGMENT_BYTES,
      groupMs = DEFAULT_GROUP_MS,
    } = options;
    this.path = path;
    this.#reader = new SegmentReader(path);
    this.#epoch = epoch;
    this.#options = { ...options, maxBytes, segmentBytes: Math.min(segmentBytes, maxBytes / 4), groupMs };
    this.#segments = [...segments];
    this.#end = reached.end;
    this.#ordinal = reached.ordinal;
    this.#lastMs = reached.lastMs;
  }

  /** Position of the oldest entry that is kept. */
  get first(): number {
    return this.#segments[0]?.start ?? this.#end;
  }

  /** Position behind the newest entry that is on the disk. */
  get end(): number {
    return this.#end;
  }

  /** Entries appended since the journal began, those that were cut off included. */
  get count(): number {
    return this.#ordinal;
  }

  /** On the disk, and on the way to it. */
  get bytes(): number {
    return this.#end - this.first + this.#pendingBytes;
  }

  /** Nothing is on its way to the disk. */
  get idle(): boolean {
    return !this.#writing && this.#pending.length === 0;
  }

  /** No more will be appended. */
  get finished(): boolean {
    return this.#finished && this.idle;
  }

  /** The newest append time, milliseconds since 1970; none that follows is older. */
  get lastMs(): number {
    return this.#lastMs;
  }

  /**
   * Resolves with `appended` when all of them are on the disk, and with `full` when there is no room for
   * all: then none was taken. Rejects with `BEHEST_STATE_COMMIT` when they could not be written, and with
   * `BEHEST_STATE_REPLACED` when a newer process has opened the journal. An append time that is older
   * than the one before it is raised to that one.
   */
  append(entries: readonly JournalEntry[]): Promise<"appended" | "full"> {
    if (this.#replaced) return Promise.reject(this.#replacedError());
    if (this.#finished || this.#closed) {
      return Promise.reject(commitError(this.path, new Error("takes in no more")));
    }
    if (entries.length === 0) return Promise.resolve("appended");
    const bytes = entries.reduce((sum, entry) => sum + entryBytes(entry), 0);
    if (this.bytes + bytes > this.#options.maxBytes) return Promise.resolve("full");
    return new Promise((resolve, reject) => {
      this.#pending.push({ entries, bytes, resolve, reject });
      this.#pendingBytes += bytes;
      this.#schedule();
    });
  }

  /** Whoever reads gets what has been appended, and then the end. */
  finish(): void {
    this.#finished = true;
    this.#tell();
  }

  /** From here on no append time is older than this one: somebody was told that nothing was left then. */
  raiseTime(nowMs: number): void {
    this.#lastMs = Math.max(this.#lastMs, nowMs);
  }

  /**
   * An empty journal goes on at a position behind its end, which had been reached before it was lost, so
   * that no number is given twice.
   */
  skipTo(position: number): Promise<void> {
    return this.#inTurn(async () => {
      if (position <= this.#end || this.first < this.#end) return;
      await this.#closeActive();
      const empty = this.#segments;
      this.#segments = [];
      this.#end = position;
      await this.#newSegment();
      for (const { name } of empty) await rm(join(this.path, name), { force: true });
    });
  }

  /** Entries from a position on, as many as one read brings; none and no bytes lost at the end. */
  async read(position: number): Promise<JournalRead> {
    const from = Math.max(position, this.first);
    const index = this.#segments.findLastIndex(({ start }) => start <= from);
    const segment = this.#segments[index];
    if (segment === undefined || from >= this.#end) return { entries: [], next: from, lostBytes: 0 };
    const behind = this.#segments[index + 1]?.start ?? this.#end;
    return this.#reader.read(segment, { from, behind });
  }

  /** Deletes what lies before a position, as far as whole files do. Never rejects: what stays goes next time. */
  async cut(upTo: number): Promise<void> {
    await this.#inTurn(async () => {
      // All of it: then the file at the end goes too, and its successor keeps the numbering.
      if (upTo >= this.#end && this.idle && (this.#segments.at(-1)?.start ?? this.#end) < this.#end) {
        await this.#closeActive();
        await this.#newSegment();
      }
      while (this.#segments.length > 1 && (this.#segments[1]?.start ?? Infinity) <= upTo) {
        await rm(join(this.path, this.#segments[0]?.name ?? ""), { force: true });
        this.#segments.shift();
      }
    }).catch((error: unknown) => {
      this.#options.log.warn("What is committed cannot be deleted from the journal, trying again later", {
        journal: this.path,
        reason: systemReason(error),
      });
    });
    this.#tell();
  }

  /** Calls back at every change, until the function returned is called: something was appended or cut, or it is finished or closed. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Writes what was taken in, then lets go of everything. Never rejects. */
  async close(): Promise<void> {
    this.#closed = true;
    while (!this.idle) await this.#flush();
    await this.#turn.catch(() => {});
    await this.#closeActive().catch(() => {});
    await this.#reader.close();
    this.#tell();
  }

  /** The first append after a pause is written at once; those that come close behind it share the next write. */
  #schedule(): void {
    if (this.#cancelTimer !== undefined || this.#writing) return;
    const { clock, groupMs } = this.#options;
    const waitMs = Math.min(groupMs, Math.max(0, this.#syncedAtMs + groupMs - clock.now()));
    if (waitMs === 0) void this.#flush();
    else this.#cancelTimer = clock.after(waitMs, () => void this.#flush());
  }

  async #flush(): Promise<void> {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    await this.#inTurn(async () => {
      const groups = this.#pending;
      if (groups.length === 0) return;
      this.#pending = [];
      this.#writing = true;
      const bytes = groups.reduce((sum, group) => sum + group.bytes, 0);
      try {
        this.#syncedAtMs = this.#options.clock.now();
        await this.#write(groups.flatMap(({ entries }) => entries));
        for (const { resolve } of groups) resolve("appended");
      } catch (error) {
        await this.#giveUpActive();
        const told = this.#replaced ? this.#replacedError() : commitError(this.path, error);
        for (const { reject } of groups) reject(told);
      } finally {
        this.#pendingBytes -= bytes;
        this.#writing = false;
      }
    });
    this.#tell();
    if (this.#pending.length > 0) this.#schedule();
  }

  async #write(entries: readonly JournalEntry[]): Promise<void> {
    let active = this.#active;
    if (active === undefined || this.#end - active.segment.start >= this.#options.segmentBytes) {
      await this.#closeActive();
      active = await this.#newSegment();
    }
    let lastMs = this.#lastMs;
    const numbered = entries.map((entry, index) => {
      lastMs = Math.max(lastMs, Math.floor(entry.appendedMs));
      return { ...entry, appendedMs: lastMs, ordinal: this.#ordinal + index };
    });
    const offset = this.#end - active.segment.start;
    const bytes = encodeEntries(numbered, { segment: active.segment, offset });
    await writeBytes(active.handle, bytes, offset);
    await active.handle.datasync();
    await this.#expectNewest();
    this.#end += bytes.length;
    this.#ordinal += entries.length;
    this.#lastMs = Math.max(this.#lastMs, lastMs);
  }

  /** What a newer process has not seen may not be promised: it would never hand it out. */
  async #expectNewest(): Promise<void> {
    const names = await readdir(this.path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      throw error;
    });
    this.#replaced = !isNewest(names, this.#epoch);
    if (this.#replaced) throw this.#replacedError();
  }

  /** A file for what comes next, known to the disk by name before anything in it is relied upon. */
  async #newSegment(): Promise<Open> {
    if (this.#leftover !== undefined) await rm(join(this.path, this.#leftover), { force: true });
    this.#leftover = undefined;
    const place = { start: this.#end, ordinal: this.#ordinal, lastMs: this.#lastMs, epoch: this.#epoch };
    const seed = randomInt(2 ** 32);
    const segment = { name: segmentName({ ...place, seed }), ...place, seed };
    const handle = await open(join(this.path, segment.name), "wx", 0o600);
    this.#active = { segment, handle };
    this.#segments.push(segment);
    try {
      await syncFolder(this.path);
    } catch (error) {
      await this.#giveUpActive();
      throw error;
    }
    return this.#active;
  }

  async #closeActive(): Promise<void> {
    const closing = this.#active;
    this.#active = undefined;
    await closing?.handle.close();
  }

  /**
   * After a failure it is not known what of it the disk has, so the file is left at what was there before,
   * and the next append begins one of its own.
   */
  async #giveUpActive(): Promise<void> {
    const { segment, handle } = this.#active ?? {};
    this.#active = undefined;
    if (segment === undefined || handle === undefined) return;
    // A newer process may already count on what it has seen in there.
    if (!this.#replaced) await handle.truncate(this.#end - segment.start).catch(() => {});
    await handle.close().catch(() => {});
    if (segment.start < this.#end) return;
    this.#segments = this.#segments.filter((other) => other !== segment);
    this.#leftover = segment.name;
  }

  #inTurn(act: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(act);
    this.#turn = done.catch(() => {});
    return done;
  }

  #replacedError(): BridgeError {
    return new BridgeError("BEHEST_STATE_REPLACED", `${this.path}: replaced by a newer process, or removed`);
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
