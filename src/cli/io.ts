import type { Readable, Writable } from "node:stream";
import type { Log } from "../log.ts";

/** What a command has of the process it runs in. */
export interface Io {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: Readable & { readonly isTTY?: boolean };
  /** Data. */
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  /** For what is drawn, not said; words go through the log. */
  readonly stderr: { readonly isTTY?: boolean; readonly write: (text: string) => unknown };
  /** Words for people. */
  readonly log: Log;
  /** Aborted when the process is asked to stop. */
  readonly signal: AbortSignal;
}

/** 0: all delivered. 1: something was not. 2: wrong usage. 70: a bug. */
export type ExitStatus = 0 | 1 | 2 | 70;

/** Writes data, and waits for a reader that is slow. Rejects when the reader has gone. */
export function writeOut(stdout: Writable, text: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stdout.write(text, (error) => (error ? reject(error) : resolve()));
  });
}
