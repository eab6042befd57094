import { watch, type FSWatcher } from "node:fs";
import { stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { BridgeError, systemReason } from "../errors.ts";
import type { Log } from "../log.ts";
import { Bell } from "./bell.ts";
import type { Reading, Source } from "./source.ts";
import { identityOf, Tail } from "./tail.ts";

export interface FollowOptions {
  readonly log: Log;
  /** Milliseconds between two looks at the name; changes are told by the system in between. Default 1,000. */
  readonly lookMs?: number;
  /** Looks without news after which a file that lost its name is let go. Default 30. */
  readonly lingerLooks?: number;
  /** Opens the file that a path leads to. Default: as chunks, from its beginning. */
  readonly open?: (path: string) => Promise<Followed>;
  /** Files that had the name, open already, oldest first: they are read before what has it now. Default none. */
  readonly begun?: readonly Followed[];
}

/** One file that has or had the name, as whatever readings it gives. */
export interface Followed {
  /** Device and number. */
  readonly identity: string;
  /** What was read last ended within a line, and no other file may be read before that line's end. */
  readonly withinLine: boolean;
  isEmpty(): Promise<boolean>;
  /** What came since; undefined when there is nothing. */
  read(): Promise<Reading | undefined>;
  /** The last line, though its end may be missing. */
  rest(): Promise<readonly Reading[]>;
  close(): Promise<void>;
}

/** Files held open at once, beyond those that were when it began; a newer one waits for its turn under its name. */
const MAX_GENERATIONS = 100;

/**
 * A file that is read from its beginning and then waited on, as `tail -F` does.
 *
 * The name may be missing at first, be rotated (renamed or deleted, and made again), and the file may
 * be truncated. Every file that appears under the name is opened at once and read in turn, also while
 * nobody asks, so a slow reader loses nothing. A file is left for the next one when that one has bytes
 * (its writer has moved on), and then still read for a while, for writers that did not. What a look
 * can miss: a file that came and went between two looks.
 */
export function followSource(path: string, options: FollowOptions): Source {
  return new Follow(path, options);
}

class Follow implements Source {
  readonly name: string;
  readonly keepsOrder = true;
  readonly timed = false;
  readonly #log: Log;
  readonly #lookMs: number;
  readonly #lingerLooks: number;
  readonly #openFile: (path: string) => Promise<Followed>;
  /** Open files that had the name, oldest first: the first is being read. */
  readonly #generations: Followed[];
  readonly #maxGenerations: number;
  /** Files that were left, with the looks since they last had news. */
  readonly #left = new Map<Followed, number>();
  readonly #ready: Reading[] = [];
  #timer: NodeJS.Timeout | undefined;
  #watcher: FSWatcher | undefined;
  #looking: Promise<void> | undefined;
  #complaint = "";
  readonly #bell = new Bell();
  #saidCaughtUp = false;
  #closed = false;

  constructor(path: string, options: FollowOptions) {
    const { log, lookMs = 1_000, lingerLooks = 30, open = (file) => Tail.open(file), begun = [] } = options;
    this.name = path;
    this.#log = log;
    this.#lookMs = lookMs;
    this.#lingerLooks = lingerLooks;
    this.#openFile = open;
    this.#generations = [...begun];
    this.#maxGenerations = MAX_GENERATIONS + begun.length;
  }

  async open(): Promise<void> {
    this.#timer = setInterval(() => this.#tick(), this.#lookMs);
    this.#watch();
    await this.#look();
    if (this.#generations.length === 0 && this.#complaint === "") {
      this.#log.info("waiting for a file that does not exist yet", { file: this.name });
    }
  }

  async next(signal: AbortSignal): Promise<Reading | undefined> {
    while (!signal.aborted && !this.#closed) {
      const reading = await this.#read();
      if (reading !== undefined) {
        this.#saidCaughtUp = reading.kind === "caught_up";
        return reading;
      }
      await this.#bell.wait(signal);
    }
    return undefined;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#watcher?.close();
    this.#bell.ring();
    await this.#looking;
    const open = [...this.#generations.splice(0), ...this.#left.keys()];
    this.#left.clear();
    await Promise.all(open.map((tail) => tail.close()));
  }

  async #read(): Promise<Reading | undefined> {
    this.#bell.listen();
    try {
      return (await this.#readFiles()) ?? (this.#saidCaughtUp ? undefined : { kind: "caught_up" });
    } catch (error) {
      if (this.#closed) return undefined;
      throw new BridgeError("BEHEST_SOURCE_READ", `${this.name}: ${systemReason(error)}`, { cause: error });
    }
  }

  async #readFiles(): Promise<Reading | undefined> {
    for (;;) {
      const ready = this.#ready.shift() ?? (await this.#readLeft());
      if (ready !== undefined) return ready;
      // One that was left ended within a line: until more of it comes, or it is let go, nothing may stand between.
      if ([...this.#left.keys()].some(({ withinLine }) => withinLine)) return undefined;
      const [current, ...newer] = this.#generations;
      if (current === undefined) return undefined;
      // Asked before reading: all that was in the old file when a new one got its first bytes is read first.
      const hasMovedOn = await anyHasBytes(newer);
      const reading = await current.read();
      if (reading !== undefined) return reading;
      if (!hasMovedOn) return undefined;
      this.#generations.shift();
      this.#left.set(current, 0);
    }
  }

  /** What was written to a file after it was left, and its last line when it is let go. */
  async #readLeft(): Promise<Reading | undefined> {
    // Not between two parts of one line.
    if (this.#generations[0]?.withinLine) return undefined;
    for (const [tail, looks] of this.#left) {
      const reading = await tail.read();
      if (reading !== undefined) {
        this.#left.set(tail, 0);
        return reading;
      }
      if (looks < this.#lingerLooks) continue;
      this.#ready.push(...(await tail.rest()));
      this.#left.delete(tail);
      await tail.close();
      return this.#ready.shift();
    }
    return undefined;
  }

  #tick(): void {
    for (const [tail, looks] of this.#left) this.#left.set(tail, looks + 1);
    if (this.#watcher === undefined) this.#watch();
    void this.#look();
    this.#bell.ring();
  }

  /** The system tells at once what a look would find later; where it cannot, looking is enough. */
  #watch(): void {
    try {
      this.#watcher = watch(dirname(this.name), { persistent: false }, (event, file) => {
        if (file !== null && file !== basename(this.name)) return;
        if (event === "rename") void this.#look();
        this.#bell.ring();
      });
      this.#watcher.on("error", () => {
        this.#watcher?.close();
        this.#watcher = undefined;
      });
    } catch {
      this.#watcher = undefined;
    }
  }

  /** Opens the file that has the name now, if it is another than the newest held. One at a time; never rejects. */
  #look(): Promise<void> {
    this.#looking ??= this.#lookOnce().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #lookOnce(): Promise<void> {
    if (this.#closed || this.#generations.length >= this.#maxGenerations) return;
    try {
      const identity = identityOf(await stat(this.name, { bigint: true }));
      const held = [...this.#generations, ...this.#left.keys()].find((tail) => tail.identity === identity);
      if (held !== undefined) return this.#takeBack(held);
      const tail = await this.#openFile(this.name);
      // Closed meanwhile, or the name went to yet another file: the next look sees which.
      if (this.#closed || tail.identity !== identity) return await tail.close();
      this.#generations.push(tail);
      this.#complaint = "";
      this.#bell.ring();
    } catch (error) {
      this.#complain(error);
    }
  }

  /** A file that was left and has its name back goes on where it was. */
  #takeBack(tail: Followed): void {
    if (!this.#left.delete(tail)) return;
    this.#generations.push(tail);
    this.#bell.ring();
  }

  /** Once per reason: a file may be missing for a long time between two rotations. */
  #complain(error: unknown): void {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    const reason = systemReason(error);
    if (reason === this.#complaint) return;
    this.#complaint = reason;
    this.#log.warn(`cannot open a followed file, trying again: it ${reason}`, { file: this.name });
  }
}

async function anyHasBytes(tails: readonly Followed[]): Promise<boolean> {
  for (const tail of tails) {
    if (!(await tail.isEmpty())) return true;
  }
  return false;
}
