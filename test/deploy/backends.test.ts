import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readEnvironment, type Destination, type ExportConfig } from "../../src/otel/environment.ts";

const page = readFileSync(join(import.meta.dirname, "../../docs/backends.md"), "utf8");

interface Section {
  readonly name: string;
  /** The variables that its block exports, after a real shell has read it. */
  readonly env: Readonly<Record<string, string>>;
}

const sections: readonly Section[] = [...page.matchAll(/^## (.*)\n\n```sh\n([\s\S]*?)```/gm)].map(
  ([, name = "", block = ""]) => ({ name, env: exported(block) }),
);

function exported(block: string): Record<string, string> {
  const text = execFileSync("bash", ["-euo", "pipefail", "-c", `${block}\nenv -0`], {
    env: { PATH: process.env["PATH"] },
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
  });
  const all = text.split("\0").filter((line) => line.startsWith("OTEL_"));
  return Object.fromEntries(
    all.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
}

function read(env: Readonly<Record<string, string>>): {
  readonly config: ExportConfig;
  readonly problems: readonly unknown[];
  readonly unread: readonly string[];
} {
  const asked = new Set<string>();
  const watched = new Proxy(env, {
    get: (target, name: string) => {
      asked.add(name);
      return target[name];
    },
  });
  return { ...readEnvironment(watched), unread: Object.keys(env).filter((name) => !asked.has(name)) };
}

function url(destination: Destination): string {
  return destination.exporter === "otlp" ? destination.endpoint.url : destination.exporter;
}

function headers(destination: Destination): Readonly<Record<string, string>> {
  return destination.exporter === "otlp" ? destination.endpoint.headers : {};
}

/** Columns of the table at the top, by the name of the section it links to. */
const table = new Map(
  [...page.matchAll(/^\| \[(.*?)\]\(#.*?\) \| (.*) \|$/gm)].map(([, name = "", cells = ""]) => {
    const [traces = "", metrics = "", logs = "", protocols = "", tried = ""] = cells.split(" | ");
    return [name, { traces, metrics, logs, protocols: protocols.replaceAll("`", "").split(" "), tried }];
  }),
);

test("the table and the blocks name the same backends, in the same order", () => {
  expect([...table.keys()]).toEqual(sections.map(({ name }) => name));
  expect(sections.length).toBe(11);
});

describe.each(sections)("the block for $name", ({ name, env }) => {
  const { config, problems, unread } = read(env);
  const row = table.get(name)!;

  test("is understood by the program, every variable of it", () => {
    expect(problems).toEqual([]);
    expect(unread).toEqual([]);
    expect(Object.keys(env).length).toBeGreaterThan(0);
  });

  test("sends the signals that the table says the backend takes, in a protocol that it says", () => {
    expect(config.traces.exporter).toBe(row.traces === "yes" ? "otlp" : "none");
    expect(config.metrics.exporter).toBe(row.metrics.startsWith("yes") ? "otlp" : "none");
    expect(config.metricReading.temporality).toBe(/delta/.test(row.metrics) ? "delta" : "cumulative");
    expect(row.protocols).toContain(config.traces.exporter === "otlp" && config.traces.endpoint.protocol);
  });

  test("says whether it was tried, and if not, whose page it follows", () => {
    const text = page.split(`\n## ${name}\n`)[1]!.split("\n## ")[0]!;
    if (row.tried === "no") expect(text).toMatch(/^Not tried\. \[.*\]\(https:\/\//m);
    else expect(text).toMatch(new RegExp(`^Tried: ${row.tried.replaceAll(".", "\\.")}\\b`, "m"));
  });
});

test.each([
  ["Collector of this repository", "http://localhost:4318/v1/traces", "http://localhost:4318/v1/metrics"],
  ["Jaeger", "http://localhost:4318/v1/traces", "none"],
  ["Tempo", "http://localhost:4318/v1/traces", "none"],
  [
    "Grafana Cloud",
    "https://otlp-gateway-prod-eu-west-2.grafana.net/otlp/v1/traces",
    "https://otlp-gateway-prod-eu-west-2.grafana.net/otlp/v1/metrics",
  ],
  ["Honeycomb", "https://api.honeycomb.io/v1/traces", "https://api.honeycomb.io/v1/metrics"],
  ["Datadog", "https://otlp.datadoghq.com/v1/traces", "https://otlp.datadoghq.com/v1/metrics"],
  ["SigNoz", "https://ingest.eu.signoz.cloud/v1/traces", "https://ingest.eu.signoz.cloud/v1/metrics"],
  ["Langfuse", "https://cloud.langfuse.com/api/public/otel/v1/traces", "none"],
  ["Phoenix", "http://localhost:6006/v1/traces", "none"],
  [
    "Dash0",
    "https://ingress.eu-west-1.aws.dash0.com/v1/traces",
    "https://ingress.eu-west-1.aws.dash0.com/v1/metrics",
  ],
  ["New Relic", "https://otlp.nr-data.net/v1/traces", "https://otlp.nr-data.net/v1/metrics"],
])("%s is sent to where its pages say", (name, traces, metrics) => {
  const { config } = read(sections.find((section) => section.name === name)!.env);
  expect([url(config.traces), url(config.metrics)]).toEqual([traces, metrics]);
});

test.each([
  ["Grafana Cloud", { authorization: `Basic ${btoa("1234567:glc_0123456789")}` }],
  ["Honeycomb", { "x-honeycomb-team": "hcaik_0123456789" }],
  ["Datadog", { "dd-api-key": "0123456789abcdef", compute_stats: "true" }],
  ["SigNoz", { "signoz-ingestion-key": "01234567-89ab-cdef-0123-456789abcdef" }],
  [
    "Langfuse",
    { authorization: `Basic ${btoa("pk-lf-0123:sk-lf-4567")}`, "x-langfuse-ingestion-version": "4" },
  ],
  ["Dash0", { authorization: "Bearer auth_0123456789", "dash0-dataset": "default" }],
  ["New Relic", { "api-key": "0123456789abcdefNRAL" }],
])("%s gets the key with every request for traces", (name, expected) => {
  const { config } = read(sections.find((section) => section.name === name)!.env);
  expect(headers(config.traces)).toEqual(expected);
});

test("Honeycomb gets its key and a dataset with metrics too", () => {
  const { config } = read(sections.find(({ name }) => name === "Honeycomb")!.env);
  expect(headers(config.metrics)).toEqual({
    "x-honeycomb-team": "hcaik_0123456789",
    "x-honeycomb-dataset": "agent-metrics",
  });
});

describe("a block is refused", () => {
  test("when it names a variable that nobody reads", () => {
    expect(read(exported("export OTEL_EXPORTER_OTLP_HOST=localhost")).unread).toEqual([
      "OTEL_EXPORTER_OTLP_HOST",
    ]);
  });

  test("when it sets what another line makes void", () => {
    const block = "export OTEL_METRICS_EXPORTER=none OTEL_EXPORTER_OTLP_METRICS_HEADERS=a=b";
    expect(read(exported(block)).unread).toEqual(["OTEL_EXPORTER_OTLP_METRICS_HEADERS"]);
  });

  test("when a header is not written as the variable wants it", () => {
    expect(
      read(exported('export OTEL_EXPORTER_OTLP_HEADERS="authorization: Bearer x"')).problems.length,
    ).toBe(1);
  });
});
