import { readdirSync, readFileSync } from "node:fs";

/** A panel, as Grafana reads it: what the tests and the queries need of it. */
export interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly datasource?: DataSource;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly Target[];
  readonly options?: { readonly legend?: { readonly showLegend?: boolean } };
  readonly fieldConfig?: {
    readonly defaults: {
      readonly unit?: string;
      readonly links?: readonly { readonly title: string; readonly url: string }[];
      readonly thresholds?: { readonly steps: readonly { readonly value: number | null }[] };
    };
  };
}

interface Target {
  readonly refId: string;
  readonly expr: string;
  readonly legendFormat?: string;
  readonly datasource?: DataSource;
}

export interface DataSource {
  readonly type: string;
  readonly uid: string;
}

export interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly tags: readonly string[];
  readonly refresh: string;
  readonly time: { readonly from: string; readonly to: string };
  readonly schemaVersion: number;
  readonly links: readonly { readonly url: string }[];
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly Variable[] };
}

export interface Variable {
  readonly name: string;
  readonly datasource: DataSource;
  readonly query: { readonly query: string };
  readonly multi: boolean;
  readonly includeAll: boolean;
  readonly allValue?: string;
}

/** One query of one panel, as a plain Prometheus takes it. */
export interface DashboardQuery {
  readonly dashboard: string;
  readonly panel: string;
  readonly refId: string;
  readonly expr: string;
}

const FOLDER = new URL("../../deploy/grafana/dashboards/", import.meta.url);

/** The dashboards in the repository. */
export function dashboards(): readonly Dashboard[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith(".json"))
    .toSorted()
    .map((file) => JSON.parse(readFileSync(new URL(file, FOLDER), "utf8")) as Dashboard);
}

/**
 * Every query of every panel, with all variables at `All`. `range` stands for the dashboard's time range and
 * `window` for Grafana's rate interval: both have to begin before what is asked for happened.
 */
export function dashboardQueries({ range = "1h", window = "5m" } = {}): readonly DashboardQuery[] {
  return dashboards().flatMap(({ title, panels, templating }) =>
    panels.flatMap(({ title: panel, targets = [] }) =>
      targets.map(({ refId, expr }) => ({
        dashboard: title,
        panel,
        refId,
        expr: plain(expr, templating.list, { range, window }),
      })),
    ),
  );
}

/** An expression without Grafana's variables. Throws when it has one that nobody knows. */
export function plain(
  expr: string,
  variables: readonly Variable[],
  { range = "1h", window = "5m" } = {},
): string {
  const values: Record<string, string> = { __range: range, __rate_interval: window };
  for (const { name, allValue } of variables) if (allValue !== undefined) values[name] = allValue;
  return expr.replace(VARIABLE, (text, bare?: string, braced?: string) => {
    const value = values[bare ?? braced ?? ""];
    if (value === undefined) throw new Error(`the query ${expr} has ${text}, which has no value in a query`);
    return value;
  });
}

/** The variables that a text names, of a dashboard and built in, without what formats them. */
export function variablesIn(text: string): readonly string[] {
  return [...text.matchAll(VARIABLE)].map(([, bare, braced]) => bare ?? braced ?? "");
}

const VARIABLE = /\$(\w+)|\$\{(\w+)[^}]*\}/g;
