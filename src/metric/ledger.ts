import type { DecodeCode } from "../event/codes.ts";
import type { EventType } from "../event/event.ts";
import type { Op } from "../run/op.ts";
import { distributionOf, distributionRows, tallyOf, tallyRows, valueOf, type Tally } from "./book.ts";
import { emptyDistribution, merge, record, type Distribution } from "./distribution.ts";
import { FACTS, type DistributionName, type FactName, type ReadingName, type TallyName } from "./facts.ts";
import { Register, type RegisterOptions } from "./register.ts";
import type { LedgerData } from "./saved.ts";
import type { Series } from "./series.ts";
import { addHistograms, snapshotOf, type HistogramValue, type Row, type Snapshot } from "./snapshot.ts";
import { countOpened, countSpan, countUsage } from "./spans.ts";
import type { SemconvMode } from "./table.ts";
import { OTHER, type RequestRefusal, type SpanFailure } from "./words.ts";
import { foreseeRefusals, foreseeWords } from "./zeros.ts";

export interface LedgerOptions extends RegisterOptions {
  /** Where this ledger's events come from: the `source` attribute. */
  readonly source?: string | undefined;
  /** Others send to that source, and it can refuse. */
  readonly refuses?: boolean;
  /** The configured name of the agent, whose zeros exist from the start. */
  readonly agent?: string | undefined;
}

interface SourceCounts {
  readonly redelivered: number;
  readonly lost: number;
  readonly refused: ReadonlyMap<RequestRefusal, number>;
}

/** A listener to every value that goes into a histogram. */
export type OnRecord = NonNullable<LedgerOptions["onRecord"]>;

/**
 * The metrics of one source, counted in plain maps from what the heart says (docs/metrics.md). Pure: it has
 * no clock and knows no SDK. Counts and histograms are part of the state and go on after a restart;
 * gauges that are set are not.
 */
export class Ledger {
  readonly #options: LedgerOptions;
  readonly #source: string;
  readonly #register: Register;
  readonly #readings = new Map<ReadingName, number>();
  #saved: LedgerData | undefined;
  #touched = true;
  /** Commits since the last save that had anything else to save. */
  #commits = noCommits();
  // Where the last delta was counted: nine of ten events are deltas, and they come in rows.
  #usedType: EventType | undefined;
  #used: Tally = { value: 0, ahead: true };
  #chunkProvider: string | undefined;
  #chunkModel: string | undefined;
  #chunks: Series<Distribution> | undefined;

  constructor(options: LedgerOptions = {}, saved?: LedgerData) {
    this.#options = options;
    this.#source = options.source ?? "";
    this.#register = new Register(options, saved);
    foreseeWords(this.#register.book, this.#source);
    if (options.refuses === true) foreseeRefusals(this.#register.book, this.#source);
    this.#register.agentOf(options.agent);
  }

  /** A ledger that goes on from saved data. Throws when a version that counted otherwise saved it. */
  static restore(data: LedgerData, options: LedgerOptions = {}): Ledger {
    return new Ledger(options, data);
  }

  /** Counts what one op of the heart says. */
  apply(op: Op): void {
    this.#touched = true;
    const register = this.#register;
    switch (op.op) {
      case "used":
        return this.#use(op.type);
      case "chunk":
        return this.#chunk(op.provider, op.model, op.seconds);
      case "dropped":
        return register.count("dropped", [op.type, op.reason]);
      case "opened":
        return countOpened(register, op.span);
      case "span":
        return countSpan(register, op.span);
      case "late_usage":
        register.count("lateUsage", [this.#source]);
        return countUsage(register, op.run, register.modelOf(op), op.usage);
      case "notice": {
        const fact = op.notice.name === "behest.doom_loop.detected" ? "doomLoops" : "compactionCircuits";
        return register.count(fact, [register.agentOf(op.run.agent)]);
      }
      case "fault":
        // Its run ends as faulted like any other; the fault itself is for the log.
        return;
    }
  }

  /** Input that was no event. */
  rejected(code: DecodeCode): void {
    this.#touched = true;
    this.#register.count("rejected", [code]);
  }

  /** An event of a type that this version does not know. */
  unknownType(): void {
    this.#touched = true;
    this.#register.count("dropped", [OTHER, "unknown_type"]);
  }

  /** What the source counts itself, as far as it is new. */
  sourceCounts({ redelivered, lost, refused }: SourceCounts): void {
    const refusals = [...refused].filter(([, count]) => count > 0);
    if (redelivered === 0 && lost === 0 && refusals.length === 0) return;
    this.#touched = true;
    this.#register.count("redelivered", [this.#source], redelivered);
    this.#register.count("lost", [this.#source], lost);
    for (const [reason, count] of refusals) this.#register.count("refused", [this.#source, reason], count);
  }

  /** The backend took spans. */
  spanExported(spans: number): void {
    this.#touched = true;
    this.#register.count("spansExported", NO_LABELS, spans);
  }

  /** Spans were given up. */
  spanFailed(reason: SpanFailure, spans: number): void {
    this.#touched = true;
    this.#register.count("spansFailed", [reason], spans);
  }

  /** One export of spans took so many seconds, retries included. */
  exportDuration(seconds: number): void {
    this.#touched = true;
    this.#register.record("exportDuration", NO_LABELS, seconds);
  }

  /**
   * One commit took so many seconds. It is saved together with whatever is counted next: were it a
   * reason to save, every commit of an idle bridge would be the reason for the next one.
   */
  commitDuration(seconds: number): void {
    if (!(seconds >= 0 && seconds < Infinity)) return;
    record(this.#commits, seconds);
    this.#options.onRecord?.("commitDuration", NO_LABELS, seconds);
  }

  /** From time to time the times of commits are reason enough to save: they are a sign of life. */
  touch(): void {
    if (this.#commits.count > 0) this.#touched = true;
  }

  /** A number that was read off outside; undefined when it is not known any more. */
  setGauge(name: ReadingName, value: number | undefined): void {
    if (value === undefined || !Number.isFinite(value)) this.#readings.delete(name);
    else this.#readings.set(name, value);
  }

  /**
   * All data points under the names of a mode: as counted so far, or with `committed` as they were
   * when that was saved. Gauges that are set are those of now.
   */
  snapshot(mode: SemconvMode, committed?: LedgerData): Snapshot {
    if (committed === undefined) return snapshotOf((fact) => this.#rowsOf(fact), mode);
    const then = new Ledger({ ...this.#options, onRecord: undefined }, committed);
    for (const [name, value] of this.#readings) then.setGauge(name, value);
    return then.snapshot(mode);
  }

  /**
   * The state as plain data, out of reach of what is counted later. The same object as long as there
   * is nothing new to save.
   */
  save(): LedgerData {
    if (this.#saved !== undefined && !this.#touched) return this.#saved;
    if (this.#commits.count > 0) {
      merge(distributionOf(this.#register.book, "commitDuration", NO_LABELS).cell, this.#commits);
      this.#commits = noCommits();
    }
    this.#saved = this.#register.write();
    this.#touched = false;
    return this.#saved;
  }

  #use(type: EventType): void {
    if (type !== this.#usedType) {
      this.#usedType = type;
      this.#used = tallyOf(this.#register.book, "used", [type]);
    }
    this.#used.value += 1;
  }

  #chunk(provider: string, model: string, seconds: number): void {
    if (this.#chunks === undefined || provider !== this.#chunkProvider || model !== this.#chunkModel) {
      const labels = this.#register.modelOf({ provider, model });
      this.#chunkProvider = provider;
      this.#chunkModel = model;
      this.#chunks = distributionOf(this.#register.book, "perChunk", labels);
    }
    this.#register.recordIn(this.#chunks, "perChunk", seconds);
  }

  #rowsOf(fact: FactName): readonly Row[] {
    const { book } = this.#register;
    switch (FACTS[fact].kind) {
      case "tally":
        return tallyRows(book, fact as TallyName);
      case "distribution":
        if (fact === "commitDuration") return this.#commitRows();
        return distributionRows(book, fact as DistributionName);
      case "reading": {
        const value = this.#readings.get(fact as ReadingName);
        if (value === undefined) return [];
        return [{ labels: FACTS[fact].labels.length === 0 ? NO_LABELS : [this.#source], value }];
      }
    }
  }

  #commitRows(): readonly Row[] {
    const kept = distributionRows(this.#register.book, "commitDuration");
    if (this.#commits.count === 0) return kept;
    const value = valueOf(this.#commits);
    const before = kept[0]?.value as HistogramValue | undefined;
    return [{ labels: NO_LABELS, value: before === undefined ? value : addHistograms(before, value) }];
  }
}

const NO_LABELS: readonly string[] = [];

function noCommits(): Distribution {
  return emptyDistribution(FACTS.commitDuration.bounds);
}
