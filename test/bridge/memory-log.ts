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
  /** How many entries the next reading has at most; default one. */
  readonly batch?: () => number;
  /** Asked before each commit, and after it was carried out: an error it gives is the answer. */
  readonly onCommit?: (moment: "before" | "after") => Error | undefined;
}

/** `id` is the number of the entry; nothing is sent again in one life. */
export function memoryLog(entries: readonly Entry[]): MemoryLog {
  const records = new Map<string, string>();
  const acknowledged: number[] = [];
  const waiting = new Set(entries.keys());
  const done = Promise.withResolvers<void>();
  /** Acknowledged by a commit whose answer was lost: the same one may come again. */
  let unsure = new Set<string>();
  let epoch = 0;
  let commits = 0;
  let needsWhole = false;

  const begin = ({ batch = () => 1, onCommit = () => undefined }: LifeOptions = {}): Life => {
    const gone = new AbortController();
    const mine = (epoch += 1);
    let rest: number[] = [];
    let told = false;

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
      open: () => Promise.resolve(each([...records])),
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
      name: "log",
      keepsOrder: false,
      timed: true,
      open: (position) => {
        const at = position === undefined ? { next: 0, unused: [] } : (JSON.parse(position) as Position);
        rest = [...at.unused, ...[...entries.keys()].slice(at.next)];
        return Promise.resolve();
      },
      positionOf: (last, unused) =>
        JSON.stringify({ next: Number(last) + 1, unused: unused.map(Number) } satisfies Position),
      lag: () => Promise.resolve(rest.length),
      next: (signal) => nextOf(signal),
      close: () => Promise.resolve(),
    };

    const nextOf = async (signal: AbortSignal): Promise<Reading | undefined> => {
      // As a reading over a network would.
      await new Promise((resolve) => setImmediate(resolve));
      if (signal.aborted) return undefined;
      const ids = gone.signal.aborted ? [] : rest.splice(0, batch());
      if (ids.length > 0) return { kind: "deliveries", deliveries: ids.map(deliveryOf) };
      if (!told && !gone.signal.aborted) {
        told = true;
        // Nothing is left, and so much time has passed that no run goes on.
        return { kind: "caught_up", nowMs: (entries.at(-1)?.appendedMs ?? 0) + 86_400_000 };
      }
      if (!signal.aborted) {
        await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      }
      return undefined;
    };

    const deliveryOf = (id: number) => {
      const { line, appendedMs } = entries[id]!;
      return { id: String(id), appendedMs, payload: Buffer.from(line), outside: undefined };
    };

    return { source, store, kill: () => gone.abort() };
  };

  return {
    begin,
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

export function replaced(): BridgeError {
  return new BridgeError("BEHEST_STATE_REPLACED", "replaced by a newer process");
}

async function* each(records: readonly StateRecord[]): AsyncIterable<StateRecord> {
  yield* records;
}
