import { compareTimes, secondsBetween } from "../event/time.ts";
import type { RunFacts } from "../run/op.ts";
import { counted, countText, durationText, momentText, tokensText } from "./amount.ts";
import { printable } from "./cells.ts";
import { labelLines } from "./label-lines.ts";
import type { Label } from "./label-lines.ts";
import { gridLines } from "./grid.ts";
import type { GridRow } from "./grid.ts";
import { glyphsOf } from "./look.ts";
import type { Look } from "./look.ts";
import { childRow, noticeRow, openChildRow, openRunRow, outcomeText, runRow } from "./row.ts";
import type { Row, RowContext } from "./row.ts";
import type { FinishedTree, LateChild, LeftOut, OpenTree, RunTree, Shown } from "./store.ts";

export interface TreeOptions extends Look {
  /** Lines of the tree below the run, notices included, before the middle is summed up. Default 200. */
  readonly maxRows?: number;
}

const DEFAULT_MAX_ROWS = 200;

/** Rows at the end of a long run that are shown all the same: that is where it went wrong. */
const LAST_ROWS = 20;

/**
 * What there is to show of a run, as lines of at most `width` cells without line ends. Pure, and the
 * same text for the same input wherever it runs: times are UTC.
 */
export function renderTree(shown: Shown, options: TreeOptions): string[] {
  switch (shown.state) {
    case "finished":
      return [...labelLines(finishedLabels(shown), options), "", ...treeLines(shown, options)];
    case "open":
      return [...labelLines(openLabels(shown), options), "", ...treeLines(shown, options)];
    case "late":
      return lateLines(shown, options);
  }
}

function finishedLabels({ run, span }: FinishedTree): Label[] {
  const { modelCalls, toolCalls, toolFailures, events, eventsMissing } = span;
  const model = [span.provider, span.model]
    .filter((name) => name !== undefined)
    .map((name) => printable(name));
  const outcome = [
    outcomeText(span),
    counted(modelCalls, "model call"),
    ...(toolCalls === 0 ? [] : [counted(toolCalls, "tool call") + butText(toolFailures, "failed")]),
    counted(events, "event") + butText(eventsMissing ?? 0, "missing"),
  ];
  return [
    ...runLabels(run),
    { label: "started", facts: [momentText(span.start), ...(model.length === 0 ? [] : [model.join(" ")])] },
    { label: "outcome", facts: outcome },
  ];
}

function openLabels({ run, start }: OpenTree): Label[] {
  return [
    ...runLabels(run),
    { label: "started", facts: [momentText(start)] },
    { label: "outcome", facts: ["not finished yet"] },
  ];
}

function butText(count: number, word: string): string {
  return count === 0 ? "" : `, ${countText(count)} ${word}`;
}

/** A run under a span of another process has that one's trace id, so it is told. */
function runLabels(run: RunFacts): Label[] {
  const labels: Label[] = [{ label: "run", facts: [printable(run.runId)] }];
  if (run.parent !== undefined) labels.push({ label: "trace", facts: [printable(run.parent.traceId)] });
  if (run.sessionId !== undefined) labels.push({ label: "session", facts: [printable(run.sessionId)] });
  return labels;
}

function treeLines(tree: RunTree, options: TreeOptions): string[] {
  const context = rowContext(tree, options);
  const root = tree.state === "finished" ? runRow(tree.span, context) : openRunRow(tree);
  const branches = shorten(rowsBelow(tree, context), {
    leftOut: tree.leftOut,
    maxRows: options.maxRows ?? DEFAULT_MAX_ROWS,
  });
  const { branch, lastBranch, trunk, noTrunk } = context.glyphs;
  const rows: GridRow[] = [{ row: root, lead: "", under: branches.length > 0 ? trunk.slice(0, 1) : "" }];
  branches.forEach((one, index) => {
    const last = index === branches.length - 1;
    const lead = last ? lastBranch : branch;
    rows.push(
      "row" in one ? { row: one.row, lead, under: last ? noTrunk : trunk } : { text: one.text, lead },
    );
  });
  return gridLines(rows, root.stretch, options);
}

function lateLines({ run, span }: LateChild, options: TreeOptions): string[] {
  const glyphs = glyphsOf(options);
  const context = { glyphs, inputCells: 0, runFailure: undefined };
  const rows: GridRow[] = [{ row: childRow(span, context), lead: glyphs.lastBranch, under: glyphs.noTrunk }];
  const labels = [...runLabels(run), { label: "late", facts: ["ended after its run was shown"] }];
  return [...labelLines(labels, options), "", ...gridLines(rows, span, options)];
}

type Branch = { readonly row: Row } | { readonly text: string };

/** Spans and notices in the order of time; of one moment, spans first and in the order they began. */
function rowsBelow(tree: RunTree, context: RowContext): Row[] {
  const finished = tree.children.map((span) => childRow(span, context));
  const open =
    tree.state === "open" ? tree.openChildren.map((opened) => openChildRow(opened, tree.latest)) : [];
  const notices = tree.state === "open" ? tree.notices : tree.span.notices;
  const rows = [...finished, ...open, ...notices.map(noticeRow)];
  return rows.toSorted((a, b) => compareTimes(a.stretch.start, b.stretch.start));
}

/** Keeps the first and the last rows of a long run and sums up what is between them. */
function shorten(
  rows: readonly Row[],
  { leftOut, maxRows }: { leftOut: LeftOut; maxRows: number },
): Branch[] {
  const missing = leftOut.modelCalls + leftOut.tools > 0;
  // What the store left out came last: then there is no true end to show.
  const tail = rows.length <= maxRows || missing ? 0 : Math.min(LAST_ROWS, Math.floor(maxRows / 3));
  const head = Math.min(rows.length, maxRows - tail);
  const middle = rows.slice(head, rows.length - tail);
  const between: Branch[] = middle.length > 0 || missing ? [{ text: moreText(middle, leftOut) }] : [];
  return [...rows.slice(0, head).map(toBranch), ...between, ...rows.slice(rows.length - tail).map(toBranch)];
}

function toBranch(row: Row): Branch {
  return { row };
}

/** `612 more model calls, 338 more tools (12.3s in all, 3 failed)`. */
function moreText(rows: readonly Row[], leftOut: LeftOut): string {
  let { modelCalls, tools, failed, seconds } = leftOut;
  let notices = 0;
  for (const { mark, tone, stretch } of rows) {
    if (mark === "notice") {
      notices += 1;
      continue;
    }
    if (tone === "model") modelCalls += 1;
    else tools += 1;
    if (mark === "error" || mark === "cancelled") failed += 1;
    seconds += secondsBetween(stretch.start, stretch.end);
  }
  const kinds = [
    ...(modelCalls > 0 ? [counted(modelCalls, "more model call")] : []),
    ...(tools > 0 ? [counted(tools, "more tool")] : []),
    ...(notices > 0 ? [counted(notices, "more notice")] : []),
  ];
  const sums = [`${durationText(seconds)} in all`, ...(failed > 0 ? [`${countText(failed)} failed`] : [])];
  return modelCalls + tools > 0 ? `${kinds.join(", ")} (${sums.join(", ")})` : kinds.join(", ");
}

function rowContext(tree: RunTree, look: Look): RowContext {
  const spans = tree.state === "finished" ? [tree.span, ...tree.children] : tree.children;
  let inputCells = 0;
  for (const span of spans) {
    if (span.kind === "tool" || span.usage === undefined) continue;
    inputCells = Math.max(inputCells, tokensText(span.usage.input).length);
  }
  const runFailure = tree.state === "finished" ? tree.span.failure : undefined;
  return { glyphs: glyphsOf(look), inputCells, runFailure };
}
