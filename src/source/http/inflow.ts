import type { Journal } from "../../state/journal.ts";
import type { Clock } from "../../clock.ts";
import type { Inflow } from "../journaled.ts";
import { Door, type DoorOptions } from "./door.ts";
import { JournalIntake } from "./journal-intake.ts";
import type { HttpSpec } from "./url.ts";

export interface HttpInflowOptions extends DoorOptions {
  readonly clock: Clock;
  /** Bytes of the journal. */
  readonly maxBytes: number;
}

/**
 * Events that are posted over HTTP, on their way into a journal: an answer of 202 says that they are in it, on
 * the disk. From `prepare` to `fill` everything is answered with 503.
 */
export function httpInflow(spec: HttpSpec, options: HttpInflowOptions): Inflow {
  return new HttpInflow(spec, options);
}

class HttpInflow implements Inflow {
  readonly keepsOrder = false;
  readonly #door: Door;
  readonly #maxBytes: number;
  readonly #intake: JournalIntake;
  readonly #replaced = Promise.withResolvers<never>();

  constructor(spec: HttpSpec, options: HttpInflowOptions) {
    const { clock, log, maxBytes } = options;
    this.#door = new Door(spec, options);
    this.#maxBytes = maxBytes;
    this.#intake = new JournalIntake({ clock, log, maxBytes, onReplaced: this.#replaced.reject });
    // Nobody may be there to hear of it yet.
    this.#replaced.promise.catch(() => {});
  }

  get name(): string {
    return this.#door.name;
  }

  get refused(): Inflow["refused"] {
    return this.#door.refused;
  }

  prepare(): Promise<void> {
    return this.#door.open(this.#intake, this.#maxBytes);
  }

  async fill(journal: Journal, signal: AbortSignal): Promise<void> {
    this.#intake.begin(journal);
    const stopped = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    try {
      await Promise.race([stopped, this.#replaced.promise]);
    } finally {
      this.#intake.stop();
    }
  }

  async close(): Promise<void> {
    this.#intake.stop();
    await this.#door.close();
  }
}
