import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";

import { faults, resultLabels, SERIES, usesOf } from "./promql.ts";
import { ALERT_TESTS, ALERTS, RECORDINGS } from "./rules.ts";

const ROOT = new URL("../../", import.meta.url);
const NAMES = ALERTS.map(({ alert }) => alert);
const RULES = [
  ...ALERTS.map(({ alert, expr }) => ({ name: alert, expr })),
  ...RECORDINGS.map(({ record, expr }) => ({ name: record, expr })),
];

/** What the collector says of itself and the rules read, as version 0.159 spells it. */
const COLLECTOR: ReadonlyMap<string, readonly string[]> = new Map([
  ["otelcol_exporter_queue_size", ["job", "instance", "exporter", "data_type"]],
  ["otelcol_exporter_sent_spans", ["job", "instance", "exporter"]],
  ["otelcol_exporter_queue_capacity", ["job", "instance", "exporter", "data_type"]],
  ["otelcol_receiver_accepted_metric_points", ["job", "instance", "receiver", "transport"]],
  ["up", ["job", "instance"]],
]);

describe("rules", () => {
  test.each(RULES)("$name is PromQL with types that fit", ({ expr }) => {
    expect(faults(expr)).toEqual([]);
  });

  test.each(RULES)("$name reads what there is, by labels that it has", ({ expr }) => {
    expect(unknownIn(expr)).toEqual([]);
  });

  test.each(RULES)("$name selects by metric, and never by job or instance", ({ expr }) => {
    expect(expr).not.toMatch(/[{,]\s*(job|instance)\s*[=!]/);
  });

  test("have one name each, and recordings ours", () => {
    const names = RULES.map(({ name }) => name);
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
    expect(NAMES.filter((name) => !/^Behest([A-Z][a-z]+)+$/.test(name))).toEqual([]);
    expect(RECORDINGS.filter(({ record }) => !/^behest:[a-z_]+:[a-z0-9]+$/.test(record))).toEqual([]);
  });

  // So that the tests of how failures are counted hold for all of them.
  test("count what is new of every counter in one way", () => {
    const ways = RECORDINGS.filter(({ record }) => record.endsWith(":new5m")).map(({ record, expr }) => {
      const counter = record.slice(0, record.lastIndexOf(":"));
      const before = RECORDINGS.find((other) => other.record === `${counter}:before5m`)?.expr ?? "";
      const raw = new RegExp(`${counter.replace(":", "_")}_total(\\{[^}]*\\})?`, "g");
      return [before, expr]
        .map((text) => text.replaceAll(counter, "COUNTER").replace(raw, "RAW"))
        .map((text) =>
          text
            .replace(/\(job, (instance, )?[\w, ]+\)/g, "(job, $1LABELS)")
            .replace(/\s+/g, " ")
            .trim(),
        );
    });
    expect(ways.length).toBe(9);
    expect(new Set(ways.map((way) => way.join("\n"))).size).toBe(1);
  });

  test("keep nothing that is not read", () => {
    const read = new Set(RULES.flatMap(({ expr }) => usesOf(expr).map(({ metric }) => metric)));
    expect(RECORDINGS.filter(({ record }) => !read.has(record))).toEqual([]);
  });
});

describe.each(ALERTS)("$alert", ({ alert, labels, annotations }) => {
  test("has a severity, a summary, a description and nothing more", () => {
    expect(Object.keys(labels)).toEqual(["severity"]);
    expect(labels["severity"]).toMatch(/^(warning|critical)$/);
    expect(Object.keys(annotations)).toEqual(["summary", "description", "runbook_url", "traces_url"]);
    expect(annotations["summary"]).toMatch(/^\S.{10,}[^.\s]$/);
    expect(annotations["description"]).toMatch(/^\S.{20,}\.$/);
  });

  test("links to its page and to the search of traces", () => {
    expect(annotations["runbook_url"]).toBe(`{{ $externalLabels.runbook_url }}/${alert}.md`);
    expect(annotations["traces_url"]).toMatch(
      /^\{\{ \$externalLabels\.jaeger_url \}\}\/search(\?service=|$)/,
    );
  });

  test("has a test in which it fires, and one in which it is silent", () => {
    const tests = ALERT_TESTS.filter(({ alertname }) => alertname === alert);
    expect(tests.filter(({ exp_alerts }) => exp_alerts.length > 0).length).toBeGreaterThan(0);
    expect(tests.filter(({ exp_alerts }) => exp_alerts.length === 0).length).toBeGreaterThan(0);
  });
});

describe("runbooks", () => {
  const folder = new URL("docs/runbooks/", ROOT);
  const pages = readdirSync(folder).filter((file) => file !== "README.md");
  const text = (file: string) => readFileSync(new URL(file, folder), "utf8");

  test("are one for each alert, and the index has them all", () => {
    expect(pages).toEqual(NAMES.map((name) => `${name}.md`).toSorted());
    const rows = text("README.md").matchAll(/^\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \|/gm);
    const indexed = [...rows].map(([, name, page, severity]) => `${name} ${page} ${severity}`);
    expect(indexed.toSorted()).toEqual(
      ALERTS.map(({ alert, labels }) => `${alert} ${alert} ${labels["severity"]}`).toSorted(),
    );
  });

  test.each(ALERTS)("$alert.md says what it means, and what to do", ({ alert, labels }) => {
    const page = text(`${alert}.md`);
    expect(page.startsWith(`# ${alert}\n\nSeverity ${labels["severity"]}: `)).toBe(true);
    expect([...page.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading)).toEqual([
      "What it means",
      "How to see it",
      "Usual causes",
      "What to do",
      "When to silence",
    ]);
  });

  const queries = pages.flatMap((page) => queriesIn(text(page)).map((query) => ({ page, query })));

  test.each(queries)("$page has a query that can be run: $query", ({ query }) => {
    expect(faults(query)).toEqual([]);
    expect(unknownIn(query)).toEqual([]);
  });
});

describe("configuration", () => {
  const yaml = (path: string) => parse(readFileSync(new URL(path, ROOT), "utf8")) as Record<string, unknown>;

  test("has every link that annotations use, and no alert carries them as labels", () => {
    const prometheus = yaml("deploy/prometheus/prometheus.yml") as {
      global: { external_labels: Record<string, string> };
      alerting: { alert_relabel_configs: readonly { regex: string; action: string }[] };
    };
    const used = ALERTS.flatMap(({ annotations }) =>
      [...JSON.stringify(annotations).matchAll(/\$externalLabels\.(\w+)/g)].map(([, name = ""]) => name),
    );
    const names = Object.keys(prometheus.global.external_labels);
    expect(names.toSorted()).toEqual([...new Set(used)].toSorted());
    expect(prometheus.alerting.alert_relabel_configs).toEqual([
      { regex: names.join("|"), action: "labeldrop" },
    ]);
  });

  test("keeps back only alerts that there are", () => {
    const { inhibit_rules } = yaml("deploy/alertmanager/alertmanager.yml") as {
      inhibit_rules: readonly { source_matchers: readonly string[]; target_matchers: readonly string[] }[];
    };
    const named = inhibit_rules.flatMap(({ source_matchers, target_matchers }) =>
      [...source_matchers, ...target_matchers].flatMap((matcher) => matcher.match(/Behest\w+/g) ?? []),
    );
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter((name) => !NAMES.includes(name))).toEqual([]);
  });
});

/** What an expression reads that nobody offers: a metric, or a label of one. */
function unknownIn(expr: string): readonly string[] {
  return usesOf(expr).flatMap(({ metric, labels }) => {
    const known = labelsOf(metric);
    if (known === undefined) return [metric];
    return labels.filter((label) => !known.has(label)).map((label) => `${metric}: ${label}`);
  });
}

/** The labels that a metric can have; undefined when there is no such metric. */
function labelsOf(metric: string): ReadonlySet<string> | undefined {
  const recording = RECORDINGS.find(({ record }) => record === metric);
  if (recording === undefined) return SERIES.get(metric) ?? asSet(COLLECTOR.get(metric));
  const aggregated = resultLabels(recording.expr);
  // A recording that only looks back or counts over time has the labels of what it reads.
  return aggregated.size > 0
    ? aggregated
    : new Set(usesOf(recording.expr).flatMap(({ metric: from }) => [...(labelsOf(from) ?? [])]));
}

function asSet(labels: readonly string[] | undefined): ReadonlySet<string> | undefined {
  return labels && new Set(labels);
}

/** The queries of a page, one for each line of its PromQL blocks that does not begin with a space. */
function queriesIn(page: string): readonly string[] {
  const blocks = [...page.matchAll(/```promql\n([\s\S]*?)```/g)].map(([, block = ""]) => block.trim());
  return blocks.flatMap((block) => block.split(/\n(?!\s)/));
}
