import type { Around } from "../../event/event.ts";
import type { Form } from "./cut.ts";

/** A body whose every event can be cut out of it. */
export interface Taken {
  readonly bytes: Buffer;
  readonly form: Form;
  /** What the headers say of all of its events. */
  readonly outside: Around | undefined;
}

/** What became of a body; but for `taken` nothing of it was kept. */
export type Put =
  | "taken"
  /** There is no room for now. */
  | "full"
  /** There will never be room for it, with so many bytes at most. */
  | { readonly neverFits: number }
  /** It could not be written. */
  | "unwritable"
  | "stopped";

/** Where bodies go that were received: the memory of this process, or a journal. */
export interface Deposit {
  readonly phase: "starting" | "taking" | "stopped";
  /** Wall clock, milliseconds since 1970; never earlier than it was said before. */
  nowMs(): number;
  /** Whether a body of at least so many bytes would be taken now; when not, it counts as refused. */
  hasRoomFor(bytes: number): boolean;
  /** Why bodies are being refused, and for how long, in milliseconds; undefined when the last one was taken. */
  refusing(): { readonly why: "full" | "unwritable"; readonly forMs: number } | undefined;
  /** The whole body or nothing of it. Never rejects. */
  put(taken: Taken): Put | Promise<Put>;
}
