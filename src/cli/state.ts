import { basename } from "node:path";
import type { Config } from "../config/options.ts";
import { KEYS } from "../kept-state.ts";
import { readUpTo } from "../source/kept-file/position.ts";
import { inspectState, resetState, type StateSummary } from "../state/inspect.ts";

/** What `state inspect` and `state reset` print. Rejects with `BEHEST_STATE_OPEN`. */
export async function state(
  { stateDir = "", json }: Config<"state">,
  [action]: readonly string[],
  now: Date,
): Promise<string> {
  if (action === "reset") {
    const moved = await resetState(stateDir, now);
    if (json) return linesOf(moved.map((each) => JSON.stringify(each)));
    if (moved.length === 0) return `${stateDir}: there is no state to set aside\n`;
    return linesOf(moved.map(({ from, to }) => `${from}: its state was moved to ${to}`));
  }
  const summaries = await inspectState(stateDir, KEYS.position);
  if (json) return linesOf(summaries.map(jsonOf));
  return summaries.length === 0 ? `${stateDir}: there is no state\n` : table(summaries);
}

function jsonOf({ committedMs, record, ...summary }: StateSummary): string {
  const committed = committedMs ? new Date(committedMs).toISOString() : null;
  const { name = null, version = null, journal = null, problem = null } = summary;
  const read = bytesRead(record) ?? null;
  return JSON.stringify({ ...summary, name, version, journal, readUpTo: read, committed, problem });
}

/** Of the newest file; undefined for what is no file. */
function bytesRead(record: string | undefined): number | undefined {
  return record === undefined ? undefined : readUpTo(JSON.parse(record) as string);
}

const HEADINGS = [
  "SOURCE",
  "RECORDS",
  "COMMITTED",
  "EVENTS IN JOURNAL",
  "READ UP TO",
  "ON DISK",
  "STARTS",
] as const;

/** One row for each source, and under it what is wrong with it. */
function table(summaries: readonly StateSummary[]): string {
  const rows = [HEADINGS, ...summaries.map(cellsOf)];
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  return linesOf(
    lines.flatMap((line, index) => {
      const { problem } = summaries[index - 1] ?? {};
      return problem === undefined ? [line] : [line, `  ${problem}`];
    }),
  );
}

function cellsOf(summary: StateSummary): string[] {
  const { name, folder, records, committedMs, journal, record, bytes, epoch } = summary;
  const read = bytesRead(record);
  return [
    name ?? basename(folder),
    String(records),
    // A state that was reset has been committed at no time.
    committedMs ? new Date(committedMs).toISOString() : "never",
    journal === undefined ? "-" : `${journal.appended}, ${sizeText(journal.bytes)} kept`,
    read === undefined ? "-" : `byte ${read}`,
    sizeText(bytes),
    String(epoch),
  ];
}

function sizeText(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  let value = bytes;
  let unit = "B";
  for (const next of ["KiB", "MiB", "GiB", "TiB"]) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return `${value.toFixed(1)} ${unit}`;
}

function linesOf(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join("");
}
