import { createHash } from "node:crypto";

/**
 * What a recording says, worked out from its JSON and the rules of docs/spans.md, docs/identity.md and docs/metrics.md alone: nothing of
 * the program is used here, so that both can only agree by being right.
 *
 * It knows the forms that the stock runtime sends: events of a run in order, no duplicates, no
 * ToolExecution* events, at most one segment.
 */
export interface Truth {
  readonly events: number;
  readonly byType: Readonly<Record<string, number>>;
  readonly runs: Readonly<Record<"completed" | "failed" | "cancelled" | "incomplete", number>>;
  /** Runs whose end was seen: those whose duration is measured. */
  readonly endedRuns: number;
  readonly modelCalls: number;
  readonly streamedCalls: number;
  readonly chunks: number;
  /** Times between two chunks of one call. */
  readonly chunkGaps: number;
  /** Tokens by `provider model type`; type `cache_read` and `cache_write` are part of `input`. */
  readonly tokens: Readonly<Record<string, number>>;
  /** Model calls that reported usage, by `provider model`. */
  readonly callsWithUsage: Readonly<Record<string, number>>;
  readonly spans: readonly TrueSpan[];
}

export interface TrueSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  /** Nanoseconds since 1970, decimal. */
  readonly start: string;
  readonly end: string;
}

type Payload = Record<string, unknown> & {
  readonly run_id: string;
  readonly timestamp: string;
  /** Of RunStarted and ModelStarted. */
  readonly provider: string;
  readonly model: string;
};

interface Told {
  readonly type: string;
  readonly payload: Payload;
  readonly time: bigint;
}

interface Call {
  readonly told: Told;
  readonly key: string;
  /** Everything up to the next call or the end of the run. */
  readonly rest: readonly Told[];
}

export function truthOf(lines: readonly string[]): Truth {
  const told = lines.map(read);
  const runs = [...Map.groupBy(told, ({ payload }) => payload.run_id).values()].map(
    (events) => new Run(events),
  );
  const calls = runs.flatMap((run) => run.calls);
  const tokens: Record<string, number> = {};
  const callsWithUsage: Record<string, number> = {};
  for (const call of calls) {
    const usage = usageOf(call);
    if (usage === undefined) continue;
    const { provider, model } = call.told.payload;
    add(callsWithUsage, `${provider} ${model}`, 1);
    for (const [type, count] of Object.entries(usage)) {
      if (count !== undefined) add(tokens, `${provider} ${model} ${type}`, count);
    }
  }
  const chunks = calls.map((call) => chunksOf(call).length);
  const byType: Record<string, number> = {};
  for (const { type } of told) add(byType, type, 1);
  const outcomes = { completed: 0, failed: 0, cancelled: 0, incomplete: 0 };
  for (const run of runs) outcomes[run.outcome] += 1;
  return {
    events: told.length,
    byType,
    runs: outcomes,
    endedRuns: runs.filter((run) => run.outcome !== "incomplete").length,
    modelCalls: calls.length,
    streamedCalls: calls.filter(isStreamed).length,
    chunks: sum(chunks),
    chunkGaps: sum(chunks.map((count) => Math.max(0, count - 1))),
    tokens,
    callsWithUsage,
    spans: runs.flatMap((run) => run.spans()).map(withLength),
  };
}

class Run {
  readonly events: readonly Told[];
  readonly calls: readonly Call[];

  constructor(events: readonly Told[]) {
    this.events = events;
    const starts = events.flatMap(({ type }, at) => (type === "ModelStarted" ? [at] : []));
    this.calls = starts.map((start, index) => {
      const told = events[start]!;
      const key = String(told.payload["iteration"]);
      return { told, key, rest: events.slice(start + 1, starts[index + 1]) };
    });
  }

  get id(): string {
    return this.events[0]!.payload.run_id;
  }

  get outcome(): keyof Truth["runs"] {
    switch (this.events.at(-1)!.type) {
      case "RunCompleted":
        return "completed";
      case "RunFailed":
        return "failed";
      case "RunCancelled":
        return "cancelled";
      default:
        return "incomplete";
    }
  }

  spans(): TrueSpan[] {
    const { id } = this;
    const first = this.events[0]!;
    const segment = first.type === "RunStarted" ? "" : String(first.time);
    const last = this.events.at(-1)!.time;
    const traceId = id.replaceAll("-", "");
    const runSpanId = spanIdOf(id, segment, "run", "", 0);
    const seen = new Map<string, number>();
    const spans: TrueSpan[] = [];
    const child = (kind: "model" | "tool", key: string, name: string, start: bigint, end: bigint) => {
      const occurrence = seen.get(`${kind} ${key}`) ?? 0;
      seen.set(`${kind} ${key}`, occurrence + 1);
      spans.push({
        traceId,
        spanId: spanIdOf(id, segment, kind, key, occurrence),
        parentSpanId: runSpanId,
        name,
        start: String(start),
        end: String(end),
      });
    };
    for (const [index, call] of this.calls.entries()) {
      const next = this.calls[index + 1]?.told.time;
      child("model", call.key, `chat ${call.told.payload.model}`, call.told.time, endOf(call, next ?? last));
      for (const tool of this.#toolsOf(call)) {
        child("tool", tool.id, `execute_tool ${tool.name}`, tool.start, tool.end);
      }
    }
    spans.push({
      traceId,
      spanId: runSpanId,
      parentSpanId: "",
      name: "invoke_agent",
      start: String(first.time),
      end: String(last),
    });
    return spans;
  }

  /** docs/spans.md, inferred tools, and decision 003 for calls that were only announced. */
  #toolsOf({ rest }: Call): readonly { id: string; name: string; start: bigint; end: bigint }[] {
    const calls = new Map<string, string>();
    for (const { type, payload } of rest) {
      if (type !== "ToolCallCompleted") continue;
      const { id, name } = payload["call"] as { id: string; name: string };
      calls.delete(id);
      calls.set(id, name);
    }
    const messages = rest.filter(({ type }) => type === "ToolMessageCommitted");
    const completed = [...calls].map(([id, name]) => ({ id, name }));
    const announced = rest
      .filter(({ type, payload }) => type === "ToolCallStarted" && !calls.has(String(payload["call_id"])))
      .map(({ payload }) => ({ id: String(payload["call_id"]), name: String(payload["tool_name"]) }));
    const lacking = Math.max(0, messages.length - completed.length);
    const asked = [...announced.slice(announced.length - lacking), ...completed];
    const said = rest.find(({ type }) => type === "AssistantMessageCommitted");
    if (said === undefined) return [];
    const [first] = messages;
    if (first !== undefined) {
      return asked.slice(-messages.length).map((tool) => ({ ...tool, start: said.time, end: first.time }));
    }
    const isLast = rest.at(-1) === this.events.at(-1);
    if (!isLast || this.outcome !== "incomplete") return [];
    return asked.map((tool) => ({ ...tool, start: said.time, end: this.events.at(-1)!.time }));
  }
}

const ENDS = [
  "UsageRecorded",
  "AssistantMessageCommitted",
  "ToolMessageCommitted",
  "ContextBuilt",
  "RunCompleted",
  "RunFailed",
  "RunCancelled",
];
const CHUNKS = ["TextDelta", "ToolCallStarted", "ToolCallDelta"];

/** The earliest of what ends a call, but never before its last output. */
function endOf({ rest }: Call, otherwise: bigint): bigint {
  const end = rest.find(({ type }) => ENDS.includes(type))?.time ?? otherwise;
  const output =
    rest.findLast(({ type }) => type === "TextDelta" || type.startsWith("ToolCall"))?.time ?? end;
  return output > end ? output : end;
}

function chunksOf({ rest }: Call): readonly Told[] {
  return rest.filter(({ type }) => CHUNKS.includes(type));
}

function isStreamed(call: Call): boolean {
  const chunks = chunksOf(call);
  return chunks.some(({ type }) => type !== "TextDelta") || chunks.length > 1;
}

interface Usage {
  readonly input: number;
  readonly output: number;
  readonly cache_read: number | undefined;
  readonly cache_write: number | undefined;
}

/** Input includes what was cached, which Anthropic leaves out of it. */
function usageOf({ told, rest }: Call): Usage | undefined {
  const recorded = rest.find(({ type }) => type === "UsageRecorded")?.payload["usage"] as Counts | undefined;
  if (recorded === undefined) return undefined;
  // In CacheMetrics the runtime writes 0 for what no provider reported.
  const metrics = (rest.find(({ type }) => type === "CacheMetrics")?.payload ?? {}) as Counts;
  const cached = cacheRead(recorded) ?? (cacheRead(metrics) || undefined);
  const write =
    recorded["cache_creation_input_tokens"] ?? (metrics["cache_creation_input_tokens"] || undefined);
  const excluded = told.payload.provider === "anthropic" ? (cached ?? 0) + (write ?? 0) : 0;
  return {
    input: recorded["input_tokens"]! + excluded,
    output: recorded["output_tokens"]!,
    cache_read: cached,
    cache_write: write,
  };
}

type Counts = Readonly<Record<string, number | null | undefined>>;

function cacheRead(counts: Counts): number | undefined {
  return counts["cache_read_input_tokens"] ?? counts["cached_input_tokens"] ?? undefined;
}

/** What has no length begins a nanosecond earlier (docs/decisions/007-no-span-without-length.md). */
function withLength(span: TrueSpan): TrueSpan {
  return span.start === span.end ? { ...span, start: String(BigInt(span.start) - 1n) } : span;
}

/** docs/identity.md. */
export function spanIdOf(
  runId: string,
  segment: string,
  kind: "run" | "model" | "tool",
  key: string,
  occurrence: number,
): string {
  const text = ["behest-otel/1", runId, segment, kind, key, String(occurrence)].join("\0");
  return createHash("sha256").update(text, "utf8").digest().subarray(0, 8).toString("hex");
}

function read(line: string): Told {
  const [[type, payload]] = Object.entries(JSON.parse(line) as Record<string, Payload>) as [
    [string, Payload],
  ];
  return { type, payload, time: nanosOf(payload.timestamp) };
}

/** RFC 3339 in UTC to nanoseconds since 1970. */
export function nanosOf(timestamp: string): bigint {
  const [, second, fraction = ""] = /^(.{19})(?:\.(\d+))?Z$/.exec(timestamp)!;
  return BigInt(Date.parse(`${second}Z`)) * 1_000_000n + BigInt(fraction.padEnd(9, "0"));
}

function add(to: Record<string, number>, key: string, count: number): void {
  to[key] = (to[key] ?? 0) + count;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
