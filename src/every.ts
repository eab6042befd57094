import type { Clock } from "./clock.ts";

/**
 * Repeats `act`, each time this long after it was done, until the function given back is called; a
 * failure of it is a bug and ends the process.
 */
export function every(clock: Clock, ms: number, act: () => Promise<void>): () => void {
  let cancel: (() => void) | undefined;
  let stopped = false;
  const again = () => {
    if (stopped) return;
    cancel = clock.after(ms, () => void act().then(again));
  };
  again();
  return () => {
    stopped = true;
    cancel?.();
  };
}
