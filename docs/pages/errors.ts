import { ERROR_CODES } from "../../src/errors.ts";
import { DECODE_CODES } from "../../src/event/codes.ts";
import { SPAN_FAILURES } from "../../src/metric/words.ts";
import {
  DROP_REASONS,
  INCOMPLETE_REASONS,
  type DropReason,
  type IncompleteReason,
} from "../../src/run/op.ts";

const DROPPED: Readonly<Record<DropReason, string>> = {
  duplicate: "The event was there before: the same event id, or the same bytes.",
  late: "It belongs to a run, or to a span, that was handed out already.",
  limit: "Its iteration has more tools than are followed (1,000).",
  faulted: "A bug of ours; the run was closed as faulted, and the log has the stack.",
  unknown_type: "A variant that this version does not know. A newer version may.",
  closed: "A sink was given it after `close()`.",
};

const INCOMPLETE: Readonly<Record<IncompleteReason, string>> = {
  expired:
    "No event for `--run-idle-timeout`, or for `--tool-idle-timeout` while a tool was seen to execute.",
  evicted: "More than `--max-open-runs` were open, and this one had been silent longest.",
  drained: "The input ended, or the program was stopped, while the run was open.",
  faulted: "A bug of ours.",
};

/** `docs/errors.md`: every code and reason there is, made from the tables of the program. */
export function errorsPage(): string {
  return `# Errors, codes and reasons

Previous: [Identity](identity.md) · Next: [Metrics](metrics.md)

## Exit status

| Code | Status | Meaning | What to do |
| --- | --- | --- | --- |
${rows(Object.entries(ERROR_CODES).map(([code, { exit, meaning, remedy }]) => [`\`${code}\``, String(exit), meaning, remedy]))}

0 is all delivered, and 1 also that something could not be delivered. Rejected input never changes the exit status.

## Input that is no event

Rejected, counted in \`behest.bridge.events.rejected\` by code, and [kept in the dead-letter file](delivery.md#dead-letters) when there is one.

| Code | Meaning |
| --- | --- |
${rows(Object.entries(DECODE_CODES).map(([code, meaning]) => [`\`${code}\``, meaning]))}

## Events that change nothing

Counted in \`behest.bridge.events.dropped\` by reason.

| Reason | Meaning |
| --- | --- |
${rows(DROP_REASONS.map((reason) => [`\`${reason}\``, DROPPED[reason]]))}

## Runs that did not end

\`behest.run.outcome\` is \`incomplete\`, and \`behest.run.incomplete_reason\` says why.

| Reason | Meaning |
| --- | --- |
${rows(INCOMPLETE_REASONS.map((reason) => [`\`${reason}\``, INCOMPLETE[reason]]))}

## Spans that were given up

Counted in \`behest.bridge.spans.failed\` by reason. In the dead-letter file the code is \`BEHEST_EXPORT_\` and the reason in capitals.

| Reason | Meaning |
| --- | --- |
${rows(Object.entries(SPAN_FAILURES).map(([reason, meaning]) => [`\`${reason}\``, meaning]))}
`;
}

function rows(cells: readonly (readonly string[])[]): string {
  return cells.map((row) => `| ${row.join(" | ")} |`).join("\n");
}
