import type { HeartOptions } from "./limits.ts";
import type { DropReason, Ending, Op } from "./op.ts";
import type { Moment, RunRecord, Segment } from "./state.ts";

/** What a step of the heart works with. */
export interface Step {
  readonly options: HeartOptions;
  readonly record: RunRecord;
  readonly segment: Segment;
  /** When the event counts as having happened, in the order of its run. */
  readonly moment: Moment;
  /** Which count the event's `seq` belongs to (`numbering.ts`). */
  readonly count: number;
  readonly ops: Op[];
}

/** What became of an event: used, dropped for a reason, or used and the segment is over. */
export type Fate = "used" | DropReason | Ending;
