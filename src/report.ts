import type { Snapshot } from "./metric/snapshot.ts";
import { OUTCOMES, type Outcome } from "./run/op.ts";

/** What became of everything: `--report`, and a sink's `stats`. Counts, by reason and code where there are any. */
export interface Report {
  readonly events: {
    readonly received: number;
    readonly used: number;
    readonly dropped: Readonly<Record<string, number>>;
    readonly rejected: Readonly<Record<string, number>>;
  };
  /** Segments of runs that ended, by outcome. */
  readonly runs: Readonly<Record<Outcome, number>>;
  readonly spans: { readonly exported: number; readonly failed: number };
}

/** Adds a snapshot up. received = used + dropped + rejected, in every one. */
export function reportOf(snapshot: Snapshot): Report {
  const outcomes = countsBy(snapshot, "behest.run.ended", "behest.run.outcome");
  return {
    events: {
      received: sumOf(snapshot, "behest.bridge.events.received"),
      used: sumOf(snapshot, "behest.bridge.events.used"),
      dropped: observed(countsBy(snapshot, "behest.bridge.events.dropped", "reason")),
      rejected: observed(countsBy(snapshot, "behest.bridge.events.rejected", "code")),
    },
    runs: Object.fromEntries(OUTCOMES.map((outcome) => [outcome, outcomes[outcome] ?? 0])) as Record<
      Outcome,
      number
    >,
    spans: {
      exported: sumOf(snapshot, "behest.bridge.spans.exported"),
      failed: sumOf(snapshot, "behest.bridge.spans.failed"),
    },
  };
}

function sumOf(snapshot: Snapshot, metric: string): number {
  let sum = 0;
  for (const point of snapshot) {
    if (point.metric === metric && point.kind !== "histogram") sum += point.value;
  }
  return sum;
}

function countsBy(
  snapshot: Snapshot,
  metric: string,
  key: "behest.run.outcome" | "reason" | "code",
): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const point of snapshot) {
    if (point.metric !== metric || point.kind === "histogram") continue;
    const label = String(point.attributes[key]);
    counts[label] = (counts[label] ?? 0) + point.value;
  }
  return counts;
}

/** Reasons and codes that never happened are metrics at 0, and only noise in a report. */
function observed(counts: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
}
