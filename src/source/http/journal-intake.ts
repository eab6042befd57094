import type { Clock } from "../../clock.ts";
import type { BridgeError } from "../../errors.ts";
import { lineLimit } from "../../event/letter.ts";
import { DEFAULT_MAX_LINE_BYTES, HEAD_BYTES } from "../../event/lines.ts";
import type { Log } from "../../log.ts";
import { entryBytes, type JournalEntry } from "../../state/journal-segment.ts";
import type { Journal } from "../../state/journal.ts";
import { journalEntry } from "../journal.ts";
import { cut } from "./cut.ts";
import type { Deposit, Put, Taken } from "./deposit.ts";

/** A write that failed longer ago than this says nothing of now: senders that were told to stay away may come. */
const STALE_MS = 30_000;

export interface JournalIntakeOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Bytes of the journal beyond which nothing is taken in. */
  readonly maxBytes: number;
  /** Told once when the journal is another process's now. */
  readonly onReplaced: (error: BridgeError) => void;
}

/** Puts the events of bodies into a journal: whoever is told that a body was taken can forget it. */
export class JournalIntake implements Deposit {
  readonly #options: JournalIntakeOptions;
  #journal: Journal | undefined;
  #isStopped = false;
  #lastMs = 0;
  #fullSinceMs: number | undefined;
  #unwritable: { readonly sinceMs: number; lastMs: number } | undefined;

  constructor(options: JournalIntakeOptions) {
    this.#options = options;
  }

  get phase(): Deposit["phase"] {
    if (this.#isStopped) return "stopped";
    return this.#journal === undefined ? "starting" : "taking";
  }

  /** Takes bodies from now on. */
  begin(journal: Journal): void {
    this.#journal = journal;
  }

  /** Takes nothing from now on. */
  stop(): void {
    this.#isStopped = true;
  }

  nowMs(): number {
    this.#lastMs = Math.max(this.#lastMs, Math.floor(this.#options.clock.now()));
    return this.#lastMs;
  }

  hasRoomFor(bytes: number): boolean {
    const fits = (this.#journal?.bytes ?? 0) + bytes <= this.#options.maxBytes;
    if (!fits) this.#fullSinceMs ??= this.nowMs();
    return fits;
  }

  refusing(): ReturnType<Deposit["refusing"]> {
    const nowMs = this.nowMs();
    const { maxBytes } = this.#options;
    // Nobody may come to find out that there is room again.
    if ((this.#journal?.bytes ?? 0) <= maxBytes / 2) this.#fullSinceMs = undefined;
    if (this.#fullSinceMs !== undefined) return { why: "full", forMs: nowMs - this.#fullSinceMs };
    const { sinceMs, lastMs } = this.#unwritable ?? {};
    if (sinceMs === undefined || nowMs - (lastMs ?? 0) >= STALE_MS) return undefined;
    return { why: "unwritable", forMs: nowMs - sinceMs };
  }

  async put(taken: Taken): Promise<Put> {
    if (this.#journal === undefined || this.#isStopped) return "stopped";
    const { maxBytes } = this.#options;
    const entries = entriesOf(taken, this.nowMs());
    if (entries.reduce((sum, entry) => sum + entryBytes(entry), 0) > maxBytes) return { neverFits: maxBytes };
    try {
      if ((await this.#journal.append(entries)) === "full") {
        this.#fullSinceMs ??= this.nowMs();
        return "full";
      }
    } catch (error) {
      return this.#fail(error as BridgeError);
    }
    this.#fullSinceMs = undefined;
    if (this.#unwritable !== undefined) this.#options.log.info("The journal can be written again");
    this.#unwritable = undefined;
    return "taken";
  }

  #fail(error: BridgeError): Put {
    if (error.code === "BEHEST_STATE_REPLACED") {
      if (!this.#isStopped) this.#options.onReplaced(error);
      this.#isStopped = true;
    }
    if (this.#isStopped) return "stopped";
    const nowMs = this.nowMs();
    if (this.#unwritable === undefined) {
      const reason = error.message;
      this.#options.log.warn("Events over HTTP are refused until they can be written to the journal", {
        reason,
      });
      this.#unwritable = { sinceMs: nowMs, lastMs: nowMs };
    }
    this.#unwritable.lastMs = nowMs;
    return "unwritable";
  }
}

/** Of an event that is too long to be used only the beginning is kept, as of a line that is. */
function entriesOf({ bytes, form, outside }: Taken, appendedMs: number): JournalEntry[] {
  const entries: JournalEntry[] = [];
  for (const { start, end } of cut(bytes, form)) {
    const length = end - start;
    const isLong = length > lineLimit(bytes, start, end, DEFAULT_MAX_LINE_BYTES);
    const payload = bytes.subarray(start, isLong ? start + HEAD_BYTES : end);
    entries.push(journalEntry({ payload, outside, appendedMs, ...(isLong && { wholeBytes: length }) }));
  }
  return entries;
}
