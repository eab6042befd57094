import type { Clock } from "../clock.ts";
import { BridgeError } from "../errors.ts";
import type { Around } from "../event/event.ts";
import type { Log } from "../log.ts";
import type { JournalEntry, JournalFrame } from "../state/journal-segment.ts";
import type { Journal } from "../state/journal.ts";
import type { StateStore } from "../state/store.ts";
import { Bell } from "./bell.ts";
import type { Delivery, LogSource, Reading } from "./source.ts";

/** How often a source that has nothing says so. */
const CAUGHT_UP_MS = 1_000;

export interface JournalSourceOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** What goes into the journal comes in its order already. */
  readonly keepsOrder: boolean;
}

export interface JournalSource extends LogSource {
  lag(): Promise<number>;
  /** These deliveries are committed: the journal is cut up to the oldest that is not. Never rejects. */
  acknowledge(used: readonly string[]): Promise<void>;
}

/**
 * What was put into a journal, read from it like any log: a delivery's id is its position. The journal is
 * opened and closed by whoever fills it.
 */
export function journalSource(name: string, journal: Journal, options: JournalSourceOptions): JournalSource {
  return new JournalReading(name, journal, options);
}

/** A store whose commits cut the journal. */
export function cuttingStore(store: StateStore, source: Pick<JournalSource, "acknowledge">): StateStore {
  return {
    name: store.name,
    get bytes() {
      return store.bytes;
    },
    open: () => store.open(),
    peek: (key) => store.peek(key),
    async commit(change) {
      await store.commit(change);
      await source.acknowledge(change.used);
    },
    close: () => store.close(),
  };
}

/** What stands beside a payload in the journal. */
interface Beside {
  readonly around?: Around;
  readonly wholeBytes?: number;
}

/** An event on its way into a journal. */
export function journalEntry({
  payload,
  outside,
  appendedMs,
  wholeBytes,
}: Omit<Delivery, "id"> & { readonly appendedMs: number }): JournalEntry {
  const beside: Beside = { ...(outside && { around: outside }), ...(wholeBytes && { wholeBytes }) };
  const isBare = outside === undefined && wholeBytes === undefined;
  return { payload, appendedMs, outside: isBare ? undefined : JSON.stringify(beside) };
}

/** Where a journal is read on. */
interface SavedPosition {
  /** The newest delivery that was taken. */
  readonly last: number;
  /** Older ones that were not used, oldest first: the first, and each one's distance from the one before. */
  readonly unused: readonly number[];
}

class JournalReading implements JournalSource {
  readonly name: string;
  readonly keepsOrder: boolean;
  readonly timed = true;
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Where to read on. */
  #next = 0;
  /** Entries before that. */
  #passed = 0;
  /** Up to here only what is in `#again` is handed out. */
  #last = -1;
  /** Entries up to `#last`, that one included. */
  #lastCount = 0;
  readonly #again = new Set<number>();
  /** Handed out and not committed, oldest first. */
  readonly #open = new Set<number>();
  /** When it was last said that nothing was left, since the last delivery. */
  #saidAtMs: number | undefined;
  readonly #bell = new Bell();
  #forget = () => {};
  #isClosed = false;

  constructor(name: string, journal: Journal, { clock, log, keepsOrder }: JournalSourceOptions) {
    this.name = name;
    this.keepsOrder = keepsOrder;
    this.#journal = journal;
    this.#clock = clock;
    this.#log = log;
  }

  async open(position?: string): Promise<void> {
    this.#forget = this.#journal.onChange(() => this.#bell.ring());
    this.#next = this.#journal.first;
    if (position !== undefined) await this.#goTo(this.#parse(position));
    const first = (await this.#journal.read(this.#next)).entries[0];
    this.#passed = first?.ordinal ?? this.#journal.count;
  }

  async next(signal: AbortSignal): Promise<Reading | undefined> {
    while (!signal.aborted && !this.#isClosed) {
      this.#bell.listen();
      const deliveries = await this.#read();
      if (deliveries === undefined) {
        if (this.#journal.finished && this.#next >= this.#journal.end) return undefined;
        const reading = this.#caughtUp();
        if (reading !== undefined) return reading;
        await this.#bell.wait(signal, { clock: this.#clock, ms: this.#pauseMs() });
      } else if (deliveries.length > 0) {
        this.#saidAtMs = undefined;
        return { kind: "deliveries", deliveries };
      }
    }
    return undefined;
  }

  positionOf(last: string, unused: readonly string[]): string {
    let before = 0;
    // What an earlier life left unused and has not come again is behind everything that was handed out.
    const distances = [...unused.map(Number), ...this.#again].map((position) => {
      const distance = position - before;
      before = position;
      return distance;
    });
    const newest = Math.max(Number(last), this.#last);
    return JSON.stringify({ last: newest, unused: distances } satisfies SavedPosition);
  }

  lag(): Promise<number> {
    const after = this.#journal.count - Math.max(this.#passed, this.#lastCount);
    return Promise.resolve(Math.max(after, 0) + this.#again.size);
  }

  async acknowledge(used: readonly string[]): Promise<void> {
    for (const id of used) this.#open.delete(Number(id));
    const [oldest = Infinity] = this.#open;
    const [again = Infinity] = this.#again;
    await this.#journal.cut(Math.min(oldest, again, this.#next));
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#forget();
    this.#bell.ring();
    return Promise.resolve();
  }

  #parse(position: string): SavedPosition {
    try {
      const saved = JSON.parse(position) as Partial<SavedPosition>;
      if (Number.isSafeInteger(saved.last) && Array.isArray(saved.unused)) return saved as SavedPosition;
    } catch {
      // Said below.
    }
    const message = `${this.name}: expected the position of a journal, found ${position.slice(0, 100)}`;
    throw new BridgeError("BEHEST_SOURCE_OPEN", message);
  }

  async #goTo({ last, unused }: SavedPosition): Promise<void> {
    const { first, end, path } = this.#journal;
    if (last >= end) {
      // A journal is never cut so far: it is another one, and what is in it is new.
      this.#log.warn("The journal is not the one that was read before, and all that is in it is new", {
        journal: path,
        expected: last,
        found: end,
      });
      await this.#journal.skipTo(last + 1);
      this.#next = this.#journal.first;
      return;
    }
    let position = 0;
    for (const distance of unused) this.#again.add((position += distance));
    const [oldest = last] = this.#again;
    if (oldest < first && this.#again.size > 0) this.#tellLost(first - oldest);
    this.#last = last;
    this.#next = Math.max(oldest, first);
    const at = (await this.#journal.read(last)).entries[0];
    // When that one cannot be read or was cut, the next one that can be says how many came before.
    if (at !== undefined) this.#lastCount = at.position === last ? at.ordinal + 1 : at.ordinal;
  }

  /** Undefined at the end of what is there; none when all that was read had been used. */
  async #read(): Promise<Delivery[] | undefined> {
    const { entries, next, lostBytes } = await this.#journal.read(this.#next);
    if (lostBytes > 0) this.#tellLost(lostBytes);
    else if (entries.length === 0) return undefined;
    this.#next = next;
    const newest = entries.at(-1);
    if (newest !== undefined) this.#passed = newest.ordinal + 1;
    const deliveries = entries.filter(({ position }) => this.#isNew(position)).map(toDelivery);
    // What was to come again and has not come by now cannot be read.
    if (this.#next > this.#last) this.#again.clear();
    for (const { id } of deliveries) this.#open.add(Number(id));
    return deliveries;
  }

  #isNew(position: number): boolean {
    return position > this.#last || this.#again.delete(position);
  }

  #tellLost(bytes: number): void {
    this.#log.error("Part of the journal is damaged or gone, and what was in it is lost", {
      source: this.name,
      journal: this.#journal.path,
      bytes,
    });
  }

  /** Only when nothing is on its way either: what comes next is then appended later than the time said. */
  #caughtUp(): Reading | undefined {
    if (!this.#journal.idle || this.#next < this.#journal.end) return undefined;
    const nowMs = this.#clock.now();
    if (this.#saidAtMs !== undefined && nowMs - this.#saidAtMs < CAUGHT_UP_MS) return undefined;
    this.#saidAtMs = nowMs;
    this.#journal.raiseTime(nowMs);
    return { kind: "caught_up", nowMs: this.#journal.lastMs };
  }

  /** How long it is until it is time to say again that nothing is left. */
  #pauseMs(): number {
    if (this.#saidAtMs === undefined) return CAUGHT_UP_MS;
    return Math.max(this.#saidAtMs + CAUGHT_UP_MS - this.#clock.now(), 1);
  }
}

function toDelivery({ position, appendedMs, outside, payload }: JournalFrame): Delivery {
  const { around, wholeBytes }: Beside = outside === undefined ? {} : (JSON.parse(outside) as Beside);
  return { id: String(position), appendedMs, payload, outside: around, ...(wholeBytes && { wholeBytes }) };
}
