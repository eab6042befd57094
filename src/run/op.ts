import type { EventType, Failure, RemoteParent } from "../event/event.ts";
import type { Time } from "../event/time.ts";

/**
 * What the heart tells the rest of the program, in the order it must be carried out.
 *
 * Exporters listen to `span`, metrics to all but `opened`'s details, viewers to `opened` and `span`.
 */
export type Op =
  /** The event was used. Every accepted event ends in exactly one `used` or `dropped`. */
  | { readonly op: "used"; readonly type: EventType }
  | { readonly op: "dropped"; readonly type: EventType; readonly reason: DropReason }
  /** Something began; nothing of it may be exported yet. */
  | { readonly op: "opened"; readonly span: OpenedSpan }
  /** A span is finished and final: handed out once, never again. */
  | { readonly op: "span"; readonly span: FinishedSpan }
  /** Time between two chunks of a streamed model call. */
  | { readonly op: "chunk"; readonly provider: string; readonly model: string; readonly seconds: number }
  /** Tokens reported after their model call was handed out: they count, and change no span. */
  | {
      readonly op: "late_usage";
      readonly run: RunFacts;
      readonly provider: string;
      readonly model: string;
      readonly usage: Usage;
    }
  /** Something worth a log record and a span event on the run. */
  | { readonly op: "notice"; readonly run: RunFacts; readonly notice: Notice }
  /** A bug of ours: the run was closed as faulted, the rest goes on. */
  | { readonly op: "fault"; readonly runId: string; readonly message: string };

/** Why an event changed nothing. `unknown_type` is the decoder's word, `closed` that of a sink given an event after its end. */
export const DROP_REASONS = ["duplicate", "late", "limit", "faulted", "unknown_type", "closed"] as const;
export type DropReason = (typeof DROP_REASONS)[number];

export const OUTCOMES = ["completed", "failed", "cancelled", "incomplete"] as const;
export type Outcome = (typeof OUTCOMES)[number];

export const INCOMPLETE_REASONS = ["expired", "evicted", "drained", "faulted"] as const;
export type IncompleteReason = (typeof INCOMPLETE_REASONS)[number];

/** How a segment of a run ended. */
export type Ending =
  | { readonly outcome: "completed" | "cancelled" }
  | { readonly outcome: "failed"; readonly failure: Failure }
  | { readonly outcome: "incomplete"; readonly reason: IncompleteReason };

/** What every span of one segment of a run shares. */
export interface RunFacts {
  readonly runId: string;
  /** Empty for a segment that began with its RunStarted, else decimal nanoseconds (docs/identity.md). */
  readonly segment: string;
  readonly agent: string | undefined;
  readonly sessionId: string | undefined;
  readonly parent: RemoteParent | undefined;
}

/** Tokens after normalisation: `input` includes cached tokens; cache numbers only where observed. */
export interface Usage {
  readonly input: number;
  readonly output: number;
  readonly cacheRead: number | undefined;
  readonly cacheWrite: number | undefined;
}

export type Notice = { readonly time: Time } & (
  | { readonly name: "behest.doom_loop.detected"; readonly description: string | undefined }
  | { readonly name: "behest.compaction.circuit_opened"; readonly consecutiveFailures: number }
);

export type OpenedSpan =
  | {
      readonly kind: "run";
      readonly run: RunFacts;
      readonly start: Time;
      readonly resumedFrom: string | undefined;
    }
  | {
      readonly kind: "model";
      readonly run: RunFacts;
      readonly start: Time;
      readonly iteration: number;
      readonly occurrence: number;
      readonly model: string;
    }
  | {
      readonly kind: "tool";
      readonly run: RunFacts;
      readonly start: Time;
      readonly callId: string;
      readonly occurrence: number;
      readonly toolName: string;
    };

export type FinishedSpan = RunSpan | ModelSpan | ToolSpan;

interface Finished {
  readonly run: RunFacts;
  readonly start: Time;
  /** Never before `start`. */
  readonly end: Time;
  /** A time is not the one the events say, because clocks or order contradicted each other. */
  readonly corrected: boolean;
  /** Present: the span's status is ERROR. */
  readonly failure: Failure | undefined;
}

export interface RunSpan extends Finished {
  readonly kind: "run";
  readonly ending: Ending;
  readonly startMissing: boolean;
  /** The segment of the run's first span, when this is a later one. */
  readonly resumedFrom: string | undefined;
  /** Well-known provider name; undefined when no event named one. */
  readonly provider: string | undefined;
  readonly model: string | undefined;
  /** The runtime's own word, from RunCompleted. */
  readonly finishReason: string | undefined;
  readonly iterations: number | undefined;
  readonly usage: Usage | undefined;
  readonly modelCalls: number;
  readonly toolCalls: number;
  readonly toolFailures: number;
  /** Events used in this segment. */
  readonly events: number;
  /** Undefined when the numbering showed no gap. */
  readonly eventsMissing: number | undefined;
  readonly notices: readonly Notice[];
  /** Notices beyond the limit, counted and not kept. */
  readonly noticesDropped: number;
}

export interface ModelSpan extends Finished {
  readonly kind: "model";
  readonly iteration: number;
  readonly occurrence: number;
  readonly provider: string;
  readonly model: string;
  readonly incomplete: boolean;
  readonly stream: boolean;
  readonly chunks: number;
  /** Seconds from start to the first chunk; only for streamed calls. */
  readonly timeToFirstChunk: number | undefined;
  readonly usage: Usage | undefined;
  /** In the conventions' words; undefined when unknown. */
  readonly finishReason: string | undefined;
  readonly contextMessages: number | undefined;
  readonly messageId: string | undefined;
  /** Captured output; undefined when content is off or there was none. */
  readonly output: readonly OutputPart[] | undefined;
}

export type OutputPart =
  | { readonly type: "text"; readonly content: string }
  | { readonly type: "tool_call"; readonly id: string; readonly name: string; readonly arguments: string };

export interface ToolSpan extends Finished {
  readonly kind: "tool";
  readonly callId: string;
  readonly occurrence: number;
  readonly toolName: string;
  readonly iteration: number | undefined;
  readonly inferred: boolean;
  readonly incomplete: boolean;
  readonly messageId: string | undefined;
  /** Captured arguments and result as JSON text; undefined when content is off. */
  readonly arguments: string | undefined;
  readonly result: string | undefined;
}
