import type { ProviderMap } from "./provider.ts";

/** What the heart is told from outside; every limit has a default. */
export interface HeartOptions {
  /** Milliseconds an event waits for others that belong before it; 0: the source keeps order. */
  readonly reorderWindowMs: number;
  /** Milliseconds of source time without an event after which a run has expired. */
  readonly runIdleMs: number;
  /** The same while an observed tool execution is open. */
  readonly toolIdleMs: number;
  /** Milliseconds of source time for which a closed run is remembered. */
  readonly rememberMs: number;
  readonly maxOpenRuns: number;
  readonly maxRememberedRuns: number;
  /** Events in the reorder window, over all runs; beyond it the oldest are used early. */
  readonly maxWaiting: number;
  /** Hashes of events kept per run to tell duplicates; beyond it the oldest go. */
  readonly maxHashes: number;
  /** Tool calls asked for, tool executions open, and tool messages, each per iteration. */
  readonly maxTools: number;
  /**
   * Tool call ids and iterations remembered per segment, to number the spans of those that repeat;
   * beyond it the oldest go.
   */
  readonly maxIds: number;
  /** Doom loops and compaction notices kept on a run span. */
  readonly maxNotices: number;
  /** UTF-16 units of captured text kept per model call. */
  readonly maxCapturedText: number;
  readonly agentName: string | undefined;
  readonly providers: ProviderMap;
}

export const HEART_DEFAULTS: HeartOptions = {
  reorderWindowMs: 0,
  runIdleMs: 10 * 60_000,
  toolIdleMs: 60 * 60_000,
  rememberMs: 24 * 60 * 60_000,
  maxOpenRuns: 100_000,
  maxRememberedRuns: 1_000_000,
  maxWaiting: 100_000,
  maxHashes: 4_096,
  maxTools: 1_000,
  maxIds: 10_000,
  maxNotices: 128,
  maxCapturedText: 65_536,
  agentName: undefined,
  providers: new Map(),
};

/** How long events of brokers and of HTTP wait for others that belong before them. */
export const DEFAULT_REORDER_MS = 2_000;
