import { resourceFromAttributes } from "@opentelemetry/resources";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";

import { DEFAULT_SPAN_LIMITS, type SpanLimits } from "../../src/otel/limits.ts";
import type { SemconvMode } from "../../src/metric/table.ts";
import { createSpanMapper } from "../../src/otel/spans.ts";
import type { FinishedSpan } from "../../src/run/op.ts";

export const RESOURCE = resourceFromAttributes({ "service.name": "behest" });
const SCOPE = { name: "behest-otel", version: "0.1.0" };

/** A mapper of its own for every span, so that nothing is remembered from the last. */
export function map(
  span: FinishedSpan,
  limits: Partial<SpanLimits> = {},
  semconv: SemconvMode = "released",
): ReadableSpan {
  return mapper(limits, semconv)(span);
}

export function mapper(
  limits: Partial<SpanLimits> = {},
  semconv: SemconvMode = "released",
): (span: FinishedSpan) => ReadableSpan {
  const all = { ...DEFAULT_SPAN_LIMITS, ...limits };
  return createSpanMapper({ semconv, limits: all, resource: RESOURCE, scope: SCOPE });
}

/** Attributes as pairs, because their order is part of the promise. */
export function attributes(
  span: FinishedSpan,
  limits?: Partial<SpanLimits>,
  semconv?: SemconvMode,
): [string, unknown][] {
  return Object.entries(map(span, limits, semconv).attributes);
}
