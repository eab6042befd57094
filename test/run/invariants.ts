import type { Time } from "../../src/event/time.ts";
import { compareTimes, nanosText } from "../../src/event/time.ts";
import type { FinishedSpan, Op, RunSpan } from "../../src/run/op.ts";

export interface Told {
  /** Events given to the heart. */
  readonly accepted: number;
  /** Of those, how many still wait. */
  readonly waiting: number;
  /** Every run was closed at the end, so nothing may be missing. */
  readonly whole: boolean;
  /** Runs were forgotten while their events still came, so a span may come twice. */
  readonly forgetful?: boolean;
}

/**
 * What holds of every sequence of ops, whatever the events were. Throws with the fact that does not.
 */
export function checkInvariants(ops: readonly Op[], told: Told): void {
  checkFates(ops, told);
  checkTimes(ops);
  if (told.forgetful === true) return;
  const segments = segmentsOf(ops);
  for (const spans of segments.values()) checkSegment(spans, told.whole);
  checkLinks(ops);
  checkOpened(ops, told.whole);
}

/** accepted = used + dropped + waiting. */
function checkFates(ops: readonly Op[], { accepted, waiting }: Told): void {
  const fates = ops.filter(({ op }) => op === "used" || op === "dropped").length;
  must(fates + waiting === accepted, `${accepted} accepted, but ${fates} with a fate and ${waiting} waiting`);
}

function checkTimes(ops: readonly Op[]): void {
  for (const span of spansIn(ops)) {
    must(compareTimes(span.start, span.end) <= 0, "an end is not before its start", span);
    must(isTime(span.start) && isTime(span.end), "times are normal pairs", span);
  }
}

function checkSegment(spans: readonly FinishedSpan[], whole: boolean): void {
  const runs = spans.filter((span) => span.kind === "run");
  const [run] = runs;
  must(runs.length <= 1, "a run span is handed out once", ...runs);
  if (whole) must(run !== undefined, "a child's run span comes in the same segment", ...spans);
  const keys = new Map<string, number[]>();
  for (const span of spans) {
    if (span.kind === "run") continue;
    const key = keyOf(span);
    const occurrences = keys.get(key) ?? [];
    keys.set(key, occurrences);
    must(!occurrences.includes(span.occurrence), "a span is handed out once", span);
    occurrences.push(span.occurrence);
    if (run === undefined) continue;
    must(sameFacts(span, run), "a span shares the identity of its run", span, run);
    must(compareTimes(run.start, span.start) <= 0, "a child does not begin before its run", span, run);
    must(compareTimes(span.end, run.end) <= 0, "a child does not end after its run", span, run);
  }
  if (!whole) return;
  for (const [key, occurrences] of keys) {
    const last = Math.max(...occurrences);
    must(last === occurrences.length - 1, `the occurrences of ${key} count from 0 without a gap`);
  }
  if (run !== undefined) checkCounts(run, spans);
}

/** What a run span counts is what was handed out before it; what comes after is a tool that was late. */
function checkCounts(run: RunSpan, spans: readonly FinishedSpan[]): void {
  const before = spans.slice(0, spans.indexOf(run));
  const after = spans.slice(before.length + 1);
  must(
    after.every((span) => span.kind === "tool" && !span.inferred && !span.incomplete),
    "after its run only an observed tool is handed out",
    ...after,
  );
  const models = before.filter((span) => span.kind === "model");
  const tools = before.filter((span) => span.kind === "tool");
  must(run.modelCalls === models.length, `a run counts its ${models.length} model calls`, run);
  must(run.toolCalls === tools.length, `a run counts its ${tools.length} tool calls`, run);
  const failed = tools.filter((span) => span.failure !== undefined && !span.incomplete);
  must(run.toolFailures === failed.length, `a run counts its ${failed.length} failed tools`, run);
  const output = models.reduce((sum, { usage }) => sum + (usage?.output ?? 0), 0);
  must(
    (run.usage?.output ?? 0) >= output,
    `a run has at least the ${output} output tokens of its calls`,
    run,
  );
  const faulted = run.ending.outcome === "incomplete" && run.ending.reason === "faulted";
  must(run.events > 0 || faulted, "a run has at least one event", run);
}

/** A later segment links to the first one of its run, which was handed out or is remembered. */
function checkLinks(ops: readonly Op[]): void {
  const first = new Map<string, string>();
  for (const span of spansIn(ops)) {
    if (span.kind !== "run") continue;
    const { runId, segment } = span.run;
    if (span.resumedFrom === undefined) {
      first.set(runId, segment);
    } else {
      must(span.resumedFrom !== segment, "a segment does not resume itself", span);
      const known = first.get(runId);
      must(known === undefined || known === span.resumedFrom, "a link goes to the run's first span", span);
    }
    must(segment === "" || /^\d+$/.test(segment), "a segment is empty or decimal", span);
    must(
      segment === "" || span.startMissing || span.resumedFrom !== undefined,
      "a start has the empty name",
      span,
    );
  }
}

/** Everything opened is handed out, once, with the start it was opened with. */
function checkOpened(ops: readonly Op[], whole: boolean): void {
  const opened = new Map<string, number>();
  const add = (key: string, by: number) => opened.set(key, (opened.get(key) ?? 0) + by);
  for (const op of ops) {
    if (op.op === "opened") {
      const { span } = op;
      add(
        `${span.run.runId} ${keyOf(span)} ${"occurrence" in span ? span.occurrence : 0} ${nanosText(span.start)}`,
        1,
      );
    } else if (op.op === "span") {
      const { span } = op;
      add(
        `${span.run.runId} ${keyOf(span)} ${"occurrence" in span ? span.occurrence : 0} ${nanosText(span.start)}`,
        -1,
      );
    }
  }
  if (!whole) return;
  for (const [key, count] of opened) must(count <= 0, `what was opened is handed out: ${key}`);
}

function keyOf(span: FinishedSpan | Extract<Op, { op: "opened" }>["span"]): string {
  switch (span.kind) {
    case "run":
      return "run";
    case "model":
      return `model ${span.iteration}`;
    case "tool":
      return `tool ${JSON.stringify(span.callId)}`;
  }
}

function segmentsOf(ops: readonly Op[]): Map<string, FinishedSpan[]> {
  const segments = new Map<string, FinishedSpan[]>();
  for (const span of spansIn(ops)) {
    const key = `${span.run.runId} ${span.run.segment}`;
    const spans = segments.get(key);
    if (spans === undefined) segments.set(key, [span]);
    else spans.push(span);
  }
  return segments;
}

function spansIn(ops: readonly Op[]): FinishedSpan[] {
  const spans = [];
  for (const op of ops) if (op.op === "span") spans.push(op.span);
  return spans;
}

/** The session may still be learned after a child has left; identity and agent may not. */
function sameFacts(child: FinishedSpan, { run }: RunSpan): boolean {
  const { parent, agent, sessionId } = child.run;
  return parent === run.parent
    ? agent === run.agent && (sessionId === undefined || sessionId === run.sessionId)
    : JSON.stringify(parent) === JSON.stringify(run.parent) && agent === run.agent;
}

function isTime([seconds, nanos]: Time): boolean {
  return Number.isInteger(seconds) && Number.isInteger(nanos) && nanos >= 0 && nanos < 1e9;
}

function must(holds: boolean, fact: string, ...spans: readonly FinishedSpan[]): void {
  if (!holds) throw new Error(`${fact}${spans.map((span) => `\n  ${JSON.stringify(span)}`).join("")}`);
}
