import { realpath, stat } from "node:fs/promises";
import { BridgeError, systemReason } from "../../errors.ts";
import type { Log } from "../../log.ts";
import { followSource, type FollowOptions } from "../follow.ts";
import type { LogSource, Reading } from "../source.ts";
import { Tail } from "../tail.ts";
import { KeptTail } from "./kept-tail.ts";
import { readPosition } from "./position.ts";
import { Progress } from "./progress.ts";
import { readThrough, type FileReading } from "./read-through.ts";
import { rereadFault } from "./reread-fault.ts";
import { resumeFiles, type Resumed } from "./resume.ts";
import { SEARCH_LIMITS, type SearchLimits } from "./search.ts";

export interface KeptFileOptions extends Pick<FollowOptions, "log" | "lookMs" | "lingerLooks"> {
  readonly log: Log;
  /** Whether its end is waited at for more. */
  readonly follow: boolean;
  readonly limits?: Partial<SearchLimits>;
}

/**
 * A file that is read on where an earlier life was, through rotation and truncation meanwhile (`resume.ts`). The
 * id of a delivery is the device, the number and the offset of a line.
 */
export function keptFile(path: string, options: KeptFileOptions): LogSource {
  return new KeptFile(path, options);
}

class KeptFile implements LogSource {
  readonly name: string;
  readonly keepsOrder = true;
  readonly timed = false;
  readonly #options: KeptFileOptions;
  readonly #progress: Progress;
  #reading: FileReading | undefined;

  constructor(path: string, options: KeptFileOptions) {
    this.name = path;
    this.#options = options;
    this.#progress = new Progress((lines, file) => {
      options.log.error("Lines that were read and not used are gone, and are lost", { file, lines });
    });
  }

  get lost(): number {
    return this.#progress.lost;
  }

  prepare(): Promise<void> {
    return expectFile(this.name, this.#options);
  }

  async open(position?: string): Promise<void> {
    const { log, follow, limits } = this.#options;
    await expectFile(this.name, this.#options);
    const saved = position === undefined ? [] : readPosition(position, this.name);
    const resumed = await resumeFiles(this.name, saved, { log, limits: { ...SEARCH_LIMITS, ...limits } });
    for (const file of resumed.gone) this.#progress.lose(file);
    const begun = await this.#tailsOf(resumed);
    if (!follow && !resumed.files.some(({ isNamed }) => isNamed)) begun.push(await this.#openNamed());
    this.#reading = follow
      ? followSource(this.name, { ...this.#options, begun, open: (path) => this.#openFile(path) })
      : readThrough(begun, { path: this.name, log });
    await this.#reading.open();
  }

  async next(signal: AbortSignal): Promise<Reading | undefined> {
    return this.#reading?.next(signal);
  }

  positionOf(last: string | undefined, unused: readonly string[]): string {
    return this.#progress.write(last, unused);
  }

  /** How many lines there are is known only when they have been read. */
  lag(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  async close(): Promise<void> {
    await this.#reading?.close();
  }

  async #tailsOf({ files }: Resumed): Promise<KeptTail[]> {
    const path = await realpath(this.name).catch(() => this.name);
    return files.map(({ tail, offset, saved }) => {
      const { identity } = tail;
      const generation =
        saved === undefined ? this.#progress.begin(identity, path) : this.#progress.resume(saved, identity);
      return new KeptTail(tail, this.#progress, { generation, offset });
    });
  }

  async #openNamed(): Promise<KeptTail> {
    try {
      return await this.#openFile(this.name);
    } catch (error) {
      throw new BridgeError("BEHEST_SOURCE_OPEN", `${this.name} ${systemReason(error)}`, { cause: error });
    }
  }

  async #openFile(path: string): Promise<KeptTail> {
    const real = await realpath(path);
    const tail = await Tail.open(real);
    const generation = this.#progress.begin(tail.identity, real);
    return new KeptTail(tail, this.#progress, { generation, offset: 0 });
  }
}

/** Rejects with `BEHEST_SOURCE_OPEN` for what cannot be read, or not again; a file that is followed may be missing. */
async function expectFile(path: string, { follow }: Pick<KeptFileOptions, "follow">): Promise<void> {
  const fault = await rereadFault(path);
  if (fault !== undefined) throw new BridgeError("BEHEST_SOURCE_OPEN", `${path} ${fault}`);
  if (follow) return;
  try {
    const stats = await stat(path);
    if (stats.isDirectory()) throw new Error("is a directory");
  } catch (error) {
    throw new BridgeError("BEHEST_SOURCE_OPEN", `${path} ${systemReason(error)}`, { cause: error });
  }
}
