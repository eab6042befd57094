import { addPoints, type HistogramValue, type Point, type Snapshot } from "./snapshot.ts";
import { METRICS, metricNamed } from "./table.ts";

/**
 * Several snapshots as one, for the export of several sources: counters, histograms and gauges add
 * up, of ages the oldest counts. The order is the table's, then that of first appearance.
 */
export function addSnapshots(snapshots: readonly Snapshot[]): Snapshot {
  const [only, ...others] = snapshots;
  if (only === undefined || others.length === 0) return only ?? [];
  const series = new Map<string, Map<string, Point>>(METRICS.map(({ name }) => [name, new Map()]));
  for (const point of snapshots.flat()) {
    const metric = metricNamed(point.metric);
    const own = series.get(point.metric) as Map<string, Point>;
    const key = JSON.stringify(point.attributes);
    const earlier = own.get(key);
    own.set(key, earlier === undefined ? point : addPoints(earlier, point, metric));
  }
  const points: Point[] = [];
  for (const own of series.values()) points.push(...own.values());
  return points;
}

/**
 * What happened from `earlier` to `later`, for delta temporality: counters and histograms by
 * difference, gauges as they are. Made against the last snapshot that was *accepted*, so a failed
 * export loses nothing. A counter that fell began anew, and all of it is new; a histogram without
 * anything new is left out.
 */
export function difference(later: Snapshot, earlier: Snapshot): Snapshot {
  const before = new Map(earlier.map((point) => [keyOf(point), point]));
  const points: Point[] = [];
  for (const point of later) {
    const since = subtract(point, before.get(keyOf(point)));
    if (since.kind !== "histogram" || since.value.count > 0) points.push(since);
  }
  return points;
}

function keyOf(point: Point): string {
  return point.metric + JSON.stringify(point.attributes);
}

function subtract(point: Point, earlier: Point | undefined): Point {
  if (earlier === undefined || point.kind === "gauge") return point;
  if (point.kind === "histogram") {
    if (earlier.kind !== "histogram" || earlier.value.count > point.value.count) return point;
    return { ...point, value: subtractHistograms(point.value, earlier.value) };
  }
  if (earlier.kind === "histogram" || earlier.value > point.value) return point;
  return { ...point, value: point.value - earlier.value };
}

function subtractHistograms(later: HistogramValue, earlier: HistogramValue): HistogramValue {
  return {
    count: later.count - earlier.count,
    // Sums of doubles: rounding must not make a sum of non-negative values negative.
    sum: Math.max(0, later.sum - earlier.sum),
    min: undefined,
    max: undefined,
    buckets: later.buckets.map((count, at) => count - (earlier.buckets[at] ?? 0)),
  };
}
