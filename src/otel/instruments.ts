import type {
  Attributes,
  BatchObservableResult,
  Histogram,
  Meter,
  MeterProvider,
  MetricOptions,
  Observable,
  ValueType,
} from "@opentelemetry/api";
import type { DistributionName } from "../metric/facts.ts";
import type { OnRecord } from "../metric/ledger.ts";
import { attributesOf, type Snapshot } from "../metric/snapshot.ts";
import { metricsIn, type Metric, type SemconvMode, type View } from "../metric/table.ts";

export interface InstrumentsOptions {
  /** The host's; its views, readers and resource apply. */
  readonly meterProvider: MeterProvider;
  readonly scope: { readonly name: string; readonly version: string };
  readonly mode: SemconvMode;
  /** The ledger's state of now in the same mode; asked at every collection. */
  readonly read: () => Snapshot;
}

export interface Instruments {
  /** To be given to the ledger: a histogram of the host can only be fed value by value. */
  readonly onRecord: OnRecord;
  /** Takes the instruments out of the host's collections. Idempotent. */
  readonly close: () => void;
}

/**
 * The metrics on a host's own meter provider. Counters and gauges are observed from the ledger, so
 * that they exist at 0 and count nothing twice; histograms are recorded as they happen.
 *
 * Needs no more than API 1.3 at run time; hosts before 1.7 ignore the advised buckets.
 */
export function openInstruments({ meterProvider, scope, mode, read }: InstrumentsOptions): Instruments {
  const meter = meterProvider.getMeter(scope.name, scope.version);
  const observed = new Map<string, Observable>();
  const recorded = new Map<DistributionName, Target[]>();
  for (const metric of metricsIn(mode)) {
    if (metric.kind !== "histogram") {
      observed.set(metric.name, observable(meter, metric));
      continue;
    }
    const histogram = meter.createHistogram(metric.name, optionsOf(metric));
    for (const view of metric.from) {
      const fact = view.fact as DistributionName;
      const target = { histogram, metric, view, attributes: new Map() };
      recorded.set(fact, [...(recorded.get(fact) ?? []), target]);
    }
  }

  const observe = (result: BatchObservableResult): void => {
    for (const point of read()) {
      const instrument = observed.get(point.metric);
      if (point.kind === "histogram" || instrument === undefined) continue;
      result.observe(instrument, point.value, point.attributes);
    }
  };
  const observables = [...observed.values()];
  meter.addBatchObservableCallback(observe, observables);

  return {
    onRecord: (fact, labels, value) => {
      for (const target of recorded.get(fact) ?? []) record(target, labels, value);
    },
    close: () => {
      meter.removeBatchObservableCallback(observe, observables);
      recorded.clear();
    },
  };
}

/** A histogram of the host, and how the labels of a fact become its attributes. */
interface Target {
  readonly histogram: Histogram;
  readonly metric: Metric;
  readonly view: View;
  /** By identity of the labels: as many as the ledger has series. */
  readonly attributes: Map<readonly string[], Attributes>;
}

function record(target: Target, labels: readonly string[], value: number): void {
  let attributes = target.attributes.get(labels);
  if (attributes === undefined) {
    attributes = attributesOf(target.metric, target.view, labels);
    target.attributes.set(labels, attributes);
  }
  target.histogram.record(value, attributes);
}

function observable(meter: Meter, metric: Metric): Observable {
  return metric.kind === "counter"
    ? meter.createObservableCounter(metric.name, optionsOf(metric))
    : meter.createObservableGauge(metric.name, optionsOf(metric));
}

// Written out, because this file takes nothing but types from the API; the values are part of its contract.
/* oxlint-disable typescript/no-unsafe-enum-assignment */
const INT: ValueType.INT = 0;
const DOUBLE: ValueType.DOUBLE = 1;
/* oxlint-enable typescript/no-unsafe-enum-assignment */

function optionsOf({ unit, description, whole, bounds }: Metric): MetricOptions {
  const options: MetricOptions = { unit, description, valueType: whole ? INT : DOUBLE };
  if (bounds !== undefined) options.advice = { explicitBucketBoundaries: [...bounds] };
  return options;
}
