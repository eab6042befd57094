import type { Clock } from "./clock.ts";
import type { Committer } from "./committer.ts";
import type { DeadLetter } from "./dead-letter.ts";
import { BridgeError } from "./errors.ts";
import { fromMillis, secondsBetween } from "./event/time.ts";
import type { Counted } from "./kept-state.ts";
import type { Lane } from "./lane.ts";
import type { Log } from "./log.ts";
import { addSnapshots } from "./metric/combine.ts";
import type { LedgerData } from "./metric/saved.ts";
import type { Snapshot } from "./metric/snapshot.ts";
import type { SemconvMode } from "./metric/table.ts";
import type { SpanOutlet } from "./otel/span-outlet.ts";
import { readHeart } from "./pipeline.ts";
import { sourceCounts } from "./source-counts.ts";

export interface SettlingOptions {
  readonly lane: Lane;
  readonly spans: SpanOutlet;
  /** Awaited beside the spans: what else has to be delivered first. */
  readonly othersFlushed: () => Promise<void>;
  readonly deadLetter: DeadLetter | undefined;
  readonly semconv: SemconvMode;
  readonly clock: Clock;
  readonly log: Log;
  /** The state is another process's, or a bug made it unsafe to write it. */
  readonly onReplaced: (error: unknown) => void;
}

/** How long a state is asked whose it is. */
const CONFIRM_MS = 5_000;

/**
 * What one lane took, counted and handed on, settled from time to time (docs/delivery.md): once every span of it is
 * decided and the state is written it is acknowledged, and told to the metrics, which so run ahead of
 * neither. Lanes do not wait for each other.
 */
export class Settling {
  readonly #options: SettlingOptions;
  readonly #tellCounts: () => void;
  #settled: { readonly snapshot: Snapshot; readonly counted: Counted };
  #phase: "written" | "unwritten" | "replaced" = "written";
  #settlingNow: Promise<void> | undefined;
  /** Resolves when the state has been written. */
  #written = Promise.withResolvers<void>();

  constructor(options: SettlingOptions) {
    this.#options = options;
    const { lane, spans, semconv } = options;
    const { ledger } = lane.pipeline;
    this.#tellCounts = sourceCounts(lane.source, ledger);
    this.#settled = {
      snapshot: addSnapshots([ledger.snapshot(semconv), spans.ledger.snapshot(semconv)]),
      counted: { ledger: ledger.save(), exports: spans.ledger.save() },
    };
  }

  get lane(): Lane {
    return this.#options.lane;
  }

  get spans(): SpanOutlet {
    return this.#options.spans;
  }

  /** All data points as they were settled last. */
  get snapshot(): Snapshot {
    return this.#settled.snapshot;
  }

  /** The same as a state keeps it. */
  get counted(): Counted {
    return this.#settled.counted;
  }

  /** False from a state that could not be written until it is, and for ever when it is another process's. */
  get isWritten(): boolean {
    return this.#phase === "written";
  }

  /** Resolves when the state is written next. */
  get written(): Promise<void> {
    return this.#written.promise;
  }

  /** One at a time; a state that cannot be written is told and tried again with the next. Never rejects. */
  settle(): Promise<void> {
    this.#settlingNow ??= this.#settleOnce().finally(() => (this.#settlingNow = undefined));
    return this.#settlingNow;
  }

  /** Settles all there is by now. */
  async settleAll(): Promise<void> {
    await this.#settlingNow;
    await this.settle();
  }

  /** Writes down what the backend has taken of the metrics. Never rejects. */
  async tell(counted: Counted, timeMs: number): Promise<void> {
    await this.lane.committer?.tell({ ...counted, timeMs });
  }

  /**
   * Whether a newer process has opened the state. A process that was cut off from it may have been replaced
   * without noticing, so `unknown` is no yes.
   */
  async whose(): Promise<"ours" | "another's" | "unknown"> {
    const { committer } = this.lane;
    if (committer === undefined) return "ours";
    if (this.#phase === "replaced") return "another's";
    const { clock } = this.#options;
    let cancel = () => {};
    const tooLate = new Promise<"unknown">((resolve) => {
      cancel = clock.after(CONFIRM_MS, () => resolve("unknown"));
    });
    const asked = committer.confirm().then(
      () => "ours" as const,
      (error: unknown) => {
        if (isPassing(error)) return "unknown";
        this.#replaced(error);
        return "another's";
      },
    );
    const answer = await Promise.race([asked, tooLate]);
    cancel();
    return answer;
  }

  async #settleOnce(): Promise<void> {
    const { lane, spans, clock, deadLetter, semconv, othersFlushed } = this.#options;
    const { committer, pipeline } = lane;
    const begun = fromMillis(clock.now());
    this.#readGauges();
    if (committer === undefined) this.#tellCounts();
    else committer.note(this.#tellCounts);
    const ledger = pipeline.ledger.save();
    const events = pipeline.ledger.snapshot(semconv);
    const release = spans.hold();
    await Promise.all([spans.flushed(), othersFlushed()]);
    const exports = spans.ledger.save();
    // How long commits took is saved with whatever is counted next, and told of no earlier.
    const outcomes = spans.ledger.snapshot(semconv, exports);
    release();
    await deadLetter?.flushed();
    if (committer === undefined || (await this.#write(committer, exports))) {
      this.#settled = { snapshot: addSnapshots([events, outcomes]), counted: { ledger, exports } };
    }
    spans.ledger.commitDuration(secondsBetween(begun, fromMillis(clock.now())));
  }

  /** False when the state could not be written; the next commit tries again. */
  async #write(committer: Committer, exports: LedgerData): Promise<boolean> {
    const { log } = this.#options;
    const source = this.lane.source.name;
    // What could not be delivered in time is not committed, so that the next process delivers it.
    if (this.#phase === "replaced" || this.spans.undeliveredSpans > 0) return false;
    try {
      await committer.write(exports);
    } catch (error) {
      if (!isPassing(error)) this.#replaced(error);
      else if (this.#phase === "written") {
        log.error(`the state cannot be written, nothing is acknowledged: ${error.message}`, { source });
        this.#phase = "unwritten";
      }
      return false;
    }
    this.#written.resolve();
    this.#written = Promise.withResolvers();
    if (this.#phase === "unwritten") log.info("the state is written again", { source });
    this.#phase = "written";
    return true;
  }

  #replaced(error: unknown): void {
    this.#phase = "replaced";
    this.#options.onReplaced(error);
  }

  #readGauges(): void {
    const { lane, spans, clock } = this.#options;
    const { pipeline, committer } = lane;
    const { heart, ledger } = pipeline;
    readHeart(heart, ledger);
    ledger.setGauge("sourcePending", committer?.uncommitted);
    ledger.setGauge("stateRuns", committer && heart.openRuns + heart.rememberedRuns);
    ledger.setGauge("stateSize", committer?.stateBytes);
    // A source that has ended grows no older.
    const hasAge = heart.nowMs > 0 && !lane.ended;
    ledger.setGauge("sourceAge", hasAge ? Math.max(0, clock.now() - heart.nowMs) / 1000 : undefined);
    spans.ledger.setGauge("queueSpans", spans.waitingSpans);
  }
}

/** The state is still ours, as far as anybody knows, and can be written another time. */
function isPassing(error: unknown): error is BridgeError {
  return error instanceof BridgeError && error.code === "BEHEST_STATE_COMMIT";
}
