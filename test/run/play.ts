import type { Event } from "../../src/event/event.ts";
import { toMillis } from "../../src/event/time.ts";
import { Assembler } from "../../src/run/assembler.ts";
import { HEART_DEFAULTS, type HeartOptions } from "../../src/run/limits.ts";
import type { Op } from "../../src/run/op.ts";
import { spansOf, textTree } from "../viewer/text-tree.ts";
import { checkInvariants } from "./invariants.ts";
import { ORIGIN, ORIGIN_MS } from "./story.ts";

/**
 * One step of a play: an event whose delivery is as old as the newest event so far (as in a file), one
 * that arrives `ms` after the origin, or source time coming to `tick` without an event.
 */
export type Step = Event | { readonly event: Event; readonly ms: number } | { readonly tick: number };

export interface Play extends Partial<HeartOptions> {
  /** What happens after the last step; default: the input is drained, so that every run is whole. */
  readonly end?: "drain" | "release" | "stay";
}

/** The ops of a play, checked against the invariants. */
export function play(steps: readonly Step[], { end = "drain", ...options }: Play = {}): Op[] {
  const heart = new Assembler({ ...HEART_DEFAULTS, ...options });
  const ops = perform(heart, steps);
  if (end === "drain") heart.drain(ops);
  if (end === "release") heart.release(ops);
  checkInvariants(ops, {
    accepted: steps.filter((step) => !("tick" in step)).length,
    waiting: heart.waitingEvents,
    whole: heart.openRuns === 0 && heart.waitingEvents === 0,
  });
  return ops;
}

/** Gives a heart the steps, and nothing after them. */
export function perform(heart: Assembler, steps: readonly Step[], ops: Op[] = []): Op[] {
  let nowMs = heart.nowMs;
  for (const step of steps) {
    if ("tick" in step) {
      nowMs = ORIGIN_MS + step.tick;
      heart.tick(nowMs, ops);
      continue;
    }
    const event = "ms" in step ? step.event : step;
    nowMs = "ms" in step ? ORIGIN_MS + step.ms : Math.max(nowMs, toMillis(event.time));
    heart.accept(event, nowMs, ops);
  }
  return ops;
}

/** What a play comes to, as text: the spans, then whatever else is not as usual. */
export function tell(steps: readonly Step[], options: Play = {}): string {
  return textOf(play(steps, options));
}

/** The same with session, provider, model, message ids, parents and contents. */
export function tellAll(steps: readonly Step[], options: Play = {}): string {
  return textOf(play(steps, options), true);
}

/** Ops as text; times in milliseconds after the origin. */
export function textOf(ops: readonly Op[], all = false): string {
  const spans = spansOf(ops);
  const lines = spans.length === 0 ? [] : [textTree(spans, { origin: ORIGIN, all }).trimEnd()];
  const dropped = ops.flatMap((op) => (op.op === "dropped" ? [`${op.reason} ${op.type}`] : []));
  if (dropped.length > 0) lines.push(`dropped: ${dropped.join(", ")}`);
  for (const op of ops) {
    if (op.op === "late_usage") {
      const { input, output, cacheRead, cacheWrite } = op.usage;
      const cache =
        cacheRead === undefined && cacheWrite === undefined ? "" : ` cache ${cacheRead}/${cacheWrite}`;
      lines.push(`late usage: ${op.provider} ${JSON.stringify(op.model)} ${input}/${output}${cache}`);
    }
    if (op.op === "fault") lines.push(`fault: ${op.message.split(":")[0]}`);
  }
  return lines.join("\n");
}
