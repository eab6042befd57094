import type { Dashboard } from "@grafana/grafana-foundation-sdk/dashboard";

import { callRows } from "./agent-calls.ts";
import { choice, dashboard, serviceChoice } from "./board.ts";
import { figure, lines, parts, ranking } from "./panels.ts";
import { AGENT, grown, mean, named, perMinute, quantile, rate, share, sum, top } from "./promql.ts";
import { RUNS_OF_AGENT, field, type TraceSearch } from "./traces.ts";

const ENDED = `behest_run_ended_total{${AGENT}}`;
const FAILURES = `behest_run_failures_total{${AGENT}}`;
const DURATION = `gen_ai_invoke_agent_duration_seconds_bucket{${AGENT}}`;
const BY_AGENT = ["gen_ai_agent_name"];

const FAILED_RUNS: TraceSearch = {
  title: "Failed runs in Jaeger",
  tags: { "behest.run.outcome": "failed" },
};
const SILENT_RUNS: TraceSearch = {
  title: "Runs that fell silent in Jaeger",
  tags: { "error.type": "run_expired" },
};
const FAILED_RUNS_OF_AGENT: TraceSearch = {
  title: "Failed runs of this agent in Jaeger",
  tags: { ...FAILED_RUNS.tags, "gen_ai.agent.name": field("gen_ai_agent_name") },
};
const SAME_CAUSE: TraceSearch = {
  title: "Runs that failed with this cause in Jaeger",
  tags: { "gen_ai.operation.name": "invoke_agent", "error.type": field("error_type") },
};

/** Do runs succeed, how long do they take, and where does the time go. */
export function agentRuns(): Dashboard {
  return dashboard({
    uid: "behest-agent-runs",
    description:
      "Runs of agents: outcomes, failures and their causes, how long runs, model calls and tools take. Click on a series to get to its traces.",
    variables: [
      choice("agent", "Agent", "behest_run_ended_total", "gen_ai_agent_name"),
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
      { title: "Outcomes and failures", panels: outcomes() },
      { title: "Runs that are active, and how long runs take", panels: durations() },
      ...callRows(),
      { title: "Loops and context", panels: loops() },
    ],
  });
}

function figures() {
  return [
    figure({
      id: 1,
      title: "Runs ended",
      description: "Runs that ended in the time range, whatever the outcome. A resumed run counts again.",
      unit: "short",
      width: 4,
      queries: [{ expr: sum(grown(ENDED)), legend: "runs" }],
    }),
    figure({
      id: 2,
      title: "Failure ratio",
      description:
        "Share of the runs ended in the time range that failed or fell silent. Cancelled runs are no failures. Orange from 5 %, red from 25 %.",
      unit: "percentunit",
      width: 4,
      queries: [{ expr: share(grown(FAILURES), grown(ENDED)), legend: "failed" }],
      thresholds: { base: "green", steps: FAILURE_STEPS },
      nothing: "no runs",
      links: [FAILED_RUNS, SILENT_RUNS],
    }),
    figure({
      id: 3,
      title: "Failed or silent",
      description:
        "Runs that failed in the time range, and runs that fell silent (run_expired): the runtime ends a run without a word when a provider, its store or its context fails.",
      unit: "short",
      width: 4,
      queries: [{ expr: sum(grown(FAILURES)), legend: "failures" }],
      thresholds: { base: "green", steps: [[1, "red"]] },
      links: [FAILED_RUNS, SILENT_RUNS],
    }),
    figure({
      id: 4,
      title: "Active now",
      description: "Runs that have begun and not ended.",
      unit: "short",
      width: 4,
      queries: [{ expr: sum(`behest_run_active{${AGENT}}`), legend: "active" }],
    }),
    figure({
      id: 5,
      title: "Oldest active run",
      description:
        "Age of the run that has been active longest, over all agents: the metric has none. A run that hangs shows here before it expires. Orange from 30 minutes, red from an hour.",
      unit: "s",
      width: 4,
      queries: [{ expr: OLDEST, legend: "age" }],
      thresholds: { base: "green", steps: AGE_STEPS },
    }),
    figure({
      id: 6,
      title: "Run duration, 95 % below",
      description:
        "95 of 100 runs of the time range took no longer. Estimated from buckets; runs that fell silent are not in it.",
      unit: "s",
      width: 4,
      queries: [{ expr: quantile(0.95, grown(DURATION)), legend: "p95" }],
      nothing: "no runs",
    }),
  ];
}

const FAILURE_STEPS = [
  [0.05, "orange"],
  [0.25, "red"],
] as const;
const AGE_STEPS = [
  [1800, "orange"],
  [3600, "red"],
] as const;
// Every bridge, so every shard, tells of its own runs only.
const OLDEST = "max(behest_run_oldest_active_age_seconds)";

function outcomes() {
  return [
    parts({
      id: 7,
      title: "Runs ended per minute, by outcome",
      description:
        "How runs ended. Incomplete ones fell silent, or were cut off by a limit of the bridge or its end.",
      unit: "short",
      width: 12,
      minStep: "1m",
      queries: [{ expr: perMinute(ENDED, ["behest_run_outcome"]), legend: "{{behest_run_outcome}}" }],
      colours: { completed: "green", failed: "red", cancelled: "blue", incomplete: "orange" },
      links: [
        {
          title: "Runs with this outcome in Jaeger",
          tags: { "behest.run.outcome": field("behest_run_outcome") },
        },
      ],
    }),
    parts({
      id: 8,
      title: "Failures per minute, by cause",
      description:
        "Failed and silent runs by error.type. Only causes that have occurred since the bridge began to count.",
      unit: "short",
      width: 12,
      minStep: "1m",
      queries: [
        {
          expr: `${perMinute(FAILURES, ["error_type"])} and ${sum(FAILURES, ["error_type"])} > 0`,
          legend: "{{error_type}}",
        },
      ],
      nothing: "No failures",
      links: [SAME_CAUSE],
    }),
    ranking({
      id: 9,
      title: "Causes of failures",
      description: "Failed and silent runs of the time range by error.type, the most frequent first.",
      unit: "short",
      width: 12,
      queries: [{ expr: `sort_desc(${sum(grown(FAILURES), ["error_type"])} > 0)`, legend: "{{error_type}}" }],
      thresholds: { base: "red", steps: [] },
      nothing: "No failures",
      links: [SAME_CAUSE],
    }),
    lines({
      id: 10,
      title: "Failure ratio of the last hour, by agent",
      description:
        "At each point the share of the runs ended in the hour before that failed or fell silent. The dashed lines are at 5 % and 25 %.",
      unit: "percentunit",
      width: 12,
      minStep: "1m",
      queries: [
        {
          expr: named(
            share(`increase(${FAILURES}[1h])`, `increase(${ENDED}[1h])`, BY_AGENT),
            "gen_ai_agent_name",
          ),
          legend: "{{gen_ai_agent_name}}",
        },
      ],
      thresholds: { base: "green", steps: FAILURE_STEPS },
      nothing: "No runs ended",
      links: [FAILED_RUNS_OF_AGENT, FAILED_RUNS, SILENT_RUNS],
    }),
  ];
}

function durations() {
  return [
    lines({
      id: 11,
      title: "Active runs, by agent",
      description: "Runs that have begun and not ended.",
      unit: "short",
      width: 12,
      minStep: "1m",
      queries: [
        {
          expr: named(sum(`behest_run_active{${AGENT}}`, BY_AGENT), "gen_ai_agent_name"),
          legend: "{{gen_ai_agent_name}}",
        },
      ],
    }),
    lines({
      id: 12,
      title: "Age of the oldest active run",
      description:
        "Over all agents: the metric has none. A line that rises for long is a run that hangs; it falls when the run ends or expires. The dashed lines are at 30 minutes and an hour.",
      unit: "s",
      width: 12,
      minStep: "1m",
      queries: [{ expr: OLDEST, legend: "oldest" }],
      thresholds: { base: "green", steps: AGE_STEPS },
    }),
    lines({
      id: 13,
      title: "Run duration",
      description: "Of runs that completed, failed or were cancelled and whose start was seen.",
      unit: "s",
      width: 8,
      minStep: "5m",
      queries: [
        { expr: quantile(0.5, rate(DURATION)), legend: "p50" },
        { expr: quantile(0.95, rate(DURATION)), legend: "p95" },
        { expr: quantile(0.99, rate(DURATION)), legend: "p99" },
      ],
    }),
    ranking({
      id: 14,
      title: "Slowest agents, 95 % below",
      description: "Duration that 95 of 100 runs of the agent stayed below in the time range.",
      unit: "s",
      width: 8,
      queries: [
        {
          expr: top(named(quantile(0.95, grown(DURATION), BY_AGENT), "gen_ai_agent_name")),
          legend: "{{gen_ai_agent_name}}",
        },
      ],
      nothing: "No runs",
      links: RUNS_OF_AGENT,
    }),
    lines({
      id: 15,
      title: "Model calls and tool executions of a run",
      description: "Means over the runs that ended. A rise is an agent that needs more turns for its work.",
      unit: "short",
      width: 8,
      minStep: "5m",
      queries: [
        { expr: mean("gen_ai_invoke_agent_inference_calls", AGENT), legend: "model calls" },
        { expr: mean("gen_ai_invoke_agent_tool_calls", AGENT), legend: "tool executions" },
      ],
    }),
  ];
}

function loops() {
  return [
    parts({
      id: 28,
      title: "Doom loops per minute, by agent",
      description:
        "Times the runtime saw an agent ask for the same again and again. The link finds runs that failed over it.",
      unit: "short",
      width: 12,
      minStep: "1m",
      queries: [
        {
          expr: named(perMinute(`behest_run_doom_loops_total{${AGENT}}`, BY_AGENT), "gen_ai_agent_name"),
          legend: "{{gen_ai_agent_name}}",
        },
      ],
      links: [{ title: "Runs that ended in a doom loop in Jaeger", tags: { "error.type": "doom_loop" } }],
    }),
    parts({
      id: 29,
      title: "Compaction circuit openings per minute, by agent",
      description:
        "Times the runtime gave up making a context shorter. The run goes on until the context is too long.",
      unit: "short",
      width: 12,
      minStep: "1m",
      queries: [
        {
          expr: named(
            perMinute(`behest_run_compaction_circuit_openings_total{${AGENT}}`, BY_AGENT),
            "gen_ai_agent_name",
          ),
          legend: "{{gen_ai_agent_name}}",
        },
      ],
      links: RUNS_OF_AGENT,
    }),
  ];
}
