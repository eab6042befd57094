/**
 * Where a pipeline's state is kept between the lives of the process: records by key, of which a commit
 * changes some, all or nothing (docs/delivery.md). One process writes at a time: the newest one that opened it.
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
   * The record with this key as it was committed last, which must be one that is written once and stays;
   * undefined when there is none. Before `open` or without it: it takes nothing over, and whoever has the
   * state goes on. Rejects with `BEHEST_STATE_OPEN` when it cannot be read.
   */
  peek(key: string): Promise<string | undefined>;
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
  /** Bytes that it takes where it is kept; undefined while that is not known. */
  readonly bytes?: number | undefined;
  /** Lets go of everything; may be called at any time and again. Never rejects. */
  close(): Promise<void>;
}

/** The state of another process that shares the same runs, or had them all: to be looked at, never opened. */
export type Relative = Pick<StateStore, "name" | "peek" | "close">;

/**
 * Whose states show among how many processes the runs are shared, beside that of shard `shard`: the one without
 * shards (undefined), and the first two, for wherever there are shards there are these.
 */
export function relativesOf(shard: number | undefined): (number | undefined)[] {
  return [undefined, 0, 1].filter((other) => other !== shard);
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
