import type { Clock } from "../../clock.ts";
import { Refusal } from "./refusal.ts";

/** Milliseconds that a server may take at the start of this process to load its data. */
const PATIENCE_MS = 60_000;
const LOOK_MS = 100;

/** Runs `work` until the server has its data loaded: it listens before that and refuses everything. */
export async function whenLoaded<T>(clock: Clock, work: () => Promise<T>): Promise<T> {
  const giveUpMs = clock.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Refusal && error.word === "LOADING") || clock.now() >= giveUpMs) throw error;
      await new Promise<void>((resolve) => {
        clock.after(LOOK_MS, resolve);
      });
    }
  }
}
