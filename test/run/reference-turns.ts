import type { Event, ModelStarted, ToolCallCompleted, ToolCallStarted } from "../../src/event/event.ts";
import { laterOf, secondsBetween, type Time } from "../../src/event/time.ts";
import type { Ending, ModelSpan, RunFacts, Usage } from "../../src/run/op.ts";

type Of<T extends Event["type"], E = Event> = E extends { readonly type: infer U }
  ? T extends U
    ? E
    : never
  : never;

export function of<T extends Event["type"]>(events: readonly Event[], type: T): Of<T>[] {
  return events.filter((event) => event.type === type) as unknown as Of<T>[];
}

/** An iteration: what comes from one ModelStarted up to the next. The first one has what comes before. */
export interface Turn {
  readonly model: ModelStarted | undefined;
  /** Index of its first event in the part. */
  readonly from: number;
  readonly events: readonly Event[];
  readonly contextMessages: number | undefined;
  readonly next: Event | undefined;
}

export function turnsOf(events: readonly Event[]): Turn[] {
  const starts = events.flatMap((event, index) => (event.type === "ModelStarted" ? [index] : []));
  return [-1, ...starts].map((start, index) => {
    const to = starts[index] ?? events.length;
    const from = Math.max(start, 0);
    const earlier = events.slice(Math.max(starts[index - 2] ?? 0, 0), from);
    const model = start < 0 ? undefined : (events[start] as ModelStarted);
    return {
      model,
      from,
      events: events.slice(from, to),
      contextMessages: of(earlier, "ContextBuilt").at(-1)?.messageCount,
      next: events[to],
    };
  });
}

const CHUNKS: ReadonlySet<Event["type"]> = new Set(["TextDelta", "ToolCallStarted", "ToolCallDelta"]);
const ENDERS: ReadonlySet<Event["type"]> = new Set([
  "UsageRecorded",
  "AssistantMessageCommitted",
  "ToolExecutionStarted",
  "ToolMessageCommitted",
  "ContextBuilt",
  "RunCompleted",
]);

export interface Frame {
  readonly turns: readonly Turn[];
  readonly ending: Ending;
  readonly end: Time;
}

export function modelsOf(run: RunFacts, { turns, ending, end }: Frame): ModelSpan[] {
  const seen: number[] = [];
  return turns.flatMap((turn) => {
    const { model, events, next } = turn;
    if (model === undefined) return [];
    const occurrence = seen.filter((iteration) => iteration === model.iteration).length;
    seen.push(model.iteration);
    const ender = events.find((event) => ENDERS.has(event.type)) ?? next;
    const outputs = events.filter((event) => CHUNKS.has(event.type) || event.type === "ToolCallCompleted");
    const chunks = events.filter((event) => CHUNKS.has(event.type));
    const stream = chunks.length > 1 || chunks.some((event) => event.type !== "TextDelta");
    const said = of(events, "AssistantMessageCommitted").at(0);
    const usage = usageOf(turn, model);
    const finished =
      usage !== undefined ||
      said !== undefined ||
      ender?.type === "RunCompleted" ||
      (ender !== undefined && outputs.length > 0);
    const lastOutput = outputs.at(-1)?.time;
    const callEnd = ender?.time ?? end;
    const last = next === undefined;
    const completion = of(events, "RunCompleted").at(0);
    return {
      kind: "model",
      run,
      start: model.time,
      end: lastOutput === undefined ? callEnd : laterOf(callEnd, lastOutput),
      corrected: false,
      failure:
        last && (ender === undefined || (completion?.finishReason === "error" && finished))
          ? openFailure(ending)
          : undefined,
      iteration: model.iteration,
      occurrence,
      provider: providerName(model),
      model: model.model,
      incomplete: !finished,
      stream,
      chunks: chunks.length,
      timeToFirstChunk: stream ? secondsBetween(model.time, chunks[0]!.time) : undefined,
      usage,
      finishReason: finishWord(
        finished,
        completion,
        callsOf(turn).length + of(events, "ToolMessageCommitted").length,
      ),
      contextMessages: turn.contextMessages,
      messageId: said?.messageId,
      output: undefined,
    };
  });
}

function finishWord(
  finished: boolean,
  completion: Of<"RunCompleted"> | undefined,
  calls: number,
): string | undefined {
  if (!finished) return "error";
  if (completion === undefined) return calls > 0 ? "tool_call" : undefined;
  const { finishReason } = completion;
  if (finishReason === "tool_calls") return "tool_call";
  return ["stop", "length", "content_filter", "error"].includes(finishReason) ? finishReason : undefined;
}

export function openFailure(ending: Ending) {
  if (ending.outcome === "failed") return ending.failure;
  return ending.outcome === "cancelled" ? { errorType: "cancelled", message: undefined } : undefined;
}

export function callsOf({ events }: Turn): ToolCallCompleted[] {
  const calls = of(events, "ToolCallCompleted");
  return calls.filter((call, index) => !calls.slice(index + 1).some(({ callId }) => callId === call.callId));
}

/** Every call that was asked for, by a completion or only by its announcement, in order. */
export function askedOf(turn: Turn): (ToolCallStarted | ToolCallCompleted)[] {
  const completed = callsOf(turn);
  const announced = of(turn.events, "ToolCallStarted").filter(
    ({ callId }, index, all) =>
      !completed.some((call) => call.callId === callId) &&
      all.findIndex((other) => other.callId === callId) === index,
  );
  const place = (event: Event) => turn.events.indexOf(event);
  return [...announced, ...completed].toSorted((a, b) => place(a) - place(b));
}

export function providerName({
  provider,
  model,
}: {
  readonly provider: string;
  readonly model: string;
}): string {
  if (provider === "openai" || provider === "anthropic") return provider;
  return model.startsWith("claude-") ? "anthropic" : provider.toLowerCase();
}

/** One usage at most comes in an iteration here; what it leaves out, the first CacheMetrics that has it says. */
function usageOf(turn: Turn, model: ModelStarted): Usage | undefined {
  const [recorded] = of(turn.events, "UsageRecorded");
  if (recorded === undefined) return undefined;
  const caches = of(turn.events, "CacheMetrics").map(({ cache }) => cache);
  // The runtime writes 0 there for what no provider reported.
  const read = caches
    .map(({ cacheRead, cached }) => cacheRead || cached || undefined)
    .find((tokens) => tokens !== undefined);
  const write = caches
    .map(({ cacheCreation }) => cacheCreation || undefined)
    .find((tokens) => tokens !== undefined);
  const { cacheRead, cached, cacheCreation } = recorded.usage;
  const tokens = { cacheRead: cacheRead ?? cached ?? read, cacheWrite: cacheCreation ?? write };
  const excluded =
    providerName(model) === "anthropic" ? (tokens.cacheRead ?? 0) + (tokens.cacheWrite ?? 0) : 0;
  return { input: recorded.usage.input + excluded, output: recorded.usage.output, ...tokens };
}

export function sum(usages: readonly (Usage | undefined)[]): Usage | undefined {
  const known = usages.filter((usage) => usage !== undefined);
  if (known.length === 0) return undefined;
  return {
    input: add(known.map(({ input }) => input)) ?? 0,
    output: add(known.map(({ output }) => output)) ?? 0,
    cacheRead: add(known.map(({ cacheRead }) => cacheRead)),
    cacheWrite: add(known.map(({ cacheWrite }) => cacheWrite)),
  };
}

function add(numbers: readonly (number | undefined)[]): number | undefined {
  const observed = numbers.filter((number) => number !== undefined);
  return observed.length === 0 ? undefined : observed.reduce((a, b) => a + b, 0);
}
