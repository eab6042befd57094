import type { Chunk, Event } from "../event/event.ts";
import { isBefore, isChunkBefore } from "./order.ts";
import type { CallEnd, Segment } from "./state.ts";
import type { Step } from "./step.ts";

/** Ends the model call unless something ended it before; its output may still move the end. */
export function endCall(step: Step, by: CallEnd["by"]): void {
  const call = step.segment.turn.model;
  if (call === undefined || call.end !== undefined) return;
  call.end = { at: step.moment.at, by };
  if (step.moment.raised) call.corrected = true;
}

/** The event belongs before the present model call began, in the order of its run. */
export function isBeforeCall({ turn }: Segment, event: Event, count: number): boolean {
  return turn.model !== undefined && isBefore(event, count, turn.model);
}

/** The event is of a model call that was handed out when the present one began. */
export function isOfEarlierCall(segment: Segment, event: Event, count: number): boolean {
  return segment.modelCalls > 1 && isBeforeCall(segment, event, count);
}

/** The same for a chunk of what a model streams. */
export function isChunkOfEarlierCall({ turn, modelCalls }: Segment, chunk: Chunk, count: number): boolean {
  return modelCalls > 1 && turn.model !== undefined && isChunkBefore(chunk, count, turn.model);
}
