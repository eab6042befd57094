import type { Clock } from "../../clock.ts";
import type { Log } from "../../log.ts";
import type { Reading, Source } from "../source.ts";
import type { Protection } from "./exposure.ts";
import { Intake } from "./intake.ts";
import { HTTP_LIMITS, type HttpLimits } from "./limits.ts";
import { Refused } from "./refused.ts";
import type { Listening } from "./server.ts";
import { urlText, type HttpSpec } from "./url.ts";

export interface HttpSourceOptions {
  readonly protection: Protection;
  readonly log: Log;
  readonly clock: Clock;
  readonly limits?: Partial<HttpLimits>;
}

/** Between two times that it is said that nothing waits: a second at most, with some to spare. */
const CAUGHT_UP_MS = 500;

/**
 * Events that are posted over HTTP, at most once: an answer of 202 says that they wait in the memory of this
 * process. Senders are held up with 429 while nobody reads, and with 503 from `prepare` to `open`.
 *
 * Once the signal of `next` is aborted nothing more is taken, and all that was answered with 202 is still handed
 * out before the end.
 */
export function httpSource(spec: HttpSpec, options: HttpSourceOptions): Source {
  return new HttpSource(spec, options);
}

class HttpSource implements Source {
  readonly keepsOrder = false;
  readonly timed = true;
  readonly #spec: HttpSpec;
  readonly #options: HttpSourceOptions;
  readonly #limits: HttpLimits;
  readonly #intake: Intake;
  readonly #refused = new Refused();
  #prepared: Promise<void> | undefined;
  #listening: Listening | undefined;
  #isClosed = false;
  #saidCaughtUp = false;
  #handedOut = false;
  #cancel = () => {};
  #wake = () => {};

  constructor(spec: HttpSpec, options: HttpSourceOptions) {
    this.#spec = spec;
    this.#options = options;
    this.#limits = { ...HTTP_LIMITS, ...options.limits };
    this.#intake = new Intake({ maxBytes: this.#limits.maxWaitingBytes, now: options.clock.now });
    this.#intake.onNews = () => this.#wake();
  }

  /** The URL without its query, with the port that is really listened on. */
  get name(): string {
    return urlText(this.#spec, this.#listening?.port ?? this.#spec.port);
  }

  get refused(): Source["refused"] {
    return this.#refused.counts;
  }

  prepare(): Promise<void> {
    this.#prepared ??= this.#listen();
    return this.#prepared;
  }

  async open(): Promise<void> {
    await this.prepare();
    this.#intake.begin();
  }

  async next(signal: AbortSignal): Promise<Reading | undefined> {
    // What is read was in memory already: between two batches the senders have a turn.
    if (this.#handedOut) await new Promise(setImmediate);
    this.#handedOut = false;
    for (;;) {
      if (signal.aborted) this.#intake.stop();
      if (this.#isClosed) return undefined;
      const deliveries = this.#intake.hand();
      if (deliveries.length > 0) {
        this.#handedOut = true;
        this.#saidCaughtUp = false;
        return { kind: "deliveries", deliveries };
      }
      if (this.#intake.phase === "stopped") return undefined;
      if (!this.#saidCaughtUp) {
        this.#saidCaughtUp = true;
        return { kind: "caught_up", nowMs: this.#intake.nowMs() };
      }
      await this.#change(signal);
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#intake.stop();
    this.#wake();
    await this.#listening?.close();
  }

  async #listen(): Promise<void> {
    // Whoever takes no events over HTTP does not load what that needs.
    const { listen } = await import("./server.ts");
    const { protection, log } = this.#options;
    const listening = await listen(this.#spec, {
      protection,
      log,
      limits: this.#limits,
      intake: this.#intake,
      refused: this.#refused,
    });
    if (this.#isClosed) await listening.close();
    else this.#listening = listening;
  }

  /** Waits until something came, it is time to say again that nothing did, or the signal is aborted. */
  async #change(signal: AbortSignal): Promise<void> {
    const onAbort = () => this.#wake();
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      signal.addEventListener("abort", onAbort, { once: true });
      this.#cancel = this.#options.clock.after(CAUGHT_UP_MS, () => {
        this.#saidCaughtUp = false;
        resolve();
      });
      if (signal.aborted || this.#isClosed || !this.#intake.isEmpty) resolve();
    });
    this.#cancel();
    this.#wake = () => {};
    signal.removeEventListener("abort", onAbort);
  }
}
