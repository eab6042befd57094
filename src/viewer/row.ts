import type { Failure } from "../event/event.ts";
import { isSame, secondsBetween } from "../event/time.ts";
import type { Time } from "../event/time.ts";
import type { IncompleteReason, ModelSpan, Notice, RunFacts, RunSpan, Usage } from "../run/op.ts";
import { counted, durationText, tokensText } from "./amount.ts";
import type { BarLine, Stretch } from "./bar.ts";
import { padStart, printable } from "./cells.ts";
import type { Glyphs, Mark, Tone } from "./look.ts";
import type { ChildSpan, OpenedChild, OpenTree } from "./store.ts";

/** One span or notice of a tree before it is laid out in columns; all its text is printable. */
export interface Row {
  readonly mark: Mark;
  readonly name: string;
  /** Where the name does not fit: `tool search` for `execute_tool search`. */
  readonly shortName: string;
  readonly tone: Tone;
  readonly stretch: Stretch;
  readonly line: BarLine;
  /** Empty when it has none. */
  readonly duration: string;
  /** Short, weightiest first: beside the bar as far as they fit, the rest below. */
  readonly facts: readonly Fact[];
  /** A text of any length, wrapped below the row. */
  readonly note: Fact | undefined;
}

type Names = Pick<Row, "name" | "shortName">;

export interface Fact {
  readonly text: string;
  readonly tone: Tone;
}

/** What the rows of one tree share. */
export interface RowContext {
  readonly glyphs: Glyphs;
  /** Cells of the longest input in `tokensFact`, so that the arrows stand below each other. */
  readonly inputCells: number;
  /** Why the run failed: told once, not again on the child that it struck. */
  readonly runFailure: Failure | undefined;
}

/** Longest part of an error message or description that is printed, in UTF-16 units. */
const MAX_NOTE_UNITS = 2048;

const INCOMPLETE_WORDS: Readonly<Record<IncompleteReason, string>> = {
  expired: "went silent",
  evicted: "too many runs open",
  drained: "input ended",
  faulted: "bug in behest-otel",
};

export function runRow(span: RunSpan, context: RowContext): Row {
  const { ending, failure, noticesDropped } = span;
  const note = failureNote(failure);
  return {
    mark: ending.outcome === "completed" ? "ok" : ending.outcome === "failed" ? "error" : ending.outcome,
    ...runNames(span.run),
    tone: "strong",
    stretch: span,
    line: ending.outcome === "incomplete" ? "dashed" : "solid",
    duration: durationText(secondsBetween(span.start, span.end)),
    facts: present([
      ...usageFacts(span.usage, context),
      fact(failure !== undefined && note === undefined && printable(failure.errorType), "bad"),
      fact(span.resumedFrom !== undefined && "resumed", "quiet"),
      fact(span.startMissing && "start not seen", "warning"),
      fact(span.corrected && "clock corrected", "warning"),
      fact(noticesDropped > 0 && counted(noticesDropped, "more notice"), "quiet"),
    ]),
    note,
  };
}

export function childRow(span: ChildSpan, context: RowContext): Row {
  const { failure } = span;
  const told = failure !== undefined && isSameFailure(failure, context.runFailure);
  const note = told ? undefined : failureNote(failure);
  const inferred = span.kind === "tool" && span.inferred;
  return {
    mark: childMark(span),
    ...childNames(span),
    tone: span.kind,
    stretch: span,
    line: span.incomplete || inferred ? "dashed" : "solid",
    duration: durationText(secondsBetween(span.start, span.end)),
    facts: present([
      ...(span.kind === "model" ? modelFacts(span, context) : []),
      fact(inferred && "inferred", "quiet"),
      fact(failure !== undefined && note === undefined && printable(failure.errorType), "bad"),
      fact(span.incomplete && "end not seen", "warning"),
      fact(span.corrected && "clock corrected", "warning"),
    ]),
    note,
  };
}

export function openRunRow(tree: OpenTree): Row {
  return {
    ...openRow({ start: tree.start, end: tree.latest }),
    ...runNames(tree.run),
    tone: "strong",
    facts: present([fact(tree.resumedFrom !== undefined && "resumed", "quiet")]),
  };
}

export function openChildRow(opened: OpenedChild, latest: Time): Row {
  return { ...openRow({ start: opened.start, end: latest }), ...childNames(opened), tone: opened.kind };
}

export function noticeRow(notice: Notice): Row {
  const row = {
    mark: "notice",
    tone: "warning",
    stretch: { start: notice.time, end: notice.time },
    line: "point",
    duration: "",
  } as const;
  switch (notice.name) {
    case "behest.doom_loop.detected": {
      const note = fact(
        notice.description !== undefined && printable(notice.description, MAX_NOTE_UNITS),
        "warning",
      );
      return { ...row, name: "doom loop detected", shortName: "doom loop", facts: [], note };
    }
    case "behest.compaction.circuit_opened": {
      const failures = `${counted(notice.consecutiveFailures, "failure")} in a row`;
      const facts = present([fact(failures, "warning")]);
      return {
        ...row,
        name: "compaction circuit opened",
        shortName: "circuit opened",
        facts,
        note: undefined,
      };
    }
  }
}

/** `completed`, `incomplete: input ended`; a finish reason that is not the usual one with it. */
export function outcomeText({ ending, finishReason }: RunSpan): string {
  const text =
    ending.outcome === "incomplete" ? `incomplete: ${INCOMPLETE_WORDS[ending.reason]}` : ending.outcome;
  const finish = unusualFinish(finishReason, ["stop"]);
  return finish === false ? text : `${text}, ${finish}`;
}

export function runNames(run: RunFacts): Names {
  if (run.agent === undefined) return { name: "invoke_agent", shortName: "agent" };
  const agent = printable(run.agent);
  return { name: `invoke_agent ${agent}`, shortName: `agent ${agent}` };
}

/** The span's name; a second call of the same iteration or call id has `#2`. */
export function childNames(span: ChildSpan | OpenedChild): Names {
  const nth = span.occurrence === 0 ? "" : ` #${span.occurrence + 1}`;
  if (span.kind === "model") {
    const name = `chat ${printable(span.model)}${nth}`;
    return { name, shortName: name };
  }
  const tool = `${printable(span.toolName)}${nth}`;
  return { name: `execute_tool ${tool}`, shortName: `tool ${tool}` };
}

function modelFacts(span: ModelSpan, context: RowContext): (Fact | undefined)[] {
  const { timeToFirstChunk } = span;
  const firstChunk = timeToFirstChunk !== undefined && `first chunk ${durationText(timeToFirstChunk)}`;
  // `error` stands for "not seen to finish": the failure or the missing end says more.
  const told = span.finishReason === "error" && (span.failure !== undefined || span.incomplete);
  const finish = !told && unusualFinish(span.finishReason, ["stop", "tool_call"]);
  return [
    ...usageFacts(span.usage, context),
    fact(finish, "warning"),
    fact(firstChunk || (span.stream && "streamed"), "quiet"),
  ];
}

/** `1.2k→356 tok`, and how much of the input came from a cache or went into one. */
function usageFacts(usage: Usage | undefined, context: RowContext): (Fact | undefined)[] {
  if (usage === undefined) return [];
  const { cacheRead = 0, cacheWrite = 0 } = usage;
  const input = padStart(tokensText(usage.input), context.inputCells);
  return [
    fact(`${input}${context.glyphs.arrow}${tokensText(usage.output)} tok`, "plain"),
    fact(cacheRead > 0 && `${tokensText(cacheRead)} cached`, "quiet"),
    fact(cacheWrite > 0 && `${tokensText(cacheWrite)} to cache`, "quiet"),
  ];
}

/** Undefined when there is no more to say than the class of the error. */
function failureNote(failure: Failure | undefined): Fact | undefined {
  if (failure?.message === undefined) return undefined;
  const { errorType, message } = failure;
  return { text: `${printable(errorType)}: ${printable(message, MAX_NOTE_UNITS)}`, tone: "bad" };
}

function childMark(span: ChildSpan): Mark {
  if (span.failure !== undefined) return span.failure.errorType === "cancelled" ? "cancelled" : "error";
  if (span.incomplete) return "incomplete";
  return span.kind === "tool" && span.inferred ? "inferred" : "ok";
}

function openRow(stretch: Stretch): Omit<Row, keyof Names | "tone"> {
  const duration = isSame(stretch.start, stretch.end)
    ? ""
    : durationText(secondsBetween(stretch.start, stretch.end));
  return { mark: "running", stretch, line: "open", duration, facts: [], note: undefined };
}

function isSameFailure(a: Failure, b: Failure | undefined): boolean {
  return a.errorType === b?.errorType && a.message === b.message;
}

function unusualFinish(reason: string | undefined, usual: readonly string[]): string | false {
  return reason !== undefined && !usual.includes(reason) && `finish ${printable(reason)}`;
}

function fact(text: string | false, tone: Tone): Fact | undefined {
  return text === false ? undefined : { text, tone };
}

function present(facts: readonly (Fact | undefined)[]): Fact[] {
  return facts.filter((one) => one !== undefined);
}
