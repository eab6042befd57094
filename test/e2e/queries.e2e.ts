import { readFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from "vitest";
import { parse } from "yaml";

import { recordingsOf } from "../bridge/recordings.ts";
import * as wire from "../bridge/wire-runs.ts";
import { ROOT } from "../cli/program.ts";
import { dashboardQueries, dashboards, plain } from "../deploy/queries.ts";
import { answerOf, foundTraces, ruleFaults, samples } from "./backends.ts";
import { LiveBridge, retold, runsOf } from "./live.ts";
import { RedisServer } from "./redis-server.ts";
import { startStack, type Stack } from "./stack.ts";

const PATIENCE = { timeout: 30_000, interval: 500 };
const AGENT = "support";

/** Rounds of all runs, each a while after the one before: rates want counters that grow between scrapes. */
const ROUNDS = 4;
const ROUND_MS = 1_500;

let stack: Stack;
let redis: RedisServer;
let bridge: LiveBridge;

beforeAll(async () => {
  stack = await startStack();
  // A broker beside HTTP, because only a broker knows how much was not read yet.
  redis = await RedisServer.start();
  bridge = await LiveBridge.start({
    otlp: stack.otlpHttp,
    args: ["--from", `redis://127.0.0.1:${redis.port}`, "--run-idle-timeout", "4s"],
  });
  for (let round = 0; round < ROUNDS; round += 1) {
    await tellAll(round);
    await new Promise((resolve) => setTimeout(resolve, ROUND_MS));
  }
});
afterAll(async () => {
  await bridge?.stop();
  await redis?.[Symbol.asyncDispose]();
  await stack?.close();
});
beforeEach(() => onTestFailed(() => console.error(stack.logs())));

const QUERIES = dashboardQueries();

describe("the dashboards, asked of Prometheus while a bridge is at work", () => {
  test.each(QUERIES)("$dashboard: $panel $refId has data", async ({ expr }) => {
    const numbers = async () => {
      const found = await samples(stack.prometheusUrl, expr);
      return found.filter(({ value }) => Number.isFinite(value)).length;
    };
    await expect.poll(numbers, PATIENCE).toBeGreaterThan(0);
  });

  const variables = dashboards().flatMap(({ title, templating }) =>
    templating.list.map(({ name, query }) => ({ title, name, query: query.query, list: templating.list })),
  );

  test.each(variables)("$title: the variable $name has something to choose", async ({ query, list }) => {
    const [, series = "", label = ""] = /^label_values\((.*), (\w+)\)$/.exec(query)!;
    const match = new URLSearchParams({ "match[]": plain(series, list) });
    const answer = await answerOf(
      await fetch(`${stack.prometheusUrl}/api/v1/label/${label}/values?${match.toString()}`),
    );
    const { data } = answer as { readonly data: readonly string[] };
    expect(data.filter((value) => value !== "").length).toBeGreaterThan(0);
  });

  test.each(metricsOfTraces())("from a span of a trace to: $name", async ({ query }) => {
    const asked = query.replace("$$__tags", `gen_ai_agent_name="${AGENT}"`);
    expect((await samples(stack.prometheusUrl, asked)).length).toBeGreaterThan(0);
  });
});

describe("the links of the dashboards", () => {
  test.each(linksToTraces())("$panel: $title finds traces", async ({ tags, expr }) => {
    // The labels of every series of the panel: a click on any of them must lead to something, but for what has not happened.
    const series = (await samples(stack.prometheusUrl, expr)).filter(({ value }) => value > 0);
    const searches = new Set(
      series
        .filter(({ labels }) =>
          fieldsOf(tags).every((label) => !["", "(no name)"].includes(labels[label] ?? "")),
        )
        .map(({ labels }) => tags.replace(FIELD, (_, label: string) => labels[label]!)),
    );
    expect(searches.size).toBeGreaterThan(0);
    for (const search of searches) {
      const found = await foundTraces(
        stack.jaegerUrl,
        new URLSearchParams({
          service: "behest",
          // Microseconds: the last hour.
          start: String((Date.now() - 3_600_000) * 1_000),
          end: String(Date.now() * 1_000),
          limit: "50",
          tags: JSON.stringify(
            Object.fromEntries(
              [...search.matchAll(/([\w.]+)="([^"]*)"/g)].map(([, key, value]) => [key, value]),
            ),
          ),
        }),
      );
      expect({ search, found: found.length > 0 }).toEqual({ search, found: true });
    }
  });
});

test("the rules as they are shipped are all evaluated without an error", async () => {
  await expect.poll(() => ruleFaults(stack.prometheusUrl), PATIENCE).toEqual([]);
});

/**
 * Every recording, runs that report their tools, one of which fails, a run whose model fails, one that does not end,
 * and what is no event.
 */
async function tellAll(round: number): Promise<void> {
  const scenarios = recordingsOf("").filter(({ version }) => version === "0.5.9");
  const startMs = Date.now() - 3_000;
  for (const { scenario } of scenarios) {
    const lines = runsOf(scenario).flatMap((run) => retold(run, round, startMs));
    await bridge.post(
      lines.map(({ line }) => line),
      AGENT,
    );
  }
  const reported = wire.linesOf([...wire.standardRun(1), ...failedTool(2), ...failedModel(3)]);
  for (const lines of Map.groupBy(reported, (line) => /"run_id":"([^"]+)"/.exec(line)![1]).values()) {
    await bridge.post(
      retold(lines, round, startMs).map(({ line }) => line),
      AGENT,
    );
  }
  const open = wire.linesOf([wire.started(wire.teller(4))]);
  await bridge.post([...retold(open, round, Date.now()).map(({ line }) => line), "no event"], AGENT);
}

function failedTool(n: number): object[] {
  const run = wire.teller(n);
  return [
    wire.started(run),
    wire.model(run),
    wire.asked(run, "call_1"),
    wire.usage(run),
    wire.said(run),
    wire.toolStarted(run, "call_1"),
    wire.toolFinished(run, "call_1", { Failure: { error: "no such page" } }),
    wire.toolSaid(run),
    wire.completed(run),
  ];
}

function failedModel(n: number): object[] {
  const run = wire.teller(n);
  return [wire.started(run), wire.model(run), wire.completed(run, "error")];
}

interface TraceLink {
  readonly panel: string;
  readonly title: string;
  /** As Grafana's Jaeger data source takes them: `key="value"`, parted by spaces. */
  readonly tags: string;
  readonly expr: string;
}

const FIELD = /\$\{__field\.labels\.(\w+):percentencode\}/g;

function fieldsOf(tags: string): readonly string[] {
  return [...tags.matchAll(FIELD)].map(([, label = ""]) => label);
}

/** Every link of a panel to a search for traces, with the panel's first query. */
function linksToTraces(): readonly TraceLink[] {
  const links = dashboards().flatMap(({ title: board, panels, templating }) =>
    panels.flatMap(({ title: panel, fieldConfig, targets = [] }) =>
      (fieldConfig?.defaults.links ?? []).map(({ title, url }) => {
        const panes = decodeURIComponent(/panes=(.*)$/.exec(url)![1]!);
        const { traces } = JSON.parse(panes) as {
          readonly traces: { readonly queries: readonly { readonly tags: string }[] };
        };
        const expr = plain(targets[0]!.expr, templating.list);
        return { panel: `${board}: ${panel}`, title, tags: traces.queries[0]!.tags, expr };
      }),
    ),
  );
  if (links.length === 0) throw new Error("no dashboard has a link to traces");
  return links;
}

interface NamedQuery {
  readonly name: string;
  readonly query: string;
}

/** What the Jaeger data source asks of Prometheus about a span. */
function metricsOfTraces(): readonly NamedQuery[] {
  const file = join(ROOT, "deploy/grafana/provisioning/datasources/data-sources.yaml");
  const { datasources } = parse(readFileSync(file, "utf8")) as {
    readonly datasources: readonly {
      readonly jsonData: { readonly tracesToMetrics?: { readonly queries: readonly NamedQuery[] } };
    }[];
  };
  return datasources.flatMap(({ jsonData }) => jsonData.tracesToMetrics?.queries ?? []);
}
