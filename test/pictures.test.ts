import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { PICTURES } from "../docs/pictures.ts";
import { terminalPicture } from "../docs/pictures/terminal.ts";

const FOLDER = join(import.meta.dirname, "../docs/pictures");

describe("the pictures of the documentation", () => {
  test.each(Object.entries(PICTURES))(
    "%s is what the program shows today (node docs/pictures.ts)",
    (file, make) => {
      expect(readFileSync(join(FOLDER, file), "utf8")).toBe(make());
    },
  );

  test("are all made by the script", () => {
    const drawn = readdirSync(FOLDER).filter((file) => file.endsWith(".svg"));
    expect(drawn).toEqual(Object.keys(PICTURES));
  });
});

describe("a picture of a terminal", () => {
  const draw = (text: string) =>
    terminalPicture(text, { columns: 20, title: "t", description: "d" })
      .split("\n")
      .filter((line) => /^<(text|path|rect class="(?!frame))/.test(line));

  test("has words where their cells are, in the colour they were given", () => {
    expect(draw("a \x1b[31mred <word>\x1b[0m  b")).toEqual([
      expect.stringMatching(/^<text class="plain" x="22" .*textLength="7\.8" .*>a</),
      expect.stringMatching(/^<text class="bad" x="37\.6" .*textLength="78" .*>red &lt;word&gt;</),
      expect.stringMatching(/^<text class="plain" x="131\.2" .*>b</),
    ]);
  });

  test("has bars as long as their cells, and halves of cells", () => {
    expect(draw("\x1b[36m╺━━╸\x1b[0m")).toEqual([
      expect.stringMatching(/^<rect class="model" x="25\.9" y="28\.5" width="22\.4" /),
    ]);
  });

  test("tells a bar that was seen from one that was not", () => {
    expect(draw("\x1b[35m━╍╍\x1b[0m")).toEqual([
      expect.stringMatching(/^<rect class="tool" /),
      expect.stringMatching(/^<path class="tool line dashed" d="M29\.8 31\.5H45\.4"/),
    ]);
  });

  test("has branches that reach from line to line", () => {
    expect(draw("├─\n└─")).toEqual([
      `<path class="quiet line" d="M25.9 22V41M25.9 31.5H29.8M29.8 31.5H37.6"/>`,
      `<path class="quiet line" d="M25.9 41V46.5Q25.9 50.5 29.9 50.5M29.8 50.5H37.6"/>`,
    ]);
  });

  test.each([
    ["a colour it does not know", "\x1b[44mblue", "cannot draw the colour 44"],
    ["a character it does not know", "\u{1f600}", 'cannot draw "\u{1f600}"'],
    ["another escape", "\x1b[2K", 'cannot draw "\\u001b"'],
    ["a line that is too long", "x".repeat(21), "a line of 21 cells does not fit into 20"],
  ])("refuses %s", (_, text, message) => {
    expect(() => draw(text)).toThrow(message);
  });
});
