import { barText } from "./bar.ts";
import type { Stretch } from "./bar.ts";
import { cellWidth, truncate, wrap, wrapParts } from "./cells.ts";
import { glyphsOf, MARK_TONES, paint } from "./look.ts";
import type { Look, Tone } from "./look.ts";
import type { Fact, Row } from "./row.ts";

/** A row with its place in the tree, or a line of text in its stead. */
export type GridRow =
  | {
      readonly row: Row;
      /** Tree lines in front of the row, and in front of what stands below it: equally wide. */
      readonly lead: string;
      readonly under: string;
    }
  | { readonly text: string; readonly lead: string };

interface Columns {
  readonly width: number;
  /** For tree lines, mark and name. */
  readonly label: number;
  /** Short names everywhere, because some name did not fit. */
  readonly short: boolean;
  readonly duration: number;
  /** 0: there is no room for bars. */
  readonly bar: number;
  /** Room for facts beside the bar; 0 when all of them go below. */
  readonly facts: number;
}

/** Between two columns. */
const GAP = "  ";
/** The mark and a space. */
const MARK = 2;
const MIN_BAR = 8;
/** Below this width facts stand under their row, so that bars keep some length. */
const MIN_WIDTH_FOR_FACTS = 60;

/** Rows as lines of at most `look.width` cells: name, duration, bar on the common `scale`, facts. */
export function gridLines(rows: readonly GridRow[], scale: Stretch, look: Look): string[] {
  const columns = fitColumns(rows, Math.max(20, look.width));
  return rows.flatMap((gridRow) => {
    if ("text" in gridRow) return textLines(gridRow, columns, look);
    return rowLines(gridRow, { columns, scale, look });
  });
}

function textLines({ text, lead }: { text: string; lead: string }, columns: Columns, look: Look): string[] {
  const room = columns.width - cellWidth(lead);
  return wrap(text, room).map((line) => paint(lead, "quiet", look) + paint(line, "quiet", look));
}

/** What the rows of a tree would take if there were room. */
interface Wishes {
  readonly name: number;
  readonly shortName: number;
  readonly duration: number;
  readonly firstFact: number;
  /** All facts of a row side by side, for every row. */
  readonly facts: readonly number[];
}

/** Full names, unless some do not fit, or short ones make room for all facts beside the bars. */
function fitColumns(gridRows: readonly GridRow[], width: number): Columns {
  const wishes = wishesOf(gridRows);
  const most = Math.floor(width * (width < MIN_WIDTH_FOR_FACTS ? 0.5 : 0.42));
  const short = divide(wishes, { width, label: Math.min(wishes.shortName, most), short: true });
  if (wishes.name > most) return short;
  const full = divide(wishes, { width, label: wishes.name, short: false });
  const allFacts = Math.max(...wishes.facts);
  return full.facts < allFacts && short.facts >= allFacts ? short : full;
}

function wishesOf(gridRows: readonly GridRow[]): Wishes {
  const wishes = { name: 0, shortName: 0, duration: 0, firstFact: 0, facts: [0] };
  for (const gridRow of gridRows) {
    if ("text" in gridRow) continue;
    const { row, lead } = gridRow;
    const before = cellWidth(lead) + MARK;
    wishes.name = Math.max(wishes.name, before + cellWidth(row.name));
    wishes.shortName = Math.max(wishes.shortName, before + cellWidth(row.shortName));
    wishes.duration = Math.max(wishes.duration, row.duration.length);
    wishes.firstFact = Math.max(wishes.firstFact, cellWidth(row.facts[0]?.text ?? ""));
    wishes.facts.push(cellWidth(row.facts.map((fact) => fact.text).join(" · ")));
  }
  return wishes;
}

/** What labels and durations leave of a line, divided between bars and facts. */
function divide(
  { duration, firstFact, facts }: Wishes,
  { width, label, short }: { width: number; label: number; short: boolean },
): Columns {
  const names = { width, label, short, duration };
  const rest = width - label - GAP.length - duration - GAP.length;
  if (rest < MIN_BAR) return { ...names, bar: 0, facts: 0 };
  if (width < MIN_WIDTH_FOR_FACTS) return { ...names, bar: rest, facts: 0 };
  // Rows with more facts than there can be room for take none from the bars: they are broken anyway.
  const most = rest - GAP.length - Math.max(MIN_BAR + 2, Math.floor(rest * 0.22));
  const wanted = Math.max(firstFact, ...facts.filter((cells) => cells <= most));
  const bar = Math.min(rest - GAP.length - wanted, Math.floor(width * 0.45));
  if (bar < MIN_BAR) return { ...names, bar: rest, facts: 0 };
  return { ...names, bar, facts: rest - GAP.length - bar };
}

function rowLines(
  gridRow: Extract<GridRow, { row: Row }>,
  options: { columns: Columns; scale: Stretch; look: Look },
): string[] {
  const { row, lead, under } = gridRow;
  const { columns, look } = options;
  const { dot } = glyphsOf(look);
  const { beside, below } = splitFacts(row.facts, columns.facts, dot);
  const indent = paint(under, "quiet", look) + "  ";
  const room = columns.width - cellWidth(under) - 2;
  const factLines = wrapParts(
    below.map((fact) => fact.text.trimStart()),
    dot,
    room,
  );
  const { note } = row;
  const noteLines = note === undefined ? [] : wrap(note.text, room);
  return [
    joinPieces([...rowPieces({ row, lead }, options), ...factPieces(beside, columns, dot)], look),
    ...factLines.map((text) => indent + paint(text, "quiet", look)),
    ...noteLines.map((text) => indent + paint(text, note?.tone ?? "plain", look)),
  ];
}

interface Piece extends Fact {
  /** The cell it stands in; it follows at once when that is taken already. */
  readonly at: number;
}

function rowPieces(
  { row, lead }: { row: Row; lead: string },
  { columns, scale, look }: { columns: Columns; scale: Stretch; look: Look },
): Piece[] {
  const glyphs = glyphsOf(look);
  const name = truncate(
    columns.short ? row.shortName : row.name,
    columns.label - cellWidth(lead) - MARK,
    glyphs.ellipsis,
  );
  const durationEnd = columns.label + GAP.length + columns.duration;
  const pieces: Piece[] = [
    { text: lead, tone: "quiet", at: 0 },
    { text: glyphs.marks[row.mark], tone: MARK_TONES[row.mark], at: 0 },
    { text: name, tone: row.tone === "strong" ? "strong" : "plain", at: cellWidth(lead) + MARK },
    { text: row.duration, tone: "plain", at: durationEnd - row.duration.length },
  ];
  if (columns.bar === 0) return pieces;
  const text = barText(row.stretch, { scale, cells: columns.bar, line: row.line, glyphs: glyphs.bar });
  return [...pieces, { text, tone: barTone(row), at: durationEnd + GAP.length }];
}

function factPieces(facts: readonly Fact[], columns: Columns, dot: string): Piece[] {
  const start = columns.width - columns.facts;
  return facts.flatMap((fact, index) =>
    index === 0
      ? [{ ...fact, at: start }]
      : [
          { text: dot, tone: "quiet", at: 0 },
          { ...fact, at: 0 },
        ],
  );
}

function joinPieces(pieces: readonly Piece[], look: Look): string {
  let line = "";
  let used = 0;
  for (const { text, tone, at } of pieces) {
    if (text === "") continue;
    const from = Math.max(used, at);
    line += " ".repeat(from - used) + paint(text, tone, look);
    used = from + cellWidth(text);
  }
  return line;
}

/** As many facts as `room` cells take, in their order; the rest go below. */
function splitFacts(facts: readonly Fact[], room: number, dot: string): { beside: Fact[]; below: Fact[] } {
  let used = 0;
  const beside: Fact[] = [];
  for (const fact of facts) {
    used += (beside.length === 0 ? 0 : dot.length) + cellWidth(fact.text);
    if (used > room) break;
    beside.push(fact);
  }
  return { beside, below: facts.slice(beside.length) };
}

function barTone(row: Row): Tone {
  if (row.mark === "error") return "bad";
  return row.tone === "strong" ? "plain" : row.tone;
}
