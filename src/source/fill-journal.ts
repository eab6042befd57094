import type { Clock } from "../clock.ts";
import { BridgeError } from "../errors.ts";
import { LineSplitter } from "../event/lines.ts";
import type { Log } from "../log.ts";
import type { JournalEntry } from "../state/journal-segment.ts";
import type { Journal } from "../state/journal.ts";
import { Bell } from "./bell.ts";
import { journalEntry } from "./journal.ts";
import type { Source } from "./source.ts";

const FIRST_WAIT_MS = 100;
const MAX_WAIT_MS = 10_000;

export interface FillOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Length of the longest line that is kept whole, in bytes. Default 1 MiB. */
  readonly maxLineBytes?: number;
}

/**
 * Puts the lines of a source of bytes, opened already, into a journal until it ends, and finishes the
 * journal then; half a line at a stop is no line. While the journal is full or cannot be written the source
 * is not read, which holds up its writer. Rejects with `BEHEST_STATE_REPLACED`, and with
 * `BEHEST_SOURCE_READ` also when a stop came before all that was read could be written.
 */
export async function fillJournal(source: Source, journal: Journal, options: FillOptions): Promise<void> {
  const { clock, signal, maxLineBytes } = options;
  let lines: JournalEntry[] = [];
  const take = (payload: Buffer, wholeBytes?: number) => {
    const whole = wholeBytes === undefined ? {} : { wholeBytes };
    lines.push(journalEntry({ payload, outside: undefined, appendedMs: clock.now(), ...whole }));
  };
  const newSplitter = () =>
    new LineSplitter({
      onLine: (buffer, start, end) => take(Buffer.from(buffer.subarray(start, end))),
      onTooLong: (bytes, head) => take(head, bytes),
      ...(maxLineBytes !== undefined && { maxLineBytes }),
    });
  let splitter = newSplitter();
  const append = async () => {
    const left = await appendAll(lines, journal, options);
    lines = [];
    if (left === 0) return;
    throw new BridgeError(
      "BEHEST_SOURCE_READ",
      `${source.name}: ${left} lines that were read could not be written to the journal before the stop, and are lost`,
    );
  };
  for (;;) {
    const reading = await source.next(signal);
    if (reading === undefined) break;
    if (reading.kind === "chunk") splitter.push(reading.bytes);
    if (reading.kind === "break") {
      splitter.end();
      splitter = newSplitter();
    }
    await append();
  }
  if (signal.aborted) return;
  splitter.end();
  await append();
  if (!signal.aborted) journal.finish();
}

/**
 * As often as it takes, until the signal is aborted; a few at a time where there is no room for all. Gives how many
 * are left then.
 */
async function appendAll(
  all: readonly JournalEntry[],
  journal: Journal,
  options: FillOptions,
): Promise<number> {
  const changed = new Bell();
  const forget = journal.onChange(() => changed.ring());
  try {
    return await appendAsRoomComes(all, journal, changed, options);
  } finally {
    forget();
  }
}

async function appendAsRoomComes(
  all: readonly JournalEntry[],
  journal: Journal,
  changed: Bell,
  { clock, log, signal }: FillOptions,
): Promise<number> {
  let waitMs = FIRST_WAIT_MS;
  let complaint = "";
  let atOnce = all.length;
  let done = 0;
  while (done < all.length && !signal.aborted) {
    const lines = all.slice(done, done + atOnce);
    changed.listen();
    try {
      if ((await journal.append(lines)) === "appended") {
        done += lines.length;
        atOnce *= 2;
      } else if (lines.length > 1) atOnce = Math.ceil(lines.length / 2);
      else await changed.wait(signal, { clock, ms: MAX_WAIT_MS });
    } catch (error) {
      if (!(error instanceof BridgeError) || error.code !== "BEHEST_STATE_COMMIT") throw error;
      if (error.message !== complaint) {
        log.warn("What is read cannot be written to the journal, and nothing more is read until it can", {
          reason: error.message,
        });
      }
      complaint = error.message;
      // The journal has changed by failing: only time helps.
      await new Bell().wait(signal, { clock, ms: waitMs });
      waitMs = Math.min(2 * waitMs, MAX_WAIT_MS);
    }
  }
  if (complaint !== "" && !signal.aborted) {
    log.info("The journal can be written again", { journal: journal.path });
  }
  return all.length - done;
}
