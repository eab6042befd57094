/** How the terminal is to be written to: decided once by the caller, the same for every line. */
export interface Look {
  /** Cells per line; no line is longer. Below 20 it counts as 20. */
  readonly width: number;
  /** Colours and weights by SGR escapes. */
  readonly colour: boolean;
  /** Box drawing and marks; otherwise ASCII alone, but for names that came from the input. */
  readonly unicode: boolean;
}

/** What a piece of text is, for colour; every meaning is readable without colour as well. */
export type Tone = "plain" | "strong" | "quiet" | "good" | "bad" | "warning" | "model" | "tool";

/** State of a span, shown as one character in front of its name. */
export type Mark = "ok" | "error" | "cancelled" | "incomplete" | "inferred" | "running" | "notice";

export interface Glyphs {
  readonly marks: Readonly<Record<Mark, string>>;
  readonly branch: string;
  readonly lastBranch: string;
  readonly trunk: string;
  readonly noTrunk: string;
  readonly bar: BarGlyphs;
  /** Between two facts. */
  readonly dot: string;
  readonly arrow: string;
  readonly ellipsis: string;
}

/** A bar is drawn in half cells where the characters allow it. */
export interface BarGlyphs {
  readonly whole: string;
  readonly leftHalf: string;
  readonly rightHalf: string;
  readonly dashed: string;
  /** Last cell of a bar that has not ended. */
  readonly openEnd: string;
  /** A moment without length. */
  readonly point: string;
}

const UNICODE: Glyphs = {
  marks: {
    ok: "✓",
    error: "✗",
    cancelled: "⊘",
    incomplete: "…",
    inferred: "~",
    running: "▸",
    notice: "!",
  },
  branch: "├─ ",
  lastBranch: "└─ ",
  trunk: "│  ",
  noTrunk: "   ",
  bar: { whole: "━", leftHalf: "╸", rightHalf: "╺", dashed: "╍", openEnd: "▸", point: "!" },
  dot: " · ",
  arrow: "→",
  ellipsis: "…",
};

const ASCII: Glyphs = {
  marks: {
    ok: "+",
    error: "x",
    cancelled: "/",
    incomplete: "?",
    inferred: "~",
    running: ">",
    notice: "!",
  },
  branch: "|- ",
  lastBranch: "`- ",
  trunk: "|  ",
  noTrunk: "   ",
  bar: { whole: "=", leftHalf: "=", rightHalf: "=", dashed: "~", openEnd: ">", point: "!" },
  dot: ", ",
  arrow: "->",
  ellipsis: "..",
};

/** Only the 16 colours, which every theme has made readable on its own background. */
const SGR: Readonly<Record<Exclude<Tone, "plain">, string>> = {
  strong: "1",
  quiet: "2",
  good: "32",
  bad: "31",
  warning: "33",
  model: "36",
  tool: "35",
};

export const MARK_TONES: Readonly<Record<Mark, Tone>> = {
  ok: "good",
  error: "bad",
  cancelled: "warning",
  incomplete: "warning",
  inferred: "quiet",
  running: "plain",
  notice: "warning",
};

export function glyphsOf(look: Look): Glyphs {
  return look.unicode ? UNICODE : ASCII;
}

export function paint(text: string, tone: Tone, look: Look): string {
  if (!look.colour || tone === "plain" || text === "") return text;
  return `\x1b[${SGR[tone]}m${text}\x1b[0m`;
}
