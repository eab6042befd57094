import { open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { BridgeError, systemReason } from "../errors.ts";
import { findEntry, readEntries, type JournalFrame, type Segment } from "./journal-segment.ts";

export interface JournalRead {
  readonly entries: readonly JournalFrame[];
  /** Where to read on. */
  readonly next: number;
  /** Bytes that could not be read and were passed over. */
  readonly lostBytes: number;
}

/** Reads the files of a journal, one at a time. */
export class SegmentReader {
  readonly #path: string;
  #open: { readonly segment: Segment; readonly handle: FileHandle } | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Entries from a position of a segment on, or what could not be read there. Rejects with `BEHEST_SOURCE_READ`. */
  async read(
    segment: Segment,
    { from, behind }: { readonly from: number; readonly behind: number },
  ): Promise<JournalRead> {
    const [offset, end] = [from - segment.start, behind - segment.start];
    try {
      const handle = await this.#handle(segment);
      const { entries, next } = await readEntries(handle, segment, { offset, end });
      if (entries.length > 0) return { entries, next: segment.start + next, lostBytes: 0 };
      const found = await findEntry(handle, segment, { offset: offset + 1, end });
      return { entries: [], next: segment.start + found, lostBytes: found - offset };
    } catch (error) {
      throw new BridgeError("BEHEST_SOURCE_READ", `${this.#path}: ${systemReason(error)}`, { cause: error });
    }
  }

  async close(): Promise<void> {
    const closing = this.#open;
    this.#open = undefined;
    await closing?.handle.close().catch(() => {});
  }

  async #handle(segment: Segment): Promise<FileHandle> {
    if (this.#open?.segment !== segment) {
      await this.close();
      this.#open = { segment, handle: await open(join(this.#path, segment.name), "r") };
    }
    return this.#open.handle;
  }
}
