/**
 * Where a pipeline's state is kept between the lives of the process: records by key, of which a commit
 * changes some, all or nothing (DESIGN 8). One process writes at a time: the newest one that opened it.
 *
 * The order of calls is `open`, any number of `commit` one after another, `close`.
 */
export interface StateStore {
  /** For messages: a directory, a key, a bucket. */
  readonly name: string;
  /**
   * Takes the next epoch, so that no process that opened it before can commit any more, and reads what
   * was committed last, in no order. Rejects with `BEHEST_STATE_OPEN` when it cannot be read; what is
   * there then stays as it is.
   */
  open(): Promise<AsyncIterable<StateRecord>>;
  /**
   * Writes the change, and acknowledges its deliveries once that is safe. Rejects with
   * `BEHEST_STATE_REPLACED` when a newer process has opened it, which is for ever, and with
   * `BEHEST_STATE_COMMIT` when it could not be written: then nothing is acknowledged, and the same
   * change may be committed again.
   */
  commit(change: StateChange): Promise<void>;
  /**
   * What is kept is not what was committed last, because somebody else changed it: commits are rejected until
   * there is a whole one. Absent where nobody else can.
   */
  readonly needsWhole?: boolean;
  /** Lets go of everything; may be called at any time and again. Never rejects. */
  close(): Promise<void>;
}

export type StateRecord = readonly [key: string, value: string];

/** A record of up to some hundred KiB each; keys are ASCII without white space, up to 100 characters. */
export interface StateChange {
  readonly puts: ReadonlyMap<string, string>;
  readonly removes: readonly string[];
  /** Ids of deliveries whose fate is decided and part of this state, oldest first. */
  readonly used: readonly string[];
  /** The puts are all there is; whatever else is kept goes. */
  readonly whole?: boolean;
}
