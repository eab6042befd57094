/*
 * Draws what a terminal would show as an SVG: text in colours, lines of trees and bars as shapes, so that it looks the
 * same with every font. It knows what `behest-otel view` writes, and refuses what it does not know.
 */

/** Pixels of one cell, and around all of them. */
const CELL = { width: 7.8, height: 19 };
const MARGIN = 22;
const FONT_SIZE = 13;
const BAR = 6;

const ESCAPE = "\x1b";
const SGR_OR_CHARACTER = new RegExp(`${ESCAPE}\\[(\\d*)m|.`, "gu");
/** Characters that are one cell wide in every terminal. */
const DRAWN = /^[ -~·→…✓✗⊘▸├└│─━╸╺╍]$/u;

/** SGR parameters, as `src/viewer/look.ts` uses them, and what they are drawn as. */
const TONES: Readonly<Record<string, string>> = {
  "1": "strong",
  "2": "quiet",
  "31": "bad",
  "32": "good",
  "33": "warning",
  "35": "tool",
  "36": "model",
};

/** On light and on dark ground; readable on both by WCAG AA (4.5 to 1). */
const COLOURS: Readonly<Record<string, readonly [light: string, dark: string]>> = {
  ground: ["#ffffff", "#0d1117"],
  frame: ["#d1d9e0", "#30363d"],
  plain: ["#1f2328", "#e6edf3"],
  strong: ["#1f2328", "#f0f6fc"],
  quiet: ["#59636e", "#9198a1"],
  good: ["#1a7f37", "#3fb950"],
  bad: ["#d1242f", "#ff7b72"],
  warning: ["#9a6700", "#d29922"],
  model: ["#0969da", "#58a6ff"],
  tool: ["#8250df", "#bc8cff"],
};

interface Cell {
  readonly character: string;
  readonly tone: string;
}

export interface PictureOptions {
  readonly columns: number;
  /** For those who do not see it. */
  readonly title: string;
  readonly description: string;
}

/** An SVG of text with SGR escapes, one line below the other. */
export function terminalPicture(text: string, { columns, title, description }: PictureOptions): string {
  const lines = text.replace(/\n$/, "").split("\n").map(readLine);
  const long = lines.find((cells) => cells.length > columns);
  if (long !== undefined) throw new Error(`a line of ${long.length} cells does not fit into ${columns}`);
  const width = Math.round(columns * CELL.width + 2 * MARGIN);
  const height = lines.length * CELL.height + 2 * MARGIN;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="title description">`,
    `<title id="title">${escaped(title)}</title>`,
    `<desc id="description">${escaped(description)}</desc>`,
    `<style>${style()}</style>`,
    `<rect class="frame" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>`,
    ...lines.flatMap((cells, line) => drawLine(cells, MARGIN + line * CELL.height)),
    "</svg>",
    "",
  ].join("\n");
}

/** Takes a line apart into cells; throws on a character or an escape that is not drawn here. */
function readLine(line: string): Cell[] {
  const cells: Cell[] = [];
  let tone = "plain";
  for (const [part, sgr] of line.matchAll(SGR_OR_CHARACTER)) {
    if (sgr === undefined) {
      if (!DRAWN.test(part)) throw new Error(`cannot draw ${JSON.stringify(part)}`);
      cells.push({ character: part, tone });
      continue;
    }
    const next = sgr === "0" || sgr === "" ? "plain" : TONES[sgr];
    if (next === undefined) throw new Error(`cannot draw the colour ${sgr}`);
    tone = next;
  }
  return cells;
}

function style(): string {
  const rules = (ground: 0 | 1) =>
    Object.entries(COLOURS)
      .map(([name, colours]) => {
        const colour = colours[ground];
        if (name === "ground") return `.frame{fill:${colour}}`;
        if (name === "frame") return `.frame{stroke:${colour}}`;
        return `.${name}{fill:${colour}}.${name}.line{stroke:${colour}}`;
      })
      .join("");
  return [
    `text{font:${FONT_SIZE}px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono","Liberation Mono",monospace;white-space:pre}`,
    ".strong{font-weight:600}",
    ".line{fill:none!important;stroke-width:1.2;stroke-linecap:round}",
    `.dashed{stroke-width:${BAR};stroke-linecap:butt;stroke-dasharray:5.2 2.6;opacity:.75}`,
    rules(0),
    `@media(prefers-color-scheme:dark){${rules(1)}}`,
  ].join("");
}

/** Text, shapes of trees, and bars of one line whose upper edge is at `top`. */
function drawLine(cells: readonly Cell[], top: number): string[] {
  const drawn: string[] = [];
  for (const { kind, from, to } of pieces(cells)) {
    const piece = cells.slice(from, to);
    const { tone } = piece[0] ?? { tone: "plain" };
    const text = piece.map(({ character }) => character).join("");
    if (kind === "space") continue;
    if (kind === "tree") drawn.push(...drawTree(piece, from, top));
    else if (kind === "bar") drawn.push(drawBar(text, { tone, from, top }));
    else drawn.push(drawText(text, { tone, from, top }));
  }
  return drawn;
}

type Kind = "space" | "tree" | "bar" | "text";

interface Piece {
  readonly kind: Kind;
  readonly from: number;
  /** Behind its last cell. */
  readonly to: number;
}

/** Neighbouring cells that are drawn together: a bar, a branch, or words of one tone with single spaces between them. */
function pieces(cells: readonly Cell[]): Piece[] {
  const found: Piece[] = [];
  for (let at = 0; at < cells.length;) {
    const kind = kindOf(cells[at]);
    let to = at + 1;
    while (to < cells.length && continues(cells, { kind, at, to })) to += 1;
    found.push({ kind, from: at, to });
    at = to;
  }
  return found;
}

function kindOf(cell: Cell | undefined): Kind {
  const character = cell?.character ?? " ";
  if (character === " ") return "space";
  if ("├└│─".includes(character)) return "tree";
  return "━╸╺╍".includes(character) ? "bar" : "text";
}

function continues(
  cells: readonly Cell[],
  { kind, at, to }: { kind: Kind; at: number; to: number },
): boolean {
  const [first, next] = [cells[at], cells[to]];
  if (kind === "bar" && dashed(first) !== dashed(next)) return false;
  const sameTone = first?.tone === next?.tone || kind === "tree";
  if (kindOf(next) === kind) return sameTone;
  // A single space inside words of one tone; two of them part columns.
  const after = cells[to + 1];
  return (
    kind === "text" && kindOf(next) === "space" && kindOf(after) === "text" && first?.tone === after?.tone
  );
}

function dashed(cell: Cell | undefined): boolean {
  return cell?.character === "╍";
}

interface Place {
  readonly tone: string;
  readonly from: number;
  readonly top: number;
}

/** `textLength` keeps the cells of every font as wide as ours. */
function drawText(text: string, { tone, from, top }: Place): string {
  const length = round(text.length * CELL.width);
  const baseline = top + CELL.height / 2 + FONT_SIZE * 0.34;
  return `<text class="${tone}" x="${x(from)}" y="${round(baseline)}" textLength="${length}" lengthAdjust="spacingAndGlyphs">${escaped(text)}</text>`;
}

/** Half cells begin or end in the middle; a dash stands for what was not seen itself. */
function drawBar(text: string, { tone, from, top }: Place): string {
  const middle = top + CELL.height / 2;
  const begin = x(from) + (text.startsWith("╺") ? CELL.width / 2 : 0);
  const end = x(from + text.length) - (text.endsWith("╸") ? CELL.width / 2 : 0);
  if (text.startsWith("╍")) {
    return `<path class="${tone} line dashed" d="M${round(begin)} ${middle}H${round(end)}"/>`;
  }
  const width = Math.max(BAR / 2, end - begin - 1);
  return `<rect class="${tone}" x="${round(begin)}" y="${round(middle - BAR / 2)}" width="${round(width)}" height="${BAR}" rx="${BAR / 2}"/>`;
}

function drawTree(piece: readonly Cell[], from: number, top: number): string[] {
  const middle = top + CELL.height / 2;
  const bottom = top + CELL.height;
  const paths = piece.map(({ character }, index) => {
    const [left, centre, right] = [from + index, from + index + 0.5, from + index + 1].map(x);
    switch (character) {
      case "│":
        return `M${centre} ${top}V${bottom}`;
      case "├":
        return `M${centre} ${top}V${bottom}M${centre} ${middle}H${right}`;
      case "└":
        return `M${centre} ${top}V${middle - 4}Q${centre} ${middle} ${round((centre ?? 0) + 4)} ${middle}`;
      default:
        return `M${left} ${middle}H${right}`;
    }
  });
  return [`<path class="quiet line" d="${paths.join("")}"/>`];
}

function x(column: number): number {
  return round(MARGIN + column * CELL.width);
}

function round(pixels: number): number {
  return Math.round(pixels * 100) / 100;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
