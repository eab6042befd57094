import { distributionOf, emptyBook, tallyOf, tallyRows, type Book } from "./book.ts";
import { record, type Distribution } from "./distribution.ts";
import type { DistributionName, TallyName } from "./facts.ts";
import { admit, noNames, type Names } from "./names.ts";
import { readBook, writeBook, type LedgerData } from "./saved.ts";
import type { Series } from "./series.ts";
import { OTHER, OTHER_NAME } from "./words.ts";
import { foreseeAgent } from "./zeros.ts";

export interface RegisterOptions {
  /** Distinct agents, tools, models and providers, each; default 200, later ones become `_other`. */
  readonly maxNames?: number;
  /** Combinations of attributes per fact; default 10,000, beyond it every name becomes `_other`. */
  readonly maxSeries?: number;
  /**
   * Told every value that goes into a histogram, for a host whose meter provider counts by itself.
   * `labels` is the same array whenever the series is the same.
   */
  readonly onRecord?:
    | ((fact: DistributionName, labels: readonly string[], value: number) => void)
    | undefined;
}

const MAX_NAMES = 200;
const MAX_SERIES = 10_000;
/** Error types are words of ours; the limit is for the day that one of them is not. */
const MAX_ERROR_TYPES = 100;

type NameKind = "agent" | "provider" | "model" | "tool" | "errorType";

/** Where numbers are written: the book, the names that are told apart in it, and who else is told. */
export class Register {
  readonly book: Book;
  readonly #names: Readonly<Record<NameKind, Names>>;
  /** Labels of the agents whose zeros exist. */
  readonly #agents = new Set<string>();
  readonly #onRecord: RegisterOptions["onRecord"];

  constructor(
    { maxNames = MAX_NAMES, maxSeries = MAX_SERIES, onRecord }: RegisterOptions,
    saved?: LedgerData,
  ) {
    this.book = emptyBook(maxSeries);
    this.#onRecord = onRecord;
    this.#names = {
      agent: noNames(maxNames, OTHER_NAME),
      provider: noNames(maxNames, OTHER_NAME),
      model: noNames(maxNames, OTHER_NAME),
      tool: noNames(maxNames, OTHER_NAME),
      errorType: noNames(MAX_ERROR_TYPES, OTHER),
    };
    if (saved !== undefined) this.#read(saved);
  }

  count(name: TallyName, labels: readonly string[], by = 1): void {
    tallyOf(this.book, name, labels).value += by;
  }

  /** Counts a value, unless it would spoil a sum for ever. */
  record(name: DistributionName, labels: readonly string[], value: number): void {
    this.recordIn(distributionOf(this.book, name, labels), name, value);
  }

  /** The same where the series is at hand. */
  recordIn(series: Series<Distribution>, name: DistributionName, value: number): void {
    if (!(value >= 0 && value < Infinity)) return;
    record(series.cell, value);
    this.#onRecord?.(name, series.labels, value);
  }

  /** The label of an agent, whose zeros exist from its first appearance on. */
  agentOf(name: string | undefined): string {
    const agent = admit(this.#names.agent, name);
    if (!this.#agents.has(agent)) this.#foresee(agent);
    return agent;
  }

  /** The labels of a provider and a model, in that order. */
  modelOf({
    provider,
    model,
  }: {
    readonly provider: string;
    readonly model: string;
  }): readonly [string, string] {
    return [admit(this.#names.provider, provider), admit(this.#names.model, model)];
  }

  toolOf(name: string): string {
    return admit(this.#names.tool, name);
  }

  /** Empty where nothing failed. */
  errorTypeOf(errorType: string | undefined): string {
    return admit(this.#names.errorType, errorType);
  }

  write(): LedgerData {
    const names = Object.entries(this.#names).map(([kind, { known }]) => [kind, [...known].sort()] as const);
    return { names: Object.fromEntries(names), ...writeBook(this.book) };
  }

  #read(saved: LedgerData): void {
    for (const [kind, names] of Object.entries(saved.names)) {
      for (const name of names) this.#names[kind as NameKind]?.known.add(name);
    }
    readBook(this.book, saved);
    for (const { labels } of tallyRows(this.book, "runsActive")) this.#foresee(labels[0] ?? "");
  }

  #foresee(agent: string): void {
    this.#agents.add(agent);
    foreseeAgent(this.book, agent);
  }
}
