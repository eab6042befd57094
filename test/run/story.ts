import type { Around, Event, RemoteParent } from "../../src/event/event.ts";
import { hashText } from "../../src/event/hash.ts";
import type { Time } from "../../src/event/time.ts";

/** Second 0 of every story. */
export const ORIGIN: Time = [1_700_000_000, 0];
export const ORIGIN_MS = ORIGIN[0] * 1_000;

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

export const RUN = "00000000-0000-4000-8000-000000000001";
export const SESSION = "00000000-0000-7000-8000-00000000000a";

/** `millis` after the origin, exact to the nanosecond: `at(1.5)`, `at(-20)`, `at(0.000001)`. */
export function at(millis: number): Time {
  const whole = Math.floor(millis);
  const nanos = Math.round((millis - whole) * 1e6);
  const seconds = Math.floor(whole / 1_000);
  return [ORIGIN[0] + seconds, (whole - seconds * 1_000) * 1_000_000 + nanos];
}

/** The run with the n-th id. */
export function runId(n: number): string {
  return `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
}

export interface Tokens {
  readonly read?: number;
  readonly write?: number;
  readonly cached?: number;
}

interface CallOptions {
  readonly provider?: string;
  readonly model?: string;
}

type EventOf<T, E = Event> = E extends { readonly type: infer U } ? (T extends U ? E : never) : never;
type Rest<T extends Event["type"]> = Omit<EventOf<T>, "runId" | "time" | "hash" | "around">;

/**
 * The words that a story of one run is told with. The first argument is when, in milliseconds after
 * the origin. Equal words give events of equal hash, as equal bytes do.
 */
export function storyOf(run: string) {
  const tell = <T extends Event["type"]>(millis: number, rest: Rest<T>): Event => {
    const inner = { ...rest, runId: run, time: at(millis) };
    return { ...inner, hash: hashText(JSON.stringify(inner)), around: undefined } as unknown as Event;
  };
  return {
    started: (ms: number, options: CallOptions & { readonly session?: string } = {}) =>
      tell<"RunStarted">(ms, { type: "RunStarted", sessionId: options.session ?? SESSION, ...call(options) }),
    context: (ms: number, messageCount = 2) =>
      tell<"ContextBuilt">(ms, { type: "ContextBuilt", messageCount }),
    model: (ms: number, iteration = 1, options: CallOptions = {}) =>
      tell<"ModelStarted">(ms, { type: "ModelStarted", iteration, ...call(options) }),
    delta: (ms: number, text?: string) => tell<"TextDelta">(ms, { type: "TextDelta", text }),
    callStarted: (ms: number, callId: string, toolName = "search") =>
      tell<"ToolCallStarted">(ms, { type: "ToolCallStarted", callId, toolName }),
    callDelta: (ms: number, callId: string) => tell<"ToolCallDelta">(ms, { type: "ToolCallDelta", callId }),
    asked: (ms: number, callId: string, toolName = "search", text?: string) =>
      tell<"ToolCallCompleted">(ms, {
        type: "ToolCallCompleted",
        callId,
        toolName,
        arguments: { length: 2, text },
      }),
    toolStarted: (ms: number, callId: string, toolName = "search") =>
      tell<"ToolExecutionStarted">(ms, { type: "ToolExecutionStarted", callId, toolName }),
    toolFinished: (
      ms: number,
      callId: string,
      options: { readonly tool?: string; readonly took?: number; readonly output?: string } = {},
    ) =>
      tell<"ToolExecutionFinished">(ms, {
        type: "ToolExecutionFinished",
        callId,
        toolName: options.tool ?? "search",
        durationMs: options.took ?? 0,
        result: { output: { length: 2, text: options.output } },
      }),
    toolFailed: (ms: number, callId: string, message = "no such page", took = 0) =>
      tell<"ToolExecutionFinished">(ms, {
        type: "ToolExecutionFinished",
        callId,
        toolName: "search",
        durationMs: took,
        result: { failure: { errorType: "_OTHER", message } },
      }),
    said: (ms: number, messageId = `assistant-${ms}`) =>
      tell<"AssistantMessageCommitted">(ms, { type: "AssistantMessageCommitted", messageId }),
    toolSaid: (ms: number, messageId = `tool-${ms}`) =>
      tell<"ToolMessageCommitted">(ms, { type: "ToolMessageCommitted", messageId }),
    usage: (ms: number, input = 100, output = 20, cache: Tokens = {}) =>
      tell<"UsageRecorded">(ms, { type: "UsageRecorded", usage: { input, output, ...wire(cache) } }),
    cache: (ms: number, cache: Tokens = {}) =>
      tell<"CacheMetrics">(ms, { type: "CacheMetrics", cache: wire(cache) }),
    completed: (ms: number, finishReason = "stop", iterations = 1) =>
      tell<"RunCompleted">(ms, { type: "RunCompleted", finishReason, iterations }),
    failed: (ms: number, errorType = "token_budget_exceeded", message = "token budget exceeded: 9 of 8") =>
      tell<"RunFailed">(ms, { type: "RunFailed", failure: { errorType, message } }),
    cancelled: (ms: number) => tell<"RunCancelled">(ms, { type: "RunCancelled" }),
    doomLoop: (ms: number, description?: string) =>
      tell<"DoomLoopDetected">(ms, {
        type: "DoomLoopDetected",
        description: { length: description?.length ?? 9, text: description },
      }),
    circuitOpened: (ms: number, consecutiveFailures = 3) =>
      tell<"CompactionCircuitOpened">(ms, { type: "CompactionCircuitOpened", consecutiveFailures }),
  };
}

export type Story = ReturnType<typeof storyOf>;

function call({ provider = "openai", model: name = "gpt-4o" }: CallOptions) {
  return { provider, model: name };
}

function wire({ read, write, cached }: Tokens) {
  return { cacheCreation: write, cacheRead: read, cached };
}

/** The event with something around it. */
export function within(event: Event, around: Around): Event {
  return { ...event, around: { ...event.around, ...around } };
}

/** The event in an envelope with number `seq`; its event id is its own, unless given. */
export function numbered(event: Event, seq: number, eventId = hashText(`id ${event.hash} ${seq}`)): Event {
  return within(event, { seq, eventId });
}

/** A story as the event store tells it: enveloped and numbered from `first`. */
export function enveloped(events: readonly Event[], first = 1): Event[] {
  return events.map((event, index) => numbered(event, first + index));
}

/** A parent that differs from the others by its last digit. */
export function parentOf(digit: number): RemoteParent {
  return {
    traceId: `4bf92f3577b34da6a3ce929d0e0e473${digit}`,
    spanId: `00f067aa0ba902b${digit}`,
    flags: 1,
  };
}

export const {
  started,
  context,
  model,
  delta,
  callStarted,
  callDelta,
  asked,
  toolStarted,
  toolFinished,
  toolFailed,
  said,
  toolSaid,
  usage,
  cache,
  completed,
  failed,
  cancelled,
  doomLoop,
  circuitOpened,
} = storyOf(RUN);
