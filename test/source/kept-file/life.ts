import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { keptFile, type KeptFileOptions } from "../../../src/source/kept-file/kept-file.ts";
import type { Delivery, LogSource } from "../../../src/source/source.ts";
import { keptLog } from "../reader.ts";

/** A new directory, and the path of a file in it that is not there yet. */
export function newPath(name = "events.ndjson"): string {
  return join(mkdtempSync(join(tmpdir(), "behest-otel-")), name);
}

/** Lines with these numbers, each long enough for a copy to be known by it. */
export function lines(...numbers: readonly number[]): string {
  return numbers.map((number) => `${line(number)}\n`).join("");
}

export function line(number: number): string {
  return `{"n":${number},"text":"${String(number).repeat(100).slice(0, 100)}"}`;
}

/** One life of a process that reads a file and commits, as the bridge does. */
export class Life {
  readonly source: LogSource;
  readonly log: string[];
  /** All that was taken, oldest first. */
  readonly taken: Delivery[] = [];
  /** What the next life is given. */
  position: string | undefined;
  readonly #stop = new AbortController();

  private constructor(source: LogSource, log: string[], position: string | undefined) {
    this.source = source;
    this.log = log;
    this.position = position;
  }

  static async begin(
    path: string,
    position?: string,
    options: Partial<Omit<KeptFileOptions, "log">> = {},
  ): Promise<Life> {
    const { log, lines: logged } = keptLog();
    const source = keptFile(path, { follow: true, lookMs: 10, ...options, log });
    const life = new Life(source, logged, position);
    await source.open(position);
    return life;
  }

  /** Takes the next reading; false when all is read that is there. */
  async take(): Promise<boolean> {
    const reading = await this.source.next(this.#stop.signal);
    if (reading?.kind !== "deliveries") return false;
    this.taken.push(...reading.deliveries);
    return true;
  }

  /** Takes all that is there. */
  async takeAll(): Promise<this> {
    while (await this.take());
    return this;
  }

  /** Takes until so many are taken, which have to come. */
  async takeUntil(count: number): Promise<void> {
    while (this.taken.length < count) {
      const reading = await this.source.next(this.#stop.signal);
      if (reading === undefined) throw new Error(`it ended after ${this.taken.length} lines of ${count}`);
      if (reading.kind === "deliveries") this.taken.push(...reading.deliveries);
    }
  }

  /** Commits everything that was taken but these, given by their place in it. */
  commit(unused: readonly number[] = []): void {
    const last = this.taken.at(-1);
    const ids = unused.map((index) => this.taken[index]!.id);
    if (last !== undefined) this.position = this.source.positionOf(last.id, ids);
  }

  /** The process is gone. */
  async end(): Promise<void> {
    this.#stop.abort();
    await this.source.close();
  }

  get texts(): string[] {
    return this.taken.map(({ payload }) => payload.toString());
  }

  /** The numbers of the lines that were taken. */
  get numbers(): number[] {
    return this.texts.map((text) => (JSON.parse(text) as { n: number }).n);
  }

  /** What was logged that is no news. */
  get warnings(): string[] {
    return this.log.filter((text) => / (WARN|ERROR) /.test(text));
  }
}

/** Reads all there is, commits it and ends. */
export async function wholeLife(
  path: string,
  position?: string,
  options?: Partial<Omit<KeptFileOptions, "log">>,
): Promise<Life> {
  const life = await Life.begin(path, position, options);
  await life.takeAll();
  life.commit();
  await life.end();
  return life;
}
