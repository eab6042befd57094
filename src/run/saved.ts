import type { Numbering } from "./numbering.ts";
import type { Waiting } from "./order.ts";
import type { ClosedSegment, RunRecord, Segment, ToolCount } from "./state.ts";

/** The heart's state as JSON data. Written and read back, the same events give the same ops. */
export interface SavedHeart {
  readonly nowMs: number;
  /** Open and remembered ones, in any order. */
  readonly runs: readonly SavedRecord[];
}

/** What to put into a saved heart to make it the one of now. */
export interface HeartChanges extends SavedHeart {
  /** Runs that are to be taken out of it, if they are in it. */
  readonly gone: readonly string[];
}

type ToolCounts = readonly (readonly [callId: string, began: number, unfinished: number])[];

interface SavedTools {
  readonly tools: ToolCounts | undefined;
}

/** Events by their hash, and which count the numbers of each belong to. */
type Awaited = readonly (readonly [hash: number, count: number])[];

/** A run's record with its maps as arrays. */
export interface SavedRecord extends Pick<
  RunRecord,
  "runId" | "moved" | "hashes" | "numbered" | "missing" | "lastArrivalMs"
> {
  readonly numbering?: Numbering;
  readonly awaited?: Awaited;
  readonly segment?: Omit<Segment, "tools"> & SavedTools;
  readonly closed?: Omit<ClosedSegment, "tools"> & SavedTools;
}

/**
 * A run as data, valid until the heart's next step. Events of it that still wait are not written down:
 * they are not acknowledged, so they will be delivered again, and are known then by their hashes.
 */
export function saveRecord(record: RunRecord, waiting: readonly Waiting[]): SavedRecord {
  const { runId, moved, hashes, numbering, numbered, segment, closed, missing, lastArrivalMs } = record;
  const awaited = awaitedOf(record, waiting);
  return {
    runId,
    moved,
    missing,
    lastArrivalMs,
    hashes,
    numbered,
    ...(numbering && { numbering }),
    ...(awaited.length > 0 && { awaited }),
    ...(segment && { segment: { ...segment, ...savedTools(segment.tools) } }),
    ...(closed && { closed: { ...closed, ...savedTools(closed.tools) } }),
  };
}

export function restoreRecord(saved: SavedRecord): RunRecord {
  // The heart changes its records in place; what was read stays as it is.
  const { runId, moved, hashes, numbering, numbered, awaited, segment, closed, missing, lastArrivalMs } =
    structuredClone(saved);
  return {
    runId,
    moved,
    hashes,
    numbering,
    numbered,
    missing,
    lastArrivalMs,
    awaited: awaited && new Map(awaited),
    segment: segment && { ...segment, tools: restoredTools(segment.tools) },
    closed: closed && { ...closed, tools: restoredTools(closed.tools) },
    queueIndex: -1,
    deadlineMs: 0,
  };
}

/** Whether the event waited when the state was written down: then which count it belongs to. */
export function takeAwaited(record: RunRecord, hash: number): number | undefined {
  const { awaited } = record;
  const count = awaited?.get(hash);
  if (count === undefined) return undefined;
  awaited?.delete(hash);
  if (awaited?.size === 0) record.awaited = undefined;
  return count;
}

function savedTools(tools: Map<string, ToolCount> | undefined): SavedTools {
  if (tools === undefined) return { tools: undefined };
  return { tools: [...tools].map(([id, { began, unfinished }]) => [id, began, unfinished]) };
}

function restoredTools(tools: ToolCounts | undefined): Map<string, ToolCount> | undefined {
  return tools && new Map(tools.map(([id, began, unfinished]) => [id, { began, unfinished }]));
}

/** What waits, and what is awaited since the state was read and has not come again yet. */
function awaitedOf({ awaited }: RunRecord, waiting: readonly Waiting[]): Awaited {
  return [...(awaited ?? []), ...waiting.map(({ event, count }) => [event.hash, count] as const)];
}
