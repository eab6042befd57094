import { cellWidth, padEnd, padStart, wrapParts } from "./cells.ts";
import { glyphsOf, paint } from "./look.ts";
import type { Look } from "./look.ts";

/** A word in the left column and what there is to say about it: printable text. */
export interface Label {
  readonly label: string;
  /** One line of facts, or a table: cells that stand below each other from row to row. */
  readonly facts: readonly string[] | { readonly rows: readonly (readonly string[])[] };
}

/** A run id, which nobody wants to copy from two lines. */
const ID_CELLS = 36;

/**
 * `label  facts` in lines of at most `look.width` cells, broken between facts where a line is full. Where an id would
 * not fit beside a label, the label stands above. A label with nothing to say is left out.
 */
export function labelLines(labels: readonly Label[], look: Look): string[] {
  const width = Math.max(20, look.width);
  const told = labels.filter(({ facts }) => ("rows" in facts ? facts.rows : facts).length > 0);
  const widest = Math.max(0, ...told.map(({ label }) => label.length)) + 2;
  const above = width < widest + ID_CELLS;
  const column = above ? 2 : widest;
  const room = width - column;
  return told.flatMap(({ label, facts }) => {
    const lines =
      "rows" in facts
        ? aligned(facts.rows).flatMap((cells) => wrapParts(cells, "  ", room))
        : wrapParts(facts, glyphsOf(look).dot, room);
    const texts = lines.map((text) => text.trimEnd());
    const first = above ? [paint(label, "quiet", look)] : [];
    const margins = texts.map((_, index) => padEnd(above || index > 0 ? "" : label, column));
    return first.concat(texts.map((text, index) => paint(margins[index] ?? "", "quiet", look) + text));
  });
}

/** Every column as wide as its widest cell; numbers, which begin with a digit, to the right. */
function aligned(rows: readonly (readonly string[])[]): string[][] {
  const widths: number[] = [];
  for (const cells of rows) {
    cells.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cellWidth(cell));
    });
  }
  return rows.map((cells) =>
    cells.map((cell, column) => {
      const width = widths[column] ?? 0;
      return /^\d/.test(cell) ? padStart(cell, width) : padEnd(cell, width);
    }),
  );
}
