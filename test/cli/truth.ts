import { expect } from "vitest";
import type { Truth } from "../bridge/raw-truth.ts";
import { lastPoints, pointsOf, total, valuesBy, type ServedPoint } from "../bridge/served-metrics.ts";
import type { OtlpServer, ServedSpan } from "../otel/otlp-server.ts";

/** A line as that of another run, the same for all lines of one run. */
export function otherRun(line: string, copy: number): string {
  return line.replace(/"run_id":"([0-9a-f])/g, (_, digit: string) => {
    return `"run_id":"${((Number.parseInt(digit, 16) + copy) % 16).toString(16)}`;
  });
}

/** How many events the backend was last told of. */
export function usedUp({ requests }: OtlpServer): number {
  const has = requests.some(({ signal }) => signal === "metrics");
  return has ? total(lastPoints(requests), "behest.bridge.events.used") : 0;
}

/** What came in the end is the truth, over all lives. */
export function expectTruth(backend: OtlpServer, truth: Truth): void {
  expect(Object.fromEntries(spanTexts(backend.taken))).toEqual(
    Object.fromEntries(
      truth.spans.map(({ spanId, traceId, parentSpanId, name, start: begun, end }) => [
        spanId,
        { traceId, parentSpanId, name, start: begun, end },
      ]),
    ),
  );
  const points = lastPoints(backend.requests);
  expect(valuesBy(points, "behest.bridge.events.used", ["type"])).toEqual(truth.byType);
  expect(valuesBy(points, "behest.bridge.events.rejected", ["code"])).toEqual({});
  expect(valuesBy(points, "behest.run.ended", ["behest.run.outcome"])).toEqual(
    Object.fromEntries(Object.entries(truth.runs).filter(([, ended]) => ended > 0)),
  );
  expect(total(points, "behest.bridge.spans.exported")).toBe(truth.spans.length);
  expect(total(points, "behest.bridge.events.received")).toBe(
    truth.events + total(points, "behest.bridge.events.dropped"),
  );
  expect(total(points, "behest.bridge.events.waiting")).toBe(0);
  const metrics = backend.requests.filter(({ signal }) => signal === "metrics");
  // Before its first commit a state has not begun, and nothing is counted.
  const counting = metrics.filter((request) => total(pointsOf(request), "behest.bridge.events.used") > 0);
  const instances = counting.flatMap(({ json }) => instanceIn(json));
  expect(new Set(instances).size).toBe(1);
  const starts = counting.flatMap((request) => startsIn(pointsOf(request)));
  expect(new Set(starts).size).toBe(1);
  const used = metrics.map((request) => total(pointsOf(request), "behest.bridge.events.used"));
  expect(used).toEqual(used.toSorted((a, b) => a - b));
}

function instanceIn(json: Readonly<Record<string, unknown>>): string[] {
  return JSON.stringify(json).match(/service\.instance\.id[^}]*/g) ?? [];
}

/** Since when its counters count; what is only measured has no such time. */
function startsIn(points: readonly ServedPoint[]): string[] {
  return points.filter(({ metric }) => metric === "behest.bridge.events.used").map((point) => point.start);
}

/** By id; that a span comes twice is no harm when it is the same to the byte. */
function spanTexts(spans: readonly ServedSpan[]): Map<string, Partial<ServedSpan>> {
  const texts = new Map<string, string>();
  for (const span of spans) {
    const text = JSON.stringify(span);
    expect(texts.get(span.spanId) ?? text).toBe(text);
    texts.set(span.spanId, text);
  }
  const told = spans.map(({ spanId, traceId, parentSpanId, name, start: begun, end }) => {
    return [spanId, { traceId, parentSpanId, name, start: begun, end }] as const;
  });
  return new Map(told);
}
