import { systemClock } from "../../src/clock.ts";
import { BridgeError } from "../../src/errors.ts";
import type { LogSource, Reading } from "../../src/source/source.ts";
import type { StateChange, StateRecord, StateStore } from "../../src/state/store.ts";

/** An event in a log, with the time of its append. */
export interface Entry {
  readonly line: string;
  readonly appendedMs: number;
}

/** What one life of a process has of a log: its source and its state. */
export interface Life {
  readonly source: LogSource;
  readonly store: StateStore;
  /** The process is gone: nothing is handed out or written any more. */
  readonly kill: () => void;
}

/** A log with its state beside it, in memory; lives of processes follow each other on it. */
export interface MemoryLog {
  readonly begin: (options?: LifeOptions) => Life;
  /** Appends at the end of the log, for lives that have begun as well. */
  readonly append: (entry: Entry) => void;
  /** Numbers of entries that were acknowledged, in that order. */
  readonly acknowledged: readonly number[];
  readonly records: ReadonlyMap<string, string>;
  /** Commits that changed anything. */
  readonly commits: number;
  /** Resolves when every entry is acknowledged. */
  readonly done: Promise<void>;
  /** Somebody empties the state behind the back of the process that writes it. */
  readonly empty: () => void;
}

interface LifeOptions {
  /** Of the source. Default "log". */
  readonly name?: string;
  /** How many entries the next reading has at most; default one. */
  readonly batch?: () => number;
  /** Asked before each commit, and after it was carried out: an error it gives is the answer. */
  readonly onCommit?: (moment: "before" | "after") => Error | undefined;
}

/** How often a life that has nothing says so. */
const CAUGHT_UP_MS = 500;

/** `id` is the number of the entry; nothing is sent again in one life. Held to the contract of all sources. */
export function memoryLog(begun: readonly Entry[]): MemoryLog {
  const entries = [...begun];
  /** Called when something was appended. */
  const listeners = new Set<(id: number) => void>();
  const records = new Map<string, string>();
  const acknowledged: number[] = [];
  const waiting = new Set(entries.keys());
  const done = Promise.withResolvers<void>();
  /** Acknowledged by a commit whose answer was lost: the same one may come again. */
  let unsure = new Set<string>();
  let epoch = 0;
  let commits = 0;
  let needsWhole = false;

  const begin = ({ name = "log", batch = () => 1, onCommit = () => undefined }: LifeOptions = {}): Life => {
    const gone = new AbortController();
    let mine = 0;
    let rest: number[] = [];
    /** Up to here an earlier life used everything but what is handed out again. */
    let usedBelow = 0;
    let told = false;
    const closed = new AbortController();
    let wake = () => {};
    gone.signal.addEventListener("abort", () => wake());
    const onAppend = (id: number) => {
      rest.push(id);
      wake();
    };

    const apply = ({ puts, removes, used, whole = false }: StateChange) => {
      if (needsWhole && !whole) throw new BridgeError("BEHEST_STATE_COMMIT", "somebody emptied it");
      needsWhole = false;
      // One of nothing only asks whose the state is.
      commits += puts.size + removes.length + used.length > 0 ? 1 : 0;
      if (whole) records.clear();
      for (const key of removes) records.delete(key);
      for (const [key, value] of puts) records.set(key, value);
      for (const id of used) {
        if (unsure.has(id)) continue;
        if (!waiting.delete(Number(id))) throw new Error(`${id} was acknowledged twice`);
        acknowledged.push(Number(id));
      }
      unsure = new Set();
      if (waiting.size === 0) done.resolve();
    };

    const store: StateStore = {
      name: "memory",
      open: () => {
        mine = epoch += 1;
        return Promise.resolve(each([...records]));
      },
      peek: (key) => Promise.resolve(records.get(key)),
      commit: async (change) => {
        if (gone.signal.aborted || mine !== epoch) throw replaced();
        const before = onCommit("before");
        if (before !== undefined) throw before;
        apply(change);
        const after = onCommit("after");
        if (after === undefined) return;
        unsure = new Set(change.used);
        throw after;
      },
      get needsWhole() {
        return needsWhole;
      },
      close: () => Promise.resolve(),
    };

    const source: LogSource = {
      name,
      keepsOrder: false,
      timed: true,
      open: (position) => {
        const at = position === undefined ? { next: 0, unused: [] } : parsePosition(position);
        if (at === undefined) {
          return Promise.reject(new BridgeError("BEHEST_SOURCE_OPEN", `log: no position: ${position}`));
        }
        rest = [...at.unused, ...[...entries.keys()].slice(at.next)];
        usedBelow = at.next;
        listeners.add(onAppend);
        return Promise.resolve();
      },
      positionOf: (last, unused) => {
        const left = rest.filter((id) => id < usedBelow);
        const next = Math.max(Number(last) + 1, usedBelow);
        return JSON.stringify({ next, unused: [...unused.map(Number), ...left] } satisfies Position);
      },
      lag: () => Promise.resolve(rest.length),
      next: (signal) => nextOf(signal),
      close: () => {
        closed.abort();
        listeners.delete(onAppend);
        wake();
        return Promise.resolve();
      },
    };

    const nextOf = async (signal: AbortSignal): Promise<Reading | undefined> => {
      // As a reading over a network would.
      await new Promise((resolve) => setImmediate(resolve));
      while (!signal.aborted && !closed.signal.aborted) {
        const ids = gone.signal.aborted ? [] : rest.splice(0, batch());
        if (ids.length > 0) {
          told = false;
          return { kind: "deliveries", deliveries: ids.map(deliveryOf) };
        }
        if (!told && !gone.signal.aborted) {
          told = true;
          // Nothing is left, and so much time has passed that no run goes on.
          return { kind: "caught_up", nowMs: (entries.at(-1)?.appendedMs ?? 0) + 86_400_000 };
        }
        await change(signal);
      }
      return undefined;
    };

    /** Until something comes, or it is time to say again that nothing is left. */
    const change = async (signal: AbortSignal): Promise<void> => {
      const onAbort = () => wake();
      let cancel = () => {};
      await new Promise<void>((resolve) => {
        wake = resolve;
        signal.addEventListener("abort", onAbort, { once: true });
        if (signal.aborted || closed.signal.aborted) resolve();
        if (gone.signal.aborted) return;
        cancel = systemClock.after(CAUGHT_UP_MS, () => {
          told = false;
          resolve();
        });
      });
      cancel();
      signal.removeEventListener("abort", onAbort);
    };

    const deliveryOf = (id: number) => {
      const { line, appendedMs } = entries[id]!;
      return { id: String(id), appendedMs, payload: Buffer.from(line), outside: undefined };
    };

    return { source, store, kill: () => gone.abort() };
  };

  return {
    begin,
    append: (entry) => {
      const id = entries.push(entry) - 1;
      waiting.add(id);
      for (const listener of listeners) listener(id);
    },
    acknowledged,
    records,
    done: done.promise,
    empty: () => {
      records.clear();
      needsWhole = true;
    },
    get commits() {
      return commits;
    },
  };
}

interface Position {
  readonly next: number;
  readonly unused: number[];
}

function parsePosition(text: string): Position | undefined {
  try {
    const position = JSON.parse(text) as Partial<Position>;
    return position.unused === undefined ? undefined : (position as Position);
  } catch {
    return undefined;
  }
}

export function replaced(): BridgeError {
  return new BridgeError("BEHEST_STATE_REPLACED", "replaced by a newer process");
}

async function* each(records: readonly StateRecord[]): AsyncIterable<StateRecord> {
  yield* records;
}
