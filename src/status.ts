import type { Lane } from "./lane.ts";
import type { Outlet } from "./otel/outlet.ts";

/** How a running bridge is doing, for health checks. */
export interface BridgeStatus {
  readonly signals: ReturnType<Outlet["status"]>;
  readonly sources: readonly SourceStatus[];
}

export interface SourceStatus {
  readonly source: string;
  /**
   * What is waited for: its next events, or room behind it. A source with times of its own answers within a
   * second, events or not; one that does not is out of reach.
   */
  readonly waitsFor: "source" | "export";
  readonly forSeconds: number;
  readonly reachable: boolean;
  /** Why a broker refuses to be read, in its words, until somebody does something about it. */
  readonly refusal: string | undefined;
  /** The state could be written the last time; undefined without one. */
  readonly written: boolean | undefined;
}

/** How long a source may owe its answer. */
const UNREACHABLE_SECONDS = 30;

/** `isWritten`: its state, if it keeps one, could be written the last time. */
export function sourceStatusOf(lane: Lane, isWritten: boolean): SourceStatus {
  const { source, committer } = lane;
  const { waitsFor, forSeconds } = lane.waiting();
  const reachable = !source.timed || waitsFor === "export" || forSeconds <= UNREACHABLE_SECONDS;
  const { name, refusal } = source;
  return { source: name, waitsFor, forSeconds, reachable, refusal, written: committer && isWritten };
}
