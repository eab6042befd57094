import type { Board } from "./board.ts";
import { figure, lines, ranking } from "./panels.ts";
import { AGENT, eitherName, grown, MODEL, named, perMinute, quantile, rate, share, sum } from "./promql.ts";
import { CALLS_OF_MODEL, field, type TraceSearch } from "./traces.ts";

const BY_MODEL = ["gen_ai_request_model"];
const BY_TOOL = ["gen_ai_tool_name"];

const TOOL = "gen_ai_execute_tool_duration_seconds";
const FIRST_CHUNK = modelMetric("time_to_first_chunk_seconds_bucket");
const PER_CHUNK = modelMetric("time_per_output_chunk_seconds_bucket");
const CALL_DURATION = modelMetric("duration_seconds_bucket");

const EXECUTIONS: TraceSearch = {
  title: "Executions of this tool in Jaeger",
  tags: { "gen_ai.tool.name": field("gen_ai_tool_name") },
};
const FAILED_EXECUTIONS: TraceSearch = {
  title: "Executions of this tool that failed like this in Jaeger",
  tags: { "gen_ai.tool.name": field("gen_ai_tool_name"), "error.type": field("error_type") },
};

/** The rows of the model calls and of the tools. */
export function callRows(): Board["rows"] {
  return [
    { title: "Model calls (by provider and model; these metrics know no agent)", panels: modelCalls() },
    { title: "Tools", panels: tools() },
  ];
}

/** One of the three histograms of a model call that have two names, with both. */
function modelMetric(name: string, filter = MODEL): string {
  return eitherName(
    `gen_ai_client_operation_${name}{${filter}}`,
    `gen_ai_client_inference_${name}{${filter}}`,
  );
}

function modelCalls() {
  return [
    lines({
      id: 16,
      title: "Time to first chunk",
      description: "From the start of a streamed model call to its first chunk: what a user waits for.",
      unit: "s",
      width: 12,
      minStep: "5m",
      queries: [
        { expr: quantile(0.5, FIRST_CHUNK), legend: "p50" },
        { expr: quantile(0.95, FIRST_CHUNK), legend: "p95" },
      ],
    }),
    lines({
      id: 17,
      title: "Time to first chunk by model, 95 % below",
      description: "95 of 100 streamed calls of the model had their first chunk by then.",
      unit: "s",
      width: 12,
      minStep: "5m",
      queries: [byModel(quantile(0.95, FIRST_CHUNK, BY_MODEL))],
      links: CALLS_OF_MODEL,
    }),
    lines({
      id: 18,
      title: "Model call duration",
      description: "From the start of a model call to its end, streamed or not.",
      unit: "s",
      width: 8,
      minStep: "5m",
      queries: [
        { expr: quantile(0.5, CALL_DURATION), legend: "p50" },
        { expr: quantile(0.95, CALL_DURATION), legend: "p95" },
        { expr: quantile(0.99, CALL_DURATION), legend: "p99" },
      ],
    }),
    lines({
      id: 19,
      title: "Model call duration by model, 95 % below",
      description: "95 of 100 calls of the model took no longer.",
      unit: "s",
      width: 8,
      minStep: "5m",
      queries: [byModel(quantile(0.95, CALL_DURATION, BY_MODEL))],
      links: CALLS_OF_MODEL,
    }),
    lines({
      id: 20,
      title: "Time per output chunk by model, median",
      description: "From one chunk of a streamed call to the next: how fast a model writes.",
      unit: "s",
      width: 8,
      minStep: "5m",
      queries: [byModel(quantile(0.5, PER_CHUNK, BY_MODEL))],
      links: CALLS_OF_MODEL,
    }),
    lines({
      id: 21,
      title: "Model calls per minute, by model",
      description: "Calls that ended, whatever the outcome.",
      unit: "short",
      width: 12,
      minStep: "1m",
      queries: [byModel(`60 * ${sum(modelMetric("duration_seconds_count"), BY_MODEL)}`)],
      links: CALLS_OF_MODEL,
    }),
    lines({
      id: 22,
      title: "Share of model calls that failed, by model",
      description:
        "Calls with an error.type. A call that failed and was tried again by the runtime counts, though its run goes on.",
      unit: "percentunit",
      width: 12,
      minStep: "5m",
      queries: [
        byModel(
          share(
            modelMetric("duration_seconds_count", `${MODEL}, error_type!=""`),
            modelMetric("duration_seconds_count"),
            BY_MODEL,
          ),
        ),
      ],
      thresholds: {
        base: "green",
        steps: [
          [0.05, "orange"],
          [0.25, "red"],
        ],
      },
      links: CALLS_OF_MODEL,
    }),
  ];
}

function byModel(expr: string) {
  return { expr: named(expr, "gen_ai_request_model"), legend: "{{gen_ai_request_model}}" };
}

function tools() {
  const all = `${TOOL}_count{${AGENT}}`;
  const failed = `${TOOL}_count{${AGENT}, error_type!=""}`;
  const reported = rate(`${TOOL}_bucket{${AGENT}, behest_span_inferred=""}`);
  const inferred = rate(`${TOOL}_bucket{${AGENT}, behest_span_inferred="true"}`);
  return [
    lines({
      id: 23,
      title: "Tool duration, 95 % below",
      description:
        "Of executions that the runtime reported one by one. The stock runtime reports none: its tools stand beside this, with the time of their batch.",
      unit: "s",
      width: 12,
      minStep: "5m",
      queries: [{ expr: quantile(0.95, reported, BY_TOOL), legend: "{{gen_ai_tool_name}}" }],
      nothing: "The runtime reports no tool executions",
      links: [EXECUTIONS],
    }),
    lines({
      id: 24,
      title: "Batch time of tools, 95 % below",
      description:
        "Of executions that the runtime did not report: the time from the model's message to the first tool message, which is that of the whole batch and not of the one tool.",
      unit: "s",
      width: 12,
      minStep: "5m",
      queries: [{ expr: quantile(0.95, inferred, BY_TOOL), legend: "{{gen_ai_tool_name}} (batch)" }],
      nothing: "The runtime reports every tool execution",
      links: [EXECUTIONS],
    }),
    figure({
      id: 25,
      title: "Failed tool executions",
      description: "Executions of the time range with an error.type. A failed tool does not fail its run.",
      unit: "short",
      width: 4,
      queries: [{ expr: `${sum(grown(failed))} or 0 * ${sum(grown(all))}`, legend: "failed" }],
      thresholds: { base: "green", steps: [[1, "orange"]] },
      nothing: "no tools",
    }),
    ranking({
      id: 26,
      title: "Failures by tool and cause",
      description: "Failed executions of the time range, the most frequent first.",
      unit: "short",
      width: 10,
      queries: [
        {
          expr: `sort_desc(${sum(grown(failed), [...BY_TOOL, "error_type"])} > 0)`,
          legend: "{{gen_ai_tool_name}}: {{error_type}}",
        },
      ],
      thresholds: { base: "orange", steps: [] },
      nothing: "No failures",
      links: [FAILED_EXECUTIONS],
    }),
    lines({
      id: 27,
      title: "Tool executions per minute, by tool",
      description: "Reported and inferred ones.",
      unit: "short",
      width: 10,
      minStep: "1m",
      queries: [{ expr: perMinute(all, BY_TOOL), legend: "{{gen_ai_tool_name}}" }],
      links: [EXECUTIONS],
    }),
  ];
}
