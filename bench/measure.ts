import { cpus } from "node:os";

/** One thing measured against another in the same process, turn and turn about. */
export interface Ratio {
  readonly baseline: number;
  readonly ours: number;
  /** ours / baseline. */
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
  const [a, b] = [median(results[0]), median(results[1])];
  return { baseline: a, ours: b, ratio: b / a };
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
