import { compareTimes, earlierOf, laterOf, secondsBetween } from "../event/time.ts";
import type { Time } from "../event/time.ts";
import type {
  FinishedSpan,
  ModelSpan,
  Notice,
  Op,
  OpenedSpan,
  RunFacts,
  RunSpan,
  ToolSpan,
} from "../run/op.ts";

export type ChildSpan = ModelSpan | ToolSpan;
export type OpenedChild = Exclude<OpenedSpan, { kind: "run" }>;
type OpenedRun = Extract<OpenedSpan, { kind: "run" }>;

/** What there is to show: one segment of a run, or a tool span that ended after its run was shown. */
export type Shown = RunTree | LateChild;
export type RunTree = FinishedTree | OpenTree;

export interface FinishedTree {
  readonly state: "finished";
  readonly run: RunFacts;
  readonly span: RunSpan;
  /** In the order they began. */
  readonly children: readonly ChildSpan[];
  readonly leftOut: LeftOut;
}

export interface OpenTree {
  readonly state: "open";
  readonly run: RunFacts;
  readonly start: Time;
  /** The latest time that any of its spans names. */
  readonly latest: Time;
  readonly resumedFrom: string | undefined;
  readonly children: readonly ChildSpan[];
  readonly openChildren: readonly OpenedChild[];
  readonly notices: readonly Notice[];
  readonly leftOut: LeftOut;
}

export interface LateChild {
  readonly state: "late";
  readonly run: RunFacts;
  readonly span: ChildSpan;
}

/** Children that were counted and not kept. */
export interface LeftOut {
  readonly modelCalls: number;
  readonly tools: number;
  readonly failed: number;
  /** Sum of their durations. */
  readonly seconds: number;
}

export interface StoreLimits {
  /** Beyond it the run that began first is given out unfinished. Default 10,000. */
  readonly maxOpenRuns: number;
  /** Children kept of one run; later ones are counted. Default 10,000. */
  readonly maxSpansPerRun: number;
  /** Children kept of all open runs together; later ones are counted. Default 200,000. */
  readonly maxSpans: number;
  /** Notices kept of one open run; its finished span has its own. Default 100. */
  readonly maxNotices: number;
}

const STORE_LIMITS: StoreLimits = {
  maxOpenRuns: 10_000,
  maxSpansPerRun: 10_000,
  maxSpans: 200_000,
  maxNotices: 100,
};

const NOTHING_LEFT_OUT: LeftOut = { modelCalls: 0, tools: 0, failed: 0, seconds: 0 };

interface OpenRun {
  /** Of the latest op: the session or the segment may become known only after the run opened. */
  run: RunFacts;
  readonly start: Time;
  readonly resumedFrom: string | undefined;
  latest: Time;
  readonly children: ChildSpan[];
  readonly openChildren: Map<string, OpenedChild>;
  readonly notices: Notice[];
  leftOut: LeftOut;
}

/**
 * Gathers the heart's ops into trees of runs. A run is held from its `opened` until its own span is
 * handed out; what comes of it later is given out as it comes, so nothing is remembered of a run
 * that has been shown.
 */
export class RunStore {
  readonly #limits: StoreLimits;
  /** By run id, in the order they opened: a run has one open segment at a time. */
  readonly #open = new Map<string, OpenRun>();
  #spans = 0;
  #setAside = 0;

  constructor(limits: Partial<StoreLimits> = {}) {
    this.#limits = { ...STORE_LIMITS, ...limits };
  }

  /** Takes one op; returns what became ready to be shown by it. */
  accept(op: Op): Shown | undefined {
    switch (op.op) {
      case "opened":
        return op.span.kind === "run" ? this.#openRun(op.span) : this.#openChild(op.span);
      case "span":
        return op.span.kind === "run" ? this.#finish(op.span) : this.#addChild(op.span);
      case "notice":
        return this.#addNotice(op.run, op.notice);
      case "used":
      case "dropped":
      case "chunk":
      case "late_usage":
      case "fault":
        return undefined;
    }
  }

  /** The runs not finished yet, those that began last first, at most `limit`. */
  open(limit = Infinity): OpenTree[] {
    const all = [...this.#open.values()];
    return all
      .slice(Math.max(0, all.length - limit))
      .toReversed()
      .map(openTree);
  }

  get openRuns(): number {
    return this.#open.size;
  }

  /** Runs given out unfinished because too many were open. */
  get setAside(): number {
    return this.#setAside;
  }

  #openRun(opened: OpenedRun): Shown | undefined {
    const { run, start, resumedFrom } = opened;
    if (this.#open.has(run.runId)) return undefined;
    const oldest = this.#open.size >= this.#limits.maxOpenRuns ? this.#takeOldest() : undefined;
    this.#open.set(run.runId, {
      run,
      start,
      resumedFrom,
      latest: start,
      children: [],
      openChildren: new Map(),
      notices: [],
      leftOut: NOTHING_LEFT_OUT,
    });
    return oldest;
  }

  #takeOldest(): OpenTree | undefined {
    for (const open of this.#open.values()) {
      this.#forget(open);
      this.#setAside += 1;
      return openTree(open);
    }
    return undefined;
  }

  #openChild(opened: OpenedChild): undefined {
    const open = this.#openSegment(opened.run);
    if (open === undefined) return;
    open.latest = laterOf(open.latest, opened.start);
    if (this.#isFull(open)) return;
    const key = childKey(opened);
    if (!open.openChildren.has(key)) this.#spans += 1;
    open.openChildren.set(key, opened);
  }

  #addChild(span: ChildSpan): Shown | undefined {
    const open = this.#openSegment(span.run);
    if (open === undefined) return { state: "late", run: span.run, span };
    open.latest = laterOf(open.latest, span.end);
    if (open.openChildren.delete(childKey(span))) this.#spans -= 1;
    if (this.#isFull(open)) {
      open.leftOut = countIn(open.leftOut, span);
      return undefined;
    }
    open.children.push(span);
    this.#spans += 1;
    return undefined;
  }

  #addNotice(run: RunFacts, notice: Notice): undefined {
    const open = this.#openSegment(run);
    if (open === undefined) return;
    open.latest = laterOf(open.latest, notice.time);
    if (open.notices.length < this.#limits.maxNotices) open.notices.push(notice);
  }

  #finish(span: RunSpan): FinishedTree {
    const open = this.#open.get(span.run.runId);
    if (open !== undefined) this.#forget(open);
    return {
      state: "finished",
      run: span.run,
      span,
      children: inOrder(open?.children ?? []),
      leftOut: open?.leftOut ?? NOTHING_LEFT_OUT,
    };
  }

  #forget(open: OpenRun): void {
    this.#open.delete(open.run.runId);
    this.#spans -= open.children.length + open.openChildren.size;
  }

  /**
   * The open run that a child belongs to. The first segment of a run is named anew when its RunStarted
   * comes late; a child of another segment than the open, resumed one comes after its own run's end.
   */
  #openSegment(run: RunFacts): OpenRun | undefined {
    const open = this.#open.get(run.runId);
    if (open === undefined) return undefined;
    if (open.resumedFrom !== undefined && open.run.segment !== run.segment) return undefined;
    open.run = run;
    return open;
  }

  #isFull(open: OpenRun): boolean {
    const ofRun = open.children.length + open.openChildren.size;
    return ofRun >= this.#limits.maxSpansPerRun || this.#spans >= this.#limits.maxSpans;
  }
}

/** `leftOut` and one span more. */
function countIn(leftOut: LeftOut, span: FinishedSpan): LeftOut {
  return {
    modelCalls: leftOut.modelCalls + (span.kind === "model" ? 1 : 0),
    tools: leftOut.tools + (span.kind === "tool" ? 1 : 0),
    failed: leftOut.failed + (span.failure === undefined ? 0 : 1),
    seconds: leftOut.seconds + secondsBetween(span.start, span.end),
  };
}

function openTree(open: OpenRun): OpenTree {
  const start = open.children.reduce((first, child) => earlierOf(first, child.start), open.start);
  return {
    state: "open",
    run: open.run,
    start,
    latest: open.latest,
    resumedFrom: open.resumedFrom,
    children: inOrder(open.children),
    openChildren: [...open.openChildren.values()],
    notices: [...open.notices],
    leftOut: open.leftOut,
  };
}

/** The sort is stable: spans of one moment stay in the order they were handed out. */
function inOrder(children: readonly ChildSpan[]): ChildSpan[] {
  return children.toSorted((a, b) => compareTimes(a.start, b.start));
}

function childKey(span: ChildSpan | OpenedChild): string {
  return span.kind === "model"
    ? `model ${span.iteration} ${span.occurrence}`
    : `tool ${span.occurrence} ${span.callId}`;
}
