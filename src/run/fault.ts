import type { FinishedSpan, Op } from "./op.ts";

/** What a log needs to know of a fault. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** A span that was handed out by the step that failed is not handed out again by the close. */
export function isRepeated(op: Op, ops: readonly Op[], from: number): boolean {
  if (op.op !== "span") return false;
  const id = identityOf(op.span);
  for (let at = from; at < ops.length; at++) {
    const earlier = ops[at];
    if (earlier?.op === "span" && identityOf(earlier.span) === id) return true;
  }
  return false;
}

function identityOf(span: FinishedSpan): string {
  switch (span.kind) {
    case "run":
      return "run";
    case "model":
      return `model ${span.iteration} ${span.occurrence}`;
    case "tool":
      return `tool ${span.callId} ${span.occurrence}`;
  }
}
