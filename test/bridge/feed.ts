import type { Reading, Source } from "../../src/source/source.ts";

/** A source whose other end is the test. */
export interface Feed extends Source {
  readonly push: (...lines: readonly string[]) => void;
  readonly end: () => void;
  readonly fail: (error: Error) => void;
  /** Resolves when everything pushed was taken and more is asked for. */
  readonly hungry: () => Promise<void>;
  /** Chunks that were handed out. */
  readonly handedOut: number;
}

export function feed(name = "feed"): Feed {
  const waiting: Buffer[] = [];
  let ended = false;
  let failure: Error | undefined;
  let handedOut = 0;
  let wake = () => {};
  let asked = Promise.withResolvers<void>();
  const tell = () => {
    asked = Promise.withResolvers();
    wake();
  };
  return {
    name,
    keepsOrder: true,
    timed: false,
    open: () => Promise.resolve(),
    async next(signal): Promise<Reading | undefined> {
      while (!signal.aborted) {
        const bytes = waiting.shift();
        if (bytes !== undefined) {
          handedOut += 1;
          return { kind: "chunk", bytes, position: { file: name, offset: 0 } };
        }
        if (failure !== undefined) throw failure;
        if (ended) return undefined;
        await new Promise<void>((resolve) => {
          wake = resolve;
          signal.addEventListener("abort", () => resolve(), { once: true });
          asked.resolve();
        });
      }
      return undefined;
    },
    close: () => Promise.resolve(),
    push: (...lines) => {
      waiting.push(Buffer.from(lines.map((line) => `${line}\n`).join("")));
      tell();
    },
    end: () => {
      ended = true;
      tell();
    },
    fail: (error) => {
      failure = error;
      tell();
    },
    hungry: () => asked.promise,
    get handedOut() {
      return handedOut;
    },
  };
}

/** A finite source that gives each line as a chunk of its own. */
export function linewise(lines: readonly string[], name = "lines"): Source {
  const source = feed(name);
  for (const line of lines) source.push(line);
  source.end();
  return source;
}
