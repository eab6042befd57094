import type { Log } from "../log.ts";
import type { Acceptance } from "./acceptance.ts";
import type { Answer } from "./answer.ts";
import type { Clock } from "../clock.ts";
import type { Signal } from "./endpoint.ts";

export type DeliveryPhase =
  /** Nothing was sent yet. */
  | "idle"
  | "delivering"
  /** The backend cannot be reached or cannot take anything now. */
  | "retrying"
  /** The backend refuses the way it is sent: somebody has to change something. */
  | "misconfigured"
  /** The backend knows other signals but not this one. */
  | "off";

/** The same thing is told once in this time; the counters know every one. */
const LOG_AGAIN_MS = 60_000;

/** How delivery of one signal is going, and the telling of it to people. */
export class DeliveryState {
  readonly #signal: Signal;
  readonly #target: string;
  readonly #acceptance: Acceptance;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #toldAt = new Map<string, number>();
  #phase: DeliveryPhase = "idle";
  #sinceMs: number;
  #accepted = false;
  /** The troubles that were told and are not over. */
  readonly #open = new Set<string>();
  #lastWarning = "";

  constructor(options: {
    readonly signal: Signal;
    readonly target: string;
    readonly acceptance: Acceptance;
    readonly clock: Clock;
    readonly log: Log;
  }) {
    this.#signal = options.signal;
    this.#target = options.target;
    this.#acceptance = options.acceptance;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#sinceMs = options.clock.now();
  }

  get phase(): DeliveryPhase {
    return this.#phase;
  }

  /** How long that has been so. */
  get forSeconds(): number {
    return Math.max(0, this.#clock.now() - this.#sinceMs) / 1000;
  }

  /**
   * Whether an answer that says "unknown here" is about this signal alone: `unknown` when another
   * was accepted, `unclear` when none was yet. One that was accepted itself is `known` for good,
   * whatever a proxy says in between.
   */
  get standing(): "known" | "unknown" | "unclear" {
    if (this.#accepted) return "known";
    return this.#acceptance.byOther(this.#signal) ? "unknown" : "unclear";
  }

  /** The backend took something; `warning` is told when it differs from the last. */
  accepted(warning?: string): void {
    this.#accepted = true;
    this.answered();
    this.#acceptance.accept(this.#signal);
    if (warning === undefined || warning === this.#lastWarning) return;
    this.#lastWarning = warning;
    this.#log.warn(`The backend took the ${this.#signal} with a warning`, this.#facts({ message: warning }));
  }

  /** The backend looked at the data, whatever it thinks of them. */
  answered(): void {
    this.#enter("delivering");
    if (this.#open.size === 0) return;
    this.#open.clear();
    this.#log.info(`The backend answers to the ${this.#signal} again`, this.#facts({}));
  }

  failing(answer: Answer): void {
    const before = this.#enter("retrying");
    if (before === "misconfigured" || before === "off") return;
    this.#tellTrouble(
      "warn",
      `The ${this.#signal} cannot be delivered now; they are kept and sent again until they are taken`,
      answer,
    );
  }

  misconfigured(answer: Answer): void {
    if (this.#enter("misconfigured") === "off") return;
    this.#tellTrouble(
      "error",
      `The ${this.#signal} are refused because of where or how they are sent: check endpoint, protocol and ` +
        "credentials; they are kept and sent again every 30 seconds",
      answer,
    );
  }

  switchOff(answer: Answer): void {
    if (this.#enter("off") === "off") return;
    this.#log.warn(
      `The backend takes other signals but knows no ${this.#signal}: they are switched off until the next start ` +
        `(OTEL_${this.#signal.toUpperCase()}_EXPORTER=none says so from the beginning)`,
      this.#facts(answerFacts(answer)),
    );
  }

  lost(reason: string, count: number, message: string): void {
    if (!this.#isDue(`lost ${reason}`)) return;
    // What is kept in a state comes again; whoever reads that some are gone would look for them in vain.
    const what = reason === "undelivered" ? "could not be delivered before the end" : "were given up";
    this.#log.error(`Some ${this.#signal} ${what}`, this.#facts({ reason, count, message }));
  }

  /** Returns the phase before; `off` is never left. */
  #enter(next: DeliveryPhase): DeliveryPhase {
    const before = this.#phase;
    if (before === "off" || before === next) return before;
    this.#phase = next;
    this.#sinceMs = this.#clock.now();
    return before;
  }

  /** Once as long as it lasts, and not more than once a minute when it comes and goes. */
  #tellTrouble(level: "warn" | "error", message: string, answer: Answer): void {
    if (this.#open.has(level) || !this.#isDue(level)) return;
    this.#open.add(level);
    this.#log[level](message, this.#facts(answerFacts(answer)));
  }

  #isDue(key: string): boolean {
    const now = this.#clock.now();
    if (now - (this.#toldAt.get(key) ?? -Infinity) < LOG_AGAIN_MS) return false;
    this.#toldAt.set(key, now);
    return true;
  }

  #facts(facts: Facts): Facts {
    return { to: this.#target, ...facts };
  }
}

type Facts = Readonly<Record<string, string | number | undefined>>;

function answerFacts(answer: Answer): Facts {
  return "cause" in answer ? { cause: answer.cause, message: answer.message || undefined } : {};
}
