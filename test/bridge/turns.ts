import type { ManualClock } from "../otel/clocks.ts";

/** Lets sockets and files be read until something holds; fails when it still does not after fifteen seconds. */
export async function until(holds: () => boolean, what: string): Promise<void> {
  await repeatUntil(holds, what, async () => {});
}

/** The same with a second of the clock passing at each look. */
export async function passUntil(clock: ManualClock, holds: () => boolean, what: string): Promise<void> {
  await repeatUntil(holds, what, () => clock.advance(1_000));
}

async function repeatUntil(holds: () => boolean, what: string, act: () => Promise<void>): Promise<void> {
  const giveUp = Date.now() + 15_000;
  while (!holds()) {
    if (Date.now() > giveUp) throw new Error(`still not: ${what}`);
    await act();
    await new Promise((resolve) => setImmediate(resolve));
  }
}
