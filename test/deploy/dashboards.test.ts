import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";

import { DASHBOARDS } from "../../deploy/grafana/source/generate.ts";
import * as semconv from "../../src/otel/semconv.ts";
import { attributes } from "../otel/span-mapping.ts";
import { modelSpan, runSpan, toolSpan } from "../otel/span-samples.ts";
import { faults, resultLabels, SERIES, usesOf } from "./promql.ts";
import {
  dashboardQueries,
  dashboards,
  plain,
  variablesIn,
  type Dashboard,
  type DataSource,
  type Panel,
} from "./queries.ts";

const GRAFANA = new URL("../../deploy/grafana/", import.meta.url);
const BOARDS = dashboards();
const PANELS = BOARDS.flatMap((board) =>
  board.panels
    .filter(({ type }) => type !== "row")
    .map((panel) => ({ board, panel, name: nameOf(board, panel) })),
);
const QUERIES = dashboardQueries().map((query) => ({
  ...query,
  name: `${query.dashboard}: ${query.panel} ${query.refId}`,
}));

describe("the files", () => {
  test.each(Object.entries(DASHBOARDS))(
    "%s is what deploy/grafana/source/generate.ts writes",
    (file, text) => {
      expect(read(`dashboards/${file}`)).toBe(text());
    },
  );

  test("are three, with uids that links can rely on", () => {
    expect(BOARDS.map(({ uid, title }) => [uid, title])).toEqual([
      ["behest-agent-runs", "Agent runs"],
      ["behest-bridge-health", "Bridge health"],
      ["behest-tokens", "Tokens"],
    ]);
  });

  test.each(BOARDS)("$title shows six hours, refreshes itself and leads to the others", (board) => {
    expect(board).toMatchObject({
      time: { from: "now-6h", to: "now" },
      refresh: "30s",
      tags: ["behest", "agents", "opentelemetry"],
      // The last one of this kind of dashboard file, which Grafana 12 and 13 read.
      schemaVersion: 42,
    });
    const others = BOARDS.filter(({ uid }) => uid !== board.uid).map(({ uid }) => `/d/${uid}`);
    expect(board.links.map(({ url }) => url).toSorted()).toEqual(others);
  });
});

describe("panels", () => {
  test.each(BOARDS)("of $title have ids of their own", ({ panels }) => {
    const ids = panels.map(({ id }) => id);
    expect(ids.filter((id) => !Number.isInteger(id) || id <= 0)).toEqual([]);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test.each(BOARDS)("of $title stand on the grid and not on each other", ({ panels }) => {
    const cells = new Map<string, string>();
    for (const { title, gridPos } of panels) {
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          expect(cells.get(`${x} ${y}`), `at ${x} ${y} under ${title}`).toBeUndefined();
          cells.set(`${x} ${y}`, title);
        }
      }
    }
  });

  test.each(PANELS)(
    "$name says what it shows, in which unit, by which name, and from where on it is bad",
    ({ panel }) => {
      expect(panel.title).not.toBe("");
      expect(panel.description).toMatch(/^[\p{Lu}\d][^]{15,}\.$/u);
      expect(panel.fieldConfig?.defaults.unit).toMatch(/^(s|short|percentunit|bytes)$/);
      expect(panel.fieldConfig?.defaults.thresholds?.steps[0]).toMatchObject({ value: null });
      expect(panel.targets?.length).toBeGreaterThan(0);
      for (const { legendFormat } of panel.targets ?? []) expect(legendFormat).toMatch(/^[^_]/);
      if (panel.type === "timeseries") expect(panel.options?.legend?.showLegend).toBe(true);
    },
  );

  test.each(PANELS)("$name has seconds and bytes where its metrics do", ({ board, panel }) => {
    const metrics = (panel.targets ?? []).flatMap(({ expr }) =>
      usesOf(plain(expr, board.templating.list)).map(({ metric }) => metric),
    );
    const { unit } = panel.fieldConfig?.defaults ?? {};
    expect(unit === "s").toBe(metrics.some((metric) => /_seconds(_bucket)?$/.test(metric)));
    expect(unit === "bytes").toBe(metrics.some((metric) => metric.endsWith("_bytes")));
  });
});

describe("queries", () => {
  test.each(QUERIES)("$name parses, with its types", ({ expr }) => {
    expect(faults(expr)).toEqual([]);
  });

  test.each(QUERIES)("$name reads metrics and labels that there are", ({ expr }) => {
    expect(unknown(expr)).toEqual([]);
    expect(usesOf(expr)).not.toEqual([]);
  });

  test.each(QUERIES)("$name takes cached tokens for what they are, a part of input", ({ expr }) => {
    const types = [...expr.matchAll(/behest_token_usage_total\{(?:gen_ai_token_type=~?"([a-z_|]+)")?/g)];
    const allowed = [
      "input",
      "output",
      "input|output",
      "cache_read",
      "cache_write",
      "cache_read|cache_write",
    ];
    expect(types.map(([, type]) => type).filter((type) => !allowed.includes(type ?? ""))).toEqual([]);
  });

  test("a wrong type, a wrong metric and a wrong label are seen", () => {
    expect(faults("rate(behest_run_ended_total)")).not.toEqual([]);
    expect(faults("sum(behest_run_ended_total")).not.toEqual([]);
    expect(unknown("sum by (outcome) (rate(behest_runs_total[5m]))")).toEqual(["behest_runs_total"]);
    expect(unknown("sum by (outcome) (behest_run_active{type='x'})")).toEqual([
      "behest_run_active{outcome}",
      "behest_run_active{type}",
    ]);
  });

  test.each(PANELS)("$name names its series by labels they have", ({ board, panel }) => {
    for (const { expr, legendFormat = "" } of panel.targets ?? []) {
      const has = resultLabels(plain(expr, board.templating.list));
      const legend = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label);
      const replaced = [...expr.matchAll(/, "(\w+)", "\(no name\)", "(\w+)", ""\)/g)].flatMap((found) => [
        found[1],
        found[2],
      ]);
      expect([...legend, ...replaced].filter((label) => !has.has(label ?? ""))).toEqual([]);
      // One series would stand for several without saying so, or several would have one name.
      expect(panel.type === "table" ? has.size > 0 : new Set(legend).size === seriesLabels(expr, has)).toBe(
        true,
      );
    }
  });
});

describe("variables", () => {
  test.each(BOARDS)("of $title are those that it uses", (board) => {
    const used = new Set(
      [
        ...board.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
        ...board.panels.flatMap(
          ({ fieldConfig }) => fieldConfig?.defaults.links?.map(({ url }) => url) ?? [],
        ),
        ...board.templating.list.map(({ query }) => query.query),
      ].flatMap(variablesIn),
    );
    const own = [...used].filter((name) => !name.startsWith("__"));
    expect(own.toSorted()).toEqual(board.templating.list.map(({ name }) => name).toSorted());
  });

  test.each(BOARDS.flatMap((board) => board.templating.list.map((variable) => ({ board, ...variable }))))(
    "$name of $board.title has values of a label that there is",
    ({ board, query }) => {
      const [, selector = "", label = ""] = /^label_values\((.+), (\w+)\)$/.exec(query.query) ?? [];
      const expr = `group by (${label}) (${plain(selector, board.templating.list)})`;
      expect(faults(expr)).toEqual([]);
      expect(unknown(expr)).toEqual([]);
    },
  );

  test("at All take series that lack the label", () => {
    const several = BOARDS.flatMap(({ templating }) => templating.list).filter(({ multi }) => multi);
    expect(several.length).toBeGreaterThan(0);
    for (const { includeAll, allValue } of several) expect([includeAll, allValue]).toEqual([true, ".*"]);
    // An equality would not: only `=~` takes several values, and `.*`.
    const equal = QUERIES.filter(({ expr }) => /[^~]"\.\*"/.test(expr));
    expect(equal).toEqual([]);
  });
});

describe("data sources", () => {
  const provisioned = parse(read("provisioning/datasources/data-sources.yaml")) as {
    datasources: (DataSource & { jsonData: Record<string, unknown> })[];
  };
  const known = provisioned.datasources.map(({ type, uid }) => ({ type, uid }));

  test("are Prometheus and Jaeger", () => {
    expect(known).toEqual([
      { type: "prometheus", uid: "prometheus" },
      { type: "jaeger", uid: "jaeger" },
    ]);
  });

  test.each(BOARDS)("of $title are provisioned", ({ panels, templating }) => {
    const queried = panels.filter(({ type }) => type !== "row");
    const used = [
      ...queried.map(({ datasource }) => datasource),
      ...queried.flatMap(({ targets = [] }) => targets.map(({ datasource }) => datasource)),
      ...templating.list.map(({ datasource }) => datasource),
    ];
    for (const source of used) expect(source).toEqual(known[0]);
  });

  test("know each other", () => {
    const [prometheus, jaeger] = provisioned.datasources;
    expect(prometheus?.jsonData).toMatchObject({
      exemplarTraceIdDestinations: [{ datasourceUid: "jaeger" }],
    });
    expect(jaeger?.jsonData).toMatchObject({ tracesToMetrics: { datasourceUid: "prometheus" } });
  });

  test("ask from a span for metrics and labels that there are", () => {
    const { tracesToMetrics } = provisioned.datasources[1]!.jsonData as {
      tracesToMetrics: { tags: { key: string; value: string }[]; queries: { query: string }[] };
    };
    const matchers = tracesToMetrics.tags.map(({ value }) => `${value}="x"`).join(", ");
    for (const { key } of tracesToMetrics.tags) expect(Object.values(semconv)).toContain(key);
    for (const { query } of tracesToMetrics.queries) {
      // Grafana reads $$ in its own files as $, and one $ as a variable of the environment.
      expect(query.replaceAll("$$", "")).not.toContain("$");
      const expr = query.replace("$$__tags", matchers);
      expect(faults(expr)).toEqual([]);
      expect(unknown(expr)).toEqual([]);
    }
  });

  test("and dashboards are where docker-compose.yml puts them", () => {
    const { providers } = parse(read("provisioning/dashboards/dashboards.yaml")) as {
      providers: { type: string; allowUiUpdates: boolean; options: { path: string } }[];
    };
    expect(providers).toMatchObject([{ type: "file", allowUiUpdates: false }]);
    const compose = parse(read("../../docker-compose.yml")) as {
      services: { grafana: { volumes: string[] } };
    };
    const mounts = compose.services.grafana.volumes;
    expect(mounts).toContain("./deploy/grafana/provisioning:/etc/grafana/provisioning:ro");
    expect(mounts).toContain(`./deploy/grafana/dashboards:${providers[0]?.options.path}:ro`);
  });
});

describe("links to traces", () => {
  const links = PANELS.flatMap(({ board, panel, name }) =>
    (panel.fieldConfig?.defaults.links ?? []).map(({ title, url }) => ({
      board,
      panel,
      name: `${name}: ${title}`,
      url,
    })),
  );
  const failure = { errorType: "model_error", message: "no" };
  const spans = [runSpan({ failure }), modelSpan({ failure }), toolSpan({ failure })].map((span) =>
    attributes(span).map(([key]) => key),
  );

  test("are on both dashboards about runs", () => {
    expect(new Set(links.map(({ board }) => board.uid))).toEqual(
      new Set(["behest-agent-runs", "behest-tokens"]),
    );
  });

  test.each(links)("$name search in Jaeger by what stands on one span", ({ url }) => {
    const search = searchOf(url);
    expect(search).toMatchObject({
      datasource: { type: "jaeger", uid: "jaeger" },
      queryType: "search",
      service: "behest",
    });
    const keys = [...search.tags.matchAll(/([a-z_.]+)="[^"]+"/g)].map(([, key]) => key ?? "");
    expect(keys.length).toBeGreaterThan(0);
    expect(spans.filter((has) => keys.every((key) => has.includes(key)))).not.toEqual([]);
  });

  test.each(links)(
    "$name take labels that the series have, for the attribute of that name",
    ({ board, panel, url }) => {
      const has = (panel.targets ?? []).map(({ expr }) => resultLabels(plain(expr, board.templating.list)));
      for (const [, label = ""] of url.matchAll(/\$\{__field\.labels\.(\w+):percentencode\}/g)) {
        for (const labels of has) expect([...labels]).toContain(label);
      }
      for (const [, key = "", label = ""] of searchOf(url).tags.matchAll(/([a-z_.]+)="value of (\w+)"/g)) {
        expect(label).toBe(key.replaceAll(".", "_"));
      }
    },
  );
});

function nameOf({ title }: Dashboard, panel: Panel): string {
  return `${title}: ${panel.title}`;
}

function read(path: string): string {
  return readFileSync(new URL(path, GRAFANA), "utf8");
}

/** Metrics that the bridge does not have, and labels that its metrics do not. */
function unknown(expr: string): readonly string[] {
  return usesOf(expr).flatMap(({ metric, labels }) => {
    const known = SERIES.get(metric);
    if (known === undefined) return [metric];
    return labels.filter((label) => !known.has(label)).map((label) => `${metric}{${label}}`);
  });
}

/** How many labels tell the series of a query apart: none when all is summed into one. */
function seriesLabels(expr: string, labels: ReadonlySet<string>): number {
  return expr.startsWith("count(") ? 0 : labels.size;
}

/** The search that a link opens, once Grafana has put the values of a series into it. */
function searchOf(url: string): { tags: string } {
  const filled = url
    .replaceAll("${service:percentencode}", "behest")
    .replaceAll(/\$\{__field\.labels\.(\w+):percentencode\}/g, "value%20of%20$1")
    .replaceAll(/\$\{__(from|to)\}/g, "1");
  const panes = new URL(filled, "http://localhost").searchParams.get("panes") ?? "";
  const { traces } = JSON.parse(panes) as { traces: { queries: [{ tags: string }] } };
  return traces.queries[0];
}
