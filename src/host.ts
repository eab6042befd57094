import { stderr, stdout } from "node:process";

import { createLog, type Log } from "./log.ts";
import type { Clock } from "./clock.ts";
import { readEnvironment, type ExportConfig } from "./otel/environment.ts";

/** Bytes of finished spans that may wait in a host's process, unless it says otherwise. */
export const MAX_WAITING_BYTES = 64 * 1024 * 1024;

/** Of the bytes that may wait, what spans under a span of this process may take: room is kept for what they hang under. */
export const CHILDREN_SHARE = 0.9;

/** How long a host waits at its end for what is not delivered yet, unless it says otherwise. */
export const HOST_FLUSH_TIMEOUT_MS = 10_000;

/** A wait longer than this is one for a backend that is down, not for company in a batch. */
const LONGEST_KEPT_MS = 250;

/** The machine's clock, whose long waits do not keep a host's process: it may end while a backend is down. */
export const hostClock: Clock = {
  now: () => Date.now(),
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    if (ms > LONGEST_KEPT_MS) timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Keeps the process until `ending` is over: whoever closes a sink waits for what is not delivered yet. */
export async function kept<T>(ending: Promise<T>): Promise<T> {
  const keeper = setInterval(() => {}, 2 ** 31 - 1);
  try {
    return await ending;
  } finally {
    clearInterval(keeper);
  }
}

/** What a library says in somebody else's process: warnings and errors, on stderr. */
export function hostLog(): Log {
  return createLog({
    level: "warn",
    format: "text",
    now: () => new Date(),
    write: (line) => void stderr.write(line),
  });
}

/** Where `OTEL_*_EXPORTER=console` writes. */
export function hostWrite(line: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stdout.write(line, (error) => (error ? reject(error) : resolve()));
  });
}

/** The export configuration of the environment; throws a RangeError that names every variable that is wrong. */
export function hostEnvironment(env: Readonly<Record<string, string | undefined>>): ExportConfig {
  const { config, problems } = readEnvironment(env);
  if (problems.length === 0) return config;
  const all = problems.map(
    ({ name, value, expected }) => `${name}: ${JSON.stringify(value)} is not valid; expected ${expected}`,
  );
  throw new RangeError(`behest-otel cannot use the environment:\n${all.join("\n")}`);
}
