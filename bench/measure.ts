import { cpus } from "node:os";

/** One thing measured against another in the same process, turn and turn about. */
export interface Ratio {
  readonly baseline: number;
  readonly ours: number;
  /** ours / baseline: the median of that of each turn, as a machine that others use is slow for seconds on end. */
  readonly ratio: number;
}

/** Medians of `rounds` turns each, in whatever unit the two give. A first turn of each warms up. */
export async function compare(
  rounds: number,
  baseline: () => number | Promise<number>,
  ours: () => number | Promise<number>,
): Promise<Ratio> {
  const results: [number[], number[]] = [[], []];
  for (let round = -1; round < rounds; round++) {
    const turn = [await baseline(), await ours()] as const;
    if (round < 0) continue;
    results[0].push(turn[0]);
    results[1].push(turn[1]);
  }
  return {
    baseline: median(results[0]),
    ours: median(results[1]),
    ratio: medianRatio(results[1], results[0]),
  };
}

/** The median of how much each of `values` is of the one of its turn in `baselines`. */
export function medianRatio(values: readonly number[], baselines: readonly number[]): number {
  return median(values.map((value, turn) => value / (baselines[turn] ?? Number.NaN)));
}

/** CPU of this process, user and system, in milliseconds. */
export async function cpuMs(act: () => void | Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await act();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** The closing line of a benchmark: what, the figure, the goal, and whether it is met. */
export function tell(what: string, figure: string, goal: string, met: boolean): void {
  const machine = `${cpus().length} x ${cpus()[0]?.model ?? "unknown CPU"}, Node.js ${process.version}`;
  console.log(`${met ? "met " : "NOT MET"} ${what}: ${figure} (goal: ${goal}) [${machine}]`);
}
