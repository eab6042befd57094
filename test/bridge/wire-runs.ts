/** Runs in the form in which the runtime sends them, for tests that need many, or odd ones. */

/** Second 0 of every run told here, in nanoseconds since 1970: 2025-06-01T12:00:00Z. */
const ORIGIN = 1_748_779_200_000_000_000n;

export const ORIGIN_MS = Number(ORIGIN / 1_000_000n);

/** The n-th run id. */
export function runIdOf(n: number): string {
  return `7a1b0000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;
}

/** The n-th id of a session, or of a message. */
export function idOf(n: number): string {
  return `01a20000-0000-7000-8000-${n.toString(16).padStart(12, "0")}`;
}

/** `millis` after the origin, with nanoseconds. */
export function stamp(millis: number): string {
  const nanos = ORIGIN + BigInt(Math.round(millis * 1e6));
  const second = new Date(Number(nanos / 1_000_000_000n) * 1_000).toISOString().slice(0, 19);
  return `${second}.${String(nanos % 1_000_000_000n).padStart(9, "0")}Z`;
}

type Fields = Readonly<Record<string, unknown>>;

/** An event of a run, as an object; every call is a later moment of the run. */
export interface Teller {
  readonly runId: string;
  /** Milliseconds after the origin of what is told next. */
  at: number;
  readonly tell: (type: string, fields?: Fields) => Record<string, unknown>;
}

/** Tells the events of the n-th run, a millisecond apart, from `startMs` on. */
export function teller(n: number, startMs = 0): Teller {
  const runId = runIdOf(n);
  const self: Teller = {
    runId,
    at: startMs,
    tell: (type, fields = {}) => {
      const event = { [type]: { run_id: runId, ...fields, timestamp: stamp(self.at) } };
      self.at += 1;
      return event;
    },
  };
  return self;
}

const MODEL = { provider: "openai", model: "gpt-4o" };

export const started = (run: Teller, fields: Fields = {}) =>
  run.tell("RunStarted", { session_id: idOf(1), ...MODEL, ...fields });
export const model = (run: Teller, iteration = 1, fields: Fields = {}) =>
  run.tell("ModelStarted", { ...MODEL, iteration, ...fields });
export const usage = (run: Teller, input = 100, output = 20, fields: Fields = {}) =>
  run.tell("UsageRecorded", {
    usage: { input_tokens: input, output_tokens: output, total_tokens: input + output, ...fields },
  });
export const delta = (run: Teller, text = "word ") => run.tell("TextDelta", { delta: text });
export const asked = (run: Teller, id: string, args: unknown = {}, name = "search") =>
  run.tell("ToolCallCompleted", { call: { id, name, arguments: args } });
export const said = (run: Teller, message = 2) =>
  run.tell("AssistantMessageCommitted", { message_id: idOf(message) });
export const toolSaid = (run: Teller, message = 3) =>
  run.tell("ToolMessageCommitted", { message_id: idOf(message) });
export const toolStarted = (run: Teller, id: string, name = "search") =>
  run.tell("ToolExecutionStarted", { call_id: id, tool_name: name });
export const toolFinished = (
  run: Teller,
  id: string,
  result: unknown = { Success: { output: 1 } },
  name = "search",
) => run.tell("ToolExecutionFinished", { call_id: id, tool_name: name, result, duration_ms: 1 });
export const completed = (run: Teller, reason: unknown = "stop", iterations = 1) =>
  run.tell("RunCompleted", { finish_reason: reason, iterations });
export const failed = (run: Teller, error = "token budget exceeded: 9 > 8") =>
  run.tell("RunFailed", { error });
export const cancelled = (run: Teller) => run.tell("RunCancelled");

export interface StandardRun {
  readonly modelCalls?: number;
  readonly deltas?: number;
}

/** A run of `modelCalls` streamed calls with a tool after each, all executions observed; it completes. */
export function standardRun(n: number, { modelCalls = 3, deltas = 60 }: StandardRun = {}): object[] {
  const run = teller(n, n);
  const events = [started(run)];
  for (let iteration = 1; iteration <= modelCalls; iteration += 1) {
    events.push(run.tell("ContextBuilt", { message_count: iteration * 2 }), model(run, iteration));
    for (let index = 0; index < deltas; index += 1) events.push(delta(run, `word${index} `));
    events.push(
      asked(run, `call_${iteration}`, { query: "weather in Bern" }),
      usage(run, 1_000 + iteration, 80),
      said(run, iteration * 2),
      toolStarted(run, `call_${iteration}`),
      toolFinished(run, `call_${iteration}`, { Success: { output: { rows: 3 } } }),
      toolSaid(run, iteration * 2 + 1),
    );
  }
  events.push(completed(run, "stop", modelCalls));
  return events;
}

/** Spans of such a run: its own, and two for each iteration. */
export function standardSpans({ modelCalls = 3 }: StandardRun = {}): number {
  return 1 + 2 * modelCalls;
}

export function linesOf(events: readonly object[]): string[] {
  return events.map((event) => JSON.stringify(event));
}
