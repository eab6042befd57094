import { nanosOf } from "../bridge/raw-truth.ts";
import { linesOf, recordingsOf } from "../bridge/recordings.ts";
import type { Random } from "../run/random.ts";

/** An event of a run that is being told. */
interface ToldEvent {
  readonly type: string;
  /** Without its time. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** Nanoseconds since the run began. */
  readonly at: number;
}

/** A run as the stock runtime was recorded to tell it, or another made from one. */
type Shape = readonly ToldEvent[];

/** What may become of a run that was recorded as something else, and how many of a hundred runs. */
const FATES = [
  [62, "as recorded"],
  [10, "slow"],
  [5, "silent"],
  [4, "hangs on a tool"],
  [5, "cancelled"],
  [7, "executions are seen"],
  [7, "resumed"],
] as const;
type Fate = (typeof FATES)[number][1];

const MODELS: Readonly<Record<string, readonly string[]>> = {
  "gpt-4o": ["gpt-4o", "gpt-4o-mini", "gpt-5"],
  "claude-sonnet-4-5": ["claude-sonnet-4-5", "claude-opus-4-1"],
};
const AGENTS = [undefined, "planner", "researcher", "support"];

export interface ShapeOptions {
  readonly random: Random;
  readonly runIdleMs: number;
  readonly toolIdleMs: number;
  /** No run takes longer, but for the silence before one is resumed. */
  readonly longestMs: number;
}

/** A run with a shape and times of its own. */
export interface ToldRun {
  readonly agent: string | undefined;
  /** In the order of the run: lines with their time in milliseconds since 1970, and whether each is a delta. */
  readonly events: readonly { readonly line: string; readonly atMs: number; readonly isDelta: boolean }[];
}

const SHAPES: readonly Shape[] = recordingsOf("")
  .filter(({ version }) => version === "0.5.9")
  .flatMap(({ scenario, path }) => {
    const shapes = shapesOf(linesOf(path));
    // Every scenario is told as often as any other.
    return scenario === "fifty-runs" ? shapes.slice(0, 1) : shapes;
  });

/** The n-th run, which begins at this time: one of the recordings, with ids of its own and perhaps another fate. */
export function tellRun(n: number, startMs: number, options: ShapeOptions): ToldRun {
  const { random } = options;
  const shape = withFate(fateOf(random.below(100)), random.pick(SHAPES), options);
  const agent = random.pick(AGENTS);
  const models = new Map(Object.entries(MODELS).map(([model, others]) => [model, random.pick(others)]));
  const isEnveloped = random.chance(0.2);
  const events = shape.map(({ type, fields, at }, index) => {
    const nanos = BigInt(Math.round(startMs)) * 1_000_000n + BigInt(Math.round(at));
    const model = models.get(String(fields["model"]));
    const payload = { ...fields, ...(model && { model }), timestamp: stampAt(nanos) };
    const beside = agent === undefined ? {} : { agent };
    const told = isEnveloped ? enveloped(type, payload, index + 1) : { [type]: payload };
    const line = withOwnIds(JSON.stringify({ ...told, ...beside }), n);
    return { line, atMs: Number(nanos / 1_000_000n), isDelta: /^(Text|ToolCall)Delta$/.test(type) };
  });
  return { agent, events };
}

function fateOf(drawn: number): Fate {
  let below = 0;
  for (const [share, fate] of FATES) {
    below += share;
    if (drawn < below) return fate;
  }
  return "as recorded";
}

function withFate(fate: Fate, shape: Shape, options: ShapeOptions): Shape {
  const { random, runIdleMs, toolIdleMs, longestMs } = options;
  const cut = random.between(1, shape.length);
  switch (fate) {
    case "as recorded":
      return shape;
    case "slow":
      return stretched(shape, Math.min(0.4 * runIdleMs, longestMs / shape.length), random);
    case "silent":
      return shape.slice(0, cut);
    case "hangs on a tool": {
      const until = shape.findIndex(({ type }) => type === "ToolMessageCommitted");
      const [started] = until < 0 ? [] : executionsAt(shape.slice(0, until));
      return started === undefined ? shape.slice(0, cut) : [...shape.slice(0, until), started];
    }
    case "cancelled":
      return isOver(shape[cut - 1])
        ? shape
        : [...shape.slice(0, cut), after(shape[cut - 1]!, "RunCancelled", {})];
    case "executions are seen":
      return withExecutions(shape, 0.4 * Math.min(toolIdleMs, longestMs), random);
    case "resumed": {
      const silentMs = (1.5 + random.below(100) / 100) * runIdleMs;
      const from = behindUsage(shape, cut);
      return shape.map((event, index) => (index < from ? event : later(event, silentMs)));
    }
  }
}

function shapesOf(lines: readonly string[]): Shape[] {
  const told = lines.map((line) => {
    const [[type, { timestamp, ...fields }]] = Object.entries(JSON.parse(line)) as [
      [string, { timestamp: string; run_id: string }],
    ];
    return { type, fields, nanos: nanosOf(timestamp) };
  });
  return [...Map.groupBy(told, ({ fields }) => fields.run_id).values()].map((events) =>
    events.map(({ type, fields, nanos }) => ({ type, fields, at: Number(nanos - events[0]!.nanos) })),
  );
}

/** Before each event it may take up to so much longer. */
function stretched(shape: Shape, mostMs: number, random: Random): Shape {
  let moreMs = 0;
  return shape.map((event) => later(event, (moreMs += random.below(1_000) * (mostMs / 1_000))));
}

/** The calls that messages answer are seen to begin and to end, up to so much later. */
function withExecutions(shape: Shape, mostMs: number, random: Random): Shape {
  const events: ToldEvent[] = [];
  let moreMs = 0;
  for (const [index, event] of shape.entries()) {
    if (event.type === "ToolMessageCommitted" && shape[index - 1]?.type === "AssistantMessageCommitted") {
      const started = executionsAt(shape.slice(0, index)).map((each) => later(each, moreMs));
      const tookMs = random.between(1, 1_000) * (mostMs / 1_000) * 0.1;
      moreMs += tookMs;
      const finished = started.map((each, order) => {
        const failed = random.chance(0.2);
        const result = failed ? { Failure: { error: "no such page" } } : { Success: { output: { rows: 3 } } };
        const fields = { ...each.fields, result, duration_ms: Math.round(tookMs) };
        return {
          ...later({ ...each, type: "ToolExecutionFinished", fields }, tookMs),
          at: each.at + tookMs * 1e6 + order,
        };
      });
      events.push(...started, ...finished);
    }
    events.push(later(event, moreMs));
  }
  return events;
}

/** The calls of the last iteration begin behind what is there, each some nanoseconds after the other. */
function executionsAt(shape: Shape): ToldEvent[] {
  const last = shape.at(-1)!;
  const turn = shape.slice(shape.findLastIndex(({ type }) => type === "ModelStarted"));
  const calls = turn.flatMap(({ type, fields }) =>
    type === "ToolCallCompleted" ? [fields["call"] as { id: string; name: string }] : [],
  );
  return calls.map(({ id, name }, order) => ({
    ...after(last, "ToolExecutionStarted", { call_id: id, tool_name: name }),
    at: last.at + 1 + order,
  }));
}

/** What is cut off begins no earlier than this, and not with usage of a call before it: that would belong to no span. */
function behindUsage(shape: Shape, cut: number): number {
  const next = shape.findIndex(({ type }, index) => index >= cut && type === "ModelStarted");
  const turn = shape.slice(cut, next < 0 ? shape.length : next);
  return cut + turn.findLastIndex(({ type }) => type === "UsageRecorded" || type === "CacheMetrics") + 1;
}

function isOver(event: ToldEvent | undefined): boolean {
  return event === undefined || /^Run(Completed|Failed|Cancelled)$/.test(event.type);
}

function after({ fields, at }: ToldEvent, type: string, more: Readonly<Record<string, unknown>>): ToldEvent {
  return { type, fields: { run_id: fields["run_id"], ...more }, at: at + 1 };
}

function later(event: ToldEvent, ms: number): ToldEvent {
  return { ...event, at: event.at + Math.round(ms * 1e6) };
}

function enveloped(type: string, payload: Readonly<Record<string, unknown>>, seq: number): object {
  const eventId = `01a20000-0000-7000-8${seq.toString(16).padStart(3, "0")}-000000000000`;
  return { event_id: eventId, seq, run_id: payload["run_id"], session_id: null, event: { [type]: payload } };
}

/** Every id of the recording becomes that of the n-th run. */
function withOwnIds(line: string, n: number): string {
  const end = n.toString(16).padStart(12, "0");
  return line.replace(/"([0-9a-f]{8}(?:-[0-9a-f]{4}){3})-[0-9a-f]{12}"/g, `"$1-${end}"`);
}

function stampAt(nanos: bigint): string {
  const second = new Date(Number(nanos / 1_000_000n)).toISOString().slice(0, 19);
  return `${second}.${String(nanos % 1_000_000_000n).padStart(9, "0")}Z`;
}
