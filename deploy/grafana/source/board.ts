import {
  DashboardBuilder,
  DashboardCursorSync,
  QueryVariableBuilder,
  RowBuilder,
  VariableRefresh,
  VariableSort,
  type Dashboard,
  type Panel,
} from "@grafana/grafana-foundation-sdk/dashboard";

import { PROMETHEUS } from "./data-sources.ts";
import { link, type Link } from "./link.ts";

export interface Board {
  readonly uid: Uid;
  readonly description: string;
  readonly variables: readonly QueryVariableBuilder[];
  /** Panels of a row fill lines of 24 columns. */
  readonly rows: readonly Row[];
}

interface Row {
  readonly title: string;
  readonly panels: readonly { build(): Panel }[];
}

/** Titles by uid. A uid is part of every link to a dashboard and never changes. */
const TITLES = {
  "behest-agent-runs": "Agent runs",
  "behest-tokens": "Tokens",
  "behest-bridge-health": "Bridge health",
} as const;
type Uid = keyof typeof TITLES;

/** A whole dashboard with what all have: range, refresh, tags, links to the others. */
export function dashboard({ uid, description, variables, rows }: Board): Dashboard {
  const board = new DashboardBuilder(TITLES[uid])
    .uid(uid)
    .description(description)
    .tags(["behest", "agents", "opentelemetry"])
    .time({ from: "now-6h", to: "now" })
    .refresh("30s")
    .timezone("browser")
    .tooltip(DashboardCursorSync.Crosshair)
    .editable()
    .variables([...variables])
    .links(linksFrom(uid));
  rows.forEach(({ title, panels }, index) => {
    board.withRow(new RowBuilder(title).id(FIRST_ROW_ID + index));
    for (const panel of panels) board.withPanel(panel);
  });
  return board.build();
}

/** Above the ids of all panels. */
const FIRST_ROW_ID = 1000;

/** A choice of several values of a label; `All`, from the start, is every series, with the label or without. */
export function choice(name: string, label: string, from: string, key: string): QueryVariableBuilder {
  const everything = { selected: true, text: ["All"], value: ["$__all"] };
  return labelValues(name, label, from, key).multi(true).includeAll(true).allValue(".*").current(everything);
}

/**
 * The service that links to traces search in: the metrics' `job` without the namespace that
 * `service.namespace` puts before it.
 */
export function serviceChoice(): QueryVariableBuilder {
  return labelValues("service", "Traces of", "behest_run_ended_total", "job").regex(
    "/^(?:.*\\/)?([^\\/]+)$/",
  );
}

function labelValues(name: string, label: string, from: string, key: string): QueryVariableBuilder {
  const query = `label_values(${from}, ${key})`;
  return new QueryVariableBuilder(name)
    .label(label)
    .datasource(PROMETHEUS)
    .query({ qryType: 1, query, refId: "labels" })
    .definition(query)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalCaseInsensitiveAsc);
}

function linksFrom(uid: Uid): Link[] {
  return Object.entries(TITLES)
    .filter(([other]) => other !== uid)
    .map(([other, title]) =>
      link({ title, url: `/d/${other}`, icon: "dashboard", includeVars: true, keepTime: true }),
    );
}
