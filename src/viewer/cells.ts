/**
 * Text as a terminal shows it: what may be printed, how many cells it takes, where it can be cut.
 *
 * Everything that came from the input passes `printable` before it is measured or printed, so that no
 * name can move the cursor, change colours, reverse the reading direction or start a new line.
 */

const SEGMENTER = new Intl.Segmenter("en", { granularity: "grapheme" });

/** Controls (C0, C1), format characters (bidi, zero width, tags), lone surrogates, line separators. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Joiners are format characters too, but emoji and Indic and Persian words are made with them. */
const JOINERS = new Set(["\u200c", "\u200d"]);

const ASCII = /^[\x20-\x7e]*$/;
/**
 * One unit, one cell, nothing that combines: ASCII, Latin, Greek, Cyrillic, punctuation, arrows, box drawing
 * and our marks. Most text is, and segmenting costs fifty times as much.
 */
const NARROW =
  /^[\x20-\x7e\xa0-\xac\xae-\u02ff\u0370-\u0482\u048a-\u052f\u2010-\u2027\u2190-\u21ff\u2298\u2500-\u259f\u25b8\u2713\u2717]*$/;
const EMOJI = /\p{Emoji_Presentation}|\p{Emoji}\ufe0f/u;
const ZERO_WIDTH = /^[\p{Mn}\p{Me}\p{Cf}\u1160-\u11ff]$/u;

/**
 * East Asian Width W and F (UAX #11), first and last code point of each range. Emoji that are wide by
 * default are found by their property instead.
 */
const WIDE: readonly (readonly [first: number, last: number])[] = [
  [0x1100, 0x115f],
  [0x2329, 0x232a],
  [0x2e80, 0x303e],
  [0x3041, 0x3247],
  [0x3250, 0xa4cf],
  [0xa960, 0xa97c],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe10, 0xfe19],
  [0xfe30, 0xfe6b],
  [0xff01, 0xff60],
  [0xffe0, 0xffe6],
  [0x16fe0, 0x18dff],
  [0x1aff0, 0x1b2fb],
  [0x1f200, 0x1f265],
  [0x20000, 0x3fffd],
];

/**
 * `text` with everything that a terminal would obey written as an escape (`\n`, `\x1b`, `\u202e`), and
 * cut with `…` beyond `maxUnits` UTF-16 units of input.
 */
export function printable(text: string, maxUnits = 256): string {
  const kept = text.length > maxUnits ? `${cutUnits(text, maxUnits)}…` : text;
  if (ASCII.test(kept)) return kept;
  return kept.replace(UNPRINTABLE, (found) => (JOINERS.has(found) ? found : escape(found)));
}

/** How many terminal cells `text` takes; `text` must be printable. */
export function cellWidth(text: string): number {
  if (NARROW.test(text)) return text.length;
  let cells = 0;
  for (const { segment } of SEGMENTER.segment(text)) cells += graphemeWidth(segment);
  return cells;
}

/** `text` in at most `cells` cells, its end replaced by `ellipsis` when it is longer. */
export function truncate(text: string, cells: number, ellipsis: string): string {
  if (cellWidth(text) <= cells) return text;
  const room = cells - cellWidth(ellipsis);
  if (room < 0) return takeCells(text, cells);
  return takeCells(text, room) + ellipsis;
}

export function padEnd(text: string, cells: number): string {
  return text + " ".repeat(Math.max(0, cells - cellWidth(text)));
}

export function padStart(text: string, cells: number): string {
  return " ".repeat(Math.max(0, cells - cellWidth(text))) + text;
}

/** `text` as lines of at most `cells` cells (at least 2), broken at spaces, inside a word only when it must be. */
export function wrap(text: string, cells: number): string[] {
  return wrapParts(text.split(" "), " ", cells);
}

/** `parts` joined by `separator` as lines of at most `cells` cells; a separator never ends or begins a line. */
export function wrapParts(parts: readonly string[], separator: string, cells: number): string[] {
  const room = Math.max(2, cells);
  const lines: string[] = [];
  let line = "";
  let used = 0;
  for (const part of parts) {
    let rest = part;
    let width = cellWidth(rest);
    const joined = used + cellWidth(separator) + width;
    if (line !== "" && joined <= room) {
      line += separator + rest;
      used = joined;
      continue;
    }
    if (line !== "") lines.push(line);
    while (width > room) {
      // A cluster wider than a whole line is taken apart, so that there is always a next line.
      const head = takeCells(rest, room) || String.fromCodePoint(rest.codePointAt(0) ?? 0);
      lines.push(head);
      rest = rest.slice(head.length);
      width = cellWidth(rest);
    }
    line = rest;
    used = width;
  }
  if (line !== "") lines.push(line);
  return lines;
}

function takeCells(text: string, cells: number): string {
  if (NARROW.test(text)) return text.slice(0, Math.max(0, cells));
  let used = 0;
  let end = 0;
  for (const { segment, index } of SEGMENTER.segment(text)) {
    used += graphemeWidth(segment);
    if (used > cells) break;
    end = index + segment.length;
  }
  return text.slice(0, end);
}

function graphemeWidth(grapheme: string): number {
  if (EMOJI.test(grapheme)) return 2;
  let cells = 0;
  for (const character of grapheme) {
    if (ZERO_WIDTH.test(character)) continue;
    cells += isWide(character.codePointAt(0) ?? 0) ? 2 : 1;
  }
  return cells;
}

function isWide(codePoint: number): boolean {
  if (codePoint < 0x1100) return false;
  return WIDE.some(([first, last]) => codePoint >= first && codePoint <= last);
}

function escape(character: string): string {
  if (character === "\n") return "\\n";
  if (character === "\r") return "\\r";
  if (character === "\t") return "\\t";
  const code = character.codePointAt(0) ?? 0;
  const hex = code.toString(16);
  if (code <= 0xff) return `\\x${hex.padStart(2, "0")}`;
  return code <= 0xffff ? `\\u${hex.padStart(4, "0")}` : `\\u{${hex}}`;
}

/** At most `units` UTF-16 units of `text`, never half of a surrogate pair. */
function cutUnits(text: string, units: number): string {
  const last = text.charCodeAt(units - 1);
  const next = text.charCodeAt(units);
  const splits = last >= 0xd800 && last <= 0xdbff && next >= 0xdc00 && next <= 0xdfff;
  return text.slice(0, splits ? units - 1 : units);
}
