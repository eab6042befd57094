import type { FileHandle } from "node:fs/promises";
import { crc32 } from "node:zlib";

/**
 * How bytes are kept so that damage shows: a mark, the length, a check of the length, a check of the
 * bytes, the bytes. Both checks begin with the seed of the place, so a frame is one only where it was
 * written: neither a stale block of the disk nor bytes that somebody sent in look like one.
 */
export const FRAME_HEAD_BYTES = 16;

/** Not to be found in UTF-8 text, so that looking for the next frame skips text fast. */
const MARK = Buffer.from([0xff, 0xb7, 0xfe, 0xe4]);

/** Read at a time; a longer frame is read whole. */
const READ_BYTES = 1024 * 1024;

export interface Frame {
  /** Offset in the file. */
  readonly at: number;
  readonly body: Buffer;
}

export interface Frames {
  readonly frames: readonly Frame[];
  /** Offset behind the last of them. */
  readonly next: number;
}

export interface FrameRange {
  readonly at: number;
  readonly end: number;
  /** The seed of the checks for a frame at this offset. */
  readonly seedAt: (offset: number) => number;
}

/** Writes the head of a frame whose body of `length` bytes already stands behind it in `buffer`. */
export function sealFrame(
  buffer: Buffer,
  at: number,
  { length, seed }: { readonly length: number; readonly seed: number },
): void {
  MARK.copy(buffer, at);
  buffer.writeUInt32LE(length, at + 4);
  const check = crc32(buffer.subarray(at + 4, at + 8), seed);
  buffer.writeUInt32LE(check, at + 8);
  const bodyAt = at + FRAME_HEAD_BYTES;
  buffer.writeUInt32LE(crc32(buffer.subarray(bodyAt, bodyAt + length), check), at + 12);
}

/**
 * The frames from `at` on that one read brings. None at all when there is no whole one before `end`:
 * what stands at `at` is then damaged or was never finished.
 */
export async function readFrames(handle: FileHandle, { at, end, seedAt }: FrameRange): Promise<Frames> {
  const bytes = await readBytes(handle, at, Math.min(READ_BYTES, end - at));
  const found = cutFrames(bytes, at, seedAt);
  if (found.frames.length > 0) return found;
  const long = frameBytes(bytes, 0, seedAt(at));
  if (long === undefined || long <= bytes.length || at + long > end) return found;
  return cutFrames(await readBytes(handle, at, long), at, seedAt);
}

/** Offset of the next whole frame from `at` on, or `end`. */
export async function findFrame(handle: FileHandle, { at, end, seedAt }: FrameRange): Promise<number> {
  for (let from = at; from < end;) {
    const bytes = await readBytes(handle, from, Math.min(READ_BYTES, end - from));
    for (let mark = bytes.indexOf(MARK); mark >= 0; mark = bytes.indexOf(MARK, mark + 1)) {
      const offset = from + mark;
      if (frameBytes(bytes, mark, seedAt(offset)) === undefined) continue;
      const { frames } = await readFrames(handle, { at: offset, end, seedAt });
      if (frames.length > 0) return offset;
    }
    if (from + bytes.length >= end || bytes.length <= FRAME_HEAD_BYTES) return end;
    // A head that the end of these bytes has cut is looked at again.
    from += bytes.length - FRAME_HEAD_BYTES + 1;
  }
  return end;
}

function cutFrames(bytes: Buffer, at: number, seedAt: FrameRange["seedAt"]): Frames {
  const frames: Frame[] = [];
  let offset = 0;
  for (;;) {
    const length = frameBytes(bytes, offset, seedAt(at + offset));
    if (length === undefined || offset + length > bytes.length) break;
    const body = bytes.subarray(offset + FRAME_HEAD_BYTES, offset + length);
    if (crc32(body, bytes.readUInt32LE(offset + 8)) !== bytes.readUInt32LE(offset + 12)) break;
    frames.push({ at: at + offset, body });
    offset += length;
  }
  return { frames, next: at + offset };
}

/** Length of the frame whose head stands at `offset`; undefined when there is none. */
function frameBytes(bytes: Buffer, offset: number, seed: number): number | undefined {
  if (offset + FRAME_HEAD_BYTES > bytes.length) return undefined;
  if (bytes.compare(MARK, 0, MARK.length, offset, offset + MARK.length) !== 0) return undefined;
  const check = crc32(bytes.subarray(offset + 4, offset + 8), seed);
  if (check !== bytes.readUInt32LE(offset + 8)) return undefined;
  return FRAME_HEAD_BYTES + bytes.readUInt32LE(offset + 4);
}

/** Fewer at the end of the file. */
export async function readBytes(handle: FileHandle, at: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(Math.max(length, 0));
  let held = 0;
  while (held < length) {
    const { bytesRead } = await handle.read(buffer, held, length - held, at + held);
    if (bytesRead === 0) break;
    held += bytesRead;
  }
  return buffer.subarray(0, held);
}

/** Writes all of it, which one call need not. */
export async function writeBytes(handle: FileHandle, bytes: Buffer, at: number): Promise<void> {
  for (let written = 0; written < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, written, bytes.length - written, at + written);
    written += bytesWritten;
  }
}
