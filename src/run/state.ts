import type { Failure } from "../event/event.ts";
import type { Time } from "../event/time.ts";
import type { HashMemory } from "./hash-memory.ts";
import type { Notice, RunFacts, Usage } from "./op.ts";
import type { Numbering } from "./numbering.ts";
import type { Beginning } from "./order.ts";
import type { CacheTokens, Provider } from "./provider.ts";
import { NONE } from "./short-list.ts";

/**
 * Everything known of one run. Plain data but for two small memories with a saved form each.
 *
 * A run is *open* while it has a segment, *remembered* while it has none and its last one is known.
 */
export interface RunRecord {
  readonly runId: string;
  /** Counts the openings and closings of all runs: that of this one's last. */
  moved: number;
  segment: Segment | undefined;
  /** The last closed segment. */
  closed: ClosedSegment | undefined;
  readonly hashes: HashMemory;
  numbering: Numbering | undefined;
  /** No event of it has waited without a number. */
  numbered: boolean;
  /**
   * Events that waited when the state was written down, and have not been delivered again yet: which
   * count their number belongs to, by hash.
   */
  awaited: Map<number, number> | undefined;
  /** Events of the open segment that the numbering shows to be missing. */
  missing: number;
  /** Source time of the newest delivery of this run that was not a duplicate. */
  lastArrivalMs: number;
  /** Place in the deadline queue; -1 when not in it. */
  queueIndex: number;
  deadlineMs: number;
}

/** A segment of a run that is still open. */
export interface Segment {
  facts: RunFacts;
  /** No span has left yet, so a late RunStarted may still name the segment. */
  sealed: boolean;
  start: Time;
  /** Time of the last event used; never goes back. */
  last: Time;
  startMissing: boolean;
  readonly resumedFrom: string | undefined;
  corrected: boolean;
  provider: Provider | undefined;
  model: string | undefined;
  turn: Turn;
  modelCalls: number;
  /** Iterations of the model calls so far, in order of ModelStarted; the oldest go (`maxIds`). */
  iterations: number[];
  /** -1 before the first. */
  highestIteration: number;
  /** Spans per call id: how many began, and how many were handed out without their own finish. */
  tools: Map<string, ToolCount> | undefined;
  /** Executions not handed out, in the order they began. */
  executions: Execution[];
  openExecutions: number;
  toolCalls: number;
  toolFailures: number;
  events: number;
  usage: Usage | undefined;
  notices: Notice[];
  noticesDropped: number;
  contextMessages: number | undefined;
}

export interface ToolCount {
  began: number;
  unfinished: number;
}

/** What a closed segment leaves behind, so that what comes later finds its place. */
export interface ClosedSegment {
  readonly facts: RunFacts;
  /** The segment of the run's first span. */
  readonly firstSegment: string;
  /** A segment of this run had the empty name, so no later one may have it. */
  readonly emptyTaken: boolean;
  readonly start: Time;
  readonly end: Time;
  /** A terminal event closed it, or a fault: only the beginning of something opens the next. */
  readonly final: boolean;
  /** Source time of the close. */
  readonly closedMs: number;
  readonly provider: Provider | undefined;
  readonly model: string | undefined;
  tools: Map<string, ToolCount> | undefined;
}

/** One iteration: a model call and what it led to. Over with the next ModelStarted or the end. */
export interface Turn {
  model: ModelCall | undefined;
  /** Tool calls announced or completed, a completed one at the place of its last completion. */
  calls: AskedCall[];
  /** Ids of the tool messages committed, in order. */
  toolMessages: string[];
  /** Tool messages, counted also beyond the limit. */
  toolMessageCount: number;
  firstToolMessage: Moment | undefined;
  assistant: Moment | undefined;
  doomLoop: boolean;
}

/** When something happened, and whether that time was raised to keep the run's order. */
export interface Moment {
  readonly at: Time;
  readonly raised: boolean;
}

/** A tool call that the model asked for. */
export interface AskedCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: string | undefined;
  /** By ToolCallCompleted; else only announced by ToolCallStarted. */
  readonly completed: boolean;
  /** An observed execution is this call's. */
  observed: boolean;
}

export interface ModelCall extends Beginning {
  readonly iteration: number;
  readonly occurrence: number;
  readonly provider: Provider;
  readonly model: string;
  readonly start: Time;
  end: CallEnd | undefined;
  corrected: boolean;
  lastOutput: Time | undefined;
  textDeltas: number;
  toolChunks: number;
  /** Seconds. */
  timeToFirstChunk: number | undefined;
  lastChunk: Time | undefined;
  usage: Usage | undefined;
  /** Which cache numbers the last UsageRecorded left out, for CacheMetrics to fill in. */
  lacksRead: boolean;
  lacksWrite: boolean;
  /** Cache numbers that came before any usage. */
  earlyCache: CacheTokens | undefined;
  messageId: string | undefined;
  contextMessages: number | undefined;
  text: string | undefined;
}

/** What ended a model call, and when. */
export interface CallEnd {
  readonly at: Time;
  readonly by: "usage" | "message" | "tool" | "next" | "completed" | "stopped";
}

export interface Execution {
  readonly callId: string;
  readonly toolName: string;
  readonly occurrence: number;
  readonly iteration: number | undefined;
  readonly start: Time;
  corrected: boolean;
  end: Time | undefined;
  failure: Failure | undefined;
  arguments: string | undefined;
  result: string | undefined;
  /** It began in the iteration that is not over yet. */
  ofTurn: boolean;
  messageId: string | undefined;
}

export function emptyTurn(): Turn {
  return {
    model: undefined,
    calls: NONE,
    toolMessages: NONE,
    toolMessageCount: 0,
    firstToolMessage: undefined,
    assistant: undefined,
    doomLoop: false,
  };
}

/** Something is known of the run; of others all events still wait. */
export function isKnown({ segment, closed }: RunRecord): boolean {
  return segment !== undefined || closed !== undefined;
}

export function newRecord(runId: string, hashes: HashMemory): RunRecord {
  return {
    runId,
    moved: 0,
    segment: undefined,
    closed: undefined,
    hashes,
    numbering: undefined,
    numbered: true,
    awaited: undefined,
    missing: 0,
    lastArrivalMs: 0,
    queueIndex: -1,
    deadlineMs: 0,
  };
}
