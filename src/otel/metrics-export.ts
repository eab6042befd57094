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
   * reading taken. So it is made when its turn comes, and `onTaken` is called before the next one is made.
   */
  readonly deliver: (make: () => ResourceMetrics, onTaken?: () => void) => Promise<MetricDelivery>;
  /** Resolves when every reading given so far is decided. */
  readonly settled: () => Promise<void>;
}

export function createMetricsExport(deliver: Deliver<MetricRecord>): MetricsExport {
  let superseded = new AbortController();
  let last: Promise<unknown> = Promise.resolve();
  return {
    deliver: (make, onTaken) => {
      superseded.abort();
      const mine = (superseded = new AbortController());
      // One at a time: what is on the wire is answered before the next is made.
      const before = last;
      const delivery = (async (): Promise<MetricDelivery> => {
        await before;
        if (mine.signal.aborted) return { kind: "discarded" };
        const outcome = outcomeOf(await deliver(recordsOf(make().scopeMetrics), mine.signal));
        if (outcome.kind === "taken") onTaken?.();
        return outcome;
      })();
      last = delivery;
      return delivery;
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

function outcomeOf(delivery: Delivery<MetricRecord>): MetricDelivery {
  const points = delivery.failed.reduce((sum, { count }) => sum + count, 0);
  if (points > 0) return { kind: "failed", points, message: delivery.failed[0]?.message ?? "" };
  return delivery.discarded > 0 ? { kind: "discarded" } : { kind: "taken" };
}
