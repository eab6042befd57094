import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { cellWidth, padEnd, padStart, printable, truncate, wrap, wrapParts } from "../../src/viewer/cells.ts";
import { seeded } from "./seeded.ts";

describe("printable", () => {
  test.each([
    ["plain words", "plain words"],
    ["two\nlines\r\n", String.raw`two\nlines\r\n`],
    ["a\tb", String.raw`a\tb`],
    ["\x1b[31mred\x1b[0m", String.raw`\x1b[31mred\x1b[0m`],
    ["\x1b]0;title\x07", String.raw`\x1b]0;title\x07`],
    ["\x9b2J", String.raw`\x9b2J`],
    ["nul\0del\x7f", String.raw`nul\x00del\x7f`],
    ["\u202Egpj.exe", String.raw`\u202egpj.exe`],
    ["zero\u200Bwidth\uFEFF", String.raw`zero\u200bwidth\ufeff`],
    ["line\u2028para\u2029", String.raw`line\u2028para\u2029`],
    ["half \uD83D pair", String.raw`half \ud83d pair`],
    ["tag \u{E0041}", String.raw`tag \u{e0041}`],
  ])("%j is shown as %s", (text, shown) => {
    expect(printable(text)).toBe(shown);
  });

  test.each(["größer", "数据库", "👩‍💻", "می‌خواهم", "e\u0301"])("%s is left as it is", (text) => {
    expect(printable(text)).toBe(text);
  });

  test("a text at the limit is whole, one unit beyond it is cut", () => {
    expect(printable("abcd", 4)).toBe("abcd");
    expect(printable("abcde", 4)).toBe("abcd…");
  });

  test("a cut never goes through a surrogate pair", () => {
    expect(printable("abc👍👍", 4)).toBe("abc…");
    expect(printable("abc👍👍", 5)).toBe("abc👍…");
  });
});

describe("cellWidth", () => {
  test.each([
    ["", 0],
    ["search", 6],
    ["größer", 6],
    ["e\u0301", 1],
    ["数据库", 6],
    ["ﾊﾝｶｸ", 4],
    ["Ｆｕｌｌ", 8],
    ["한국어", 6],
    ["\u1112\u1161\u11AB", 2],
    ["👍", 2],
    ["👩‍💻", 2],
    ["🇨🇭", 2],
    ["❤️", 2],
    ["1️⃣", 2],
    ["✓ ✗ ⊘ …", 7],
    ["├─ ━╸╺╍", 7],
  ])("%s takes %i cells", (text, cells) => {
    expect(cellWidth(text)).toBe(cells);
  });
});

describe("truncate", () => {
  test("a text that fits is left as it is", () => {
    expect(truncate("search", 6, "…")).toBe("search");
  });

  test("a text that does not fit ends in an ellipsis", () => {
    expect(truncate("search", 5, "…")).toBe("sear…");
  });

  test("a wide character is not cut in half", () => {
    expect(truncate("数据库", 4, "…")).toBe("数…");
    expect(truncate("数据库", 5, "…")).toBe("数据…");
  });

  test("what is made of several code points is not taken apart", () => {
    expect(truncate("👩‍💻👩‍💻👩‍💻", 5, "…")).toBe("👩‍💻👩‍💻…");
  });

  test("without room for the ellipsis the text is only cut", () => {
    expect(truncate("search", 1, "..")).toBe("s");
    expect(truncate("search", 0, "…")).toBe("");
  });
});

describe("wrap", () => {
  test("words stay whole where they can", () => {
    expect(wrap("the quick brown fox", 10)).toEqual(["the quick", "brown fox"]);
  });

  test("a word longer than a line is broken", () => {
    expect(wrap("see abcdefghijkl now", 5)).toEqual(["see", "abcde", "fghij", "kl", "now"]);
  });

  test("a separator does not begin or end a line", () => {
    expect(wrapParts(["3 model calls", "2 tools", "1 failed"], " · ", 24)).toEqual([
      "3 model calls · 2 tools",
      "1 failed",
    ]);
  });

  test("a cluster wider than the line is taken apart", () => {
    const cluster = "\u0915\u094D\u0937\u094D\u092F\u093F";
    expect(cellWidth(cluster)).toBe(4);
    expect(wrap(cluster, 2).join("")).toBe(cluster);
  });

  test("no text is no line", () => {
    expect(wrap("", 10)).toEqual([]);
  });
});

test("padding counts cells, not characters", () => {
  expect(padEnd("数据", 6)).toBe("数据  ");
  expect(padStart("数据", 6)).toBe("  数据");
  expect(padEnd("too long", 3)).toBe("too long");
});

/** Letters and joiners that Unicode makes long clusters of. */
const indic = fc.string({
  unit: fc.constantFrom("\u0915", "\u094D", "\u093F", "\u200D", "a", " "),
  maxLength: 60,
});

test("whatever comes in, what is printed has no controls and what is cut fits", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ unit: "binary", maxLength: 300 }), indic),
      fc.integer({ min: 2, max: 40 }),
      (text, cells) => {
        const shown = printable(text);
        expect(shown).not.toMatch(/[\p{Cc}\p{Cs}\u2028-\u202e\u2066-\u2069]/u);
        expect(cellWidth(truncate(shown, cells, "…"))).toBeLessThanOrEqual(cells);
        const lines = wrap(shown, cells);
        for (const line of lines) expect(cellWidth(line)).toBeLessThanOrEqual(cells);
        expect(lines.join("").replaceAll(" ", "")).toBe(shown.replaceAll(" ", ""));
      },
    ),
    seeded(),
  );
});
