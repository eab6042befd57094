import { readFileSync } from "node:fs";

import { readEndpoint, type Endpoint, type Signal } from "./endpoint.ts";
import { DEFAULT_SPAN_LIMITS, type SpanLimits, type ValueLimit } from "./limits.ts";
import { readSampler, type SamplerConfig } from "./sampling.ts";
import type { SemconvMode } from "../metric/table.ts";
import { semconvMode } from "./semconv.ts";
import { createVariables, type Problem, type Variables } from "./variables.ts";

/** All that the standard `OTEL_*` variables say about exporting. */
export interface ExportConfig {
  /** `OTEL_SDK_DISABLED`. */
  readonly disabled: boolean;
  readonly logLevel: OtelLogLevel | undefined;
  readonly semconv: SemconvMode;
  readonly sampler: SamplerConfig;
  readonly limits: SpanLimits;
  readonly logLimits: LogLimits;
  /** Of the resource; `service.name` is always among them. */
  readonly resource: Readonly<Record<string, string>>;
  readonly maxBatchSpans: number;
  readonly traces: Destination;
  readonly metrics: Destination;
  readonly logs: Destination;
  readonly metricReading: MetricReading;
}

export type Destination =
  | { readonly exporter: "none" }
  /** OTLP/JSON, one request per line, on stdout. */
  | { readonly exporter: "console" }
  | { readonly exporter: "otlp"; readonly endpoint: Endpoint };

export interface LogLimits {
  readonly value: ValueLimit;
  readonly attributes: number;
}

export interface MetricReading {
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly temporality: Temporality;
}

const TEMPORALITIES = ["cumulative", "delta", "lowmemory"] as const;
export type Temporality = (typeof TEMPORALITIES)[number];

const OTEL_LOG_LEVELS = ["none", "error", "warn", "info", "debug", "verbose", "all"] as const;
export type OtelLogLevel = (typeof OTEL_LOG_LEVELS)[number];

/** Ten seconds, not the SDK's minute: an alert on a failed run should not wait for its metric. */
const DEFAULT_METRIC_INTERVAL_MS = 10_000;
const DEFAULT_METRIC_TIMEOUT_MS = 30_000;
const DEFAULT_BATCH_SPANS = 512;
const DEFAULT_SERVICE_NAME = "behest";

/**
 * Reads the environment into one plain object.
 *
 * It never throws: what is wrong comes back as `problems`, all of them, with the defaults in the
 * places that could not be read. Certificates are read here, so that a missing file is told with the rest.
 */
export function readEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  readFile: (path: string) => Buffer = (path) => readFileSync(path),
): { readonly config: ExportConfig; readonly problems: readonly Problem[] } {
  const variables = createVariables(env, readFile);
  const config: ExportConfig = {
    disabled: variables.flag(["OTEL_SDK_DISABLED"]),
    logLevel: readLogLevel(variables),
    semconv: semconvMode(env["OTEL_SEMCONV_STABILITY_OPT_IN"]),
    sampler: readSampler(variables),
    limits: readLimits(variables),
    logLimits: readLogLimits(variables),
    resource: readResource(variables),
    maxBatchSpans: variables.integer(["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"], 1, DEFAULT_BATCH_SPANS),
    traces: readDestination("traces", "otlp", variables),
    metrics: readDestination("metrics", "otlp", variables),
    logs: readDestination("logs", "none", variables),
    metricReading: readMetricReading(variables),
  };
  return { config, problems: variables.problems };
}

function readDestination(signal: Signal, otherwise: "otlp" | "none", variables: Variables): Destination {
  const exporter = variables.choice(
    [`OTEL_${signal.toUpperCase()}_EXPORTER`],
    ["otlp", "console", "none"] as const,
    otherwise,
  );
  // The endpoint of a signal that goes nowhere may be as wrong as it likes.
  return exporter === "otlp" ? { exporter, endpoint: readEndpoint(signal, variables) } : { exporter };
}

function readLogLevel(variables: Variables): OtelLogLevel | undefined {
  const found = variables.text(["OTEL_LOG_LEVEL"]);
  return found === undefined ? undefined : variables.choice([found.name], OTEL_LOG_LEVELS, "info");
}

function readLimits(variables: Variables): SpanLimits {
  const count = (names: readonly string[], otherwise: number) => variables.integer(names, 0, otherwise);
  const standard = DEFAULT_SPAN_LIMITS;
  return {
    value: readValueLimit(variables, [
      "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
      "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    ]),
    attributes: count(["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"], standard.attributes),
    events: count(["OTEL_SPAN_EVENT_COUNT_LIMIT"], standard.events),
    links: count(["OTEL_SPAN_LINK_COUNT_LIMIT"], standard.links),
    eventAttributes: count(["OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"], standard.eventAttributes),
    linkAttributes: count(["OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"], standard.linkAttributes),
  };
}

function readLogLimits(variables: Variables): LogLimits {
  return {
    value: readValueLimit(variables, [
      "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
      "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    ]),
    attributes: variables.integer(
      ["OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"],
      0,
      DEFAULT_SPAN_LIMITS.attributes,
    ),
  };
}

/** A limit of the environment counts characters and stands in the place of ours, which counts bytes. */
function readValueLimit(variables: Variables, names: readonly string[]): ValueLimit {
  const max = variables.integer(names, 0, -1);
  return max < 0 ? DEFAULT_SPAN_LIMITS.value : { unit: "characters", max };
}

function readResource(variables: Variables): Readonly<Record<string, string>> {
  const before = variables.problems.length;
  const pairs = variables.pairs("OTEL_RESOURCE_ATTRIBUTES", { secret: false });
  // One bad pair makes the whole variable void (Resource SDK specification).
  const given = variables.problems.length > before ? {} : Object.fromEntries(pairs);
  const service = variables.text(["OTEL_SERVICE_NAME"])?.value ?? given["service.name"];
  return { ...given, "service.name": service || DEFAULT_SERVICE_NAME };
}

function readMetricReading(variables: Variables): MetricReading {
  // Our histograms have the boundaries that the conventions advise; there is no other aggregation to ask for.
  variables.choice(
    ["OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"],
    ["explicit_bucket_histogram"] as const,
    "explicit_bucket_histogram",
  );
  return {
    intervalMs: variables.integer(["OTEL_METRIC_EXPORT_INTERVAL"], 1, DEFAULT_METRIC_INTERVAL_MS),
    timeoutMs: variables.integer(["OTEL_METRIC_EXPORT_TIMEOUT"], 1, DEFAULT_METRIC_TIMEOUT_MS),
    temporality: variables.choice(
      ["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"],
      TEMPORALITIES,
      "cumulative",
    ),
  };
}
