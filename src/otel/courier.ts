import type { SpanFailure } from "../metric/words.ts";
import type { Answer } from "./answer.ts";
import type { Clock } from "../clock.ts";
import type { DeliveryState } from "./delivery-state.ts";
import type { Signal } from "./endpoint.ts";

/** Sends bytes once and says what came back; never throws. */
export interface Sender {
  /** Where to, for people: no passwords, no keys. */
  readonly target: string;
  /** Done once per batch, however often it is sent: compression. */
  readonly prepare: (bytes: Uint8Array) => Promise<Uint8Array>;
  /** `withinMs` is the longest that the answer may take. */
  readonly send: (body: Uint8Array, withinMs: number) => Promise<Answer>;
  readonly close: () => void;
}

/** How records of one signal become bytes, and how they are taken apart. */
export interface Freight<R> {
  readonly signal: Signal;
  readonly encode: (records: readonly R[]) => Uint8Array;
  /** The parts of one record that can be sent alone; only metrics have them. */
  readonly divide?: (record: R) => readonly R[];
  /** What a backend counts as rejected; a record each when left out. */
  readonly count?: (record: R) => number;
}

/** Why a record was given up (`SPAN_FAILURES` has the sentences); a full queue is the host's matter. */
export type FailureReason = Exclude<SpanFailure, "queue_full">;

export interface Failed<R> {
  readonly reason: FailureReason;
  readonly message: string;
  readonly count: number;
  /** Undefined when nobody can say which of the batch they are. */
  readonly records: readonly R[] | undefined;
}

/** What became of a batch: delivered + discarded + failed = all of it. */
export interface Delivery<R> {
  readonly delivered: number;
  /** Thrown away on purpose: the signal is switched off, or something newer stands for it. */
  readonly discarded: number;
  readonly failed: readonly Failed<R>[];
}

/** Never rejects. Once `abandon` is aborted, what is not on the wire and not decided is discarded. */
export type Deliver<R> = (records: readonly R[], abandon?: AbortSignal) => Promise<Delivery<R>>;

export interface CourierOptions<R> {
  readonly freight: Freight<R>;
  readonly sender: Sender;
  readonly state: DeliveryState;
  readonly clock: Clock;
  /** From 0 up to but not including 1. */
  readonly random: () => number;
  readonly timeoutMs: number;
  /** Called after every request, with how long it took. */
  readonly onRequest?: (seconds: number) => void;
}

const BACKOFF_BASE_MS = 500;
const BACKOFF_LEAST_MS = 50;
const BACKOFF_MOST_MS = 30_000;
/** While a batch is under suspicion, and when the input has ended, waiting long helps nobody. */
const BACKOFF_HURRY_MS = 5_000;
const MISCONFIGURED_MS = 30_000;
/** How long an unknown signal waits, once, for another one to be accepted. */
const ABSENT_GRACE_MS = 1_000;
const MAX_SERVER_ERRORS = 10;
/** How sending one body ended. */
type End =
  | { readonly kind: "taken" }
  | { readonly kind: "partial"; readonly rejected: number; readonly message: string }
  | { readonly kind: "refused"; readonly reason: FailureReason; readonly message: string }
  | { readonly kind: "discarded" }
  | { readonly kind: "undelivered"; readonly message: string };

/**
 * Delivers batches of one signal: a batch is sent until the backend has taken it, or has made plain
 * that it never will. Only `finish` sets an end to trying.
 */
export class Courier<R> {
  readonly #options: CourierOptions<R>;
  readonly #sleepers = new Set<() => void>();
  #deadline: number | undefined;

  constructor(options: CourierOptions<R>) {
    this.#options = options;
  }

  /** From now on trying ends after `withinMs`. A later call can only shorten it. */
  finish(withinMs: number): void {
    const deadline = this.#options.clock.now() + withinMs;
    this.#deadline = Math.min(this.#deadline ?? deadline, deadline);
    this.wake();
  }

  /** See {@link Deliver}. */
  async deliver(records: readonly R[], abandon?: AbortSignal): Promise<Delivery<R>> {
    const wake = () => this.wake();
    abandon?.addEventListener("abort", wake);
    const failed: Failed<R>[] = [];
    let delivered = 0;
    let discarded = 0;
    const parts: (readonly R[])[] = [records];
    for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
      if (part.length === 0) continue;
      const count = this.#count(part);
      const end = await this.#send(part, abandon);
      if (end.kind === "taken") delivered += count;
      else if (end.kind === "discarded") discarded += count;
      else if (end.kind === "undelivered") {
        failed.push({ reason: "undelivered", message: end.message, count, records: part });
      } else if (end.kind === "partial") {
        const rejected = Math.min(end.rejected, count);
        delivered += count - rejected;
        failed.push({
          reason: "rejected",
          message: end.message,
          count: rejected,
          records: rejected === count ? part : undefined,
        });
      } else {
        const halves = this.#halves(part);
        if (halves !== undefined) parts.push(...halves);
        else failed.push({ reason: end.reason, message: end.message, count, records: part });
      }
    }
    abandon?.removeEventListener("abort", wake);
    for (const { reason, count, message } of failed) this.#options.state.lost(reason, count, message);
    return { delivered, discarded, failed };
  }

  /** The two halves in the order in which a stack gives them back; undefined when there is nothing to halve. */
  #halves(part: readonly R[]): readonly (readonly R[])[] | undefined {
    const [only] = part;
    const whole =
      part.length === 1 && only !== undefined ? (this.#options.freight.divide?.(only) ?? part) : part;
    if (whole.length < 2) return undefined;
    const middle = whole.length >> 1;
    return [whole.slice(middle), whole.slice(0, middle)];
  }

  #count(part: readonly R[]): number {
    const { count } = this.#options.freight;
    return count === undefined ? part.length : part.reduce((sum, record) => sum + count(record), 0);
  }

  /** The bytes are made once and kept for every retry. */
  async #send(part: readonly R[], abandon: AbortSignal | undefined): Promise<End> {
    const { freight, sender } = this.#options;
    let body: Uint8Array;
    try {
      body = await sender.prepare(freight.encode(part));
    } catch (error) {
      return { kind: "refused", reason: "serialize", message: String(error) };
    }
    return this.#sendUntilDecided(body, abandon);
  }

  async #sendUntilDecided(body: Uint8Array, abandon: AbortSignal | undefined): Promise<End> {
    const { clock, sender, state, timeoutMs, onRequest } = this.#options;
    const troubles: Troubles = { failures: 0, serverErrors: 0, absences: 0 };
    let last = "there was no time to send it";
    for (;;) {
      if (state.phase === "off" || abandon?.aborted) return { kind: "discarded" };
      const left = this.#left();
      if (left <= 0) return { kind: "undelivered", message: last };
      const startedAt = clock.now();
      const answer = await sender.send(body, Math.min(timeoutMs, left));
      onRequest?.((clock.now() - startedAt) / 1_000);
      switch (answer.kind) {
        case "accepted":
          state.accepted(answer.warning);
          return { kind: "taken" };
        case "partial":
          state.accepted();
          return answer;
        case "split":
          state.answered();
          return {
            kind: "refused",
            reason: answer.tooLarge ? "too_large" : "refused",
            message: messageOf(answer),
          };
        case "server_error":
        case "retry":
        case "misconfigured": {
          last = messageOf(answer);
          const next = this.#next(answer, troubles);
          if ("kind" in next) return next;
          const ended = await this.#pause(next);
          if (ended === "too late") return { kind: "undelivered", message: last };
          if (ended === "woken") troubles.failures = 0;
        }
      }
    }
  }

  /** What to do after an answer that took nothing and refused nothing: end, or wait and send again. */
  #next(
    answer: Extract<Answer, { kind: "server_error" | "retry" | "misconfigured" }>,
    troubles: Troubles,
  ): End | Pause {
    const { state } = this.#options;
    switch (answer.kind) {
      case "server_error":
        troubles.serverErrors += 1;
        if (troubles.serverErrors >= MAX_SERVER_ERRORS) {
          return { kind: "refused", reason: "server_error", message: messageOf(answer) };
        }
        state.failing(answer);
        return { ms: this.#backoff(troubles.serverErrors, BACKOFF_HURRY_MS), bound: false };
      case "retry":
        troubles.serverErrors = 0;
        troubles.failures += 1;
        state.failing(answer);
        if (answer.afterMs !== undefined) return { ms: answer.afterMs, bound: true };
        return { ms: this.#backoff(troubles.failures, BACKOFF_MOST_MS), bound: false };
      case "misconfigured":
        troubles.serverErrors = 0;
        if (answer.absent && state.standing === "unknown") {
          state.switchOff(answer);
          return { kind: "discarded" };
        }
        troubles.absences += 1;
        if (answer.absent && state.standing === "unclear" && troubles.absences === 1) {
          return { ms: ABSENT_GRACE_MS, bound: false };
        }
        state.misconfigured(answer);
        return { ms: MISCONFIGURED_MS, bound: false };
    }
  }

  /** Milliseconds until `finish` is over. */
  #left(): number {
    return this.#deadline === undefined ? Infinity : this.#deadline - this.#options.clock.now();
  }

  /** Exponential with full jitter, so that many senders do not come back at the same moment. */
  #backoff(failures: number, most: number): number {
    const cap = this.#deadline === undefined ? most : Math.min(most, BACKOFF_HURRY_MS);
    const ceiling = Math.min(cap, BACKOFF_BASE_MS * 2 ** (failures - 1));
    return Math.max(BACKOFF_LEAST_MS, this.#options.random() * ceiling);
  }

  /**
   * Waits, and says how that ended. A wait that the backend asked for is `bound` to be kept; when it
   * outlasts the deadline it is too late for anything.
   */
  async #pause({ ms, bound }: Pause): Promise<"over" | "woken" | "too late"> {
    const { clock } = this.#options;
    const until = clock.now() + ms;
    for (;;) {
      const left = this.#left();
      const wait = until - clock.now();
      if (wait <= 0) return "over";
      if (left <= 0 || (bound && wait > left)) return "too late";
      const woken = await this.#sleep(Math.min(wait, left));
      if (woken && !bound) return "woken";
    }
  }

  #sleep(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (woken: boolean) => {
        cancel();
        this.#sleepers.delete(wake);
        resolve(woken);
      };
      const wake = () => end(true);
      const cancel = this.#options.clock.after(ms, () => end(false));
      this.#sleepers.add(wake);
    });
  }

  /** Tries again at once whatever waits, but for what the backend asked to wait. */
  wake(): void {
    for (const wake of this.#sleepers) wake();
  }
}

interface Pause {
  readonly ms: number;
  /** Not to be cut short, because the backend asked for it. */
  readonly bound: boolean;
}

/** What one body has met so far. */
interface Troubles {
  failures: number;
  serverErrors: number;
  absences: number;
}

function messageOf(answer: { readonly cause: string; readonly message: string }): string {
  return answer.message === "" ? answer.cause : `${answer.cause}: ${answer.message}`;
}
