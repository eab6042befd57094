import { createHash } from "node:crypto";
import { open, type FileHandle } from "node:fs/promises";
import { ANCHOR_BYTES } from "../tail.ts";

/**
 * What a file begins with and what stood right before an offset of it, as a hash: nothing that was read is written
 * down. Numbers of files are used again, so a file is known by its number and this, and a copy of it by this alone.
 */
export interface Anchor {
  /** How many bytes of each were hashed: up to 256, fewer at the beginning of a file. */
  readonly bytes: number;
  readonly sha256: string;
}

/** Bytes that an anchor must have to tell a copy among files of other numbers: any file may begin with a few. */
const TELLING_BYTES = 64;

/** Of the first bytes of a file and of as many before the offset. */
export function anchorOf(first: Buffer, last: Buffer): Anchor {
  const hash = createHash("sha256").update(first).update(last);
  return { bytes: last.length, sha256: hash.digest("hex").slice(0, 32) };
}

/** The last bytes of two parts that stand one behind the other, a copy: what an anchor is made of. */
export function lastBytes(before: Buffer, after: Buffer): Buffer {
  const missing = ANCHOR_BYTES - after.length;
  if (missing <= 0) return Buffer.from(after.subarray(-ANCHOR_BYTES));
  return Buffer.concat([before.subarray(-missing), after]);
}

/** Whether it is enough to know a file by that has another number. */
export function isTelling({ bytes }: Anchor): boolean {
  return bytes >= TELLING_BYTES;
}

/** Whether a file has what was read there, at its beginning and before `offset`; false when it is shorter or cannot be read. */
export async function standsIn(
  path: string,
  { offset, anchor }: { readonly offset: number; readonly anchor: Anchor },
): Promise<boolean> {
  try {
    const handle = await open(path, "r");
    try {
      const { bytes } = anchor;
      const first = await readAt(handle, 0, bytes);
      const last = await readAt(handle, offset - bytes, bytes);
      return last.length === bytes && anchorOf(first, last).sha256 === anchor.sha256;
    } finally {
      await handle.close();
    }
  } catch {
    return false;
  }
}

async function readAt(handle: FileHandle, at: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, at);
  return buffer.subarray(0, bytesRead);
}
