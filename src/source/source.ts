/**
 * Where events come from. One place asks, one reading is under way, and what is not asked for is not
 * read: back pressure is the caller not calling `next`.
 *
 * The order of calls is `open`, any number of `next`, `close`. A source that has something to
 * acknowledge will hand that out with its readings; files and pipes have nothing.
 */
export interface Source {
  /** For messages, metrics and the dead-letter file. */
  readonly name: string;
  /** Events come in the order in which they were appended, so that none needs to wait for others. */
  readonly keepsOrder: boolean;
  /** Makes ready to read; rejects with `BEHEST_SOURCE_OPEN` when that cannot be. */
  open(): Promise<void>;
  /**
   * The next reading, as soon as there is one. Undefined at the end of a finite input and once
   * `signal` is aborted; after that, always. Rejects with `BEHEST_SOURCE_READ`.
   */
  next(signal: AbortSignal): Promise<Reading | undefined>;
  /** Lets go of everything; may be called at any time and again. Never rejects. */
  close(): Promise<void>;
}

export type Reading =
  /** Bytes that follow those of the chunk before, cut anywhere. Theirs who gets them: never changed later. */
  | { readonly kind: "chunk"; readonly bytes: Buffer; readonly position: Position }
  /** What was begun ends here: a line without its end is a line all the same, and the next chunk begins one. */
  | { readonly kind: "break" }
  /** Everything appended so far was handed out. Said once each time, until more comes. */
  | { readonly kind: "caught_up" };

/** Where the first byte of a chunk stands. */
export interface Position {
  /** The file, or the name of the source. */
  readonly file: string;
  /** Bytes before it. */
  readonly offset: number;
}

/** Longest chunk, in bytes: long enough that its cost is that of its bytes. */
export const CHUNK_BYTES = 1024 * 1024;
