import { describe, expect, test } from "vitest";

import { withoutPassword, type Endpoint } from "../../src/otel/endpoint.ts";
import { readEnvironment, type Destination, type ExportConfig } from "../../src/otel/environment.ts";
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

function endpointOf(destination: Destination): Endpoint {
  if (destination.exporter !== "otlp") throw new Error(`it goes to ${destination.exporter}`);
  return destination.endpoint;
}

describe("the endpoint over HTTP", () => {
  test.each([
    ["http://collector:4318", "http://collector:4318/v1/traces"],
    ["http://collector:4318/", "http://collector:4318/v1/traces"],
    ["https://example.com/otlp", "https://example.com/otlp/v1/traces"],
    ["https://example.com/otlp/", "https://example.com/otlp/v1/traces"],
    ["https://example.com/otlp?key=1", "https://example.com/otlp/v1/traces?key=1"],
    ["HTTP://[::1]:4318", "http://[::1]:4318/v1/traces"],
  ])("for all signals: %s sends traces to %s", (value, url) => {
    expect(endpointOf(read({ OTEL_EXPORTER_OTLP_ENDPOINT: value }).traces).url).toBe(url);
  });

  test.each([
    ["http://traces:4318", "http://traces:4318/"],
    ["https://example.com/api/v2/spans", "https://example.com/api/v2/spans"],
    ["https://example.com/v1/traces/", "https://example.com/v1/traces/"],
  ])("of one signal is taken as it is: %s", (value, url) => {
    const { traces, metrics } = read({
      OTEL_EXPORTER_OTLP_ENDPOINT: "http://all:4318",
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: value,
    });
    expect(endpointOf(traces).url).toBe(url);
    expect(endpointOf(metrics).url).toBe("http://all:4318/v1/metrics");
  });

  test.each(["collector:4318", "localhost", "ftp://collector", "http://", "//collector:4318", "/v1/traces"])(
    "cannot be %s",
    (value) => {
      expect(problemsOf({ OTEL_EXPORTER_OTLP_ENDPOINT: value })).toEqual([
        {
          name: "OTEL_EXPORTER_OTLP_ENDPOINT",
          value: withoutPassword(value),
          expected: "a URL that begins with http:// or https://",
        },
      ]);
    },
  );
});

describe("the endpoint over gRPC", () => {
  test.each([
    [undefined, undefined, "http://localhost:4317"],
    ["http://collector:4317", undefined, "http://collector:4317"],
    ["http://collector:4317/ignored/path", undefined, "http://collector:4317"],
    ["https://collector:4317", "true", "https://collector:4317"],
    ["https://collector", undefined, "https://collector:443"],
    ["http://collector", undefined, "http://collector:80"],
    ["collector:4317", undefined, "https://collector:4317"],
    ["collector:4317", "false", "https://collector:4317"],
    ["collector:4317", "TRUE", "http://collector:4317"],
    ["10.0.0.7:4317", "true", "http://10.0.0.7:4317"],
    ["unix:/run/otel.sock", undefined, "unix:/run/otel.sock"],
  ])("%s with INSECURE=%s is %s", (value, insecure, url) => {
    const { traces } = read({
      OTEL_EXPORTER_OTLP_PROTOCOL: "grpc",
      ...(value !== undefined && { OTEL_EXPORTER_OTLP_ENDPOINT: value }),
      ...(insecure !== undefined && { OTEL_EXPORTER_OTLP_INSECURE: insecure }),
    });
    expect(endpointOf(traces).url).toBe(url);
  });

  test.each(["ftp://collector:4317", "http://", "a b:4317"])("cannot be %s", (value) => {
    expect(
      problemsOf({ OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "grpc", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: value }),
    ).toMatchObject([{ name: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value }]);
  });
});

test("what is said of one signal wins over what is said of all, variable by variable", () => {
  const { traces, metrics, logs } = read({
    OTEL_LOGS_EXPORTER: "otlp",
    OTEL_EXPORTER_OTLP_PROTOCOL: "grpc",
    OTEL_EXPORTER_OTLP_LOGS_PROTOCOL: "http/json",
    OTEL_EXPORTER_OTLP_COMPRESSION: "gzip",
    OTEL_EXPORTER_OTLP_METRICS_COMPRESSION: "none",
    OTEL_EXPORTER_OTLP_TIMEOUT: "5000",
    OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: "1",
    OTEL_EXPORTER_OTLP_LOGS_TIMEOUT: "",
  });
  expect([traces, metrics, logs].map((one) => endpointOf(one).protocol)).toEqual([
    "grpc",
    "grpc",
    "http/json",
  ]);
  expect([traces, metrics, logs].map((one) => endpointOf(one).compression)).toEqual(["gzip", "none", "gzip"]);
  expect([traces, metrics, logs].map((one) => endpointOf(one).timeoutMs)).toEqual([1, 5000, 5000]);
});

describe("headers", () => {
  test("are pairs, percent-decoded; those of the signal are added and win", () => {
    const { traces, metrics } = read({
      OTEL_EXPORTER_OTLP_HEADERS: "authorization=Basic dXNlcjpwYXNz==, X-Scope = a%2Cb%3D%25 ,",
      OTEL_EXPORTER_OTLP_TRACES_HEADERS: "Authorization=Bearer%20x,x-only=traces",
    });
    expect(endpointOf(traces).headers).toEqual({
      authorization: "Bearer x",
      "x-scope": "a,b=%",
      "x-only": "traces",
    });
    expect(endpointOf(metrics).headers).toEqual({
      authorization: "Basic dXNlcjpwYXNz==",
      "x-scope": "a,b=%",
    });
  });

  test.each([
    ["secret", "name=value"],
    ["=secret", "name=value"],
    ["key=secret%zz", "percent-encoding (a bare % is written %25)"],
    ["key=secret;q", "no bare semicolon (write %3B)"],
    ["my key=secret", "a header name made of letters, digits and -_."],
    ["key=secret%0d%0ahost:evil", "a value without control characters"],
  ])("of the form %s are a problem that does not show them", (value, expected) => {
    const [problem, ...more] = problemsOf({ OTEL_EXPORTER_OTLP_HEADERS: value });
    expect(problem).toMatchObject({ name: "OTEL_EXPORTER_OTLP_HEADERS", expected });
    expect(problem?.value).not.toContain("secret");
    expect(more).toEqual([]);
  });

  test("that gRPC cannot carry are told before the first request", () => {
    expect(
      problemsOf({ OTEL_EXPORTER_OTLP_PROTOCOL: "grpc", OTEL_EXPORTER_OTLP_HEADERS: "a=%C3%BC,b!=1" }),
    ).toMatchObject(
      [{ expected: /printable ASCII/ }, { expected: /metadata name/ }].map((one) => ({
        expected: expect.stringMatching(one.expected),
      })),
    );
  });
});

describe("certificates", () => {
  test("are read from their files", () => {
    const { tls } = endpointOf(
      read({
        OTEL_EXPORTER_OTLP_CERTIFICATE: "ca.pem",
        OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY: "key.pem",
        OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: "cert.pem",
        OTEL_METRICS_EXPORTER: "none",
      }).traces,
    );
    expect([tls.ca, tls.key, tls.cert].map(String)).toEqual(["CA", "KEY", "CERT"]);
  });

  test("that cannot be read are a problem, once for all signals", () => {
    expect(problemsOf({ OTEL_EXPORTER_OTLP_CERTIFICATE: "no.pem" })).toEqual([
      {
        name: "OTEL_EXPORTER_OTLP_CERTIFICATE",
        value: "no.pem",
        expected: "a readable PEM file (ENOENT: no such file or directory, open 'no.pem')",
      },
    ]);
  });

  test.each([
    ["OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem"],
    ["OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "cert.pem"],
  ])("of a client need both files, not %s alone", (name, value) => {
    expect(problemsOf({ [name]: value })).toEqual([
      { name, value, expected: "a client key together with a client certificate" },
    ]);
  });
});

test("a signal that goes nowhere may have any endpoint", () => {
  expect(
    problemsOf({ OTEL_METRICS_EXPORTER: "none", OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: "nowhere" }),
  ).toEqual([]);
});

test.each([
  ["http://user:pass@host:4318/v1/traces?key=1#x", "http://host:4318/v1/traces"],
  ["https://host/v1/traces", "https://host/v1/traces"],
  ["user:pass@host", "user:pass@host"],
])("%s is shown as %s", (url, shown) => {
  expect(withoutPassword(url)).toBe(shown);
});
