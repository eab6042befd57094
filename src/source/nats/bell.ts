import type { Clock } from "../../clock.ts";

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

  /** Waits for a ring, the end of `ms` milliseconds or the signal, whichever comes first. */
  async wait(
    ms: number,
    { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
  ): Promise<void> {
    let cancel = () => {};
    let wake = () => {};
    await new Promise<void>((resolve) => {
      wake = resolve;
      this.#wake = resolve;
      cancel = clock.after(ms, resolve);
      signal.addEventListener("abort", wake, { once: true });
      if (this.#hasRung || signal.aborted) resolve();
    });
    cancel();
    signal.removeEventListener("abort", wake);
  }
}
