import type { Served } from "../otel/otlp-server.ts";

/** One data point as a backend read it. */
export interface ServedPoint {
  readonly metric: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** Of counters and gauges. */
  readonly value: number | undefined;
  /** Of histograms. */
  readonly count: number | undefined;
  readonly sum: number | undefined;
  readonly buckets: readonly number[] | undefined;
  readonly start: string;
  readonly time: string;
}

type Json = Record<string, unknown>;

/** All data points of a request. */
export function pointsOf(request: Served): readonly ServedPoint[] {
  const points: ServedPoint[] = [];
  for (const resource of list(request.json["resourceMetrics"])) {
    for (const scope of list(resource["scopeMetrics"])) {
      for (const metric of list(scope["metrics"])) points.push(...pointsOfMetric(metric));
    }
  }
  return points;
}

/** The points of the last request of metrics that the backend got. */
export function lastPoints(requests: readonly Served[]): readonly ServedPoint[] {
  const last = requests.findLast(({ signal }) => signal === "metrics");
  if (last === undefined) throw new Error("no metrics came");
  return pointsOf(last);
}

/** Values of one metric, by its attributes in the order given; 0 is left out. */
export function valuesBy(
  points: readonly ServedPoint[],
  metric: string,
  keys: readonly string[],
  read: (point: ServedPoint) => number | undefined = ({ value }) => value,
): Record<string, number> {
  const values: Record<string, number> = {};
  for (const point of points) {
    if (point.metric !== metric) continue;
    const key = keys.map((name) => String(point.attributes[name])).join(" ");
    const value = read(point) ?? 0;
    if (value !== 0) values[key] = (values[key] ?? 0) + value;
  }
  return values;
}

/** The sum over all points of one metric. */
export function total(
  points: readonly ServedPoint[],
  metric: string,
  read: (point: ServedPoint) => number | undefined = ({ value, count }) => value ?? count,
): number {
  return Object.values(valuesBy(points, metric, [], read))[0] ?? 0;
}

function pointsOfMetric(metric: Json): ServedPoint[] {
  const data = (metric["sum"] ?? metric["gauge"] ?? metric["histogram"]) as Json;
  return list(data["dataPoints"]).map((point) => ({
    metric: String(metric["name"]),
    attributes: Object.fromEntries(
      list(point["attributes"]).map(({ key, value }) => [key, valueOf(value as Json)]),
    ),
    value: numberOf(point["asInt"] ?? point["asDouble"]),
    count: numberOf(point["count"]),
    sum: numberOf(point["sum"]),
    buckets: (point["bucketCounts"] as unknown[] | undefined)?.map(Number),
    start: String(point["startTimeUnixNano"]),
    time: String(point["timeUnixNano"]),
  }));
}

function valueOf(value: Json): unknown {
  if ("intValue" in value) return Number(value["intValue"]);
  return value["stringValue"] ?? value["boolValue"] ?? value["doubleValue"];
}

function numberOf(value: unknown): number | undefined {
  return value === undefined ? undefined : Number(value);
}

function list(value: unknown): Json[] {
  return (value ?? []) as Json[];
}
