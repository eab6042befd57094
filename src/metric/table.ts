import type { AttributeKey, AttributeUse } from "./attribute.ts";
import { FACTS, type Fact, type FactName, type LabelKey } from "./facts.ts";

/**
 * Which names the metrics of the GenAI conventions go out under: those of the last released registry,
 * the unreleased ones that follow it, or both (`OTEL_SEMCONV_STABILITY_OPT_IN`).
 */
export type SemconvMode = "released" | "latest" | "dup";

/**
 * One metric: everything that its instrument, its data points and its line of documentation are made
 * from.
 */
export interface Metric {
  readonly name: string;
  readonly kind: "counter" | "gauge" | "histogram";
  /** UCUM. */
  readonly unit: string;
  /** Values are whole numbers, and go out as OTLP integers. */
  readonly whole: boolean;
  readonly description: string;
  /** Inclusive upper bucket bounds; of histograms only. */
  readonly bounds: readonly number[] | undefined;
  readonly attributes: readonly AttributeUse[];
  /** The mode that emits it; `dup` emits all. */
  readonly mode: "always" | "released" | "latest";
  /** How the values of several sources become one. */
  readonly over: "sum" | "max";
  readonly from: readonly View[];
}

/** A part of a metric: the series of one fact, those labels summed away that are not its attributes. */
export interface View {
  readonly fact: FactName;
  /** Only the series with these label values. */
  readonly where?: Readonly<Partial<Record<LabelKey, string>>>;
  /** Attributes that are the same on every data point. */
  readonly add?: Readonly<Partial<Record<AttributeKey, string>>>;
}

const AGENT: AttributeUse = ["gen_ai.agent.name", "when known"];
const FAILURE: AttributeUse = ["error.type", "on failure"];
const MODEL_CALL: readonly AttributeUse[] = [
  ["gen_ai.operation.name", "always"],
  ["gen_ai.provider.name", "always"],
  ["gen_ai.request.model", "when known"],
];
const TOKEN_TYPE: AttributeUse = ["gen_ai.token.type", "always"];
const MODALITY: AttributeUse = ["gen_ai.token.modality", "always"];
const CHAT = { "gen_ai.operation.name": "chat" } as const;

/** All metrics of the program, in the order they are exported and documented in. */
export const METRICS: readonly Metric[] = [
  counter({
    name: "behest.run.ended",
    unit: "{run}",
    description: "Runs that ended",
    attributes: [["behest.run.outcome", "always"], AGENT, ["behest.run.resumed", "when true"]],
    from: [{ fact: "runsEnded" }],
  }),
  counter({
    name: "behest.run.failures",
    unit: "{run}",
    description: "Runs that failed, and runs that fell silent",
    attributes: [["error.type", "always"], AGENT],
    from: [{ fact: "runFailures" }],
  }),
  gauge({
    name: "behest.run.active",
    unit: "{run}",
    description: "Runs that have begun and not ended",
    attributes: [AGENT],
    from: [{ fact: "runsActive" }],
  }),
  gauge({
    name: "behest.run.oldest_active_age",
    unit: "s",
    description: "Age of the run that has been active longest, 0 when none is",
    over: "max",
    from: [{ fact: "oldestActiveAge" }],
  }),
  counter({
    name: "behest.run.doom_loops",
    unit: "{doom_loop}",
    description: "Doom loops the runtime detected",
    attributes: [AGENT],
    from: [{ fact: "doomLoops" }],
  }),
  counter({
    name: "behest.run.compaction_circuit_openings",
    unit: "{opening}",
    description: "Times the runtime gave up compacting a context",
    attributes: [AGENT],
    from: [{ fact: "compactionCircuits" }],
  }),
  counter({
    name: "behest.token.usage",
    unit: "{token}",
    description: "Tokens used; cache_read and cache_write are part of input",
    attributes: [
      TOKEN_TYPE,
      ["gen_ai.provider.name", "when known"],
      ["gen_ai.request.model", "when known"],
      AGENT,
    ],
    from: [{ fact: "tokens" }],
  }),

  histogram({
    name: "gen_ai.invoke_agent.duration",
    unit: "s",
    description: "Duration of runs whose start and end were seen",
    attributes: [AGENT, FAILURE],
    from: [{ fact: "agentDuration" }],
  }),
  histogram({
    name: "gen_ai.invoke_agent.inference_calls",
    unit: "{inference_call}",
    description: "Model calls of a run",
    attributes: [AGENT],
    from: [{ fact: "inferenceCalls" }],
  }),
  histogram({
    name: "gen_ai.invoke_agent.tool_calls",
    unit: "{tool_call}",
    description: "Tool executions of a run",
    attributes: [AGENT],
    from: [{ fact: "toolCalls" }],
  }),
  histogram({
    name: "gen_ai.execute_tool.duration",
    unit: "s",
    description: "Duration of tool executions",
    attributes: [
      ["gen_ai.tool.name", "always"],
      ["gen_ai.tool.type", "always"],
      AGENT,
      FAILURE,
      ["behest.span.inferred", "when true"],
    ],
    from: [{ fact: "toolDuration", add: { "gen_ai.tool.type": "function" } }],
  }),

  histogram({
    name: "gen_ai.client.token.usage",
    unit: "{token}",
    description: "Tokens of a model call, input and output apart",
    mode: "released",
    attributes: [...MODEL_CALL, TOKEN_TYPE],
    from: [
      { fact: "inputTokens", add: { ...CHAT, "gen_ai.token.type": "input" } },
      { fact: "outputTokens", add: { ...CHAT, "gen_ai.token.type": "output" } },
    ],
  }),
  ...modelHistograms("released", "gen_ai.client.operation"),

  ...modelHistograms("latest", "gen_ai.client.inference"),
  latestTokens("usage.input_tokens", "Input tokens used, cached ones included", "input"),
  latestTokens("usage.output_tokens", "Output tokens used", "output"),
  latestTokens("usage.cache_read.input_tokens", "Input tokens read from a cache", "cache_read"),
  latestTokens("usage.cache_write.input_tokens", "Input tokens written to a cache", "cache_write"),
  histogram({
    name: "gen_ai.client.inference.operation.input_tokens",
    unit: "{token}",
    description: "Input tokens of a model call",
    mode: "latest",
    attributes: MODEL_CALL,
    from: [{ fact: "inputTokens", add: CHAT }],
  }),
  histogram({
    name: "gen_ai.client.inference.operation.output_tokens",
    unit: "{token}",
    description: "Output tokens of a model call",
    mode: "latest",
    attributes: MODEL_CALL,
    from: [{ fact: "outputTokens", add: CHAT }],
  }),

  // Received is the sum of the three fates, so that the books balance in every snapshot by construction.
  counter({
    name: "behest.bridge.events.received",
    unit: "{event}",
    description: "Events whose fate was decided: used, dropped or rejected",
    attributes: [["type", "always"]],
    from: [{ fact: "used" }, { fact: "dropped" }, { fact: "rejected", add: { type: "_OTHER" } }],
  }),
  counter({
    name: "behest.bridge.events.used",
    unit: "{event}",
    description: "Events that were used",
    attributes: [["type", "always"]],
    from: [{ fact: "used" }],
  }),
  counter({
    name: "behest.bridge.events.dropped",
    unit: "{event}",
    description: "Events that changed nothing",
    attributes: [["reason", "always"]],
    from: [{ fact: "dropped" }],
  }),
  counter({
    name: "behest.bridge.events.rejected",
    unit: "{event}",
    description: "Input that was no event",
    attributes: [["code", "always"]],
    from: [{ fact: "rejected" }],
  }),
  gauge({
    name: "behest.bridge.events.waiting",
    unit: "{event}",
    description: "Events that wait for earlier ones",
    from: [{ fact: "eventsWaiting" }],
  }),
  counter({
    name: "behest.bridge.spans.exported",
    unit: "{span}",
    description: "Spans the backend took",
    from: [{ fact: "spansExported" }],
  }),
  counter({
    name: "behest.bridge.spans.failed",
    unit: "{span}",
    description: "Spans that were given up",
    attributes: [["reason", "always"]],
    from: [{ fact: "spansFailed" }],
  }),
  gauge({
    name: "behest.bridge.queue.spans",
    unit: "{span}",
    description: "Finished spans that wait for export",
    from: [{ fact: "queueSpans" }],
  }),
  histogram({
    name: "behest.bridge.export.duration",
    unit: "s",
    description: "Duration of one export of spans, retries included",
    from: [{ fact: "exportDuration" }],
  }),
  histogram({
    name: "behest.bridge.commit.duration",
    unit: "s",
    description: "Duration of one commit: state saved and input acknowledged",
    from: [{ fact: "commitDuration" }],
  }),
  gauge({
    name: "behest.bridge.source.lag",
    unit: "{event}",
    description: "Events in the source that were not read yet",
    attributes: [["source", "when known"]],
    from: [{ fact: "sourceLag" }],
  }),
  gauge({
    name: "behest.bridge.source.age",
    unit: "s",
    description: "Age of the newest event that was read",
    attributes: [["source", "when known"]],
    from: [{ fact: "sourceAge" }],
  }),
  gauge({
    name: "behest.bridge.source.pending",
    unit: "{event}",
    description: "Events that were read and are not acknowledged",
    attributes: [["source", "when known"]],
    from: [{ fact: "sourcePending" }],
  }),
  counter({
    name: "behest.bridge.source.redelivered",
    unit: "{event}",
    description: "Events that a broker handed out once more",
    attributes: [["source", "when known"]],
    from: [{ fact: "redelivered" }],
  }),
  counter({
    name: "behest.bridge.source.lost",
    unit: "{event}",
    description:
      "Events that were gone before they could be read: a broker had removed them, or nobody kept them",
    attributes: [["source", "when known"]],
    from: [{ fact: "lost" }],
  }),
  counter({
    name: "behest.bridge.source.refused",
    unit: "{request}",
    description: "Requests over HTTP that were refused",
    attributes: [
      ["source", "when known"],
      ["reason", "always"],
    ],
    from: [{ fact: "refused" }],
  }),
  gauge({
    name: "behest.bridge.state.runs",
    unit: "{run}",
    description: "Runs in the state: open ones and remembered ones",
    attributes: [["source", "when known"]],
    from: [{ fact: "stateRuns" }],
  }),
  gauge({
    name: "behest.bridge.state.size",
    unit: "By",
    description: "Bytes that the state takes where it is kept; in Redis about that many",
    attributes: [["source", "when known"]],
    from: [{ fact: "stateSize" }],
  }),
  counter({
    name: "behest.bridge.usage.late",
    unit: "{event}",
    description: "Usage that came after its model call was handed out",
    attributes: [["source", "when known"]],
    from: [{ fact: "lateUsage" }],
  }),
];

const BY_NAME: ReadonlyMap<string, Metric> = new Map(METRICS.map((metric) => [metric.name, metric]));

/** The metric of this name; throws when the table has none. */
export function metricNamed(name: string): Metric {
  const metric = BY_NAME.get(name);
  if (metric === undefined) throw new Error(`no metric is called ${name}: the table of metrics decides`);
  return metric;
}

/** The metrics that go out in a mode. */
export function metricsIn(mode: SemconvMode): readonly Metric[] {
  return METRICS.filter((metric) => metric.mode === "always" || mode === "dup" || metric.mode === mode);
}

type Row = Pick<Metric, "name" | "unit" | "description" | "from"> &
  Partial<Pick<Metric, "attributes" | "mode" | "over">>;

function counter(row: Row): Metric {
  return defined("counter", row);
}

function gauge(row: Row): Metric {
  return defined("gauge", row);
}

function histogram(row: Row): Metric {
  return defined("histogram", row);
}

function defined(kind: Metric["kind"], row: Row): Metric {
  const fact: Fact | undefined = row.from[0] && FACTS[row.from[0].fact];
  const bounds = fact?.kind === "distribution" ? fact.bounds : undefined;
  return { kind, attributes: [], mode: "always", over: "sum", whole: row.unit !== "s", bounds, ...row };
}

/** The three histograms of a model call that only changed their names. */
function modelHistograms(mode: Metric["mode"], prefix: string): readonly Metric[] {
  const streamed = { mode, attributes: MODEL_CALL };
  return [
    histogram({
      name: `${prefix}.duration`,
      unit: "s",
      description: "Duration of model calls",
      mode,
      attributes: [...MODEL_CALL, FAILURE],
      from: [{ fact: "modelDuration", add: CHAT }],
    }),
    histogram({
      name: `${prefix}.time_to_first_chunk`,
      unit: "s",
      description: "Time from a streamed model call's start to its first chunk",
      ...streamed,
      from: [{ fact: "firstChunk", add: CHAT }],
    }),
    histogram({
      name: `${prefix}.time_per_output_chunk`,
      unit: "s",
      description: "Time from one chunk of a streamed model call to the next",
      ...streamed,
      from: [{ fact: "perChunk", add: CHAT }],
    }),
  ];
}

function latestTokens(name: string, description: string, type: string): Metric {
  return counter({
    name: `gen_ai.client.inference.${name}`,
    unit: "{token}",
    description,
    mode: "latest",
    attributes: [...MODEL_CALL, MODALITY],
    from: [
      {
        fact: "tokens",
        where: { "gen_ai.token.type": type },
        add: { ...CHAT, "gen_ai.token.modality": "unknown" },
      },
    ],
  });
}
