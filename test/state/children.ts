import { spawn, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** A file of tests as a process of its own, its lines as they come. */
export interface Child {
  readonly process: ChildProcess;
  readonly lines: string[];
  /** Resolves with the first line, come or to come, that matches. */
  readonly line: (pattern: RegExp) => Promise<string>;
  /** Resolves when it has ended and all it said was read. */
  readonly ended: Promise<void>;
}

/** Node can run the file as it is: its types are only to be left out. */
export function nodeArguments(file: string): string[] {
  return ["--experimental-strip-types", "--no-warnings", join(import.meta.dirname, file)];
}

export function startChild(command: string, args: readonly string[]): Child {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  const lines: string[] = [];
  let waiting: { readonly pattern: RegExp; readonly resolve: (line: string) => void }[] = [];
  const reader = createInterface({ input: child.stdout });
  reader.on("line", (line) => {
    lines.push(line);
    waiting = waiting.filter(({ pattern, resolve }) => {
      if (!pattern.test(line)) return true;
      resolve(line);
      return false;
    });
  });
  const ended = new Promise<void>((resolve) => {
    child.on("close", () => resolve());
  });
  return {
    process: child,
    lines,
    ended,
    line: (pattern) => {
      const found = lines.find((line) => pattern.test(line));
      if (found !== undefined) return Promise.resolve(found);
      return new Promise((resolve, reject) => {
        waiting.push({ pattern, resolve });
        void ended.then(() => reject(new Error(`ended without ${pattern}: ${lines.slice(-3).join(" | ")}`)));
      });
    },
  };
}
