import type { Clock } from "../../clock.ts";
import { BridgeError } from "../../errors.ts";
import type { StateChange, StateRecord, StateStore } from "../../state/store.ts";
import type { Command, Link } from "./link.ts";
import { whenLoaded } from "./loading.ts";
import { isHead, type Ownership } from "./ownership.ts";
import { Refusal } from "./refusal.ts";
import { listOf, numberOf, textOf } from "./reply.ts";

export interface RedisStoreOptions {
  readonly link: Link;
  readonly ownership: Ownership;
  readonly stream: string;
  readonly group: string;
  readonly clock: Clock;
  /** Told after each commit which deliveries it acknowledged. */
  readonly onCommit: (used: readonly string[]) => void;
}

/** Of a command that is part of a commit: the server holds all of them until the last is there. */
const MAX_COMMAND_FIELDS = 512;
const MAX_COMMAND_LENGTH = 256 * 1024;
const MAX_COMMAND_IDS = 1_000;
/** Longest wait for a commit to be written, in milliseconds; the largest take some seconds. */
const COMMIT_MS = 60_000;
/** Records asked for at a time, of up to some hundred KiB each. */
const SCAN_COUNT = 64;
/** Between two looks at what the state takes. */
const MEASURE_MS = 10_000;
/** Times that others may change the state while a commit is being made. */
const MAX_TRIES = 10;

/**
 * The state as a hash in the Redis that has the stream, a field per record, so that it is written and
 * the entries are acknowledged in one transaction: both or none (docs/delivery.md).
 */
export class RedisStateStore implements StateStore {
  readonly name: string;
  readonly #options: RedisStoreOptions;
  /** Commits that are known to be in the hash. */
  #commits = 0;
  /** The last commit had no answer: it may be there or not. */
  #inDoubt = false;
  #replaced = false;
  #bytes: number | undefined;
  #measureDueMs = 0;

  constructor(options: RedisStoreOptions) {
    this.#options = options;
    this.name = options.ownership.key;
  }

  /**
   * True once Redis has lost what was committed (flushed, or an older copy of the data): the next change
   * that can be committed is a `whole` one. Opening again forgets what is in memory instead.
   */
  get needsWhole(): boolean {
    return this.#options.ownership.needsWhole;
  }

  /** As Redis estimates it from some of the records, now and then; unknown to a user without `+memory|usage`. */
  get bytes(): number | undefined {
    return this.#bytes;
  }

  async open(): Promise<AsyncIterable<StateRecord>> {
    const { link, ownership, clock } = this.#options;
    try {
      this.#commits = await whenLoaded(clock, () => link.following(() => ownership.take(link)));
    } catch (error) {
      throw this.#error("BEHEST_STATE_OPEN", "cannot be opened", error);
    }
    ownership.needsWhole = false;
    this.#inDoubt = false;
    this.#replaced = false;
    return this.#records();
  }

  async peek(key: string): Promise<string | undefined> {
    const { link, ownership, clock } = this.#options;
    try {
      return await whenLoaded(clock, () => link.following(() => ownership.peek(link, key)));
    } catch (error) {
      throw this.#error("BEHEST_STATE_OPEN", "cannot be read", error);
    }
  }

  async commit(change: StateChange): Promise<void> {
    const { link, onCommit } = this.#options;
    for (let tries = 0; ; tries += 1) {
      if (this.#replaced) throw this.#replacedError();
      try {
        if (await link.following(() => this.#commit(change))) {
          onCommit(change.used);
          return await this.#measure();
        }
      } catch (error) {
        // The next try asks anew which server takes writes.
        link.drop();
        throw this.#error("BEHEST_STATE_COMMIT", "could not be written", error);
      }
      if (tries >= MAX_TRIES) {
        throw this.#error(
          "BEHEST_STATE_COMMIT",
          "could not be written",
          new Error("it changes all the time"),
        );
      }
    }
  }

  close(): Promise<void> {
    this.#options.link.close();
    return Promise.resolve();
  }

  /** False when it has to be tried again. */
  async #commit(change: StateChange): Promise<boolean> {
    const { link, ownership } = this.#options;
    const verdict = await ownership.check(link);
    switch (verdict.kind) {
      case "replaced":
        this.#replaced = true;
        return false;
      case "lost":
        await this.#regain();
        return false;
      case "ours":
        break;
    }
    const isExpected =
      verdict.commits === this.#commits || (this.#inDoubt && verdict.commits === this.#commits + 1);
    if (!isExpected && !ownership.needsWhole) {
      await this.#regain();
      return false;
    }
    if (ownership.needsWhole && change.whole !== true) {
      throw new Error(
        "what was committed is not there any more (the data was flushed, restored, or taken over by a replica that " +
          "was behind); only the whole state can follow, or a new start from what is there",
      );
    }
    const wasInDoubt = this.#inDoubt && verdict.commits === this.#commits;
    this.#commits = verdict.commits;
    this.#inDoubt = true;
    const replies = await link.transaction([...this.#commands(change)], COMMIT_MS);
    if (replies === undefined) {
      // Changed since it was looked at, so none of this was done; the one before may have been, just now.
      this.#inDoubt = wasInDoubt;
      return false;
    }
    const refused = replies.find((reply) => reply instanceof Refusal);
    if (refused !== undefined) throw refused;
    this.#commits += 1;
    this.#inDoubt = false;
    ownership.needsWhole = false;
    return true;
  }

  *#commands({ puts, removes, used, whole = false }: StateChange): Generator<Command> {
    const { ownership, stream, group } = this.#options;
    const { key } = ownership;
    if (whole) yield ["DEL", key];
    yield ["HSET", key, ...ownership.head(this.#commits + 1)];
    yield* inParts(["HSET", key], puts);
    if (!whole) {
      for (const part of parts(removes, MAX_COMMAND_FIELDS)) yield ["HDEL", key, ...part];
    }
    for (const part of parts(used, MAX_COMMAND_IDS)) yield ["XACK", stream, group, ...part];
  }

  /** Asks what the state takes, which is no part of a commit. */
  async #measure(): Promise<void> {
    const { link, clock } = this.#options;
    if (clock.now() < this.#measureDueMs) return;
    this.#measureDueMs = clock.now() + MEASURE_MS;
    try {
      this.#bytes = numberOf(await link.ask(["MEMORY", "USAGE", this.name]));
    } catch {
      this.#bytes = undefined;
    }
  }

  async #regain(): Promise<void> {
    const { link, ownership } = this.#options;
    this.#commits = await ownership.regain(link);
    this.#inDoubt = false;
  }

  async *#records(): AsyncGenerator<StateRecord> {
    const { link } = this.#options;
    // A field may come twice when the table it lies in is made larger or smaller meanwhile (SCAN, guarantees).
    const seen = new Set<string>();
    let cursor = "0";
    try {
      do {
        const scan = ["HSCAN", this.name, cursor, "COUNT", String(SCAN_COUNT)];
        const [next, page] = listOf(await link.ask(scan));
        const fields = listOf(page);
        for (let at = 0; at + 1 < fields.length; at += 2) {
          const field = textOf(fields[at]) ?? "";
          if (isHead(field) || seen.has(field)) continue;
          seen.add(field);
          yield [field, textOf(fields[at + 1]) ?? ""];
        }
        cursor = textOf(next) ?? "0";
      } while (cursor !== "0");
    } catch (error) {
      throw this.#error("BEHEST_STATE_OPEN", "cannot be read", error);
    }
  }

  #replacedError(): BridgeError {
    return new BridgeError("BEHEST_STATE_REPLACED", `${this.name}: replaced by a newer process`);
  }

  #error(code: "BEHEST_STATE_OPEN" | "BEHEST_STATE_COMMIT", what: string, error: unknown): BridgeError {
    if (error instanceof BridgeError && error.code === code) return error;
    const reason = error instanceof Error ? error.message : String(error);
    return new BridgeError(code, `${this.name} ${what}: ${reason}`, { cause: error });
  }
}

/** Commands that put the records, none of them much longer than the limit. */
function* inParts(begin: Command, records: Iterable<StateRecord>): Generator<Command> {
  let part: string[] = [];
  let length = 0;
  for (const [key, value] of records) {
    part.push(key, value);
    length += key.length + value.length;
    if (part.length < 2 * MAX_COMMAND_FIELDS && length < MAX_COMMAND_LENGTH) continue;
    yield [...begin, ...part];
    part = [];
    length = 0;
  }
  if (part.length > 0) yield [...begin, ...part];
}

function* parts(texts: readonly string[], most: number): Generator<readonly string[]> {
  for (let at = 0; at < texts.length; at += most) yield texts.slice(at, at + most);
}
