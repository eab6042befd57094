import { MetricReader, type MetricData, type ResourceMetrics } from "@opentelemetry/sdk-metrics";

/** A reader that collects when a test asks it to, and exports nothing. */
export class AskedReader extends MetricReader {
  protected override onForceFlush(): Promise<void> {
    return Promise.resolve();
  }

  protected override onShutdown(): Promise<void> {
    return Promise.resolve();
  }

  /** What a collection gives; fails with the first error of a callback. */
  async read(): Promise<ResourceMetrics> {
    const { resourceMetrics, errors } = await this.collect();
    if (errors.length > 0) throw errors[0];
    return resourceMetrics;
  }
}

/** Metrics and points in an order that both ways of counting can be brought into; metrics without points left out. */
export function sorted({ resource, scopeMetrics }: ResourceMetrics): ResourceMetrics {
  return {
    resource,
    scopeMetrics: scopeMetrics.map(({ scope, metrics }) => ({ scope, metrics: inOrder(metrics) })),
  };
}

function inOrder(metrics: readonly MetricData[]): MetricData[] {
  const found: MetricData[] = [];
  for (const metric of metrics) {
    const dataPoints = metric.dataPoints.toSorted(byAttributes);
    if (dataPoints.length > 0) found.push({ ...metric, dataPoints } as MetricData);
  }
  return found.sort((a, b) => (a.descriptor.name < b.descriptor.name ? -1 : 1));
}

function byAttributes(a: { readonly attributes: object }, b: { readonly attributes: object }): number {
  return JSON.stringify(a.attributes) < JSON.stringify(b.attributes) ? -1 : 1;
}
