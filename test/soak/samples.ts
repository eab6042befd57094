/** One thing that is looked at again and again, and how much of it may be more at the end than in the middle. */
export interface Measure {
  readonly name: string;
  /** Digits behind the point in the table. */
  readonly digits?: number;
  /**
   * What stands for a third: the median, or the lower quartile where more are in use for moments than are kept, and
   * none between two lives. Default the median.
   */
  readonly of?: "median" | "quartile";
  /** How far the last third may lie above the middle one; left out, it is only shown. */
  readonly margin?: (middle: number) => number;
  /** What no sample after the first third may reach. */
  readonly below?: number;
}

interface Row {
  readonly name: string;
  readonly thirds: readonly number[];
  /** Most of all samples after the first third. */
  readonly most: number;
  readonly limit: number | undefined;
  readonly below: number | undefined;
  readonly digits: number;
}

/** What was measured of a long life. The first third is for warming up: nothing is said of it. */
export class Samples {
  readonly #measures: readonly Measure[];
  readonly #samples: (readonly number[])[] = [];

  constructor(measures: readonly Measure[]) {
    this.#measures = measures;
  }

  get count(): number {
    return this.#samples.length;
  }

  /** In the order of the measures. */
  add(...values: readonly number[]): void {
    if (values.length !== this.#measures.length) throw new Error("a sample has a value for each measure");
    this.#samples.push(values);
  }

  /** What has grown though it may not. */
  grown(): readonly string[] {
    return this.#rows().flatMap(({ name, thirds, most, limit, below, digits }) => {
      const [, middle = 0, last = 0] = thirds;
      const found: string[] = [];
      if (limit !== undefined && last > limit) {
        const [was, is, may] = [middle, last, limit].map((value) => value.toFixed(digits));
        found.push(`${name} grew from ${was} to ${is}, and ${may} is the limit`);
      }
      if (below !== undefined && most >= below) found.push(`${name} reached ${most.toFixed(digits)}`);
      return found;
    });
  }

  /** For a reader: what stands for each third, and how much would have been too much. */
  table(): string {
    const head = ["", "first", "middle", "last third", "limit", "most", "below"];
    const rows = this.#rows().map(({ name, thirds, most, limit, below, digits }) => [
      name,
      ...[...thirds, limit, most, below].map((value) => value?.toFixed(digits) ?? ""),
    ]);
    const all = [head, ...rows];
    const widths = head.map((_, column) => Math.max(...all.map((cells) => cells[column]!.length)));
    const padded = all.map((cells) =>
      cells.map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
      ),
    );
    return padded.map((cells) => `  ${cells.join("  ").trimEnd()}`).join("\n");
  }

  #rows(): Row[] {
    const third = Math.floor(this.#samples.length / 3);
    if (third === 0) throw new Error(`${this.#samples.length} samples are too few`);
    return this.#measures.map(({ name, of = "median", margin, below, digits = 0 }, index) => {
      const values = this.#samples.map((sample) => sample[index]!);
      const thirds = [0, 1, 2].map((at) => IN_THIRD[of](values.slice(at * third, (at + 1) * third)));
      const most = Math.max(...values.slice(third));
      const limit = margin && thirds[1]! + margin(thirds[1]!);
      return { name, thirds, most, limit, below, digits };
    });
  }
}

const IN_THIRD = {
  median,
  quartile: (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 2]!,
};

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** How long a soak takes, in seconds: a try by hand is short. */
export const SOAK_SECONDS = Number(process.env["SOAK_SECONDS"] ?? 20);

export const MB = 1024 * 1024;
