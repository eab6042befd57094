import type { EventType, Failure } from "../../src/event/event.ts";
import { fromMillis } from "../../src/event/time.ts";
import type { Ending, ModelSpan, Op, RunFacts, RunSpan, ToolSpan } from "../../src/run/op.ts";
import type { Attributes, Snapshot } from "../../src/metric/snapshot.ts";

/** 2026-11-22T10:00:00Z */
const START_MS = 1_795_341_600_000;

export function facts(agent?: string): RunFacts {
  return {
    runId: "0b9e7f0a-5c1d-4c39-9e55-0d1c4f2b7a10",
    segment: "",
    agent,
    sessionId: undefined,
    parent: undefined,
  };
}

export function used(type: EventType): Op {
  return { op: "used", type };
}

export function chunk(seconds: number, provider = "openai", name = "gpt-5"): Op {
  return { op: "chunk", provider, model: name, seconds };
}

export function opened(agent?: string, resumedFrom?: string): Op {
  return { op: "opened", span: { kind: "run", run: facts(agent), start: fromMillis(START_MS), resumedFrom } };
}

type Timed<Span> = Partial<Omit<Span, "kind" | "run" | "start" | "end">> & {
  readonly agent?: string | undefined;
  readonly seconds?: number;
};

export function run(ending: Ending, { agent, seconds = 1, ...rest }: Timed<RunSpan> = {}): Op {
  const span: RunSpan = {
    kind: "run",
    ...times(agent, seconds),
    failure: ending.outcome === "failed" ? ending.failure : undefined,
    ending,
    startMissing: false,
    resumedFrom: undefined,
    provider: "openai",
    model: "gpt-5",
    finishReason: undefined,
    iterations: undefined,
    usage: undefined,
    modelCalls: 0,
    toolCalls: 0,
    toolFailures: 0,
    events: 1,
    eventsMissing: undefined,
    notices: [],
    noticesDropped: 0,
    ...rest,
  };
  return { op: "span", span };
}

export function model({ agent, seconds = 1, ...rest }: Timed<ModelSpan> = {}): Op {
  const span: ModelSpan = {
    kind: "model",
    ...times(agent, seconds),
    iteration: 1,
    occurrence: 0,
    provider: "openai",
    model: "gpt-5",
    incomplete: false,
    stream: false,
    chunks: 0,
    timeToFirstChunk: undefined,
    usage: undefined,
    finishReason: undefined,
    contextMessages: undefined,
    messageId: undefined,
    output: undefined,
    ...rest,
  };
  return { op: "span", span };
}

export function tool({ agent, seconds = 1, ...rest }: Timed<ToolSpan> = {}): Op {
  const span: ToolSpan = {
    kind: "tool",
    ...times(agent, seconds),
    callId: "call_1",
    occurrence: 0,
    toolName: "search",
    iteration: 1,
    inferred: false,
    incomplete: false,
    messageId: undefined,
    arguments: undefined,
    result: undefined,
    ...rest,
  };
  return { op: "span", span };
}

export function failure(errorType: string): Failure {
  return { errorType, message: "it broke" };
}

export function failed(errorType: string): Ending {
  return { outcome: "failed", failure: failure(errorType) };
}

/** The value of the one series with exactly these attributes; undefined when there is none. */
export function valueOf(snapshot: Snapshot, metric: string, attributes: Attributes = {}) {
  const wanted = textOf(attributes);
  return snapshot.find((point) => point.metric === metric && textOf(point.attributes) === wanted)?.value;
}

/** All series of a metric, as `key=value,... value` lines; zeros left out. */
export function lines(snapshot: Snapshot, metric: string): readonly string[] {
  return snapshot
    .filter((point) => point.metric === metric && point.value !== 0)
    .map(({ attributes, value }) => {
      const shown = typeof value === "number" ? value : `count ${value.count} sum ${value.sum}`;
      return `${textOf(attributes)} ${shown}`.trim();
    });
}

function textOf(attributes: Attributes): string {
  return Object.entries(attributes)
    .map(([key, value]) => `${key}=${String(value)}`)
    .sort()
    .join(",");
}

function times(agent: string | undefined, seconds: number) {
  const start = fromMillis(START_MS);
  const end = fromMillis(START_MS + Math.round(seconds * 1000));
  return { run: facts(agent), start, end, corrected: false, failure: undefined };
}
