import { ValueType, type HrTime } from "@opentelemetry/api";
import type { Resource } from "@opentelemetry/resources";
import {
  AggregationTemporality,
  DataPointType,
  type MetricData,
  type ResourceMetrics,
} from "@opentelemetry/sdk-metrics";

import { SCOPE } from "./export-setup.ts";

const START: HrTime = [1_763_812_000, 1];
const END: HrTime = [1_763_812_345, 123_456_789];

/** A counter of one point per agent named, cumulative. */
export function counter(agents: readonly string[], value: number): MetricData {
  return {
    descriptor: { name: "behest.run.ended", description: "Runs", unit: "{run}", valueType: ValueType.INT },
    dataPointType: DataPointType.SUM,
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
    isMonotonic: true,
    dataPoints: agents.map((agent) => ({
      startTime: START,
      endTime: END,
      attributes: { "gen_ai.agent.name": agent },
      value,
    })),
  };
}

export function gauge(value: number): MetricData {
  return {
    descriptor: {
      name: "behest.run.oldest_active_age",
      description: "Age",
      unit: "s",
      valueType: ValueType.DOUBLE,
    },
    dataPointType: DataPointType.GAUGE,
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
    dataPoints: [{ startTime: START, endTime: END, attributes: {}, value }],
  };
}

export function histogram(): MetricData {
  return {
    descriptor: {
      name: "gen_ai.client.operation.duration",
      description: "Duration",
      unit: "s",
      valueType: ValueType.DOUBLE,
    },
    dataPointType: DataPointType.HISTOGRAM,
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
    dataPoints: [
      {
        startTime: START,
        endTime: END,
        attributes: { "gen_ai.operation.name": "chat" },
        value: {
          count: 3,
          sum: 1.75,
          min: 0.25,
          max: 1,
          buckets: { boundaries: [0.5, 1], counts: [1, 2, 0] },
        },
      },
    ],
  };
}

/** Readings of everything at the values 1, 2, ... `count`. */
export function readings(resource: Resource, count: number): ResourceMetrics[] {
  return Array.from({ length: count }, (_, at) => ({
    resource,
    scopeMetrics: [
      { scope: SCOPE, metrics: [counter(["a", "b"], at + 1), gauge(at + 1.5), histogram(), counter([], 0)] },
    ],
  }));
}
