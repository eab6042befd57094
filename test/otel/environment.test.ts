import { describe, expect, test } from "vitest";

import type { Endpoint } from "../../src/otel/endpoint.ts";
import { readEnvironment, type ExportConfig } from "../../src/otel/environment.ts";
import type { Problem } from "../../src/otel/variables.ts";

type Env = Readonly<Record<string, string>>;

const FILES: Readonly<Record<string, string>> = { "ca.pem": "CA", "key.pem": "KEY", "cert.pem": "CERT" };

function readFile(path: string): Buffer {
  const text = FILES[path];
  if (text === undefined) throw new Error(`ENOENT: no such file or directory, open '${path}'`);
  return Buffer.from(text);
}

function read(env: Env): ExportConfig {
  const { config, problems } = readEnvironment(env, readFile);
  expect(problems).toEqual([]);
  return config;
}

function problemsOf(env: Env): readonly Problem[] {
  return readEnvironment(env, readFile).problems;
}

/** Where a signal goes when nothing is said. */
function defaultEndpoint(signal: string): Endpoint {
  return {
    protocol: "http/protobuf",
    url: `http://localhost:4318/v1/${signal}`,
    headers: {},
    compression: "none",
    timeoutMs: 10_000,
    tls: { ca: undefined, key: undefined, cert: undefined },
  };
}

test("an empty environment is a complete configuration", () => {
  expect(read({})).toEqual({
    disabled: false,
    logLevel: undefined,
    semconv: "released",
    sampler: { name: "parentbased_always_on", ratio: 1 },
    limits: {
      value: { unit: "bytes", max: 16_384 },
      attributes: 128,
      events: 128,
      links: 128,
      eventAttributes: 128,
      linkAttributes: 128,
    },
    logLimits: { value: { unit: "bytes", max: 16_384 }, attributes: 128 },
    resource: { "service.name": "behest" },
    maxBatchSpans: 512,
    traces: { exporter: "otlp", endpoint: defaultEndpoint("traces") },
    metrics: { exporter: "otlp", endpoint: defaultEndpoint("metrics") },
    logs: { exporter: "none" },
    metricReading: { intervalMs: 10_000, timeoutMs: 30_000, temporality: "cumulative" },
  });
});

test("an empty value is an unset one, for every variable", () => {
  const names = [
    "OTEL_SDK_DISABLED",
    "OTEL_LOG_LEVEL",
    "OTEL_SEMCONV_STABILITY_OPT_IN",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SERVICE_NAME",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_INSECURE",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
  ];
  for (const blank of ["", "  "]) {
    expect(read(Object.fromEntries(names.map((name) => [name, blank])))).toEqual(read({}));
  }
});

describe("the resource", () => {
  test.each<[Env, Readonly<Record<string, string>>]>([
    [{ OTEL_SERVICE_NAME: "agents" }, { "service.name": "agents" }],
    [{ OTEL_RESOURCE_ATTRIBUTES: "service.name=from-list" }, { "service.name": "from-list" }],
    [
      { OTEL_SERVICE_NAME: "agents", OTEL_RESOURCE_ATTRIBUTES: "service.name=from-list,team=a%20b" },
      { "service.name": "agents", team: "a b" },
    ],
    [{ OTEL_RESOURCE_ATTRIBUTES: "service.name=" }, { "service.name": "behest" }],
    [
      { OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name = prod , k%3D=v%2C" },
      { "deployment.environment.name": "prod", "k=": "v,", "service.name": "behest" },
    ],
  ])("of %j", (env, resource) => {
    expect(read(env).resource).toEqual(resource);
  });

  test.each(["team", "=a", "team=%", "a=b;c"])("with '%s' in it is void as a whole, and a problem", (bad) => {
    const { config, problems } = readEnvironment({ OTEL_RESOURCE_ATTRIBUTES: `region=eu,${bad}` });
    expect(config.resource).toEqual({ "service.name": "behest" });
    expect(problems).toMatchObject([{ name: "OTEL_RESOURCE_ATTRIBUTES", value: bad }]);
  });
});

describe("limits", () => {
  test("of spans win over the general ones", () => {
    const { limits, logLimits } = read({
      OTEL_ATTRIBUTE_COUNT_LIMIT: "10",
      OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: "5",
      OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT: "100",
      OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT: "50",
      OTEL_SPAN_EVENT_COUNT_LIMIT: "0",
      OTEL_SPAN_LINK_COUNT_LIMIT: "1",
      OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT: "2",
      OTEL_LINK_ATTRIBUTE_COUNT_LIMIT: "3",
    });
    expect(limits).toEqual({
      value: { unit: "characters", max: 50 },
      attributes: 5,
      events: 0,
      links: 1,
      eventAttributes: 2,
      linkAttributes: 3,
    });
    expect(logLimits).toEqual({ value: { unit: "characters", max: 100 }, attributes: 10 });
  });
});

describe("a number", () => {
  test.each(["0", "1", "2147483647"])("may be %s", (value) => {
    expect(read({ OTEL_SPAN_EVENT_COUNT_LIMIT: value }).limits.events).toBe(Number(value));
  });

  test.each(["-1", "1.5", "1e3", "0x10", "ten", "2147483648", "99999999999"])("cannot be %s", (value) => {
    const { config, problems } = readEnvironment({ OTEL_SPAN_EVENT_COUNT_LIMIT: value });
    expect(config.limits.events).toBe(128);
    expect(problems).toEqual([
      { name: "OTEL_SPAN_EVENT_COUNT_LIMIT", value, expected: "a whole number from 0 to 2147483647" },
    ]);
  });

  test.each([
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_METRIC_EXPORT_TIMEOUT",
  ])("of %s is at least 1", (name) => {
    expect(problemsOf({ [name]: "1" })).toEqual([]);
    expect(problemsOf({ [name]: "0" })).toEqual([
      { name, value: "0", expected: "a whole number from 1 to 2147483647" },
    ]);
  });
});

describe("a choice", () => {
  test("is read in any case", () => {
    const { traces, sampler, logLevel, disabled, metricReading } = read({
      OTEL_TRACES_EXPORTER: "Console",
      OTEL_TRACES_SAMPLER: "Always_Off",
      OTEL_LOG_LEVEL: "DEBUG",
      OTEL_SDK_DISABLED: "True",
      OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: "DELTA",
      OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION: "explicit_bucket_histogram",
    });
    expect(traces).toEqual({ exporter: "console" });
    expect(sampler.name).toBe("always_off");
    expect(logLevel).toBe("debug");
    expect(disabled).toBe(true);
    expect(metricReading.temporality).toBe("delta");
  });

  test.each([
    ["OTEL_TRACES_EXPORTER", "zipkin", "one of otlp, console, none"],
    ["OTEL_METRICS_EXPORTER", "prometheus", "one of otlp, console, none"],
    ["OTEL_LOGS_EXPORTER", "otlp,console", "one of otlp, console, none"],
    ["OTEL_EXPORTER_OTLP_PROTOCOL", "http", "one of http/protobuf, http/json, grpc"],
    ["OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "one of none, gzip"],
    ["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "rate", "one of cumulative, delta, lowmemory"],
    [
      "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
      "base2_exponential_bucket_histogram",
      "one of explicit_bucket_histogram",
    ],
    ["OTEL_LOG_LEVEL", "loud", "one of none, error, warn, info, debug, verbose, all"],
    ["OTEL_SDK_DISABLED", "1", "true or false"],
    [
      "OTEL_TRACES_SAMPLER",
      "jaeger_remote",
      "one of always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio",
    ],
  ])("of %s cannot be %s", (name, value, expected) => {
    expect(problemsOf({ [name]: value })).toEqual([{ name, value, expected }]);
  });
});

test.each([
  ["", "released"],
  ["http", "released"],
  ["gen_ai_latest_experimental", "latest"],
  ["http/dup, GEN_AI_latest_experimental ", "latest"],
  ["gen_ai_latest_experimental/dup", "dup"],
  ["gen_ai_latest_experimental,gen_ai_latest_experimental/dup", "dup"],
])("the opt-in '%s' is the %s names", (value, semconv) => {
  expect(read({ OTEL_SEMCONV_STABILITY_OPT_IN: value }).semconv).toBe(semconv);
});

test("every problem is told at once, and the rest is read", () => {
  const { config, problems } = readEnvironment({
    OTEL_EXPORTER_OTLP_ENDPOINT: "nowhere",
    OTEL_EXPORTER_OTLP_TIMEOUT: "soon",
    OTEL_TRACES_SAMPLER: "sometimes",
    OTEL_SPAN_EVENT_COUNT_LIMIT: "many",
    OTEL_SERVICE_NAME: "agents",
  });
  expect(problems.map(({ name }) => name).toSorted()).toEqual([
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_TRACES_SAMPLER",
  ]);
  expect(config.resource).toEqual({ "service.name": "agents" });
});
