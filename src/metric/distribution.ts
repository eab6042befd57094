/** A histogram being counted. `buckets` has one place more than `bounds`: what is above the last. */
export interface Distribution {
  readonly bounds: readonly number[];
  readonly buckets: number[];
  count: number;
  sum: number;
  /** Infinity and -Infinity while nothing is recorded. */
  min: number;
  max: number;
}

export function emptyDistribution(bounds: readonly number[]): Distribution {
  return {
    bounds,
    buckets: bounds.map(() => 0).concat(0),
    count: 0,
    sum: 0,
    min: Infinity,
    max: -Infinity,
  };
}

/** Counts one value; a bound belongs to the bucket below it. */
export function record(into: Distribution, value: number): void {
  const { bounds, buckets } = into;
  let at = 0;
  // Short and cheap at the low end, where nearly all chunk times lie.
  while (at < bounds.length && value > (bounds[at] as number)) at += 1;
  buckets[at] = (buckets[at] as number) + 1;
  into.count += 1;
  into.sum += value;
  if (value < into.min) into.min = value;
  if (value > into.max) into.max = value;
}

/** Adds all that `other` has counted; both have the same bounds. */
export function merge(into: Distribution, other: Distribution): void {
  for (let at = 0; at < into.buckets.length; at += 1) {
    into.buckets[at] = (into.buckets[at] as number) + (other.buckets[at] ?? 0);
  }
  into.count += other.count;
  into.sum += other.sum;
  into.min = Math.min(into.min, other.min);
  into.max = Math.max(into.max, other.max);
}
