import type { Clock } from "../../src/clock.ts";

/** A clock that stands still until it is told to move. */
export interface ManualClock extends Clock {
  /** Moves on by `ms`, calling whatever is due in its order and letting promises settle in between. */
  readonly advance: (ms: number) => Promise<void>;
  /** Milliseconds until the next call that is due; undefined when nobody waits. */
  readonly nextIn: () => number | undefined;
}

export function manualClock(start = 1_700_000_000_000): ManualClock {
  let now = start;
  let waiting: { readonly at: number; readonly run: () => void }[] = [];
  const next = () => waiting.toSorted((a, b) => a.at - b.at)[0];
  return {
    now: () => now,
    after: (ms, run) => {
      const one = { at: now + ms, run };
      waiting.push(one);
      return () => {
        waiting = waiting.filter((other) => other !== one);
      };
    },
    nextIn: () => {
      const one = next();
      return one === undefined ? undefined : one.at - now;
    },
    advance: async (ms) => {
      const until = now + ms;
      await settle();
      for (let one = next(); one !== undefined && one.at <= until; one = next()) {
        const due = one;
        waiting = waiting.filter((other) => other !== due);
        now = Math.max(now, due.at);
        due.run();
        await settle();
      }
      now = until;
      await settle();
    },
  };
}

/**
 * A clock on which every wait is over at once, and counts as having lasted: for tests with real
 * servers, which answer in their own time.
 */
export function hastyClock(start = 1_700_000_000_000): Clock {
  let now = start;
  return {
    now: () => now,
    after: (ms, run) => {
      const at = now + ms;
      const immediate = setImmediate(() => {
        now = Math.max(now, at);
        run();
      });
      return () => clearImmediate(immediate);
    },
  };
}

/** Lets every promise that can settle do so. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}
