import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "../..");
export const BIN = join(ROOT, "dist/bin.js");

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Call {
  readonly args: readonly string[];
  /** All of the environment but what any process needs. */
  readonly env?: Readonly<Record<string, string>>;
  /** Written to stdin, which is then closed. */
  readonly input?: string | Buffer;
  /** Another Node.js, or options for it. */
  readonly node?: readonly [string, ...string[]];
  readonly cwd?: string;
}

/** Starts the built program, as a user would. */
export function start({ args, env = {}, node = [process.execPath], cwd = ROOT }: Call): Started {
  const [executable, ...options] = node;
  const { PATH = "", SystemRoot = "" } = process.env;
  const child = spawn(executable, [...options, BIN, ...args], { cwd, env: { PATH, SystemRoot, ...env } });
  // Whoever ends without reading its input closes the pipe on us.
  child.stdin.on("error", () => {});
  return new Started(child);
}

/** Runs the built program to its end. */
export function run(call: Call): Promise<Ended> {
  const started = start(call);
  started.child.stdin.end(call.input ?? "");
  return started.ended;
}

export class Started {
  readonly child: ChildProcessWithoutNullStreams;
  readonly ended: Promise<Ended>;
  stdout = "";
  stderr = "";

  constructor(child: ChildProcessWithoutNullStreams) {
    this.child = child;
    child.stdout.setEncoding("utf8").on("data", (text: string) => (this.stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (this.stderr += text));
    this.ended = once(child, "close").then(([status]) => ({
      status: status as number | null,
      stdout: this.stdout,
      stderr: this.stderr,
    }));
  }

  /** Resolves when stderr says this; rejects when the program ends without. */
  async says(text: string): Promise<void> {
    while (!this.stderr.includes(text)) {
      const more = await Promise.race([once(this.child.stderr, "data"), this.ended]);
      if ("status" in more && !this.stderr.includes(text)) {
        throw new Error(`ended with ${more.status} and without ${JSON.stringify(text)}:\n${this.stderr}`);
      }
    }
  }
}

/** A new directory, or a file with this content in one. */
export function temporary(name = "", content: string | Buffer = ""): string {
  const directory = mkdtempSync(join(tmpdir(), "behest-otel-"));
  if (name === "") return directory;
  writeFileSync(join(directory, name), content);
  return join(directory, name);
}

export const RECORDINGS = join(ROOT, "test/fixtures/recordings/0.5.9");
