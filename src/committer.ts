import type { LedgerData } from "./metric/saved.ts";
import type { Ledger } from "./metric/ledger.ts";
import type { Assembler } from "./run/assembler.ts";
import type { LogSource } from "./source/source.ts";
import type { StateChange, StateStore } from "./state/store.ts";
import { KEYS, runKey, writeBirth, type Birth, type KeptState, type Told } from "./kept-state.ts";
import { Taken } from "./taken.ts";

/** Deliveries that may be taken before a commit covers them: as many as JetStream lets wait for it. */
const MAX_UNCOMMITTED = 65_536;

export interface CommitterOptions {
  readonly store: StateStore;
  readonly source: LogSource;
  readonly heart: Assembler;
  readonly ledger: Ledger;
  readonly birth: Birth;
  /** What the store had; undefined when it was empty. */
  readonly kept: KeptState | undefined;
}

/**
 * The state of one pipeline on its way into its store (docs/delivery.md): what has changed is noted at one
 * moment and written later, when the spans of that moment are delivered. What could not be written is
 * written with what is noted next.
 */
export class Committer {
  readonly taken = new Taken();
  readonly #options: CommitterOptions;
  #puts = new Map<string, string>();
  #removes = new Set<string>();
  #used: string[] = [];
  #ledger: LedgerData | undefined;
  #exports: LedgerData | undefined;
  /** What the metrics were told, as the state has it. */
  #told: string | undefined;
  /** The last position that was noted, or kept by an earlier process. */
  #position: string | undefined;
  /** What the source said was lost when the position was noted last. */
  #lost = 0;
  /** Everything is noted, not only what changed. */
  #whole = false;
  /** Settles when no commit is under way. */
  #turn: Promise<void> = Promise.resolve();
  /** Something changed beside the time. */
  #noted = false;
  /** The store has what a state begins with. */
  #hasBegun: boolean;

  constructor(options: CommitterOptions) {
    this.#options = options;
    this.#position = options.kept?.position;
    this.#told = options.kept?.told && JSON.stringify(options.kept.told);
    this.#hasBegun = options.kept !== undefined;
    if (options.kept === undefined) this.#put(KEYS.birth, writeBirth(options.birth));
  }

  /** Deliveries taken that no commit covers. */
  get uncommitted(): number {
    return this.taken.size + this.#used.length;
  }

  /** What the state takes where it is kept, as far as that is known. */
  get stateBytes(): number | undefined {
    return this.#options.store.bytes;
  }

  /** Nothing more may be taken before the next commit. */
  get isFull(): boolean {
    return this.uncommitted >= MAX_UNCOMMITTED;
  }

  /** Notes the state of now; `countSource` adds what the source counts itself to the ledger. */
  note(countSource: () => void): void {
    const { heart, ledger, source, store } = this.#options;
    const changes = heart.changes();
    this.#whole = store.needsWhole === true;
    if (this.#whole) this.#begin();
    const { nowMs, runs, gone } = this.#whole ? { ...heart.save(), gone: [] } : changes;
    for (const record of runs) this.#put(runKey(record.runId), JSON.stringify(record));
    for (const runId of gone) this.#remove(runKey(runId));
    const { used, unused, last } = this.taken.settle(heart.undecided());
    for (const id of used) this.#used.push(id);
    // What is lost is counted in this state: its position must not lead the next process to it again. A source
    // may find out only now, that it passes over something.
    const hasMoved = used.length > 0 || (source.lost ?? 0) !== this.#lost;
    if (hasMoved) this.#position = source.positionOf(last, unused);
    this.#lost = source.lost ?? 0;
    countSource();
    const saved = ledger.save();
    if (saved !== this.#ledger) this.#put(KEYS.ledger, JSON.stringify(saved));
    this.#ledger = saved;
    const moved = hasMoved || this.#whole;
    if (moved && this.#position !== undefined) this.#put(KEYS.position, JSON.stringify(this.#position));
    // By itself no reason to write: a source that has nothing says what time it is all the same.
    this.#puts.set(KEYS.time, JSON.stringify(nowMs));
  }

  /**
   * Writes what the backend has taken of the metrics. By itself, for it is of what is committed already, and the
   * shorter the time until then, the less is sent twice after a kill; where that fails, with what is noted next.
   */
  async tell(told: Told): Promise<void> {
    const text = JSON.stringify(told);
    this.#told = text;
    this.#puts.delete(KEYS.told);
    if (this.#hasBegun && this.#options.store.needsWhole !== true) {
      try {
        return await this.#inTurn({ puts: new Map([[KEYS.told, text]]), removes: [], used: [] });
      } catch {
        // Whether the state is another process's now is found out by whoever commits next.
      }
    }
    this.#put(KEYS.told, this.#told);
  }

  /**
   * Writes what was noted, and with it what became of spans. Rejects as the store does; then nothing is lost
   * from what was noted.
   */
  async write(exports: LedgerData): Promise<void> {
    if (exports !== this.#exports) {
      this.#put(KEYS.exports, JSON.stringify(exports));
      this.#exports = exports;
    }
    if (!this.#noted) return;
    const change = {
      puts: this.#puts,
      removes: [...this.#removes],
      used: this.#used,
      ...(this.#whole && { whole: true }),
    };
    this.#puts = new Map();
    this.#removes = new Set();
    this.#used = [];
    this.#noted = false;
    try {
      await this.#inTurn(change);
      this.#hasBegun = true;
    } catch (error) {
      this.#takeBack(change);
      throw error;
    }
  }

  /** Rejects with `BEHEST_STATE_REPLACED` when a newer process has the state: a commit of nothing. */
  async confirm(): Promise<void> {
    await this.#inTurn({ puts: new Map(), removes: [], used: [] });
  }

  /** A store takes one commit at a time. */
  #inTurn(change: StateChange): Promise<void> {
    const turn = this.#turn.then(() => this.#options.store.commit(change));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** Forgets what was written, so that all of it is noted again. */
  #begin(): void {
    this.#puts = new Map();
    this.#removes = new Set();
    this.#put(KEYS.birth, writeBirth(this.#options.birth));
    if (this.#told !== undefined) this.#put(KEYS.told, this.#told);
    this.#ledger = undefined;
    this.#exports = undefined;
  }

  #put(key: string, value: string): void {
    this.#puts.set(key, value);
    this.#removes.delete(key);
    this.#noted = true;
  }

  #remove(key: string): void {
    this.#puts.delete(key);
    this.#removes.add(key);
    this.#noted = true;
  }

  /** What has been noted meanwhile is newer. */
  #takeBack({ puts, removes, used }: { puts: Map<string, string>; removes: string[]; used: string[] }): void {
    const newer = { puts: this.#puts, removes: this.#removes, used: this.#used };
    this.#puts = puts;
    this.#removes = new Set(removes);
    for (const [key, value] of newer.puts) this.#put(key, value);
    for (const key of newer.removes) this.#remove(key);
    if (this.#told !== undefined && puts.has(KEYS.told)) this.#put(KEYS.told, this.#told);
    this.#used = [...used, ...newer.used];
    this.#noted = true;
  }
}
