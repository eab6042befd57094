import type { MetricData, ResourceMetrics, ScopeMetrics } from "@opentelemetry/sdk-metrics";

import type { Deliver, Delivery, Freight } from "./courier.ts";

/** One metric with the scope it belongs to: what a refused request is taken apart into. */
export interface MetricRecord {
  readonly scope: ScopeMetrics["scope"];
  readonly metric: MetricData;
}

/** How metrics become bytes, and how a refused request is narrowed down: by metric, then by data point. */
export function metricFreight(
  resource: ResourceMetrics["resource"],
  encode: (metrics: ResourceMetrics) => Uint8Array,
): Freight<MetricRecord> {
  return {
    signal: "metrics",
    encode: (records) => {
      const scopes = Map.groupBy(records, (record) => record.scope);
      const scopeMetrics = [...scopes].map(([scope, of]) => ({
        scope,
        metrics: of.map(({ metric }) => metric),
      }));
      return encode({ resource, scopeMetrics });
    },
    divide: ({ scope, metric }) =>
      metric.dataPoints.map((point) => ({ scope, metric: { ...metric, dataPoints: [point] } as MetricData })),
    count: ({ metric }) => metric.dataPoints.length,
  };
}

/** What became of one reading. */
export type MetricDelivery =
  | { readonly kind: "taken" }
  /** A newer reading came before this one could be delivered, or metrics are switched off. */
  | { readonly kind: "discarded" }
  /** Data points were given up. */
  | { readonly kind: "failed"; readonly points: number; readonly message: string };

/** Delivers readings of metrics, the newest first of all. */
export interface MetricsExport {
  /**
   * Delivers a reading until it is taken. A newer one takes the place of one that waits to be sent
   * again: it says all the older one said, whether it counts from the start or from the last
   * reading taken.
   */
  readonly deliver: (metrics: ResourceMetrics) => Promise<MetricDelivery>;
  /** Resolves when every reading given so far is decided. */
  readonly settled: () => Promise<void>;
}

export function createMetricsExport(deliver: Deliver<MetricRecord>): MetricsExport {
  let superseded = new AbortController();
  let last: Promise<unknown> = Promise.resolve();
  return {
    deliver: async ({ scopeMetrics }) => {
      superseded.abort();
      const mine = (superseded = new AbortController());
      // One at a time: what is on the wire is answered before the next is sent.
      const before = last;
      const delivery = (async () => {
        await before;
        if (mine.signal.aborted) return undefined;
        return deliver(recordsOf(scopeMetrics), mine.signal);
      })();
      last = delivery;
      return outcomeOf(await delivery);
    },
    settled: async () => {
      await last;
    },
  };
}

function recordsOf(scopeMetrics: readonly ScopeMetrics[]): readonly MetricRecord[] {
  return scopeMetrics.flatMap(({ scope, metrics }) =>
    // A metric without points says nothing.
    metrics.filter(({ dataPoints }) => dataPoints.length > 0).map((metric) => ({ scope, metric })),
  );
}

function outcomeOf(delivery: Delivery<MetricRecord> | undefined): MetricDelivery {
  if (delivery === undefined) return { kind: "discarded" };
  const points = delivery.failed.reduce((sum, { count }) => sum + count, 0);
  if (points > 0) return { kind: "failed", points, message: delivery.failed[0]?.message ?? "" };
  return delivery.discarded > 0 ? { kind: "discarded" } : { kind: "taken" };
}
