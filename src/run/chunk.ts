import type { Chunk, Delta } from "../event/event.ts";
import { isAfter, secondsBetween, type Time } from "../event/time.ts";
import { isChunkOfEarlierCall } from "./call.ts";
import type { HeartOptions } from "./limits.ts";
import { countGaps } from "./numbering.ts";
import type { Op } from "./op.ts";
import { learn } from "./segment.ts";
import type { ModelCall, Segment } from "./state.ts";
import type { Step } from "./step.ts";
import { USED } from "./used.ts";

/**
 * Carries a delta into the open segment of a run of which no segment is closed. What the assembler does with any
 * event, the short way, as nine of ten events are deltas: none of them brings a deadline forward, or ends anything.
 */
export function useDelta(step: Omit<Step, "moment">, delta: Delta): void {
  const { record, segment, options, count, ops } = step;
  const { type, time, around } = delta;
  learn(segment, around);
  countGaps(record, around, count);
  const at = isAfter(segment.last, time) ? segment.last : time;
  const fate = takeChunk(options, segment, delta, count, at, ops);
  if (fate !== "used") {
    ops.push({ op: "dropped", type, reason: fate });
    return;
  }
  segment.last = at;
  segment.events += 1;
  ops.push(type === "TextDelta" ? USED.TextDelta : USED.ToolCallDelta);
}

/** A chunk of a model's answer, used at `at`. */
export function takeChunk(
  options: HeartOptions,
  segment: Segment,
  event: Chunk,
  count: number,
  at: Time,
  ops: Op[],
): "used" | "late" {
  const call = segment.turn.model;
  if (call === undefined) return "used";
  if (isChunkOfEarlierCall(segment, event, count)) return "late";
  if (isAfter(at, event.time)) call.corrected = true;
  if (event.type === "TextDelta") {
    call.textDeltas += 1;
    if (event.text !== undefined) capture(options, call, event.text);
  } else {
    call.toolChunks += 1;
  }
  if (call.lastChunk === undefined) {
    call.timeToFirstChunk = secondsBetween(call.start, at);
  } else {
    const seconds = secondsBetween(call.lastChunk, at);
    ops.push({ op: "chunk", provider: call.provider.name, model: call.model, seconds });
  }
  call.lastChunk = at;
  call.lastOutput = at;
  return "used";
}

function capture({ maxCapturedText }: HeartOptions, call: ModelCall, text: string): void {
  const room = maxCapturedText - (call.text?.length ?? 0);
  if (room <= 0) return;
  // Not through a surrogate pair.
  const end = isHighSurrogate(text.charCodeAt(room - 1)) && room < text.length ? room - 1 : room;
  call.text = (call.text ?? "") + text.slice(0, end);
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}
