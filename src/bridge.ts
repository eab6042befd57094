import { randomUUID } from "node:crypto";

import type { DeadLetter } from "./dead-letter.ts";
import { Decoder, type DecoderOptions } from "./event/decode.ts";
import { fromMillis, secondsBetween } from "./event/time.ts";
import { Lane } from "./lane.ts";
import type { Log } from "./log.ts";
import { addSnapshots } from "./metric/combine.ts";
import { Ledger } from "./metric/ledger.ts";
import type { Snapshot } from "./metric/snapshot.ts";
import type { Clock } from "./otel/clock.ts";
import type { ExportConfig } from "./otel/environment.ts";
import { Outlet } from "./otel/outlet.ts";
import { Pipeline, readHeart } from "./pipeline.ts";
import { reportOf, type Report } from "./report.ts";
import { Assembler } from "./run/assembler.ts";
import type { HeartOptions } from "./run/limits.ts";
import type { Source } from "./source/source.ts";

export interface BridgeConfig {
  /** Opened, and closed again, by the caller. Each is read side by side, as a pipeline of its own. */
  readonly sources: readonly Source[];
  readonly decoder: DecoderOptions;
  readonly heart: HeartOptions;
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

export interface BridgeStatus {
  readonly signals: ReturnType<Outlet["status"]>;
}

export interface Progress {
  readonly bytes: number;
  readonly spans: number;
}

export interface BridgeEnd {
  readonly report: Report;
  /** Everything that was taken was delivered, as far as it was not refused input. */
  readonly delivered: boolean;
  /** A source that could not be read to its end. */
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
  readonly #stopped = Promise.withResolvers<void>();
  #room: Promise<void> | undefined;
  #bytes = 0;
  #spans = 0;
  /** What the last commit covered: all that metrics are told of. */
  #committed: Snapshot = [];
  #committing: Promise<void> | undefined;
  #metricsTaken = true;
  #stopTimers: (() => void)[] = [];

  constructor(config: BridgeConfig, io: BridgeIo) {
    this.#config = config;
    this.#io = io;
    const { clock, random, log, write, deadLetter } = io;
    this.#outlet = new Outlet(config.exports, {
      clock,
      random,
      log,
      write,
      instanceId: randomUUID(),
      start: fromMillis(clock.now()),
      onRefused: ({ reason, message, json }) => {
        const code = `BEHEST_EXPORT_${reason.toUpperCase()}`;
        const at = new Date(clock.now());
        const source = config.sources.map(({ name }) => name).join(", ");
        void deadLetter?.add({
          kind: "span",
          code,
          message,
          source,
          deliveryId: undefined,
          at,
          payload: json,
        });
      },
    });
    this.#lanes = config.sources.map((source) => this.#lane(source));
  }

  async run(): Promise<BridgeEnd> {
    const { signal } = this.#io;
    const stop = new AbortController();
    const abort = () => {
      stop.abort();
      this.#stopped.resolve();
    };
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    this.#io.onStart?.(() => ({ signals: this.#outlet.status() }));
    this.#every(1_000, () => this.#tick());
    this.#every(this.#config.commitIntervalMs, () => this.#commit());
    this.#every(this.#config.exports.metricReading.intervalMs, () => {
      // Not waited for: a newer reading takes the place of one that cannot be delivered.
      void this.#exportMetrics();
      return Promise.resolve();
    });
    this.#committed = this.#snapshot();
    let failure: unknown;
    const read = async (lane: Lane) => {
      try {
        await lane.read(stop.signal);
      } catch (error) {
        // What was read is delivered before anybody is told, and all lanes have stopped before that.
        failure ??= error;
        abort();
      }
    };
    await Promise.all(this.#lanes.map(read));
    signal.removeEventListener("abort", abort);
    return this.#end(failure);
  }

  async #end(failure: unknown): Promise<BridgeEnd> {
    for (const stop of this.#stopTimers) stop();
    const { flushTimeoutMs } = this.#config;
    for (const { pipeline } of this.#lanes) pipeline.drain();
    const endsAtMs = this.#io.clock.now() + flushTimeoutMs;
    await this.#outlet.finish(flushTimeoutMs);
    this.#readGauges();
    const last = this.#snapshot();
    this.#committed = last;
    const exporting = this.#exportMetrics();
    await this.#outlet.finish(Math.max(0, endsAtMs - this.#io.clock.now()));
    await exporting;
    this.#outlet.close();
    const report = reportOf(last);
    const lost = report.spans.failed + this.#outlet.failedLogs;
    return { report, failure, delivered: lost === 0 && this.#metricsTaken };
  }

  #lane(source: Source): Lane {
    const { decoder, heart } = this.#config;
    const { log, deadLetter, clock } = this.#io;
    const pipeline = new Pipeline({
      decoder: new Decoder(decoder),
      heart: new Assembler(heart),
      ledger: new Ledger({ source: source.name, agent: heart.agentName }),
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
    return new Lane({
      source,
      pipeline,
      deadLetter,
      log,
      now: clock.now,
      room: () => this.#hasRoom(),
      onChunk: (bytes) => {
        this.#bytes += bytes;
        this.#io.onProgress?.({ bytes: this.#bytes, spans: this.#spans });
      },
    });
  }

  /** Waits until the way out has room for more, or everything has to stop. */
  async #hasRoom(): Promise<void> {
    const room = this.#room;
    if (room === undefined) return;
    await Promise.race([room, this.#stopped.promise]);
    if (this.#room === room) this.#room = undefined;
  }

  /** Time passes: silent runs expire also when nothing is read. */
  #tick(): Promise<void> {
    for (const lane of this.#lanes) lane.tick();
    return Promise.resolve();
  }

  /**
   * What is counted now is told to the metrics once every span of it is decided, so that metrics
   * never run ahead of the traces. One at a time.
   */
  #commit(): Promise<void> {
    this.#committing ??= (async () => {
      const begun = fromMillis(this.#io.clock.now());
      this.#readGauges();
      const snapshot = this.#snapshot();
      await this.#outlet.flushed();
      this.#committed = snapshot;
      const seconds = secondsBetween(begun, fromMillis(this.#io.clock.now()));
      this.#outlet.ledger.commitDuration(seconds);
      this.#committing = undefined;
    })();
    return this.#committing;
  }

  async #exportMetrics(): Promise<void> {
    const now = fromMillis(this.#io.clock.now());
    this.#metricsTaken = await this.#outlet.putMetrics(this.#committed, now);
  }

  #snapshot(): Snapshot {
    const { semconv } = this.#config.exports;
    const ledgers = [...this.#lanes.map(({ pipeline }) => pipeline.ledger), this.#outlet.ledger];
    return addSnapshots(ledgers.map((ledger) => ledger.snapshot(semconv)));
  }

  #readGauges(): void {
    const nowMs = this.#io.clock.now();
    for (const { pipeline } of this.#lanes) {
      const { heart, ledger } = pipeline;
      readHeart(heart, ledger);
      if (heart.nowMs > 0) ledger.setGauge("sourceAge", Math.max(0, nowMs - heart.nowMs) / 1000);
    }
    this.#outlet.ledger.setGauge("queueSpans", this.#outlet.waitingSpans);
  }

  /** Repeats `act`, each time this long after it was done; a failure of it is a bug and ends the process. */
  #every(ms: number, act: () => Promise<void>): void {
    const { clock } = this.#io;
    let cancel: (() => void) | undefined;
    let stopped = false;
    const again = () => {
      if (stopped) return;
      cancel = clock.after(ms, () => void act().then(again));
    };
    again();
    this.#stopTimers.push(() => {
      stopped = true;
      cancel?.();
    });
  }
}
