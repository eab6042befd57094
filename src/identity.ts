import { parseTraceparent } from "./event/traceparent.ts";
import { foldUuid, NIL_UUID } from "./event/uuid.ts";
import * as ids from "./otel/ids.ts";

/** Which span of a run is meant; the run's own when nothing is said. */
export type SpanTarget = ids.TraceparentTarget & {
  /** Only for a segment that did not begin with its RunStarted: decimal nanoseconds of its first event. */
  readonly segment?: string;
};

/** The trace of a run: 32 hex digits (docs/identity.md). Throws a RangeError when the id is no UUID, or nil. */
export function traceIdOf(runId: string): string {
  return ids.traceIdOf(checked(runId));
}

/** The id of a span of a run: 16 hex digits, known before there is such a span (docs/identity.md). */
export function spanIdOf(runId: string, target: SpanTarget = {}): string {
  return ids.targetSpanId(checked(runId), target.segment ?? "", target);
}

/**
 * The W3C `traceparent` of a span of a run, to be handed to a tool before the span exists.
 * `parent` is the `traceparent` that the run itself hangs under; sampled unless said otherwise.
 */
export function traceparentOf(
  runId: string,
  options: SpanTarget & { readonly parent?: string; readonly sampled?: boolean } = {},
): string {
  const parent = options.parent === undefined ? undefined : parseTraceparent(options.parent);
  if (options.parent !== undefined && parent === undefined) {
    throw new RangeError(`parent: ${JSON.stringify(options.parent)} is no traceparent`);
  }
  return ids.traceparentOf(checked(runId), { ...options, parent, sampled: options.sampled ?? true });
}

function checked(runId: string): string {
  const folded = foldUuid(runId);
  if (folded === undefined || folded === NIL_UUID) {
    throw new RangeError(`runId: ${JSON.stringify(runId)} is not a hyphenated UUID that names a run`);
  }
  return folded;
}
