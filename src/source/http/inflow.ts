import type { Clock } from "../../clock.ts";
import type { Log } from "../../log.ts";
import type { Journal } from "../../state/journal.ts";
import type { Inflow } from "../journaled.ts";
import type { Protection } from "./exposure.ts";
import { JournalIntake } from "./journal-intake.ts";
import { HTTP_LIMITS, type HttpLimits } from "./limits.ts";
import { Refused } from "./refused.ts";
import type { Listening } from "./server.ts";
import { urlText, type HttpSpec } from "./url.ts";

export interface HttpInflowOptions {
  readonly protection: Protection;
  readonly log: Log;
  readonly clock: Clock;
  /** Bytes of the journal. */
  readonly maxBytes: number;
  readonly limits?: Partial<HttpLimits>;
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
  readonly #spec: HttpSpec;
  readonly #options: HttpInflowOptions;
  readonly #intake: JournalIntake;
  readonly #refused = new Refused();
  readonly #replaced = Promise.withResolvers<never>();
  #listening: Listening | undefined;
  #isClosed = false;

  constructor(spec: HttpSpec, options: HttpInflowOptions) {
    this.#spec = spec;
    this.#options = options;
    const { clock, log, maxBytes } = options;
    this.#intake = new JournalIntake({ clock, log, maxBytes, onReplaced: this.#replaced.reject });
    // Nobody may be there to hear of it yet.
    this.#replaced.promise.catch(() => {});
  }

  /** The URL without its query, with the port that is really listened on. */
  get name(): string {
    return urlText(this.#spec, this.#listening?.port ?? this.#spec.port);
  }

  get refused(): Inflow["refused"] {
    return this.#refused.counts;
  }

  async prepare(): Promise<void> {
    // Whoever takes no events over HTTP does not load what that needs.
    const { listen } = await import("./server.ts");
    const { protection, log, maxBytes } = this.#options;
    const limits = { ...HTTP_LIMITS, ...this.#options.limits };
    const maxBodyBytes = Math.min(limits.maxBodyBytes, maxBytes);
    const listening = await listen(this.#spec, {
      protection,
      log,
      limits: { ...limits, maxBodyBytes },
      intake: this.#intake,
      refused: this.#refused,
    });
    if (this.#isClosed) await listening.close();
    else this.#listening = listening;
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
    this.#isClosed = true;
    this.#intake.stop();
    await this.#listening?.close();
  }
}
