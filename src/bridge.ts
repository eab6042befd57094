import { Committer } from "./committer.ts";
import type { DeadLetter } from "./dead-letter.ts";
import { Decoder, type DecoderOptions } from "./event/decode.ts";
import { fromMillis, secondsBetween } from "./event/time.ts";
import { BridgeError } from "./errors.ts";
import { every } from "./every.ts";
import { jointBirth, newBirth, type Keep } from "./kept-state.ts";
import { Lane } from "./lane.ts";
import type { Log } from "./log.ts";
import { addSnapshots } from "./metric/combine.ts";
import { Ledger } from "./metric/ledger.ts";
import type { LedgerData } from "./metric/saved.ts";
import type { Snapshot } from "./metric/snapshot.ts";
import type { Clock } from "./clock.ts";
import type { ExportConfig } from "./otel/environment.ts";
import { Outlet, type RefusedSpan } from "./otel/outlet.ts";
import { Pipeline, readHeart } from "./pipeline.ts";
import { reportOf, type Report } from "./report.ts";
import { Assembler } from "./run/assembler.ts";
import { DEFAULT_REORDER_MS, type HeartOptions } from "./run/limits.ts";
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
  /** A source that could not be read to its end, or a state that is another process's now. */
  readonly failure: unknown;
}

/**
 * Runs sources into the backend until they end or are stopped: reading, committing, and the end
 * (DESIGN 7 and 8). The clock, the random numbers and the sources are arguments.
 */
export async function runBridge(config: BridgeConfig, io: BridgeIo): Promise<BridgeEnd> {
  const bridge = new Bridge(config, io);
  return bridge.run();
}

class Bridge {
  readonly #config: BridgeConfig;
  readonly #io: BridgeIo;
  readonly #outlet: Outlet;
  readonly #lanes: readonly Lane[];
  /** What the last commit of each lane covered: all that metrics are told of. */
  readonly #committed = new Map<Lane | Outlet, Snapshot>();
  readonly #stop = new AbortController();
  readonly #stopped = Promise.withResolvers<void>();
  #failure: unknown;
  /** Nothing may be written any more: the state is another process's, or a bug made it unsafe. */
  #replaced = false;
  #room: Promise<void> | undefined;
  #bytes = 0;
  #spans = 0;
  #committing: Promise<void> | undefined;
  #confirming: Promise<boolean> | undefined;
  /** Resolves when a state has been written. */
  #written = Promise.withResolvers<void>();
  /** What the metrics know of the counts that sources keep. */
  readonly #told = new Map<Source, { readonly redelivered: number; readonly lost: number }>();
  /** Lanes whose state could not be written the last time. */
  readonly #unwritten = new Set<Lane>();
  #metricsTaken = true;
  /** Each stops what is repeated. */
  readonly #timers: (() => void)[] = [];

  constructor(config: BridgeConfig, io: BridgeIo) {
    this.#config = config;
    this.#io = io;
    const { clock, random, log, write } = io;
    const keeps = config.inputs.map(({ keep }) => keep).filter((keep) => keep !== undefined);
    const { instanceId, start } = jointBirth(keeps.map(({ birth }) => birth)) ?? newBirth(clock.now());
    this.#outlet = new Outlet(config.exports, {
      clock,
      random,
      log,
      write,
      instanceId,
      start,
      ledger: keeps.find(({ kept }) => kept?.exports !== undefined)?.kept?.exports,
      onRefused: (refused) => this.#keepRefused(refused),
    });
    this.#lanes = config.inputs.map((input) => this.#lane(input));
  }

  async run(): Promise<BridgeEnd> {
    const { signal } = this.#io;
    const abort = () => this.#abort();
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    this.#io.onStart?.(() => this.#status());
    for (const lane of this.#lanes) this.#committed.set(lane, this.#snapshotOf(lane.pipeline.ledger));
    this.#committed.set(this.#outlet, this.#snapshotOf(this.#outlet.ledger));
    // A state begins before anything is told of it: a kill then changes no instance id.
    if (this.#lanes.some(({ committer }) => committer !== undefined)) await this.#commit();
    const { clock } = this.#io;
    const { commitIntervalMs, exports } = this.#config;
    this.#timers.push(
      every(clock, 1_000, () => this.#tick()),
      every(clock, 1_000, () => this.#readLags()),
      every(clock, commitIntervalMs, () => this.#commit()),
      every(clock, exports.metricReading.intervalMs, () => {
        // Not waited for: a newer reading takes the place of one that cannot be delivered.
        void this.#exportMetrics();
        return Promise.resolve();
      }),
    );
    const read = async (lane: Lane) => {
      try {
        await lane.read(this.#stop.signal);
      } catch (error) {
        // What was read is delivered before anybody is told, and all lanes have stopped before that.
        this.#fail(error);
      }
    };
    await Promise.all(this.#lanes.map(read));
    signal.removeEventListener("abort", abort);
    return this.#end();
  }

  async #end(): Promise<BridgeEnd> {
    for (const stop of this.#timers) stop();
    const { flushTimeoutMs } = this.#config;
    const endsAtMs = this.#io.clock.now() + flushTimeoutMs;
    // With a state a stop ends nothing: what is open stays open in it, what waits comes again.
    for (const lane of this.#lanes) if (lane.committer === undefined || lane.ended) lane.pipeline.drain();
    const finished = this.#outlet.finish(flushTimeoutMs);
    await this.#committing;
    await this.#commit();
    await finished;
    const exporting = this.#exportMetrics();
    await this.#outlet.finish(Math.max(0, endsAtMs - this.#io.clock.now()));
    await exporting;
    this.#outlet.close();
    const report = reportOf(this.#reading());
    const lost = this.#outlet.failedSpans + this.#outlet.failedLogs;
    const delivered = lost === 0 && this.#metricsTaken && this.#unwritten.size === 0;
    return { report, failure: this.#failure, delivered };
  }

  #lane({ source, keep }: Input): Lane {
    const { decoder, shard, reorderWindowMs = source.keepsOrder ? 0 : DEFAULT_REORDER_MS } = this.#config;
    const options = { ...this.#config.heart, reorderWindowMs };
    const { log, deadLetter, clock } = this.#io;
    const kept = keep?.kept;
    const heart = kept === undefined ? new Assembler(options) : Assembler.restore(kept.heart, options);
    const ledger = new Ledger({ source: source.name, agent: options.agentName }, kept?.ledger);
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
        this.#room = this.#outlet.put(op) ?? this.#room;
      },
    });
    const committer = keep && new Committer({ ...keep, source, heart, ledger });
    return new Lane({
      source,
      pipeline,
      committer,
      deadLetter,
      log,
      now: clock.now,
      room: () => this.#hasRoom(committer),
      onChunk: (bytes) => {
        this.#bytes += bytes;
        this.#io.onProgress?.({ bytes: this.#bytes, spans: this.#spans });
      },
    });
  }

  /** Waits until the way out has room for more, and the state too, or everything has to stop. */
  async #hasRoom(committer: Committer | undefined): Promise<void> {
    const room = this.#room;
    if (room !== undefined) {
      await Promise.race([room, this.#stopped.promise]);
      if (this.#room === room) this.#room = undefined;
    }
    const mustWait = () => committer?.isFull === true && !this.#stop.signal.aborted;
    if (mustWait()) void this.#commit();
    // A state that cannot be written is tried again at the next interval, not at once.
    while (mustWait()) {
      await Promise.race([this.#written.promise, this.#stopped.promise]);
    }
  }

  #abort(): void {
    this.#stop.abort();
    this.#stopped.resolve();
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#abort();
  }

  /** Time passes: silent runs expire also when nothing is read. */
  #tick(): Promise<void> {
    for (const lane of this.#lanes) lane.tick();
    return Promise.resolve();
  }

  /**
   * What is counted now is told to the metrics, and what was taken is acknowledged, once every span of it
   * is decided and the state is written: so metrics run ahead of neither. One at a time.
   */
  #commit(): Promise<void> {
    this.#committing ??= this.#commitOnce().finally(() => (this.#committing = undefined));
    return this.#committing;
  }

  async #commitOnce(): Promise<void> {
    const { clock, deadLetter } = this.#io;
    const begun = fromMillis(clock.now());
    this.#readGauges();
    const noted = this.#lanes.map((lane) => {
      lane.committer?.note();
      return { lane, snapshot: this.#snapshotOf(lane.pipeline.ledger) };
    });
    const release = this.#outlet.hold();
    await this.#outlet.flushed();
    const { ledger } = this.#outlet;
    const exports = ledger.save();
    // How long commits took is saved with whatever is counted next, and told of no earlier.
    const outcomes = ledger.snapshot(this.#config.exports.semconv, exports);
    release();
    await deadLetter?.flushed();
    // One state keeps what became of the spans of all lanes.
    const keeper = this.#lanes.find(({ committer }) => committer !== undefined);
    if (keeper === undefined) this.#committed.set(this.#outlet, outcomes);
    for (const { lane, snapshot } of noted) {
      const { committer } = lane;
      const isKeeper = lane === keeper;
      if (committer && !(await this.#write(lane, committer, isKeeper ? exports : undefined))) continue;
      this.#committed.set(lane, snapshot);
      if (isKeeper) this.#committed.set(this.#outlet, outcomes);
    }
    ledger.commitDuration(secondsBetween(begun, fromMillis(clock.now())));
  }

  /** False when the state could not be written; the next commit tries again. */
  async #write(lane: Lane, committer: Committer, exports: LedgerData | undefined): Promise<boolean> {
    const { log } = this.#io;
    // What could not be delivered in time is not committed, so that the next process delivers it.
    if (this.#replaced || this.#outlet.undeliveredSpans > 0) return false;
    try {
      await committer.write(exports);
    } catch (error) {
      if (!(error instanceof BridgeError) || error.code !== "BEHEST_STATE_COMMIT") {
        this.#replaced = true;
        this.#fail(error);
      } else if (!this.#unwritten.has(lane)) {
        log.error(`the state cannot be written, nothing is acknowledged: ${error.message}`, {
          source: lane.source.name,
        });
      }
      this.#unwritten.add(lane);
      return false;
    }
    this.#written.resolve();
    this.#written = Promise.withResolvers();
    if (this.#unwritten.delete(lane)) log.info("the state is written again", { source: lane.source.name });
    return true;
  }

  #status(): BridgeStatus {
    const sources = this.#lanes.map((lane) => sourceStatusOf(lane, !this.#unwritten.has(lane)));
    return { signals: this.#outlet.status(), sources };
  }

  async #exportMetrics(): Promise<void> {
    // A process that slept may have been replaced: what it knows is the past, and counters would fall.
    if (!(await this.#isOurs())) return;
    this.#outlet.ledger.touch();
    const now = fromMillis(this.#io.clock.now());
    this.#metricsTaken = await this.#outlet.putMetrics(this.#reading(), now);
  }

  /** Asks every state whether a newer process has opened it; one that cannot be asked is nobody else's. */
  #isOurs(): Promise<boolean> {
    this.#confirming ??= this.#confirm().finally(() => (this.#confirming = undefined));
    return this.#confirming;
  }

  async #confirm(): Promise<boolean> {
    for (const { committer } of this.#lanes) {
      if (committer === undefined || this.#replaced) continue;
      try {
        await committer.confirm();
      } catch (error) {
        if (error instanceof BridgeError && error.code === "BEHEST_STATE_COMMIT") continue;
        this.#replaced = true;
        this.#fail(error);
      }
    }
    return !this.#replaced;
  }

  /** All data points as they were committed. */
  #reading(): Snapshot {
    return addSnapshots([...this.#committed.values()]);
  }

  #snapshotOf(ledger: Ledger): Snapshot {
    return ledger.snapshot(this.#config.exports.semconv);
  }

  #readGauges(): void {
    const nowMs = this.#io.clock.now();
    for (const { pipeline, committer } of this.#lanes) {
      const { heart, ledger } = pipeline;
      readHeart(heart, ledger);
      ledger.setGauge("sourcePending", committer?.uncommitted);
      ledger.setGauge("stateRuns", committer && heart.openRuns + heart.rememberedRuns);
      if (heart.nowMs > 0) ledger.setGauge("sourceAge", Math.max(0, nowMs - heart.nowMs) / 1000);
    }
    this.#outlet.ledger.setGauge("queueSpans", this.#outlet.waitingSpans);
  }

  async #readLags(): Promise<void> {
    for (const [index, { source, keep }] of this.#config.inputs.entries()) {
      const ledger = this.#lanes[index]?.pipeline.ledger;
      if (keep === undefined || ledger === undefined) continue;
      ledger.setGauge("sourceLag", await source.lag());
      const { redelivered = 0, lost = 0 } = source;
      const told = this.#told.get(source) ?? { redelivered: 0, lost: 0 };
      ledger.sourceCounts({ redelivered: redelivered - told.redelivered, lost: lost - told.lost });
      this.#told.set(source, { redelivered, lost });
    }
  }

  #keepRefused({ reason, message, json }: RefusedSpan): void {
    const { clock, deadLetter } = this.#io;
    void deadLetter?.add({
      kind: "span",
      code: `BEHEST_EXPORT_${reason.toUpperCase()}`,
      message,
      source: this.#lanes.map(({ source }) => source.name).join(", "),
      deliveryId: undefined,
      at: new Date(clock.now()),
      payload: json,
    });
  }
}
