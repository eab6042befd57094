/** All series of one fact: a tree by label values to find one, and a list to go through them. */
export interface Family<Cell> {
  readonly list: Series<Cell>[];
  readonly tree: Branch<Cell>;
  readonly empty: () => Cell;
  sorted: boolean;
}

/** One combination of label values; an empty value means that the label is absent. */
export interface Series<Cell> {
  readonly labels: readonly string[];
  readonly cell: Cell;
}

// A tree rather than joined text: no separator that a name could contain, and nothing to build per look-up.
type Branch<Cell> = Map<string, Branch<Cell> | Series<Cell>>;

export function emptyFamily<Cell>(empty: () => Cell): Family<Cell> {
  return { list: [], tree: new Map(), empty, sorted: true };
}

/** The series with these label values, or undefined. */
export function find<Cell>(family: Family<Cell>, labels: readonly string[]): Series<Cell> | undefined {
  let branch = family.tree;
  const last = labels.length - 1;
  for (let at = 0; at < last; at += 1) {
    const next = branch.get(labels[at] as string);
    if (next === undefined) return undefined;
    branch = next as Branch<Cell>;
  }
  return branch.get(labels[last] ?? "") as Series<Cell> | undefined;
}

/** Adds a series that `find` did not find. */
export function insert<Cell>(family: Family<Cell>, labels: readonly string[]): Series<Cell> {
  let branch = family.tree;
  const last = labels.length - 1;
  for (let at = 0; at < last; at += 1) {
    const label = labels[at] as string;
    let next = branch.get(label) as Branch<Cell> | undefined;
    if (next === undefined) {
      next = new Map();
      branch.set(label, next);
    }
    branch = next;
  }
  const series = { labels: [...labels], cell: family.empty() };
  branch.set(labels[last] ?? "", series);
  family.list.push(series);
  family.sorted = false;
  return series;
}

/** The series by their labels, in an order that does not tell which came first. */
export function inOrder<Cell>(family: Family<Cell>): readonly Series<Cell>[] {
  if (!family.sorted) family.list.sort((a, b) => compareLabels(a.labels, b.labels));
  family.sorted = true;
  return family.list;
}

function compareLabels(a: readonly string[], b: readonly string[]): number {
  for (let at = 0; at < a.length; at += 1) {
    const left = a[at] as string;
    const right = b[at] as string;
    if (left !== right) return left < right ? -1 : 1;
  }
  return 0;
}
