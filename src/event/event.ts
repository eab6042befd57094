import type { Time } from "./time.ts";

/**
 * An event after decoding: what the rest of the program works on.
 *
 * The wire form (`schema.ts`) is the runtime's; this one has its names folded to camelCase, its
 * timestamp parsed, and its content already replaced by lengths unless content is captured.
 * Source: behest 0.2.2 `runtime/event.rs`, 0.5.9 `behest-event`.
 */
export type Event =
  | RunStarted
  | ContextBuilt
  | ModelStarted
  | TextDelta
  | ToolCallStarted
  | ToolCallDelta
  | ToolCallCompleted
  | ToolExecutionStarted
  | ToolExecutionFinished
  | MessageCommitted
  | UsageRecorded
  | CacheMetrics
  | RunCompleted
  | RunFailed
  | RunCancelled
  | DoomLoopDetected
  | CompactionCircuitOpened;

export type EventType = Event["type"];

/** Every variant the runtime is known to emit, in the order its source declares them. */
export const EVENT_TYPES = [
  "RunStarted",
  "ContextBuilt",
  "ModelStarted",
  "TextDelta",
  "ToolCallStarted",
  "ToolCallDelta",
  "ToolCallCompleted",
  "ToolExecutionStarted",
  "ToolExecutionFinished",
  "AssistantMessageCommitted",
  "ToolMessageCommitted",
  "UsageRecorded",
  "CacheMetrics",
  "RunCompleted",
  "RunFailed",
  "RunCancelled",
  "DoomLoopDetected",
  "CompactionCircuitOpened",
] as const satisfies readonly EventType[];

/** What stands on every event. */
interface Common {
  /** Lower-case hyphenated UUID, never nil. */
  readonly runId: string;
  readonly time: Time;
  /** Identity of the inner event's bytes, a whole number below 2^53: equal bytes, equal number. */
  readonly hash: number;
  /** What stood around the event; absent for a bare one. */
  readonly around: Around | undefined;
}

/** The envelope and the fields beside an event: all optional, all from outside the inner event. */
export interface Around {
  /** Identity of the envelope's `event_id`, a whole number below 2^53. */
  readonly eventId?: number;
  /** Counts per run from 1. */
  readonly seq?: number;
  readonly sessionId?: string;
  readonly agent?: string;
  readonly parent?: RemoteParent;
}

/** A span of another process that a run hangs under (W3C trace context). */
export interface RemoteParent {
  /** 32 lower-case hex digits, not all zero. */
  readonly traceId: string;
  /** 16 lower-case hex digits, not all zero. */
  readonly spanId: string;
  /** 0..255; bit 0 is "sampled". */
  readonly flags: number;
  readonly tracestate?: string;
}

/**
 * Text of a model or tool: always its length (UTF-16 units), the text itself only when content is
 * captured.
 */
export interface Content {
  readonly length: number;
  readonly text: string | undefined;
}

export interface RunStarted extends Common {
  readonly type: "RunStarted";
  readonly sessionId: string;
  readonly provider: string;
  readonly model: string;
}

export interface ContextBuilt extends Common {
  readonly type: "ContextBuilt";
  readonly messageCount: number;
}

export interface ModelStarted extends Common {
  readonly type: "ModelStarted";
  readonly provider: string;
  readonly model: string;
  readonly iteration: number;
}

export interface TextDelta extends Common {
  readonly type: "TextDelta";
  /** Captured text of the delta; undefined when content is off. */
  readonly text: string | undefined;
}

export interface ToolCallStarted extends Common {
  readonly type: "ToolCallStarted";
  readonly callId: string;
  readonly toolName: string;
}

/** Its text is never kept: ToolCallCompleted carries the whole arguments. */
export interface ToolCallDelta extends Common {
  readonly type: "ToolCallDelta";
  readonly callId: string;
}

/** A piece of what a model streams: nine of ten events. */
export type Delta = TextDelta | ToolCallDelta;

export function isDelta(event: Event): event is Delta {
  const { type } = event;
  return type === "TextDelta" || type === "ToolCallDelta";
}

/** Whatever comes while a model answers, and tells how fast it does. */
export type Chunk = Delta | ToolCallStarted;

export interface ToolCallCompleted extends Common {
  readonly type: "ToolCallCompleted";
  readonly callId: string;
  readonly toolName: string;
  /** The arguments as JSON text. */
  readonly arguments: Content;
}

export interface ToolExecutionStarted extends Common {
  readonly type: "ToolExecutionStarted";
  readonly callId: string;
  readonly toolName: string;
}

export interface ToolExecutionFinished extends Common {
  readonly type: "ToolExecutionFinished";
  readonly callId: string;
  readonly toolName: string;
  /** Whole milliseconds. */
  readonly durationMs: number;
  readonly result: { readonly output: Content } | { readonly failure: Failure };
}

export interface MessageCommitted extends Common {
  readonly type: "AssistantMessageCommitted" | "ToolMessageCommitted";
  readonly messageId: string;
}

export interface UsageRecorded extends Common {
  readonly type: "UsageRecorded";
  readonly usage: WireUsage;
}

export interface CacheMetrics extends Common {
  readonly type: "CacheMetrics";
  readonly cache: WireCache;
}

export interface RunCompleted extends Common {
  readonly type: "RunCompleted";
  /** The runtime's own word; of `{"unknown": word}` the word. */
  readonly finishReason: string;
  readonly iterations: number;
}

export interface RunFailed extends Common {
  readonly type: "RunFailed";
  readonly failure: Failure;
}

export interface RunCancelled extends Common {
  readonly type: "RunCancelled";
}

export interface DoomLoopDetected extends Common {
  readonly type: "DoomLoopDetected";
  readonly description: Content;
}

export interface CompactionCircuitOpened extends Common {
  readonly type: "CompactionCircuitOpened";
  readonly consecutiveFailures: number;
}

/** Why something failed: a low-cardinality class, and the message where messages are kept. */
export interface Failure {
  readonly errorType: string;
  /** Redacted, at most 1 KiB of UTF-8; undefined with `--error-messages off`. */
  readonly message: string | undefined;
}

/** Token numbers as the runtime reports them; null and absent cache numbers are undefined. */
export interface WireUsage extends WireCache {
  readonly input: number;
  readonly output: number;
}

export interface WireCache {
  readonly cacheCreation: number | undefined;
  readonly cacheRead: number | undefined;
  readonly cached: number | undefined;
}
