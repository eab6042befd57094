import type { Clock } from "../clock.ts";

/** Rung when there may be something to do; who waits for it misses no ring since the last `listen`. */
export class Bell {
  #hasRung = false;
  #wake = () => {};

  ring(): void {
    this.#hasRung = true;
    this.#wake();
  }

  /** To be called before looking at what the bell is rung for. */
  listen(): void {
    this.#hasRung = false;
  }

  /** Waits for a ring, the signal, or the end of so many milliseconds, whichever comes first. */
  async wait(signal: AbortSignal, timer?: { readonly clock: Clock; readonly ms: number }): Promise<void> {
    let cancel = () => {};
    let wake = () => {};
    await new Promise<void>((resolve) => {
      wake = resolve;
      this.#wake = resolve;
      if (timer !== undefined) cancel = timer.clock.after(timer.ms, resolve);
      signal.addEventListener("abort", wake, { once: true });
      if (this.#hasRung || signal.aborted) resolve();
    });
    cancel();
    signal.removeEventListener("abort", wake);
  }
}
