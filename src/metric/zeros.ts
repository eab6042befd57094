import { EVENT_TYPES } from "../event/event.ts";
import { DROP_REASONS, OUTCOMES } from "../run/op.ts";
import { foresee, tallyOf, type Book } from "./book.ts";
import { OTHER, REJECT_CODES, REQUEST_REFUSALS, RUN_ERROR_TYPES, SPAN_FAILURES } from "./words.ts";

// Counters whose words are known exist at 0 before anything is counted: one that first appears with
// value 1 is invisible to `increase()`, and the alert on the first failure would never fire.

/** The zeros that need no name: every event type, reason and code. */
export function foreseeWords(book: Book, source: string): void {
  for (const type of EVENT_TYPES) foresee(book, "used", [type]);
  for (const reason of DROP_REASONS) foresee(book, "dropped", [OTHER, reason]);
  for (const code of REJECT_CODES) foresee(book, "rejected", [code]);
  for (const reason of Object.keys(SPAN_FAILURES)) foresee(book, "spansFailed", [reason]);
  foresee(book, "spansExported", []);
  for (const fact of ["lateUsage", "redelivered", "lost"] as const) foresee(book, fact, [source]);
}

/** The zeros of a source that others send to. */
export function foreseeRefusals(book: Book, source: string): void {
  for (const reason of Object.keys(REQUEST_REFUSALS)) foresee(book, "refused", [source, reason]);
}

/** The zeros of one agent; the empty name is that of runs without one. */
export function foreseeAgent(book: Book, agent: string): void {
  for (const outcome of OUTCOMES) foresee(book, "runsEnded", [outcome, agent, ""]);
  for (const errorType of RUN_ERROR_TYPES) foresee(book, "runFailures", [errorType, agent]);
  foresee(book, "doomLoops", [agent]);
  foresee(book, "compactionCircuits", [agent]);
  // Not merely foreseen, so that it is saved: it tells the next process whose zeros there are.
  tallyOf(book, "runsActive", [agent]);
}
