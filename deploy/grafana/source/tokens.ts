import type { Dashboard } from "@grafana/grafana-foundation-sdk/dashboard";

import { choice, dashboard, serviceChoice } from "./board.ts";
import { figure, lines, matrix, parts, ranking } from "./panels.ts";
import { AGENT, eitherName, grown, MODEL, named, quantile, rate, share, sum, top } from "./promql.ts";
import { CALLS_OF_MODEL, RUNS_OF_AGENT } from "./traces.ts";

const BY_MODEL = ["gen_ai_request_model"];
const BY_AGENT = ["gen_ai_agent_name"];
const BY_PROVIDER_AND_MODEL = ["gen_ai_provider_name", "gen_ai_request_model"];

const INPUT = used("input");
const OUTPUT = used("output");
const CACHE_READ = used("cache_read");
const CACHE_WRITE = used("cache_write");
const CACHED = used("cache_read|cache_write");
/** What was read and written by models. The cached ones are part of input, and so not added. */
const ALL = used("input|output");
const ENDED = `behest_run_ended_total{${AGENT}}`;

/** What is spent, on which model, by which agent, and what of it came from a cache. */
export function tokens(): Dashboard {
  return dashboard({
    uid: "behest-tokens",
    description:
      "Tokens by model, agent and kind. Cached tokens are part of input: input and output add up to the total, the caches never come on top.",
    variables: [
      choice("agent", "Agent", "behest_token_usage_total", "gen_ai_agent_name"),
      choice("provider", "Provider", "behest_token_usage_total", "gen_ai_provider_name"),
      choice(
        "model",
        "Model",
        'behest_token_usage_total{gen_ai_provider_name=~"$provider"}',
        "gen_ai_request_model",
      ),
      serviceChoice(),
    ],
    rows: [
      { title: "In this time range", panels: figures() },
      { title: "Over time", panels: overTime() },
      { title: "Who and what", panels: totals() },
      { title: "Per run and per call", panels: perUse() },
    ],
  });
}

function used(types: string): string {
  const matcher = types.includes("|") ? "=~" : "=";
  return `behest_token_usage_total{gen_ai_token_type${matcher}"${types}", ${AGENT}, ${MODEL}}`;
}

/**
 * Input without what came from or went into a cache. `measured` tells `rate` or `grown`; as the types differ,
 * `or` takes the series of both sides, and where nothing was cached there is nothing to subtract.
 */
function uncached(measured: (selector: string) => string, by: readonly string[] = []): string {
  return `clamp_min(${sum(`${measured(INPUT)} or -${measured(CACHED)}`, by)}, 0)`;
}

/** Cached tokens; 0 where input was used and nothing is known to be cached. */
function cached(
  selector: string,
  measured: (selector: string) => string,
  by: readonly string[] = [],
): string {
  return `(${sum(measured(selector), by)} or 0 * ${sum(measured(INPUT), by)})`;
}

function figures() {
  const figureOf = (id: number, title: string, description: string, expr: string) =>
    figure({ id, title, description, unit: "short", width: 4, queries: [{ expr, legend: title }] });
  return [
    figureOf(1, "Input and output", "All tokens that models read and wrote.", sum(grown(ALL))),
    figureOf(2, "Input", "Tokens that models read, cached ones included.", sum(grown(INPUT))),
    figureOf(
      3,
      "Input from cache",
      "The part of input that was read from a cache.",
      cached(CACHE_READ, grown),
    ),
    figureOf(4, "Output", "Tokens that models wrote.", sum(grown(OUTPUT))),
    figure({
      id: 5,
      title: "Cached share of input",
      description: "Read from a cache, as a share of input. Providers charge less for these.",
      unit: "percentunit",
      width: 4,
      queries: [{ expr: share(grown(CACHE_READ), grown(INPUT)), legend: "cached" }],
      nothing: "no input",
    }),
    figure({
      id: 6,
      title: "Tokens per run",
      description:
        "Input and output of the time range over the runs that ended in it. Runs know no model: with one chosen this is what that model adds to a run.",
      unit: "short",
      width: 4,
      queries: [{ expr: `${sum(grown(ALL))} / (${sum(grown(ENDED))} > 0)`, legend: "tokens" }],
      nothing: "no runs",
    }),
  ];
}

function overTime() {
  return [
    parts({
      id: 7,
      title: "Tokens per minute, by kind",
      description: "The bars add up to input and output: what was cached is taken out of input.",
      unit: "short",
      width: 24,
      minStep: "1m",
      queries: [
        { expr: `60 * ${uncached(rate)}`, legend: "input, not cached" },
        { expr: `60 * ${cached(CACHE_READ, rate)}`, legend: "input, read from cache" },
        { expr: `60 * ${cached(CACHE_WRITE, rate)}`, legend: "input, written to cache" },
        { expr: `60 * ${sum(rate(OUTPUT))}`, legend: "output" },
      ],
      colours: {
        "input, not cached": "blue",
        "input, read from cache": "green",
        "input, written to cache": "yellow",
        output: "purple",
      },
    }),
    parts({
      id: 8,
      title: "Tokens per minute, by model",
      description: "Input and output.",
      unit: "short",
      width: 12,
      minStep: "1m",
      queries: [
        {
          expr: named(`60 * ${sum(rate(ALL), BY_MODEL)}`, "gen_ai_request_model"),
          legend: "{{gen_ai_request_model}}",
        },
      ],
      links: CALLS_OF_MODEL,
    }),
    parts({
      id: 9,
      title: "Tokens per minute, by agent",
      description: "Input and output.",
      unit: "short",
      width: 12,
      minStep: "1m",
      queries: [
        {
          expr: named(`60 * ${sum(rate(ALL), BY_AGENT)}`, "gen_ai_agent_name"),
          legend: "{{gen_ai_agent_name}}",
        },
      ],
      links: RUNS_OF_AGENT,
    }),
  ];
}

function totals() {
  const by = BY_PROVIDER_AND_MODEL;
  return [
    matrix({
      id: 10,
      title: "Tokens by model and kind",
      description:
        "Of the time range. The first three columns are the parts of input; with output they add up to the total.",
      unit: "short",
      width: 12,
      columns: { gen_ai_provider_name: "Provider", gen_ai_request_model: "Model" },
      queries: [
        { expr: uncached(grown, by), legend: "Input, not cached" },
        { expr: cached(CACHE_READ, grown, by), legend: "Input, read from cache" },
        { expr: cached(CACHE_WRITE, grown, by), legend: "Input, written to cache" },
        { expr: sum(grown(OUTPUT), by), legend: "Output" },
        { expr: sum(grown(ALL), by), legend: "Total" },
      ],
    }),
    ranking({
      id: 11,
      title: "Top models",
      description: "Input and output of the time range, the ten that used most.",
      unit: "short",
      width: 6,
      queries: [
        {
          expr: top(named(sum(grown(ALL), BY_MODEL), "gen_ai_request_model")),
          legend: "{{gen_ai_request_model}}",
        },
      ],
      links: CALLS_OF_MODEL,
    }),
    ranking({
      id: 12,
      title: "Top agents",
      description: "Input and output of the time range, the ten that used most.",
      unit: "short",
      width: 6,
      queries: [
        {
          expr: top(named(sum(grown(ALL), BY_AGENT), "gen_ai_agent_name")),
          legend: "{{gen_ai_agent_name}}",
        },
      ],
      links: RUNS_OF_AGENT,
    }),
  ];
}

function perUse() {
  return [
    lines({
      id: 13,
      title: "Tokens per run of the last hour, by agent",
      description:
        "At each point the input and output of the hour before over the runs that ended in it. Long runs count their tokens before they end.",
      unit: "short",
      width: 8,
      minStep: "1m",
      queries: [
        {
          expr: named(
            `${sum(`increase(${ALL}[1h])`, BY_AGENT)} / (${sum(`increase(${ENDED}[1h])`, BY_AGENT)} > 0)`,
            "gen_ai_agent_name",
          ),
          legend: "{{gen_ai_agent_name}}",
        },
      ],
      nothing: "No runs ended",
      links: RUNS_OF_AGENT,
    }),
    lines({
      id: 14,
      title: "Tokens of a model call, 95 % below",
      description:
        "Input grows with the context: a line that rises towards a model's limit is a context that is not made shorter. These metrics know no agent.",
      unit: "short",
      width: 8,
      minStep: "5m",
      queries: [
        { expr: quantile(0.95, callTokens("input")), legend: "input" },
        { expr: quantile(0.95, callTokens("output")), legend: "output" },
      ],
    }),
    lines({
      id: 15,
      title: "Cached share of input, by model",
      description: "Read from a cache, as a share of input.",
      unit: "percentunit",
      width: 8,
      minStep: "5m",
      queries: [
        {
          expr: named(share(rate(CACHE_READ), rate(INPUT), BY_MODEL), "gen_ai_request_model"),
          legend: "{{gen_ai_request_model}}",
        },
      ],
      links: CALLS_OF_MODEL,
    }),
  ];
}

function callTokens(type: "input" | "output"): string {
  return eitherName(
    `gen_ai_client_token_usage_bucket{gen_ai_token_type="${type}", ${MODEL}}`,
    `gen_ai_client_inference_operation_${type}_tokens_bucket{${MODEL}}`,
  );
}
