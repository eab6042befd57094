import { BridgeError } from "../../errors.ts";
import type { Log } from "../../log.ts";
import type { Link } from "./link.ts";
import { Refusal } from "./refusal.ts";
import { listOf, numberOf, textOf } from "./reply.ts";
import { tagOf, type RedisSpec } from "./url.ts";

/**
 * What stands in the hash beside the records. Their keys have no white space, so that these are none.
 * `writer` tells two processes apart that took the same epoch, one of them from an older copy of the data.
 */
const HEAD = ["state format", "state epoch", "state writer", "state commits"] as const;
const FORMAT = "1";

/** Tries to take an epoch while other processes do the same. */
const MAX_TRIES = 20;

export type Verdict =
  /** Nobody has opened it since; so many commits were made. */
  | { readonly kind: "ours"; readonly commits: number }
  | { readonly kind: "replaced" }
  /** What this process wrote is not there any more, and nobody newer is: flushed, or an older copy. */
  | { readonly kind: "lost" };

/** The hash with the state of this shard, in the slot of its stream. Up to 0.1 KB longer than the names. */
export function stateKey({ stream, group }: RedisSpec, shard: number | undefined): string {
  const tag = tagOf(stream);
  return `behest-otel:{${tag}}:${tag === stream ? "" : `${stream}:`}${group}:${shard ?? 0}`;
}

/** Whether a field of the hash is no record. */
export function isHead(field: string): boolean {
  return field.includes(" ");
}

/**
 * Who may write the state and read on in the group: the process that took the newest epoch. The store
 * and the source of a process share it, so that a process that was replaced reads nothing any more that
 * the newer one would miss.
 */
export class Ownership {
  readonly key: string;
  /** The records in the hash are not what was committed last: only a whole state may follow. */
  needsWhole = false;
  readonly #writer: string;
  readonly #log: Log;
  #epoch: number | undefined;
  #taking: Promise<number> | undefined;

  constructor(key: string, { writer, log }: { readonly writer: string; readonly log: Log }) {
    this.key = key;
    this.#writer = writer;
    this.#log = log;
  }

  /** False until the state was opened: then nothing is guarded. */
  get isTaken(): boolean {
    return this.#epoch !== undefined;
  }

  /**
   * Takes the next epoch, on a connection where nothing else is under way, and gives the number of
   * commits that were made. Rejects with `BEHEST_STATE_OPEN` when what is there is no state of ours.
   */
  take(link: Link): Promise<number> {
    // One at a time: of two, it would not be known which came last.
    this.#taking ??= this.#take(link).finally(() => {
      this.#taking = undefined;
    });
    return this.#taking;
  }

  /** Takes what was lost again, as of now without its records. */
  regain(link: Link): Promise<number> {
    if (!this.needsWhole) {
      this.#log.warn(
        "The state in Redis is not what this process committed last: flushed, or an older copy",
        {
          key: this.key,
        },
      );
    }
    this.needsWhole = true;
    return this.take(link);
  }

  /** Looks who owns it, and watches it: the next transaction on this connection runs only if that stays so. */
  async check(link: Link): Promise<Verdict> {
    const [format, epoch, writer, commits] = await this.#watch(link);
    const ours = this.#epoch ?? 0;
    if (format === undefined) return { kind: "lost" };
    if (writer === this.#writer) {
      // Of an older copy it may be an older one, and still nobody else's.
      this.#epoch = numberOf(epoch) ?? ours;
      return { kind: "ours", commits: numberOf(commits) ?? 0 };
    }
    return { kind: (numberOf(epoch) ?? 0) < ours ? "lost" : "replaced" };
  }

  /** One record, or undefined; watches nothing and takes nothing over. Rejects as `take` does. */
  async peek(link: Link, record: string): Promise<string | undefined> {
    const [format, value] = await this.#read(link, [HEAD[0], record]);
    if (format !== undefined && format !== FORMAT) throw unreadable(this.key, `has format ${format}`);
    return format === undefined ? undefined : value;
  }

  /** What is to stand in the hash beside the records after so many commits. */
  head(commits: number, epoch = this.#epoch ?? 0): string[] {
    const values = [FORMAT, String(epoch), this.#writer, String(commits)];
    return HEAD.flatMap((field, index) => [field, values[index] ?? ""]);
  }

  async #take(link: Link): Promise<number> {
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const [format, epoch, , commits] = await this.#watch(link);
      if (format === undefined && numberOf(await link.ask(["HLEN", this.key])) !== 0) {
        const [now] = await this.#read(link, [HEAD[0]]);
        if (now === undefined) throw unreadable(this.key, `has no field "${HEAD[0]}"`);
        // Another process began it in between.
        continue;
      }
      if (format !== undefined && format !== FORMAT) throw unreadable(this.key, `has format ${format}`);
      // Never below our own: an older copy must not make us look older than we are.
      const next = Math.max(numberOf(epoch) ?? 0, this.#epoch ?? 0) + 1;
      const count = numberOf(commits) ?? 0;
      const replies = await link.transaction([["HSET", this.key, ...this.head(count, next)]]);
      if (replies === undefined) continue;
      if (replies[0] instanceof Refusal) throw replies[0];
      this.#epoch = next;
      return count;
    }
    throw new BridgeError(
      "BEHEST_STATE_OPEN",
      `${this.key}: ${MAX_TRIES} times another process changed it meanwhile; see that one process is started per shard`,
    );
  }

  async #watch(link: Link): Promise<(string | undefined)[]> {
    await link.ask(["WATCH", this.key]);
    return this.#read(link, HEAD);
  }

  async #read(link: Link, fields: readonly string[]): Promise<(string | undefined)[]> {
    try {
      return listOf(await link.ask(["HMGET", this.key, ...fields])).map(textOf);
    } catch (error) {
      if (!(error instanceof Refusal && error.word === "WRONGTYPE")) throw error;
      throw unreadable(this.key, "is no hash");
    }
  }
}

function unreadable(key: string, what: string): BridgeError {
  return new BridgeError(
    "BEHEST_STATE_OPEN",
    `${key} ${what}; this version reads format ${FORMAT}. Run the version that wrote it, or give another group, or ` +
      `delete it (DEL ${key}) and with it all that is remembered of open runs and counters. Nothing was changed`,
  );
}
