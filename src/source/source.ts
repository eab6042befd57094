import type { Around } from "../event/event.ts";

/**
 * Where events come from. One place asks, one reading is under way, and what is not asked for is not
 * read: back pressure is the caller not calling `next`.
 *
 * The order of calls is `prepare` where there is one, `open`, any number of `next`, `close`.
 */
export interface Source {
  /** For messages, metrics and the dead-letter file. */
  readonly name: string;
  /** Events come in the order in which they were appended, so that none needs to wait for others. */
  readonly keepsOrder: boolean;
  /**
   * Every delivery has its append time, and source time goes on only as deliveries and `caught_up` say.
   * Of a source that is not timed the newest event says what time it is.
   */
  readonly timed: boolean;
  /**
   * Finds out what can go wrong in `open` before a state is taken over from an older process, which goes on meanwhile
   * and is not disturbed. Rejects with `BEHEST_SOURCE_OPEN`.
   */
  prepare?(): Promise<void>;
  /**
   * Makes ready to read; rejects with `BEHEST_SOURCE_OPEN` when that cannot be. `position` is what
   * `positionOf` gave for the last commit, and reading goes on behind it.
   */
  open(position?: string): Promise<void>;
  /**
   * The next reading, as soon as there is one. Undefined at the end of a finite input and once
   * `signal` is aborted; after that, always. Rejects with `BEHEST_SOURCE_READ`, and a log's with
   * `BEHEST_STATE_REPLACED` when it is another process's now.
   */
  next(signal: AbortSignal): Promise<Reading | undefined>;
  /** Lets go of everything; may be called at any time and again. Never rejects. */
  close(): Promise<void>;
  /** Deliveries that the broker had handed out before, in the life of this process. */
  readonly redelivered?: number;
  /** Events that went before they could be handed out, in the life of this process. */
  readonly lost?: number;
  /** Requests that were refused in the life of this process, of a source that others send to. */
  readonly refused?: ReadonlyMap<RequestRefusal, number> | undefined;
  /** Why the broker refuses to be read until somebody does something about it; undefined as long as it does not. */
  readonly refusal?: string | undefined;
}

/** Why a request, or a connection, was refused. */
export type RequestRefusal =
  | "full"
  | "too_large"
  | "content_type"
  | "unauthorized"
  | "malformed"
  | "timeout"
  | "unavailable"
  | "not_found"
  | "connections";

/** A source that keeps what was read until it is committed, and hands it out again until then. */
export interface LogSource extends Source {
  /**
   * Where to go on when every delivery up to `last` is used but for `unused`, oldest first; `last` is undefined while
   * none was taken in this life, which only a source with `lost` is asked. What is `lost` by now is expected no more.
   * Up to some hundred KiB of text, part of the committed state.
   */
  positionOf(last: string | undefined, unused: readonly string[]): string;
  /** Deliveries in the source that were not handed out yet; undefined when it cannot say. */
  lag(): Promise<number | undefined>;
}

export type Reading =
  /** Bytes that follow those of the chunk before, cut anywhere. Theirs who gets them: never changed later. */
  | { readonly kind: "chunk"; readonly bytes: Buffer; readonly position: Position }
  /** What was begun ends here: a line without its end is a line all the same, and the next chunk begins one. */
  | { readonly kind: "break" }
  /** At least one, in order of their append. */
  | { readonly kind: "deliveries"; readonly deliveries: readonly Delivery[] }
  /**
   * Everything appended so far was handed out. Said once each time, until more comes; by a timed source
   * at least once a second meanwhile, with the time at which nothing was left (milliseconds since 1970).
   */
  | { readonly kind: "caught_up"; readonly nowMs?: number };

/** One event as somebody handed it over. */
export interface Delivery {
  /** Names it in its source, for the dead letters and for acknowledging. */
  readonly id: string;
  /** When it was appended to its source, milliseconds since 1970; never goes back. Undefined of a source that is not timed. */
  readonly appendedMs: number | undefined;
  /** One event as JSON, without a line end. */
  readonly payload: Buffer;
  /** Length of the line of which the payload is only the head, in bytes; undefined when it is all of it. */
  readonly wholeBytes?: number;
  /** What headers or fields beside it say; what stands in the payload wins. */
  readonly outside: Around | undefined;
}

/** Where the first byte of a chunk stands. */
export interface Position {
  /** The file, or the name of the source. */
  readonly file: string;
  /** Bytes before it. */
  readonly offset: number;
}

/** Longest chunk, in bytes: long enough that its cost is that of its bytes. */
export const CHUNK_BYTES = 1024 * 1024;
