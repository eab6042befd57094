import type { Parameters } from "fast-check";

/** Settable by `SEED=`. */
export const SEED = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));

/**
 * Parameters of a trial that goes on for a share of `TRIAL_SECONDS` (5 when not set).
 * Says on stderr which seed it has: a failure names it as well, but a crash would not.
 */
export function trial<T>(name: string, share = 1): Parameters<T> {
  const seconds = Number(process.env["TRIAL_SECONDS"] ?? 5) * share;
  console.error(`${name}: SEED=${SEED}, ${seconds.toFixed(1)} s`);
  return {
    seed: SEED,
    numRuns: 10_000_000,
    interruptAfterTimeLimit: seconds * 1_000,
    markInterruptAsFailure: false,
  };
}
