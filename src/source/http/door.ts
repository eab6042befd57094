import type { Log } from "../../log.ts";
import type { Source } from "../source.ts";
import type { Deposit } from "./deposit.ts";
import type { Protection } from "./exposure.ts";
import { HTTP_LIMITS, type HttpLimits } from "./limits.ts";
import { Refused } from "./refused.ts";
import type { Listening } from "./server.ts";
import { urlText, type HttpSpec } from "./url.ts";

export interface DoorOptions {
  readonly protection: Protection;
  readonly log: Log;
  readonly limits?: Partial<HttpLimits>;
}

/** Where events are posted over HTTP, whatever becomes of them inside. */
export class Door {
  readonly limits: HttpLimits;
  readonly #spec: HttpSpec;
  readonly #options: DoorOptions;
  readonly #refused = new Refused();
  #listening: Listening | undefined;
  #isClosed = false;

  constructor(spec: HttpSpec, options: DoorOptions) {
    this.#spec = spec;
    this.#options = options;
    this.limits = { ...HTTP_LIMITS, ...options.limits };
  }

  /** The URL without its query, with the port that is really listened on. */
  get name(): string {
    return urlText(this.#spec, this.#listening?.port ?? this.#spec.port);
  }

  get refused(): Source["refused"] {
    return this.#refused.counts;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Listens, and lets in bodies of at most so many bytes. Rejects with `BEHEST_SOURCE_OPEN`. */
  async open(intake: Deposit, maxBodyBytes = this.limits.maxBodyBytes): Promise<void> {
    // Whoever takes no events over HTTP does not load what that needs.
    const { listen } = await import("./server.ts");
    const { protection, log } = this.#options;
    const limits = { ...this.limits, maxBodyBytes: Math.min(this.limits.maxBodyBytes, maxBodyBytes) };
    const listening = await listen(this.#spec, { protection, log, limits, intake, refused: this.#refused });
    if (this.#isClosed) await listening.close();
    else this.#listening = listening;
  }

  /** Cuts every connection. May be called at any time and again; never rejects. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#listening?.close();
  }
}
