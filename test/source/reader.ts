import { readdirSync, readlinkSync } from "node:fs";
import { createLog, type Log } from "../../src/log.ts";
import type { Source } from "../../src/source/source.ts";

/** Reads a source as the bridge does and keeps what it got, so that a test can wait for it. */
export class Reader {
  readonly source: Source;
  readonly #stop = new AbortController();
  /** All bytes, a break as `|`. */
  text = "";
  caughtUp = 0;
  #waiting: { readonly until: () => boolean; readonly resolve: () => void }[] = [];
  #reading: Promise<void> | undefined;

  constructor(source: Source) {
    this.source = source;
  }

  /** Opens the source and reads it to its end. */
  async readToEnd(): Promise<string> {
    await this.source.open();
    await this.#read();
    await this.source.close();
    return this.text;
  }

  /** Begins to read, without waiting. */
  start(): void {
    this.#reading ??= this.#read();
  }

  /** Resolves when the condition holds, which is looked at after each reading. */
  async until(condition: () => boolean): Promise<void> {
    if (condition()) return;
    await new Promise<void>((resolve) => this.#waiting.push({ until: condition, resolve }));
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#reading;
    await this.source.close();
  }

  get lines(): string[] {
    return this.text.split("\n").slice(0, -1);
  }

  async #read(): Promise<void> {
    for (;;) {
      const reading = await this.source.next(this.#stop.signal);
      if (reading === undefined) return;
      if (reading.kind === "chunk") this.text += reading.bytes.toString("latin1");
      else if (reading.kind === "break") this.text += "|";
      else this.caughtUp += 1;
      this.#waiting = this.#waiting.filter(({ until, resolve }) => {
        if (!until()) return true;
        resolve();
        return false;
      });
    }
  }
}

/** A log whose lines are kept. */
export function keptLog(): { readonly log: Log; readonly lines: string[] } {
  const lines: string[] = [];
  const log = createLog({
    level: "debug",
    format: "text",
    now: () => new Date(0),
    write: (line) => lines.push(line),
  });
  return { log, lines };
}

/** Whether this process has the file with this name open: links to a deleted or renamed file say other names. */
export function isHeldOpen(file: string): boolean {
  return readdirSync("/proc/self/fd").some((descriptor) => {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`) === file;
    } catch {
      return false;
    }
  });
}
