import { emptyDistribution, type Distribution } from "./distribution.ts";
import {
  DISTRIBUTIONS,
  FACTS,
  TALLIES,
  type DistributionName,
  type LabelKey,
  type TallyName,
} from "./facts.ts";
import { emptyFamily, find, inOrder, insert, type Family, type Series } from "./series.ts";
import type { HistogramValue, Row } from "./snapshot.ts";
import { OTHER_NAME } from "./words.ts";

/** All series of all facts that are part of the state. */
export interface Book {
  readonly tallies: Readonly<Record<TallyName, Family<Tally>>>;
  readonly distributions: Readonly<Record<DistributionName, Family<Distribution>>>;
  /** Series per fact beyond which names are no longer told apart. */
  readonly maxSeries: number;
}

export interface Tally {
  value: number;
  /** Made ahead of its first count, and so made again after a restart without being saved. */
  ahead: boolean;
}

export function emptyBook(maxSeries: number): Book {
  const tallies = TALLIES.map(
    (name) => [name, emptyFamily<Tally>(() => ({ value: 0, ahead: false }))] as const,
  );
  const distributions = DISTRIBUTIONS.map((name) => {
    const { bounds } = FACTS[name];
    return [name, emptyFamily<Distribution>(() => emptyDistribution(bounds))] as const;
  });
  return {
    tallies: Object.fromEntries(tallies) as Book["tallies"],
    distributions: Object.fromEntries(distributions) as Book["distributions"],
    maxSeries,
  };
}

/** The series of a fact with these label values, made when it is not there yet. */
export function tallyOf(book: Book, name: TallyName, labels: readonly string[]): Tally {
  const family = book.tallies[name];
  return (find(family, labels) ?? make(family, FACTS[name].labels, labels, book.maxSeries)).cell;
}

/** Makes a series exist at 0 before anything is counted. */
export function foresee(book: Book, name: TallyName, labels: readonly string[]): void {
  const family = book.tallies[name];
  if (find(family, labels) !== undefined) return;
  const { cell } = make(family, FACTS[name].labels, labels, book.maxSeries);
  if (cell.value === 0) cell.ahead = true;
}

/** The series of a histogram; the series itself, because its labels are told on. */
export function distributionOf(
  book: Book,
  name: DistributionName,
  labels: readonly string[],
): Series<Distribution> {
  const family = book.distributions[name];
  return find(family, labels) ?? make(family, FACTS[name].labels, labels, book.maxSeries);
}

export function tallyRows(book: Book, name: TallyName): readonly Row[] {
  return inOrder(book.tallies[name]).map(({ labels, cell }) => ({ labels, value: cell.value }));
}

/** Without those into which nothing went: the values they were made for were refused. */
export function distributionRows(book: Book, name: DistributionName): readonly Row[] {
  return inOrder(book.distributions[name])
    .filter(({ cell }) => cell.count > 0)
    .map(({ labels, cell }) => ({ labels, value: valueOf(cell) }));
}

/** A histogram as it is now, out of reach of what is recorded later. */
export function valueOf({ count, sum, min, max, buckets }: Distribution): HistogramValue {
  return { count, sum, min, max, buckets: [...buckets] };
}

const NAME_KEYS: ReadonlySet<LabelKey> = new Set<LabelKey>([
  "gen_ai.agent.name",
  "gen_ai.provider.name",
  "gen_ai.request.model",
  "gen_ai.tool.name",
]);

/**
 * A new series, or beyond the limit the one for all other names. Names are few, but their
 * combinations need not be; the labels that are left are words of ours, so what overflows is bounded.
 */
function make<Cell>(
  family: Family<Cell>,
  keys: readonly LabelKey[],
  labels: readonly string[],
  maxSeries: number,
): Series<Cell> {
  if (family.list.length < maxSeries) return insert(family, labels);
  const others = labels.map((label, at) =>
    label !== "" && NAME_KEYS.has(keys[at] as LabelKey) ? OTHER_NAME : label,
  );
  return find(family, others) ?? insert(family, others);
}
