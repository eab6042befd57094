import { createHash } from "node:crypto";
import { mkdir, open, readdir, rename, rm, type FileHandle } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Clock } from "../clock.ts";
import { BridgeError } from "../errors.ts";
import { claimEpoch, claimPath, epochOf, epochText, isNewest, newestState } from "./claim.ts";
import { commitError, openError } from "./refusal.ts";
import {
  findRecord,
  readStateFile,
  StateWriter,
  storedRecords,
  UnreadableState,
  type StateContent,
} from "./state-file.ts";
import type { StateChange, StateRecord, StateStore } from "./store.ts";

/** A file is written anew when more than this was added to it, and half as much again as it began with. */
const SLACK_BYTES = 16 * 1024 * 1024;
const GROWTH = 1.5;

const MAX_TRIES = 10;

export interface StateDirectoryOptions {
  readonly clock: Clock;
  /** Bytes added to a file before it is written anew. Default 16 MiB. */
  readonly slackBytes?: number;
}

/**
 * The state of one source in a directory on a disk of this machine: a folder with one file, to which every
 * commit adds what changed, synchronised with the disk (docs/decisions/006-state-directory.md).
 *
 * Which process may write is settled by claims, not locks: see `claim.ts`.
 */
export function stateDirectory(path: string, name: string, options: StateDirectoryOptions): StateStore {
  return new StateDirectory(path, name, options);
}

/** The folder of a source within a state directory: its name for the eye, its hash for the rest. */
export function sourceFolder(path: string, name: string): string {
  const readable = name.replaceAll(/[^A-Za-z0-9._-]+/g, "_").replace(/^[._]+/, "");
  const hash = createHash("sha256").update(name).digest("hex").slice(0, 8);
  return join(path, `${readable.slice(0, 60)}-${hash}`);
}

/** A file of state that is open, and what of it counts. */
interface StateFile {
  readonly handle: FileHandle;
  /** Behind its last commit. */
  end: number;
  commits: number;
}

class StateDirectory implements StateStore {
  readonly name: string;
  readonly #source: string;
  readonly #clock: Clock;
  readonly #slackBytes: number;
  #epoch = 0;
  /** What an earlier process left: where the first commit copies from. */
  #before: { readonly handle: FileHandle; readonly content: StateContent } | undefined;
  /** Ours, once the first commit has made it. */
  #own: StateFile | undefined;
  /** Bytes in our file at which it is written anew. */
  #most = 0;
  /** Our file may no longer be added to: what the disk has of it is not certain. */
  #spoilt = false;
  #state: "new" | "open" | "replaced" | "closed" = "new";

  constructor(path: string, source: string, { clock, slackBytes = SLACK_BYTES }: StateDirectoryOptions) {
    this.name = sourceFolder(path, source);
    this.#source = source;
    this.#clock = clock;
    this.#slackBytes = slackBytes;
  }

  /** Of the file, up to its last commit. */
  get bytes(): number | undefined {
    return this.#own?.end ?? this.#before?.content.end;
  }

  async open(): Promise<AsyncIterable<StateRecord>> {
    try {
      await makeFolder(this.name);
      for (let tries = 1; ; tries += 1) {
        this.#epoch = await claimEpoch(this.name);
        if (await this.#readBefore(tries)) break;
      }
    } catch (error) {
      // Whoever had the state before may go on: nothing has been taken over.
      if (this.#epoch > 0) await rm(claimPath(this.name, this.#epoch), { force: true }).catch(() => {});
      throw openError(this.name, error);
    }
    this.#state = "open";
    const before = this.#before;
    return before === undefined ? nothing() : storedRecords(before.handle, before.content);
  }

  async peek(key: string): Promise<string | undefined> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await peekInto(this.name, key);
      } catch (error) {
        // Its owner put another file in the place of that one meanwhile.
        if ((error as NodeJS.ErrnoException).code !== "ENOENT" || tries >= MAX_TRIES) {
          throw openError(this.name, error);
        }
      }
    }
  }

  async commit(change: StateChange): Promise<void> {
    if (this.#state !== "open") throw this.#refusal();
    try {
      const mayAdd = change.whole !== true && this.#mayAdd();
      await (mayAdd ? this.#add(change) : this.#writeAnew(change));
      const names = await readdir(this.name);
      if (!isNewest(names, this.#epoch) || !names.includes(this.#fileName("state"))) this.#state = "replaced";
      else await this.#tidy(names);
    } catch (error) {
      if (!(await this.#isThere())) this.#state = "replaced";
      else throw commitError(this.name, error);
    }
    if (this.#state === "replaced") throw this.#refusal();
  }

  async close(): Promise<void> {
    this.#state = "closed";
    await this.#before?.handle.close().catch(() => {});
    await this.#own?.handle.close().catch(() => {});
    this.#before = undefined;
    this.#own = undefined;
  }

  /** Reads the file of the newest earlier epoch; false when another process has taken it over meanwhile. */
  async #readBefore(tries: number): Promise<boolean> {
    const newest = newestState(await readdir(this.name));
    if (newest === undefined) return true;
    let handle: FileHandle | undefined;
    try {
      handle = await open(join(this.name, newest), "r");
      this.#before = { handle, content: await readStateFile(handle, (await handle.stat()).size) };
      return true;
    } catch (error) {
      await handle?.close();
      if (error instanceof UnreadableState) throw new UnreadableState(`${newest} ${error.message}`);
      if ((error as NodeJS.ErrnoException).code === "ENOENT" && tries < MAX_TRIES) return false;
      throw error;
    }
  }

  #mayAdd(): boolean {
    return this.#own !== undefined && !this.#spoilt && this.#own.end < this.#most;
  }

  async #add(change: StateChange): Promise<void> {
    const own = this.#own;
    if (own === undefined) return;
    const writer = new StateWriter(own.handle, own);
    try {
      await writer.change(change);
      await writer.commit(this.#clock.now());
      // After a failure it is not known what of it the disk has (and a second call may say that all is well).
      this.#spoilt = true;
      await own.handle.datasync();
      this.#spoilt = false;
    } catch (error) {
      await own.handle.truncate(own.end).catch(() => {
        this.#spoilt = true;
      });
      throw error;
    }
    own.end = writer.at;
    own.commits += 1;
  }

  /** The whole state into a file of its own, which takes the place of the old one in one step. */
  async #writeAnew(change: StateChange): Promise<void> {
    const temporary = join(this.name, this.#fileName("tmp"));
    const handle = await open(temporary, "w+", 0o600);
    try {
      const writer = new StateWriter(handle, { end: 0, commits: 0 });
      await writer.header(this.#source, this.#epoch);
      const from = change.whole === true ? undefined : await this.#whatIs();
      if (from !== undefined) await writer.copy(from.handle, from.content, change);
      await writer.change(change);
      await writer.commit(this.#clock.now());
      await handle.sync();
      await rename(temporary, join(this.name, this.#fileName("state")));
      await syncFolder(this.name);
      await (this.#own ?? this.#before)?.handle.close().catch(() => {});
      this.#before = undefined;
      this.#own = { handle, end: writer.at, commits: 1 };
      this.#most = writer.at * (1 + GROWTH) + this.#slackBytes;
      this.#spoilt = false;
    } catch (error) {
      await handle.close().catch(() => {});
      await rm(temporary, { force: true }).catch(() => {});
      throw error;
    }
  }

  /** The state as it was committed last. */
  async #whatIs(): Promise<{ readonly handle: FileHandle; readonly content: StateContent } | undefined> {
    const own = this.#own;
    if (own === undefined) return this.#before;
    return { handle: own.handle, content: await readStateFile(own.handle, own.end) };
  }

  /** Takes away what earlier processes left, which no longer says anything. */
  async #tidy(names: readonly string[]): Promise<void> {
    const stale = names.filter((name) => epochOf(name) > 0 && epochOf(name) < this.#epoch);
    await Promise.all(stale.map((name) => rm(join(this.name, name), { force: true }).catch(() => {})));
  }

  /** False when the folder or our claim was taken away: by a reset, or by hand. */
  async #isThere(): Promise<boolean> {
    try {
      return isNewest(await readdir(this.name), this.#epoch);
    } catch (error) {
      return (error as NodeJS.ErrnoException).code !== "ENOENT";
    }
  }

  #fileName(kind: "state" | "tmp"): string {
    return `${epochText(this.#epoch)}.${kind}`;
  }

  #refusal(): BridgeError {
    if (this.#state === "replaced") {
      return new BridgeError("BEHEST_STATE_REPLACED", `${this.name}: replaced by a newer process, or reset`);
    }
    return new BridgeError("BEHEST_STATE_COMMIT", `${this.name} is not open`);
  }
}

async function* nothing(): AsyncGenerator<StateRecord> {}

/** Reads one record of the newest state in a folder, which need not be there. */
async function peekInto(folder: string, key: string): Promise<string | undefined> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const newest = newestState(names);
  if (newest === undefined) return undefined;
  const handle = await open(join(folder, newest), "r");
  try {
    // What its owner adds from now on lies behind this.
    const { size } = await handle.stat();
    return await findRecord(handle, await readStateFile(handle, size), key);
  } catch (error) {
    if (error instanceof UnreadableState) throw new UnreadableState(`${newest} ${error.message}`);
    throw error;
  } finally {
    await handle.close();
  }
}

/** For its owner alone. What is on the way to it is made too. */
export async function makeFolder(folder: string): Promise<void> {
  const made = await mkdir(folder, { recursive: true, mode: 0o700 }).catch(async (error: unknown) => {
    // Making several at once says that nothing is there where one at a time says why it cannot be.
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    await mkdir(folder, { mode: 0o700 });
    return folder;
  });
  if (made === undefined) return;
  // Each stands by name in the one above it.
  const last = dirname(resolve(made));
  for (let at = dirname(resolve(folder)); ; at = dirname(at)) {
    await syncFolder(at);
    if (at === last || at === dirname(at)) return;
  }
}

/** So that a name in it survives a power cut. Windows opens no directories, and keeps names by itself. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
