import { ValueType, type HrTime } from "@opentelemetry/api";
import type { InstrumentationScope } from "@opentelemetry/core";
import type { Resource } from "@opentelemetry/resources";
import {
  AggregationTemporality,
  DataPointType,
  type DataPoint,
  type Histogram,
  type MetricData,
  type ResourceMetrics,
} from "@opentelemetry/sdk-metrics";
import type { Time } from "../event/time.ts";
import { difference } from "../metric/combine.ts";
import type { Point, Reading } from "../metric/snapshot.ts";
import { metricNamed, type Metric } from "../metric/table.ts";

/** `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`; `lowmemory` is `delta`: nothing here counts up and down. */
export type TemporalityPreference = "cumulative" | "delta" | "lowmemory";

export interface ResourceMetricsOptions {
  /** One object each for all exports. */
  readonly resource: Resource;
  readonly scope: InstrumentationScope;
  readonly temporality: TemporalityPreference;
  /** When counting began: of this state, not of this process. */
  readonly start: Time;
  readonly now: Reading;
  /** The last reading that the backend took; undefined before the first. For delta only. */
  readonly accepted: Reading | undefined;
}

/**
 * A snapshot in the form that metric exporters take, without an SDK in between: cumulative since
 * `start`, or with delta what is new since the last *accepted* reading, so that a failed export
 * loses nothing. Pure: the same reading gives the same bytes again.
 */
export function resourceMetrics(options: ResourceMetricsOptions): ResourceMetrics {
  const { resource, scope, now, accepted } = options;
  const isDelta = options.temporality !== "cumulative";
  const snapshot =
    isDelta && accepted !== undefined ? difference(now.snapshot, accepted.snapshot) : now.snapshot;
  const frame: Frame = {
    startTime: hrTime(options.start),
    deltaTime: hrTime(isDelta && accepted !== undefined ? accepted.time : options.start),
    endTime: hrTime(now.time),
    temporality: isDelta ? AggregationTemporality.DELTA : AggregationTemporality.CUMULATIVE,
  };
  const metrics: MetricData[] = [];
  for (const [name, points] of Map.groupBy(snapshot, (point) => point.metric)) {
    metrics.push(metricData(metricNamed(name), points, frame));
  }
  return { resource, scopeMetrics: [{ scope, metrics }] };
}

/** What all points of one export share. */
interface Frame {
  readonly startTime: HrTime;
  readonly deltaTime: HrTime;
  readonly endTime: HrTime;
  readonly temporality: AggregationTemporality;
}

function metricData(metric: Metric, points: readonly Point[], frame: Frame): MetricData {
  const { name, description, unit, whole } = metric;
  const descriptor = { name, description, unit, valueType: whole ? ValueType.INT : ValueType.DOUBLE };
  switch (metric.kind) {
    case "counter":
      return {
        descriptor,
        dataPointType: DataPointType.SUM,
        aggregationTemporality: frame.temporality,
        isMonotonic: true,
        dataPoints: numberPoints(points, frame.deltaTime, frame.endTime),
      };
    case "gauge":
      return {
        descriptor,
        dataPointType: DataPointType.GAUGE,
        aggregationTemporality: AggregationTemporality.CUMULATIVE,
        dataPoints: numberPoints(points, frame.startTime, frame.endTime),
      };
    case "histogram":
      return {
        descriptor,
        dataPointType: DataPointType.HISTOGRAM,
        aggregationTemporality: frame.temporality,
        dataPoints: histogramPoints(metric, points, frame),
      };
  }
}

function numberPoints(points: readonly Point[], startTime: HrTime, endTime: HrTime): DataPoint<number>[] {
  const out: DataPoint<number>[] = [];
  for (const { kind, attributes, value } of points) {
    if (kind !== "histogram") out.push({ startTime, endTime, attributes, value });
  }
  return out;
}

function histogramPoints(metric: Metric, points: readonly Point[], frame: Frame): DataPoint<Histogram>[] {
  const boundaries = [...(metric.bounds ?? [])];
  const out: DataPoint<Histogram>[] = [];
  for (const point of points) {
    if (point.kind !== "histogram") continue;
    const { count, sum, min, max, buckets } = point.value;
    const value: Histogram = { count, sum, buckets: { boundaries, counts: [...buckets] } };
    if (min !== undefined) value.min = min;
    if (max !== undefined) value.max = max;
    out.push({
      startTime: frame.deltaTime,
      endTime: frame.endTime,
      attributes: point.attributes,
      value,
    });
  }
  return out;
}

function hrTime([seconds, nanos]: Time): HrTime {
  return [seconds, nanos];
}
