import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { setTimeout as after } from "node:timers/promises";

export interface Start {
  readonly name: string;
  readonly executable: string;
  readonly args: readonly string[];
  /** All of its environment but the path. */
  readonly env: Readonly<Record<string, string>>;
  /** Answers 200 when the program takes work. */
  readonly readyUrl: string;
  /** Everything it ever says, over all its lives. */
  readonly logFile: string;
}

const READY_MS = 30_000;
const STOP_MS = 10_000;
const LOOK_MS = 50;
const LOG_LINES = 40;

/** Nothing that a test began outlives the test's process, however that ends. */
const children = new Set<ChildProcess>();
process.on("exit", () => children.forEach((child) => child.kill("SIGKILL")));

/** A real program: it can be killed in any way and started again with the same arguments, ports and directories. */
export class RunningProgram {
  readonly #start: Start;
  #child: ChildProcess | undefined;
  #ended: Promise<void> | undefined;

  constructor(start: Start) {
    this.#start = start;
  }

  /** Resolves when it is ready; rejects with the end of its log when it is not within half a minute. */
  async start(): Promise<void> {
    if (this.#child !== undefined) throw new Error(`${this.#start.name} is running`);
    const { name, executable, args, env, readyUrl, logFile } = this.#start;
    const log = openSync(logFile, "a");
    const child = spawn(executable, args, {
      env: { PATH: process.env["PATH"], ...env },
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    children.add(child);
    this.#child = child;
    this.#ended = new Promise((resolve) => {
      const end = () => {
        children.delete(child);
        resolve();
      };
      child.once("exit", end).once("error", end);
    });
    const isReady = async () => {
      if (!this.isAlive) throw new Error(`${name} ended before it was ready`);
      return (await fetch(readyUrl).catch(() => undefined))?.ok === true;
    };
    try {
      await eventually(`${name} is ready at ${readyUrl}`, isReady, READY_MS);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`${reason}\n${this.endOfLog()}`, { cause });
    }
  }

  /** Sends the signal and waits for the end; one that does not heed it within ten seconds is killed. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    const [child, ended] = [this.#child, this.#ended];
    if (child === undefined) return;
    this.#child = undefined;
    child.kill(signal);
    const patience = new AbortController();
    const impatient = after(STOP_MS, undefined, { signal: patience.signal }).then(
      () => child.kill("SIGKILL"),
      () => false,
    );
    await ended;
    patience.abort();
    await impatient;
  }

  /** False as well for one that ended without being asked. */
  get isAlive(): boolean {
    return this.#child !== undefined && children.has(this.#child);
  }

  /** True when it ended without being asked. */
  get hasFailed(): boolean {
    return this.#child !== undefined && !this.isAlive;
  }

  get log(): string {
    return existsSync(this.#start.logFile) ? readFileSync(this.#start.logFile, "utf8") : "";
  }

  endOfLog(): string {
    const lines = this.log.trimEnd().split("\n");
    return [`--- ${this.#start.name}, last lines of its log`, ...lines.slice(-LOG_LINES)].join("\n");
  }
}

/** Looks until something holds; fails when it still does not after this time. */
export async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  withinMs = 30_000,
): Promise<void> {
  const giveUp = Date.now() + withinMs;
  while (!(await holds())) {
    if (Date.now() > giveUp) throw new Error(`not within ${withinMs} ms: ${what}`);
    await after(LOOK_MS);
  }
}
