import { hash } from "node:crypto";

import type { RemoteParent } from "../event/event.ts";

/** The kinds of span that have an identity of their own. */
export type SpanKindName = "run" | "model" | "tool";

/** All that a span id is made from. */
export interface SpanKey {
  /** Lower-case hyphenated UUID. */
  readonly runId: string;
  /** Empty, or the decimal nanoseconds of the segment's first event. */
  readonly segment: string;
  readonly kind: SpanKindName;
  /** Empty for `run`, the decimal iteration for `model`, the call id for `tool`. */
  readonly key: string;
  /** Counts from 0 among spans that are equal in everything else. */
  readonly occurrence: number;
}

/**
 * The trace id of a run without a remote parent: the 16 bytes of its run id in hex.
 *
 * `runId` must be a lower-case hyphenated UUID; it is not checked here.
 */
export function traceIdOf(runId: string): string {
  return (
    runId.slice(0, 8) + runId.slice(9, 13) + runId.slice(14, 18) + runId.slice(19, 23) + runId.slice(24, 36)
  );
}

/** The span id by the contract `behest-otel/1`, published with test vectors in `docs/identity.md`. */
export function spanIdOf({ runId, segment, kind, key, occurrence }: SpanKey): string {
  // Only the key may hold zero bytes itself, and it stands between fields that cannot: no two keys give one text.
  return spanIdFromDigest(
    hash("sha256", `behest-otel/1\0${runId}\0${segment}\0${kind}\0${key}\0${occurrence}`, "hex"),
  );
}

/** The id of a segment's own span, which is the parent of all others in it. */
export function runSpanId(runId: string, segment: string): string {
  return spanIdOf({ runId, segment, kind: "run", key: "", occurrence: 0 });
}

/** The first eight bytes of a digest in hex that are not all zero: all zero is no span id in OpenTelemetry. */
export function spanIdFromDigest(digest: string): string {
  for (let at = 0; at + 16 <= digest.length; at += 16) {
    const id = digest.slice(at, at + 16);
    if (id !== "0000000000000000") return id;
  }
  throw new RangeError("a digest of nothing but zero bytes holds no span id");
}

/** One of a run's spans: a tool execution, a model call, or (with neither) the run itself. */
export type TraceparentTarget =
  | { readonly tool: string; readonly model?: undefined; readonly occurrence?: number }
  | { readonly model: number; readonly tool?: undefined; readonly occurrence?: number }
  | { readonly tool?: undefined; readonly model?: undefined };

/** The id of a span before any such span exists, so that a tool can be handed its parent. */
export function targetSpanId(runId: string, segment: string, target: TraceparentTarget): string {
  if (target.tool !== undefined) {
    return spanIdOf({ runId, segment, kind: "tool", key: target.tool, occurrence: target.occurrence ?? 0 });
  }
  if (target.model !== undefined) {
    return spanIdOf({
      runId,
      segment,
      kind: "model",
      key: String(target.model),
      occurrence: target.occurrence ?? 0,
    });
  }
  return runSpanId(runId, segment);
}

/**
 * The W3C `traceparent` of a span.
 *
 * `sampled` is the decision of the configured sampler for this run; `parent` the run's remote
 * parent, `segment` only for one that began without its RunStarted.
 */
export function traceparentOf(
  runId: string,
  options: TraceparentTarget & {
    readonly parent?: RemoteParent | undefined;
    readonly segment?: string;
    readonly sampled: boolean;
  },
): string {
  const { parent, segment = "", sampled } = options;
  const traceId = parent?.traceId ?? traceIdOf(runId);
  return `00-${traceId}-${targetSpanId(runId, segment, options)}-${sampled ? "01" : "00"}`;
}
