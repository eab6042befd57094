import { BridgeError, systemReason } from "../../errors.ts";
import type { Log } from "../../log.ts";
import type { Reading } from "../source.ts";
import type { KeptTail } from "./kept-tail.ts";

export interface ReadThroughOptions {
  readonly path: string;
  readonly log: Log;
}

export interface FileReading {
  open(): Promise<void>;
  next(signal: AbortSignal): Promise<Reading | undefined>;
  close(): Promise<void>;
}

/** Files one after another, oldest first, each to its end as it is now. */
export function readThrough(tails: readonly KeptTail[], { path, log }: ReadThroughOptions): FileReading {
  const unread = [...tails];
  const ready: Reading[] = [];
  let isClosed = false;

  /** What a file ends with, after all its whole lines: true when it has whole lines again. */
  const finish = async (tail: KeptTail, isNewest: boolean): Promise<boolean> => {
    // Nobody goes on with a file that has lost its name; to that of the name the next run may find more.
    const last = isNewest ? await tail.lastLine() : await tail.rest();
    if (last === "grown") return true;
    if ("unfinishedBytes" in last) {
      log.warn("The last line has no end yet, and is left to the next run", {
        file: path,
        bytes: last.unfinishedBytes,
      });
    } else {
      ready.push(...last);
    }
    return false;
  };

  const read = async (): Promise<Reading | undefined> => {
    for (;;) {
      const reading = ready.shift() ?? (await unread[0]?.read());
      if (reading !== undefined) return reading;
      const [tail] = unread;
      if (tail === undefined) return undefined;
      if (await finish(tail, unread.length === 1)) continue;
      unread.shift();
      await tail.close();
    }
  };

  return {
    open: () => Promise.resolve(),

    async next(signal) {
      if (signal.aborted) return undefined;
      try {
        return await read();
      } catch (error) {
        if (isClosed) return undefined;
        throw new BridgeError("BEHEST_SOURCE_READ", `${path}: ${systemReason(error)}`, { cause: error });
      }
    },

    async close() {
      isClosed = true;
      ready.length = 0;
      await Promise.all(unread.splice(0).map((tail) => tail.close()));
    },
  };
}
