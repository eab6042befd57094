import type { FileHandle } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { findFrame, FRAME_HEAD_BYTES, readFrames, sealFrame } from "./frame.ts";

/**
 * A file of the journal. Its name says all there is to know of its place, so that it needs no header: the
 * position of its first byte in the endless numbering, how many entries came before it, the newest append
 * time before it, the epoch of its process, and the seed of its checks, which nobody outside knows.
 */
export interface Segment {
  readonly name: string;
  readonly start: number;
  readonly ordinal: number;
  readonly lastMs: number;
  readonly epoch: number;
  readonly seed: number;
}

/** Something appended: what it is and what it says is for who appends and who reads. */
export interface JournalEntry {
  readonly payload: Buffer;
  /** What is known beside it, as text. */
  readonly outside: string | undefined;
  /** Milliseconds since 1970. */
  readonly appendedMs: number;
}

/** An entry that was read. */
export interface JournalFrame extends JournalEntry {
  /** Of its first byte. */
  readonly position: number;
  /** Counts the entries of the journal from 0. */
  readonly ordinal: number;
}

const NAME = /^(\d{16})-(\d+)-(\d+)-(\d+)-([0-9a-f]{8})\.v\d+\.journal$/;
const VERSION = 1;

/** Ordinal, append time, length of the text. */
const ENTRY_HEAD_BYTES = 6 + 6 + 4;

export function segmentName(segment: Omit<Segment, "name">): string {
  const { start, ordinal, lastMs, epoch, seed } = segment;
  const place = `${String(start).padStart(16, "0")}-${ordinal}-${lastMs}-${epoch}`;
  return `${place}-${seed.toString(16).padStart(8, "0")}.v${VERSION}.journal`;
}

/** Undefined for a file that is no segment; the version when it is of one that cannot be read. */
export function parseSegment(name: string): Segment | { readonly version: number } | undefined {
  const match = NAME.exec(name);
  const version = /\.v(\d+)\.journal$/.exec(name)?.[1];
  if (version !== undefined && Number(version) !== VERSION) return { version: Number(version) };
  if (match === null) return undefined;
  const [, start, ordinal, lastMs, epoch, seed] = match;
  return {
    name,
    start: Number(start),
    ordinal: Number(ordinal),
    lastMs: Number(lastMs),
    epoch: Number(epoch),
    seed: Number.parseInt(seed ?? "", 16),
  };
}

/** Bytes that an entry takes. */
export function entryBytes({ payload, outside }: JournalEntry): number {
  return (
    FRAME_HEAD_BYTES +
    ENTRY_HEAD_BYTES +
    (outside === undefined ? 0 : Buffer.byteLength(outside)) +
    payload.length
  );
}

/** Writes entries one behind another into one buffer, the first of them at `offset` of the segment. */
export function encodeEntries(
  entries: readonly (JournalEntry & { readonly ordinal: number })[],
  { segment, offset }: { readonly segment: Segment; readonly offset: number },
): Buffer {
  const seedAt = seeds(segment);
  const bytes = Buffer.allocUnsafe(entries.reduce((sum, entry) => sum + entryBytes(entry), 0));
  let at = 0;
  for (const entry of entries) {
    const length = entryBytes(entry) - FRAME_HEAD_BYTES;
    const outside = Buffer.from(entry.outside ?? "");
    let to = at + FRAME_HEAD_BYTES;
    to = bytes.writeUIntLE(entry.ordinal, to, 6);
    to = bytes.writeUIntLE(entry.appendedMs, to, 6);
    to = bytes.writeUInt32LE(outside.length, to);
    to += outside.copy(bytes, to);
    entry.payload.copy(bytes, to);
    sealFrame(bytes, at, { length, seed: seedAt(offset + at) });
    at += FRAME_HEAD_BYTES + length;
  }
  return bytes;
}

/** Entries from `offset` on, as many as one read brings; none when what stands there cannot be read. */
export async function readEntries(
  handle: FileHandle,
  segment: Segment,
  { offset, end }: { readonly offset: number; readonly end: number },
): Promise<{ readonly entries: readonly JournalFrame[]; readonly next: number }> {
  const { frames, next } = await readFrames(handle, { at: offset, end, seedAt: seeds(segment) });
  return { entries: frames.map(({ at, body }) => decode(segment.start + at, body)), next };
}

/** Offset of the next entry that can be read, or `end`. */
export function findEntry(
  handle: FileHandle,
  segment: Segment,
  { offset, end }: { readonly offset: number; readonly end: number },
): Promise<number> {
  return findFrame(handle, { at: offset, end, seedAt: seeds(segment) });
}

function decode(position: number, body: Buffer): JournalFrame {
  const outsideEnd = ENTRY_HEAD_BYTES + body.readUInt32LE(12);
  return {
    position,
    ordinal: body.readUIntLE(0, 6),
    appendedMs: body.readUIntLE(6, 6),
    outside: outsideEnd > ENTRY_HEAD_BYTES ? body.toString("utf8", ENTRY_HEAD_BYTES, outsideEnd) : undefined,
    payload: body.subarray(outsideEnd),
  };
}

function seeds({ seed }: Segment): (offset: number) => number {
  const place = Buffer.alloc(8);
  return (offset) => {
    place.writeDoubleLE(offset);
    return crc32(place, seed);
  };
}
