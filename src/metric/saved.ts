import { merge } from "./distribution.ts";
import type { Book } from "./book.ts";
import { DISTRIBUTIONS, FACTS, TALLIES, type DistributionName, type TallyName } from "./facts.ts";
import { inOrder, insert } from "./series.ts";

/**
 * A ledger written down: plain JSON data, in an order that depends on nothing but the contents, so
 * that equal ledgers give equal texts. Names of facts and the order of labels are part of the format.
 */
export interface LedgerData {
  /** Names in use of each kind: which ones are told apart outlives a restart. */
  readonly names: Readonly<Record<string, readonly string[]>>;
  readonly tallies: Readonly<Record<string, readonly SavedTally[]>>;
  readonly distributions: Readonly<Record<string, readonly SavedDistribution[]>>;
}

type SavedTally = readonly [labels: readonly string[], value: number];

/** `numbers` are count, sum, min, max and the buckets. */
type SavedDistribution = readonly [labels: readonly string[], numbers: readonly number[]];

/** Zeros made ahead are left out: the names are enough to make them again. */
export function writeBook(book: Book): Pick<LedgerData, "tallies" | "distributions"> {
  const tallies: Record<string, readonly SavedTally[]> = {};
  for (const name of TALLIES) {
    const series = inOrder(book.tallies[name]).filter(({ cell }) => cell.value !== 0 || !cell.ahead);
    if (series.length > 0) tallies[name] = series.map(({ labels, cell }) => [labels, cell.value]);
  }
  const distributions: Record<string, readonly SavedDistribution[]> = {};
  for (const name of DISTRIBUTIONS) {
    const series = inOrder(book.distributions[name]).filter(({ cell }) => cell.count > 0);
    if (series.length === 0) continue;
    distributions[name] = series.map(({ labels, cell }) => [
      labels,
      [cell.count, cell.sum, cell.min, cell.max, ...cell.buckets],
    ]);
  }
  return { tallies, distributions };
}

/**
 * Puts into an empty book what was written down, however many series there are: a limit that was
 * lowered since must not make a counter fall. Throws when the data is not of this table of facts.
 */
export function readBook(book: Book, data: LedgerData): void {
  for (const [name, rows] of Object.entries(data.tallies)) {
    if (!isOneOf(TALLIES, name)) throw unknown(name);
    for (const [labels, value] of rows) {
      checkLength(name, "labels", labels.length, FACTS[name].labels.length);
      insert(book.tallies[name], labels).cell.value = value;
    }
  }
  for (const [name, rows] of Object.entries(data.distributions)) {
    if (!isOneOf(DISTRIBUTIONS, name)) throw unknown(name);
    for (const [labels, numbers] of rows) {
      checkLength(name, "labels", labels.length, FACTS[name].labels.length);
      checkLength(name, "numbers", numbers.length, FACTS[name].bounds.length + 5);
      readDistribution(book, name, labels, numbers);
    }
  }
}

function readDistribution(
  book: Book,
  name: DistributionName,
  labels: readonly string[],
  numbers: readonly number[],
): void {
  const [count = 0, sum = 0, min = Infinity, max = -Infinity, ...buckets] = numbers;
  const { cell } = insert(book.distributions[name], labels);
  merge(cell, { bounds: cell.bounds, count, sum, min, max, buckets });
}

function isOneOf<Name extends TallyName | DistributionName>(
  names: readonly Name[],
  name: string,
): name is Name {
  return (names as readonly string[]).includes(name);
}

function unknown(name: string): Error {
  return new Error(`saved metrics: this version keeps no fact ${name}; they were saved by another version`);
}

function checkLength(name: string, what: string, found: number, expected: number): void {
  if (found === expected) return;
  throw new Error(
    `saved metrics: ${name} has ${found} ${what}, expected ${expected}; they were saved by another version`,
  );
}
