import { secondsBetween } from "../event/time.ts";
import { OUTCOMES } from "../run/op.ts";
import { counted, countText, durationText, tokensText } from "./amount.ts";
import { printable } from "./cells.ts";
import { labelLines } from "./label-lines.ts";
import type { Label } from "./label-lines.ts";
import { glyphsOf } from "./look.ts";
import type { Look } from "./look.ts";
import { childNames, runNames } from "./row.ts";
import type { EventTotals, ModelTotals, Summary } from "./summary.ts";

/** Models, reasons and classes that are named one by one; the rest are summed up. */
const MAX_NAMED = 8;

/** The end of the output: what all runs come to, and what became of the events. */
export function summaryLines(
  summary: Summary,
  { open, setAside, events }: { open: number; setAside: number; events: EventTotals | undefined },
  look: Look,
): string[] {
  const runs = open + OUTCOMES.reduce((sum, outcome) => sum + summary.runs[outcome], 0);
  const eventLabels = events === undefined ? [] : [eventsLabel(events)];
  if (runs === 0) return ["no runs", ...labelLines(eventLabels, look)];
  const labels = [
    {
      label: "runs",
      facts: [
        countText(runs),
        ...outcomeFacts(summary),
        ...notZero(open, "not finished"),
        ...notZero(setAside, "printed before their end"),
      ],
    },
    modelsLabel(summary.models, look),
    slowestLabel(summary),
    ...eventLabels,
  ];
  return labelLines(labels, look);
}

function outcomeFacts({ runs, failures, resumed }: Summary): string[] {
  const outcomes = OUTCOMES.filter((outcome) => runs[outcome] > 0).map((outcome) => {
    const text = `${countText(runs[outcome])} ${outcome}`;
    return outcome === "failed" && failures.size > 0 ? `${text} (${shares([...failures])})` : text;
  });
  return [...outcomes, ...notZero(resumed, "resumed")];
}

function notZero(count: number, word: string): string[] {
  return count === 0 ? [] : [`${countText(count)} ${word}`];
}

function modelsLabel(models: readonly ModelTotals[], look: Look): Label {
  const { arrow } = glyphsOf(look);
  const byTokens = models.toSorted((a, b) => b.input + b.output - (a.input + a.output));
  const rows = byTokens.slice(0, MAX_NAMED).map((of) => {
    const cells = [
      printable(`${of.provider} ${of.model}`, 80),
      counted(of.calls, "call"),
      `${tokensText(of.input)}${arrow}${tokensText(of.output)} tok`,
    ];
    if (of.cacheRead > 0) cells.push(`${tokensText(of.cacheRead)} cached`);
    if (of.cacheWrite > 0) cells.push(`${tokensText(of.cacheWrite)} to cache`);
    return cells;
  });
  const rest = byTokens.length - rows.length;
  if (rest > 0) rows.push([counted(rest, "more model")]);
  return { label: "tokens", facts: { rows } };
}

function slowestLabel({ slowestRun, slowestCall, slowestTool }: Summary): Label {
  const rows = [slowestRun, slowestCall, slowestTool]
    .filter((span) => span !== undefined)
    .map((span) => [
      durationText(secondsBetween(span.start, span.end)),
      (span.kind === "run" ? runNames(span.run) : childNames(span)).name,
      printable(span.run.runId),
    ]);
  return { label: "slowest", facts: { rows } };
}

function eventsLabel({ received, used, dropped, rejected }: EventTotals): Label {
  const facts = [`${countText(received)} received`, `${countText(used)} used`];
  for (const [word, counts] of [
    ["dropped", dropped],
    ["rejected", rejected],
  ] as const) {
    const reasons = Object.entries(counts).filter(([, count]) => count > 0);
    const total = reasons.reduce((sum, [, count]) => sum + count, 0);
    if (total > 0) facts.push(`${countText(total)} ${word} (${shares(reasons)})`);
  }
  return { label: "events", facts };
}

/** `late 3, duplicate 1`, the largest first. */
function shares(counts: readonly (readonly [name: string, count: number])[]): string {
  const largest = counts.toSorted((a, b) => b[1] - a[1]);
  const named = largest.slice(0, MAX_NAMED).map(([name, count]) => `${printable(name)} ${countText(count)}`);
  const rest = largest.slice(MAX_NAMED).reduce((sum, [, count]) => sum + count, 0);
  return [...named, ...(rest > 0 ? [`others ${countText(rest)}`] : [])].join(", ");
}
