import type { Time } from "../event/time.ts";
import type { AttributeKey } from "./attribute.ts";
import { FACTS, type FactName, type LabelKey } from "./facts.ts";

import { metricsIn, type Metric, type SemconvMode, type View } from "./table.ts";

/**
 * All data points of one moment: plain, never changed, in the order of the table and within a metric
 * in an order that depends on nothing but which series there are.
 */
export type Snapshot = readonly Point[];

/** A snapshot and the moment it stands for. */
export interface Reading {
  readonly snapshot: Snapshot;
  readonly time: Time;
}

export type Point = NumberPoint | HistogramPoint;

interface NumberPoint {
  readonly kind: "counter" | "gauge";
  readonly metric: string;
  readonly attributes: Attributes;
  readonly value: number;
}

interface HistogramPoint {
  readonly kind: "histogram";
  readonly metric: string;
  readonly attributes: Attributes;
  readonly value: HistogramValue;
}

export interface HistogramValue {
  readonly count: number;
  readonly sum: number;
  /** Least and greatest value; undefined where a difference cannot know them. */
  readonly min: number | undefined;
  readonly max: number | undefined;
  /** One more than the metric has bounds. */
  readonly buckets: readonly number[];
}

export type Attributes = Readonly<Partial<Record<AttributeKey, string | true>>>;

/** The series of a fact: label values in the fact's order, and what they count. */
export interface Row {
  readonly labels: readonly string[];
  readonly value: number | HistogramValue;
}

/** Gives the facts their names: the data points of every metric that goes out in a mode. */
export function snapshotOf(rowsOf: (fact: FactName) => readonly Row[], mode: SemconvMode): Snapshot {
  const points: Point[] = [];
  for (const metric of metricsIn(mode)) {
    const own = new Map<string, Point>();
    for (const view of metric.from) {
      for (const { labels, value } of rowsOf(view.fact)) {
        if (!isIn(view, labels)) continue;
        const point = pointOf(metric, attributesOf(metric, view, labels), value);
        const key = JSON.stringify(point.attributes);
        const earlier = own.get(key);
        own.set(key, earlier === undefined ? point : addPoints(earlier, point, metric));
      }
    }
    points.push(...own.values());
  }
  return points;
}

/** The attributes that a metric carries for one series of a fact it is made from. */
export function attributesOf(metric: Metric, view: View, labels: readonly string[]): Attributes {
  const keys: readonly LabelKey[] = FACTS[view.fact].labels;
  const attributes: Partial<Record<AttributeKey, string | true>> = {};
  for (const [key, level] of metric.attributes) {
    const value = view.add?.[key] ?? labels[keys.indexOf(key as LabelKey)] ?? "";
    if (value !== "") attributes[key] = level === "when true" ? true : value;
  }
  return attributes;
}

/** Two points of one series as one: what several sources counted, or several labels summed away. */
export function addPoints(a: Point, b: Point, metric: Metric): Point {
  if (a.kind === "histogram") {
    return b.kind === "histogram" ? { ...a, value: addHistograms(a.value, b.value) } : a;
  }
  if (b.kind === "histogram") return a;
  return { ...a, value: metric.over === "max" ? Math.max(a.value, b.value) : a.value + b.value };
}

function isIn(view: View, labels: readonly string[]): boolean {
  if (view.where === undefined) return true;
  const keys: readonly LabelKey[] = FACTS[view.fact].labels;
  return Object.entries(view.where).every(([key, value]) => labels[keys.indexOf(key as LabelKey)] === value);
}

function pointOf(metric: Metric, attributes: Attributes, value: number | HistogramValue): Point {
  const { name, kind } = metric;
  if (kind === "histogram") return { kind, metric: name, attributes, value: value as HistogramValue };
  return { kind, metric: name, attributes, value: value as number };
}

export function addHistograms(a: HistogramValue, b: HistogramValue): HistogramValue {
  return {
    count: a.count + b.count,
    sum: a.sum + b.sum,
    min: a.min === undefined ? b.min : b.min === undefined ? a.min : Math.min(a.min, b.min),
    max: a.max === undefined ? b.max : b.max === undefined ? a.max : Math.max(a.max, b.max),
    buckets: a.buckets.map((count, at) => count + (b.buckets[at] ?? 0)),
  };
}
