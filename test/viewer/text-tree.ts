import type { Failure } from "../../src/event/event.ts";
import { compareTimes } from "../../src/event/time.ts";
import type { Time } from "../../src/event/time.ts";
import type {
  FinishedSpan,
  ModelSpan,
  Notice,
  Op,
  RunFacts,
  RunSpan,
  ToolSpan,
  Usage,
} from "../../src/run/op.ts";

export interface TextTreeOptions {
  /** The moment 0 of all times; default: the start of the earliest span. */
  readonly origin?: Time;
  /** Also session, provider, model, message ids, parent, contents and run ids. Default false. */
  readonly all?: boolean;
}

/**
 * Spans as text for tests: one span a line, run by run in the order handed out, children by start.
 *
 * ```
 * invoke_agent researcher [0 +412.5] completed stop calls=2 tools=1 tokens=310/45 events=14
 *   chat gpt-4o (0) [1.2 +120] tool_call stream chunks=4 ttfc=20 in=100 out=20
 *   execute_tool search (call_1) [121 +60] it=0 inferred
 * ```
 *
 * In round brackets the key of the span's identity: segment, iteration or call id, `#n` for the n-th
 * occurrence after the first. In square brackets start and length in milliseconds, exact to the
 * nanosecond. Whatever else differs from span to span stands behind, and what is at its default is
 * left out. Run ids are shown when there is more than one. Nothing is dropped, merged or limited, so a span
 * handed out twice is two lines and a run without its own span says so.
 */
export function textTree(spans: readonly FinishedSpan[], options: TextTreeOptions = {}): string {
  if (spans.length === 0) return "no spans\n";
  const groups = Map.groupBy(spans, ({ run }) => `${run.runId} ${run.segment}`);
  const severalRuns = new Set(spans.map(({ run }) => run.runId)).size > 1;
  const origin =
    options.origin ?? spans.map(({ start }) => start).reduce((a, b) => (compareTimes(b, a) < 0 ? b : a));
  const look: Look = { origin, all: options.all ?? false, ids: severalRuns || options.all === true };
  const lines = [...groups.values()].flatMap((group) => groupLines(group, look));
  return `${lines.join("\n")}\n`;
}

/** The spans among `ops`, in the order handed out. */
export function spansOf(ops: readonly Op[]): FinishedSpan[] {
  return ops.flatMap((op) => (op.op === "span" ? [op.span] : []));
}

interface Look {
  readonly origin: Time;
  readonly all: boolean;
  readonly ids: boolean;
}

function groupLines(spans: readonly FinishedSpan[], look: Look): string[] {
  const lines: string[] = [];
  for (const span of spans) {
    if (span.kind !== "run") continue;
    lines.push(runLine(span, look), ...span.notices.map((one) => `  ${noticeLine(one, look)}`));
  }
  const [first] = spans;
  if (lines.length === 0 && first !== undefined) {
    lines.push(words(["(no run span)", keyText(first.run.segment, 0), `run=${text(first.run.runId)}`]));
  }
  const children = spans
    .filter((span) => span.kind !== "run")
    .toSorted((a, b) => compareTimes(a.start, b.start));
  for (const span of children) {
    lines.push(`  ${span.kind === "model" ? modelLine(span, look) : toolLine(span, look)}`);
  }
  return lines;
}

function runLine(span: RunSpan, look: Look): string {
  const { run, usage } = span;
  return words([
    run.agent === undefined ? "invoke_agent" : `invoke_agent ${text(run.agent)}`,
    keyText(run.segment, 0),
    interval(span, look),
    endingText(span),
    span.finishReason && text(span.finishReason),
    span.resumedFrom !== undefined && `resumed_from=${text(span.resumedFrom)}`,
    failureText(span.failure),
    span.startMissing && "start_missing",
    span.corrected && "corrected",
    `calls=${span.modelCalls}`,
    `tools=${span.toolCalls}`,
    span.toolFailures > 0 && `tool_failures=${span.toolFailures}`,
    usage && `tokens=${usage.input}/${usage.output}`,
    usage && cacheText(usage),
    pair("iterations", span.iterations),
    `events=${span.events}`,
    pair("missing", span.eventsMissing),
    span.noticesDropped > 0 && `notices_dropped=${span.noticesDropped}`,
    look.ids && `run=${text(run.runId)}`,
    ...(look.all
      ? [pair("session", run.sessionId), pair("provider", span.provider), pair("model", span.model)]
      : []),
    look.all && parentText(run),
  ]);
}

function modelLine(span: ModelSpan, look: Look): string {
  const { usage, timeToFirstChunk } = span;
  return words([
    `chat ${text(span.model)}`,
    keyText(String(span.iteration), span.occurrence),
    interval(span, look),
    span.finishReason && text(span.finishReason),
    span.incomplete && "incomplete",
    failureText(span.failure),
    span.corrected && "corrected",
    span.stream && "stream",
    span.chunks > 0 && `chunks=${span.chunks}`,
    timeToFirstChunk !== undefined && `ttfc=${trimmed(timeToFirstChunk * 1000)}`,
    usage && `in=${usage.input} out=${usage.output}`,
    usage && cacheText(usage),
    ...(look.all
      ? [
          pair("provider", span.provider),
          pair("context", span.contextMessages),
          pair("message", span.messageId),
          span.output && `output=${JSON.stringify(span.output)}`,
        ]
      : []),
  ]);
}

function toolLine(span: ToolSpan, look: Look): string {
  return words([
    `execute_tool ${text(span.toolName)}`,
    keyText(span.callId, span.occurrence),
    interval(span, look),
    pair("it", span.iteration),
    span.inferred && "inferred",
    span.incomplete && "incomplete",
    failureText(span.failure),
    span.corrected && "corrected",
    ...(look.all
      ? [pair("message", span.messageId), pair("arguments", span.arguments), pair("result", span.result)]
      : []),
  ]);
}

function noticeLine(notice: Notice, look: Look): string {
  const at = `[${millis(look.origin, notice.time)}]`;
  switch (notice.name) {
    case "behest.doom_loop.detected":
      return words([
        `! ${notice.name}`,
        at,
        notice.description !== undefined && JSON.stringify(notice.description),
      ]);
    case "behest.compaction.circuit_opened":
      return words([`! ${notice.name}`, at, `failures=${notice.consecutiveFailures}`]);
  }
}

/** The failure stands behind it, and here as well only when the two differ. */
function endingText({ ending, failure }: RunSpan): string {
  switch (ending.outcome) {
    case "completed":
    case "cancelled":
      return ending.outcome;
    case "failed": {
      const { errorType, message } = ending.failure;
      if (errorType === failure?.errorType && message === failure.message) return "failed";
      return `failed(${failureText(ending.failure)})`;
    }
    case "incomplete":
      return `incomplete(${ending.reason})`;
  }
}

function failureText(failure: Failure | undefined): string | undefined {
  if (failure === undefined) return undefined;
  const message = failure.message === undefined ? "" : ` ${JSON.stringify(failure.message)}`;
  return `error=${text(failure.errorType)}${message}`;
}

function cacheText({ cacheRead, cacheWrite }: Usage): string | undefined {
  return words([pair("cache_read", cacheRead), pair("cache_write", cacheWrite)]);
}

function parentText({ parent }: RunFacts): string | undefined {
  if (parent === undefined) return undefined;
  const { traceId, spanId, flags, tracestate } = parent;
  return words([`parent=${traceId}-${spanId}-${flags}`, pair("tracestate", tracestate)]);
}

function keyText(key: string, occurrence: number): string | undefined {
  if (key === "" && occurrence === 0) return undefined;
  return `(${text(key)}${occurrence === 0 ? "" : `#${occurrence}`})`;
}

function interval(span: FinishedSpan, { origin }: Look): string {
  return `[${millis(origin, span.start)} +${millis(span.start, span.end)}]`;
}

/** Exact: nanoseconds as whole numbers, so far as a test reaches (104 days). */
function millis(from: Time, to: Time): string {
  return trimmed(((to[0] - from[0]) * 1e9 + (to[1] - from[1])) / 1e6);
}

function trimmed(value: number): string {
  return String(Number(value.toFixed(6)));
}

/** As it is when it is one plain word, else as JSON, so that nothing in it can be taken for something else. */
function text(value: string): string {
  return /^[\w.:/@+-]+$/.test(value) ? value : JSON.stringify(value);
}

function pair(name: string, value: string | number | undefined): string | undefined {
  return value === undefined ? undefined : `${name}=${text(String(value))}`;
}

function words(parts: readonly (string | false | undefined)[]): string {
  return parts.filter((part) => part !== false && part !== undefined && part !== "").join(" ");
}
