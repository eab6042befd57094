import type { Clock } from "../../clock.ts";
import { BridgeError } from "../../errors.ts";
import type { Log } from "../../log.ts";
import type { LogSource, Reading } from "../source.ts";
import { existing, groupInfoOf, streamInfoOf } from "./group.ts";
import type { Link } from "./link.ts";
import { whenLoaded } from "./loading.ts";
import type { StreamReader } from "./reader.ts";
import { LostConnection, Refusal } from "./refusal.ts";

export interface RedisSourceOptions {
  readonly name: string;
  readonly stream: string;
  readonly group: string;
  readonly link: Link;
  /** Another connection: that of reading waits for entries. */
  readonly asking: Link;
  readonly reader: StreamReader;
  readonly clock: Clock;
  readonly log: Log;
  /** From 0 to below 1. */
  readonly random: () => number;
}

const BACKOFF_LEAST_MS = 100;
const BACKOFF_MOST_MS = 10_000;

/** Refusals that somebody has to do something about. All others pass when the server is itself again. */
const GRAVE: ReadonlySet<string> = new Set(["WRONGTYPE", "NOPERM", "NOAUTH", "WRONGPASS", "OOM", "MISCONF"]);

/** A stream of Redis, read through a consumer group until it is closed, whatever the server goes through meanwhile. */
export class RedisSource implements LogSource {
  readonly name: string;
  /** Publishers send from many tasks at once, and neighbours swap. */
  readonly keepsOrder = false;
  readonly timed = true;
  readonly #options: RedisSourceOptions;
  /** Kinds of trouble that were told of since it was read last. */
  readonly #told = new Set<string>();
  #failures = 0;
  #refusal: string | undefined;
  #ended = false;
  #end = () => {};
  #wake = () => {};

  constructor(options: RedisSourceOptions) {
    this.#options = options;
    this.name = options.name;
  }

  /** Entries that were trimmed or deleted before they were read, in this life. */
  get lost(): number {
    return this.#options.reader.lost;
  }

  /** Entries that were handed out again, in this life. */
  get redelivered(): number {
    return this.#options.reader.redelivered;
  }

  get refusal(): string | undefined {
    return this.#refusal;
  }

  async prepare(): Promise<void> {
    const { link, stream, group } = this.#options;
    await this.#opening(async () => {
      await existing(link, ["XINFO", "GROUPS", stream]);
      try {
        // Reads nothing, for that is no id. A replica, or a user who may not read, is told so before that is seen.
        await link.ask(["XREADGROUP", "GROUP", group, "nobody", "STREAMS", stream, "no id"]);
      } catch (error) {
        if (!(error instanceof Refusal) || !["ERR", "NOGROUP"].includes(error.word)) throw error;
      }
    });
  }

  async open(position?: string): Promise<void> {
    await this.#opening(() => this.#options.reader.attach(position));
  }

  async next(signal: AbortSignal): Promise<Reading | undefined> {
    if (signal.aborted) this.#ended = true;
    if (this.#ended) return undefined;
    const ended = new Promise<undefined>((resolve) => {
      this.#end = () => {
        this.#ended = true;
        this.#wake();
        resolve(undefined);
      };
    });
    const onAbort = () => this.#end();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      // What is read after the end is handed out to the next life.
      return await Promise.race([this.#read(), ended]);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  positionOf(last: string | undefined, unused: readonly string[]): string {
    return this.#options.reader.positionOf(last, unused);
  }

  async lag(): Promise<number | undefined> {
    const { asking, reader, stream, group } = this.#options;
    try {
      return await asking.following(async () => {
        const found = groupInfoOf(await asking.ask(["XINFO", "GROUPS", stream]), group);
        if (found?.lag !== undefined) return found.lag + reader.pendingLeft;
        // Redis 6.2 does not count, and no version does after some deletions.
        const last = streamInfoOf(await asking.ask(["XINFO", "STREAM", stream]))?.lastId;
        return last === found?.lastDelivered ? reader.pendingLeft : undefined;
      });
    } catch {
      asking.drop();
      return undefined;
    }
  }

  close(): Promise<void> {
    this.#ended = true;
    this.#end();
    this.#options.link.close();
    this.#options.asking.close();
    return Promise.resolve();
  }

  async #opening(work: () => Promise<void>): Promise<void> {
    const { link, clock, stream } = this.#options;
    try {
      await whenLoaded(clock, () => link.following(work));
    } catch (error) {
      if (error instanceof BridgeError) throw error;
      if (!(error instanceof Refusal || error instanceof LostConnection)) throw error;
      const what =
        error instanceof Refusal && error.word === "WRONGTYPE" ? `the key ${stream} is no stream: ` : "";
      throw new BridgeError("BEHEST_SOURCE_OPEN", `${this.name}: ${what}${error.message}`, { cause: error });
    }
  }

  async #read(): Promise<Reading | undefined> {
    const { link, reader } = this.#options;
    while (!this.#ended) {
      try {
        if (!link.isUp) reader.detach();
        // To be attached is little: a replica lets itself be asked and not be read.
        const isReading = reader.isAttached;
        const reading = await link.following(() => reader.read());
        if (isReading) this.#recovered();
        if (reading !== undefined) return reading;
      } catch (error) {
        if (this.#ended) return undefined;
        await this.#failed(error);
      }
    }
    return undefined;
  }

  #recovered(): void {
    this.#failures = 0;
    this.#refusal = undefined;
    if (this.#told.size === 0) return;
    this.#told.clear();
    this.#options.log.info("Redis is read again", { source: this.name });
  }

  /** Waits until it may be tried again. Rejects with what cannot pass. */
  async #failed(error: unknown): Promise<void> {
    if (!(error instanceof Refusal || error instanceof LostConnection)) throw error;
    const { link, asking, reader } = this.#options;
    reader.detach();
    const word = error instanceof Refusal ? error.word : "";
    // Its reader makes a new one, and says so.
    if (word === "NOGROUP" && this.#failures === 0) {
      this.#failures += 1;
      return;
    }
    if (!GRAVE.has(word)) {
      link.drop();
      asking.drop();
    }
    this.#tell(error, word);
    await this.#pause();
    this.#failures += 1;
  }

  #tell({ message }: Error, word: string): void {
    const kind = GRAVE.has(word) ? word : "";
    this.#refusal = kind === "" ? undefined : message;
    if (this.#told.has(kind)) return;
    this.#told.add(kind);
    const facts = { source: this.name, reason: message };
    const { log } = this.#options;
    if (kind !== "") log.error("Redis refuses to be read, trying again", facts);
    else if (word === "") log.warn("The connection to Redis is lost, trying again", facts);
    else log.warn("Redis cannot be read, trying again", facts);
  }

  async #pause(): Promise<void> {
    const { clock, random } = this.#options;
    const ceiling = Math.min(BACKOFF_MOST_MS, BACKOFF_LEAST_MS * 2 ** Math.min(this.#failures, 20));
    const ms = Math.max(BACKOFF_LEAST_MS, random() * ceiling);
    await new Promise<void>((resolve) => {
      const cancel = clock.after(ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }
}
