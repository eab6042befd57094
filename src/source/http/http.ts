import type { Clock } from "../../clock.ts";
import { Bell } from "../bell.ts";
import type { Reading, Source } from "../source.ts";
import { Door, type DoorOptions } from "./door.ts";
import { Intake } from "./intake.ts";
import type { HttpSpec } from "./url.ts";

export interface HttpSourceOptions extends DoorOptions {
  readonly clock: Clock;
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
  readonly #clock: Clock;
  readonly #door: Door;
  readonly #intake: Intake;
  readonly #bell = new Bell();
  #prepared: Promise<void> | undefined;
  #saidCaughtUp = false;
  #handedOut = false;

  constructor(spec: HttpSpec, options: HttpSourceOptions) {
    this.#clock = options.clock;
    this.#door = new Door(spec, options);
    this.#intake = new Intake({ maxBytes: this.#door.limits.maxWaitingBytes, now: options.clock.now });
    this.#intake.onNews = () => this.#bell.ring();
  }

  get name(): string {
    return this.#door.name;
  }

  get refused(): Source["refused"] {
    return this.#door.refused;
  }

  prepare(): Promise<void> {
    this.#prepared ??= this.#door.open(this.#intake);
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
      this.#bell.listen();
      if (signal.aborted) this.#intake.stop();
      if (this.#door.isClosed) return undefined;
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
      await this.#bell.wait(signal, { clock: this.#clock, ms: CAUGHT_UP_MS });
      this.#saidCaughtUp = false;
    }
  }

  async close(): Promise<void> {
    this.#intake.stop();
    await this.#door.close();
  }
}
