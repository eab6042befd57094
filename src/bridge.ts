import { unlessAborted } from "./abort.ts";
import { Committer } from "./committer.ts";
import { Counters } from "./counters.ts";
import type { DeadLetter } from "./dead-letter.ts";
import { Decoder, type DecoderOptions } from "./event/decode.ts";
import { every } from "./every.ts";
import { jointCounting, newBirth, type Keep } from "./kept-state.ts";
import { Lane } from "./lane.ts";
import type { Log } from "./log.ts";
import { addSnapshots } from "./metric/combine.ts";
import { Ledger } from "./metric/ledger.ts";
import type { Clock } from "./clock.ts";
import type { ExportConfig } from "./otel/environment.ts";
import { Outlet, type Counting } from "./otel/outlet.ts";
import type { RefusedSpan } from "./otel/span-outlet.ts";
import { Pipeline } from "./pipeline.ts";
import { reportOf, type Report } from "./report.ts";
import { Assembler } from "./run/assembler.ts";
import { DEFAULT_REORDER_MS, type HeartOptions } from "./run/limits.ts";
import { Settling } from "./settling.ts";
import type { Shard } from "./shard.ts";
import type { LogSource, Source } from "./source/source.ts";
import { sourceStatusOf, type BridgeStatus } from "./status.ts";

/** A source, opened and closed again by the caller. */
export type Input =
  /** Read once: what was taken is delivered in this life of the process or not at all. */
  | { readonly source: Source; readonly keep?: undefined }
  /** Read until it is committed. */
  | { readonly source: LogSource; readonly keep: Keep };

export interface BridgeConfig {
  /** Each is read side by side, as a pipeline of its own. */
  readonly inputs: readonly Input[];
  /** The runs that are this process's; undefined for all. */
  readonly shard?: Shard | undefined;
  readonly decoder: DecoderOptions;
  readonly heart: Omit<HeartOptions, "reorderWindowMs">;
  /** For every source. Undefined: 0 where a source keeps its order, else `DEFAULT_REORDER_MS`. */
  readonly reorderWindowMs?: number | undefined;
  readonly exports: ExportConfig;
  /** How long what is undelivered at the end is tried. */
  readonly flushTimeoutMs: number;
  readonly commitIntervalMs: number;
}

export interface BridgeIo {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly deadLetter: DeadLetter | undefined;
  /** Where `OTEL_*_EXPORTER=console` writes. */
  readonly write: (line: Uint8Array) => Promise<void>;
  /** Aborted: stop taking, hand on what was taken. */
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  /** Given at the start what reads how delivery is going. */
  readonly onStart?: (read: () => BridgeStatus) => void;
}

export interface Progress {
  readonly bytes: number;
  readonly spans: number;
}

export interface BridgeEnd {
  readonly report: Report;
  /** Everything that was taken was delivered, as far as it was not refused input. */
  readonly delivered: boolean;
  /** Events were not delivered, and not acknowledged either: the next process on the same state delivers them. */
  readonly comesAgain: boolean;
  /** A source that could not be read to its end, or a state that is another process's now. */
  readonly failure: unknown;
}

/**
 * Runs sources into the backend until they end or are stopped: reading, committing, and the end
 * (docs/delivery.md). The clock, the random numbers and the sources are arguments.
 */
export async function runBridge(config: BridgeConfig, io: BridgeIo): Promise<BridgeEnd> {
  const bridge = new Bridge(config, io);
  return bridge.run();
}

/** Longest that the last commits may take beyond the time for what is undelivered, in milliseconds. */
const LAST_WRITE_MS = 1_000;

/**
 * Events that may wait for others in a lane with a state: well below what may be taken uncommitted, for what waits
 * is not committed.
 */
const MAX_KEPT_WAITING = 49_152;

class Bridge {
  readonly #config: BridgeConfig;
  readonly #io: BridgeIo;
  readonly #outlet: Outlet;
  /** Those with a state, which goes on, and those without one, which begin anew. */
  readonly #counters: readonly Counters[];
  readonly #stop = new AbortController();
  #failure: unknown;
  #bytes = 0;
  #spans = 0;
  /** A state did not answer in time at the end. */
  #leftUnsettled = false;
  /** Each stops what is repeated. */
  readonly #timers: (() => void)[] = [];

  constructor(config: BridgeConfig, io: BridgeIo) {
    this.#config = config;
    this.#io = io;
    const { clock, random, log, write } = io;
    this.#outlet = new Outlet(config.exports, { clock, random, log, write });
    const kept = config.inputs.filter((input) => input.keep !== undefined);
    const unkept = config.inputs.filter((input) => input.keep === undefined);
    const counting = jointCounting(
      kept.map(({ keep }) => keep),
      config.exports.semconv,
    );
    this.#counters = [
      ...(counting === undefined ? [] : [this.#countersOf(kept, counting)]),
      ...(unkept.length === 0 ? [] : [this.#countersOf(unkept, newBirth(clock.now()))]),
    ];
  }

  async run(): Promise<BridgeEnd> {
    const { signal, clock } = this.#io;
    const abort = () => this.#stop.abort();
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    this.#io.onStart?.(() => this.#status());
    const { commitIntervalMs, exports } = this.#config;
    for (const one of this.#lanes) {
      this.#timers.push(
        every(clock, 1_000, () => Promise.resolve(one.lane.tick())),
        every(clock, 1_000, () => readLag(one.lane)),
        every(clock, commitIntervalMs, () => one.settle()),
      );
    }
    for (const counters of this.#counters) {
      this.#timers.push(
        every(clock, exports.metricReading.intervalMs, () => {
          // Not waited for: a newer reading takes the place of one that cannot be delivered.
          void counters.send();
          return Promise.resolve();
        }),
      );
    }
    await Promise.all(this.#lanes.map((one) => this.#read(one)));
    signal.removeEventListener("abort", abort);
    return this.#end();
  }

  get #lanes(): readonly Settling[] {
    return this.#counters.flatMap(({ lanes }) => lanes);
  }

  async #read(one: Settling): Promise<void> {
    // A state begins before anything is told of it: a kill then changes no instance id.
    const { lane } = one;
    if (lane.committer !== undefined) await unlessAborted(one.settle(), this.#stop.signal);
    try {
      await lane.read(this.#stop.signal);
    } catch (error) {
      // What was read is delivered before anybody is told, and all lanes have stopped before that.
      this.#fail(error);
    }
    // Others may go on for long.
    if (lane.ended) lane.pipeline.drain();
  }

  async #end(): Promise<BridgeEnd> {
    for (const stop of this.#timers) stop();
    const { flushTimeoutMs } = this.#config;
    const endsAtMs = this.#io.clock.now() + flushTimeoutMs;
    // With a state a stop ends nothing: what is open stays open in it, what waits comes again.
    for (const { lane } of this.#lanes) {
      if (lane.committer === undefined && !lane.ended) lane.pipeline.drain();
    }
    const finished = this.#outlet.finish(flushTimeoutMs);
    await Promise.all(this.#counters.map((counters) => this.#finish(counters, endsAtMs)));
    await finished;
    this.#outlet.close();
    const report = reportOf(addSnapshots(this.#counters.map(({ snapshot }) => snapshot)));
    const failed = sum(this.#lanes.map(({ spans }) => spans.failedSpans));
    const undelivered = sum(this.#lanes.map(({ spans }) => spans.undeliveredSpans));
    const isWritten = this.#lanes.every((one) => one.isWritten);
    const areTaken = this.#counters.every((one) => one.isTaken);
    const isAllSent = failed === 0 && this.#outlet.failedLogs === 0;
    const delivered = isAllSent && areTaken && isWritten && !this.#leftUnsettled;
    const areKept = this.#lanes.every(({ lane }) => lane.committer !== undefined);
    const isRefused = failed > undelivered || this.#outlet.failedLogs > 0;
    const isBehind = undelivered > 0 || !isWritten;
    const comesAgain = isBehind && areKept && !isRefused && this.#failure === undefined;
    return { report, failure: this.#failure, delivered, comesAgain };
  }

  /** The last commits, then the last metrics. A state that does not answer holds up nothing else. */
  async #finish(counters: Counters, endsAtMs: number): Promise<void> {
    const latestMs = endsAtMs + LAST_WRITE_MS;
    const settled = Promise.all(counters.lanes.map((one) => one.settleAll()));
    const isInTime = (await this.#until(latestMs, settled)) && (await this.#until(latestMs, counters.send()));
    if (!isInTime) this.#leftUnsettled = true;
  }

  /** False when it took longer. */
  async #until(latestMs: number, act: Promise<unknown>): Promise<boolean> {
    const { clock } = this.#io;
    let cancel = () => {};
    const tooLate = new Promise<false>((resolve) => {
      cancel = clock.after(Math.max(0, latestMs - clock.now()), () => resolve(false));
    });
    const inTime = await Promise.race([act.then(() => true), tooLate]);
    cancel();
    return inTime;
  }

  #countersOf(inputs: readonly Input[], counting: Counting): Counters {
    const lanes = inputs.map((input) => this.#lane(input));
    return new Counters(lanes, this.#outlet.metrics(counting), this.#io.clock);
  }

  #lane({ source, keep }: Input): Settling {
    const { decoder, shard, reorderWindowMs = source.keepsOrder ? 0 : DEFAULT_REORDER_MS } = this.#config;
    const options = heartOptions({ ...this.#config.heart, reorderWindowMs }, keep !== undefined);
    const { log, deadLetter, clock } = this.#io;
    const kept = keep?.kept;
    const heart = kept === undefined ? new Assembler(options) : Assembler.restore(kept.heart, options);
    const refuses = source.refused !== undefined;
    const ledger = new Ledger({ source: source.name, refuses, agent: options.agentName }, kept?.ledger);
    const onRefused = (refused: RefusedSpan) => this.#keepRefused(refused, source);
    const spans = this.#outlet.spans({ ledger: kept?.exports, onRefused });
    let room: Promise<void> | undefined;
    const pipeline = new Pipeline({
      decoder: new Decoder(decoder),
      heart,
      ledger,
      shard,
      redact: decoder.redact,
      onOp: (op) => {
        if (op.op === "span") this.#spans += 1;
        if (op.op === "fault") {
          log.error("A run was closed as faulted because of a bug in behest-otel", {
            run_id: op.runId,
            error: op.message,
          });
        }
        room = this.#outlet.put(op, spans) ?? room;
      },
    });
    const committer = keep && new Committer({ ...keep, source, heart, ledger });
    const lane = new Lane({
      source,
      pipeline,
      committer,
      deadLetter,
      log,
      now: clock.now,
      room: async () => {
        const behind = room;
        room = undefined;
        if (behind !== undefined) await unlessAborted(behind, this.#stop.signal);
        if (committer !== undefined) await this.#hasRoom(committer, settling);
      },
      onChunk: (bytes) => {
        this.#bytes += bytes;
        this.#io.onProgress?.({ bytes: this.#bytes, spans: this.#spans });
      },
    });
    const settling: Settling = new Settling({
      lane,
      spans,
      othersFlushed: () => this.#outlet.logsFlushed(),
      deadLetter,
      semconv: this.#config.exports.semconv,
      clock,
      log,
      onReplaced: (error) => this.#fail(error),
    });
    return settling;
  }

  /** Waits until the state has room for more, or everything has to stop. */
  async #hasRoom(committer: Committer, settling: Settling): Promise<void> {
    const mustWait = () => committer.isFull && !this.#stop.signal.aborted;
    if (mustWait()) void settling.settle();
    // A state that cannot be written is tried again at the next interval, not at once.
    while (mustWait()) await unlessAborted(settling.written, this.#stop.signal);
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#stop.abort();
  }

  #status(): BridgeStatus {
    const sources = this.#lanes.map(({ lane, isWritten }) => sourceStatusOf(lane, isWritten));
    return { signals: this.#outlet.status(), sources };
  }

  #keepRefused({ reason, message, json }: RefusedSpan, source: Source): void {
    const { clock, deadLetter } = this.#io;
    void deadLetter?.add({
      kind: "span",
      code: `BEHEST_EXPORT_${reason.toUpperCase()}`,
      message,
      source: source.name,
      deliveryId: undefined,
      at: new Date(clock.now()),
      payload: json,
    });
  }
}

/** What waits for others cannot be committed, and a lane whose commits are full of it would never read on. */
function heartOptions(options: HeartOptions, isKept: boolean): HeartOptions {
  return isKept ? { ...options, maxWaiting: Math.min(options.maxWaiting, MAX_KEPT_WAITING) } : options;
}

async function readLag({ source, committer, pipeline }: Lane): Promise<void> {
  if (committer !== undefined) pipeline.ledger.setGauge("sourceLag", await (source as LogSource).lag());
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
