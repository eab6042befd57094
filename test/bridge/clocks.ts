import type { Clock } from "../../src/clock.ts";

/** A clock on which a second lasts a `factor`-th of one: for waits of half a minute with real servers. */
export function hurriedClock(factor: number): Clock {
  const start = Date.now();
  return {
    now: () => Math.floor(start + (Date.now() - start) * factor),
    after: (ms, run) => {
      const timer = setTimeout(run, ms / factor);
      return () => clearTimeout(timer);
    },
  };
}
