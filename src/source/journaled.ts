import { join } from "node:path";
import type { Readable } from "node:stream";
import type { Clock } from "../clock.ts";
import { BridgeError } from "../errors.ts";
import type { Log } from "../log.ts";
import { sourceFolder, stateDirectory } from "../state/directory.ts";
import { JOURNAL_FOLDER } from "../state/journal-layout.ts";
import { openJournal, type Journal } from "../state/journal.ts";
import type { StateStore } from "../state/store.ts";
import { fillJournal } from "./fill-journal.ts";
import { cuttingStore, journalSource, type JournalSource } from "./journal.ts";
import type { LogSource, Reading, Source } from "./source.ts";
import { streamSource } from "./stream.ts";

/** Events that nobody can be asked for again, on their way into a journal. */
export interface Inflow {
  readonly name: string;
  readonly keepsOrder: boolean;
  /** See `Source.refused`. */
  readonly refused?: Source["refused"];
  /** See `Source.prepare`: two processes cannot listen on one port, and the second must not take the state of the first. */
  prepare(): Promise<void>;
  /**
   * Fills the journal until the signal is aborted or nothing more will come. Rejects with `BEHEST_SOURCE_READ`
   * and `BEHEST_STATE_REPLACED`.
   */
  fill(journal: Journal, signal: AbortSignal): Promise<void>;
  /** Lets go of everything. Never rejects. */
  close(): Promise<void>;
}

export interface JournaledOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** The directory of `--state-dir`. */
  readonly stateDir: string;
  /** What the state is kept under, the same in every life. */
  readonly stateName: string;
  /** Bytes of the journal beyond which nothing is taken in. */
  readonly maxBytes: number;
  /** Milliseconds within which appends share one synchronisation with the disk. Default 20. */
  readonly groupMs?: number;
}

/**
 * What flows in goes to a journal in the state directory first, and is read from there like any log (docs/delivery.md);
 * the state of the reading is beside it. To be opened in this order: the source is prepared, the store, the source.
 */
export function journaledInput(
  inflow: Inflow,
  options: JournaledOptions,
): { readonly source: LogSource; readonly store: StateStore } {
  const { stateDir, stateName, clock } = options;
  const source = new JournaledSource(inflow, options);
  return { source, store: cuttingStore(stateDirectory(stateDir, stateName, { clock }), source) };
}

/** Standard input or another byte stream. What does not fit into a full journal stays in the pipe and holds up its writer. */
export function streamInflow(
  name: string,
  stream: Readable,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): Inflow {
  const bytes = streamSource(name, stream);
  return {
    name,
    keepsOrder: true,
    prepare: () => Promise.resolve(),
    async fill(journal, signal) {
      await bytes.open();
      await fillJournal(bytes, journal, { clock, log, signal });
    },
    close: () => bytes.close(),
  };
}

class JournaledSource implements LogSource {
  readonly timed = true;
  readonly #inflow: Inflow;
  readonly #options: JournaledOptions;
  #prepared: Promise<void> | undefined;
  #journal: Journal | undefined;
  #reading: JournalSource | undefined;
  #filling: Promise<void> | undefined;
  #failure: Error | undefined;
  readonly #stop = new AbortController();
  #followed: AbortSignal | undefined;
  #closed: Promise<void> | undefined;

  constructor(inflow: Inflow, options: JournaledOptions) {
    this.#inflow = inflow;
    this.#options = options;
  }

  get name(): string {
    return this.#inflow.name;
  }

  get keepsOrder(): boolean {
    return this.#inflow.keepsOrder;
  }

  get refused(): Source["refused"] {
    return this.#inflow.refused;
  }

  prepare(): Promise<void> {
    this.#prepared ??= this.#inflow.prepare();
    return this.#prepared;
  }

  async open(position?: string): Promise<void> {
    await this.prepare();
    const { clock, log, stateDir, stateName, maxBytes, groupMs } = this.#options;
    const path = join(sourceFolder(stateDir, stateName), JOURNAL_FOLDER);
    const journal = await openJournal(path, {
      clock,
      log,
      maxBytes,
      ...(groupMs !== undefined && { groupMs }),
    });
    this.#journal = journal;
    this.#reading = journalSource(this.name, journal, { clock, log, keepsOrder: this.keepsOrder });
    await this.#reading.open(position);
    const { signal } = this.#stop;
    this.#filling = this.#inflow.fill(journal, signal).catch((error: Error) => this.#fail(error, journal));
  }

  async next(signal: AbortSignal): Promise<Reading | undefined> {
    this.#follow(signal);
    const reading = await this.#opened.next(this.#stop.signal);
    if (reading !== undefined) return reading;
    // What was read and is not in the journal by now is lost, and has to be told.
    await this.#filling;
    if (this.#failure !== undefined) throw this.#failure;
    return undefined;
  }

  positionOf(last: string, unused: readonly string[]): string {
    return this.#opened.positionOf(last, unused);
  }

  lag(): Promise<number> {
    return this.#opened.lag();
  }

  async acknowledge(used: readonly string[]): Promise<void> {
    await this.#reading?.acknowledge(used);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  get #opened(): JournalSource {
    if (this.#reading === undefined) throw new Error(`${this.name} is not open`);
    return this.#reading;
  }

  /** A stop of the reading is one of the filling too: others are told at once to go elsewhere. */
  #follow(signal: AbortSignal): void {
    if (signal === this.#followed) return;
    this.#followed = signal;
    if (signal.aborted) this.#stop.abort();
    signal.addEventListener("abort", () => this.#stop.abort(), { once: true });
  }

  #fail(error: Error, journal: Journal): void {
    this.#failure = error;
    // What was read before is handed out before anybody is told.
    if (error instanceof BridgeError && error.code === "BEHEST_SOURCE_READ") journal.finish();
    else this.#stop.abort();
  }

  async #close(): Promise<void> {
    this.#stop.abort();
    await this.#inflow.close();
    await this.#filling;
    await this.#reading?.close();
    await this.#journal?.close();
  }
}
