import { describe, expect, it } from "vitest";
import { stringForm } from "../../src/event/plain-text.ts";

/** What JSON.parse makes of the inside of a string. */
function expectedForm(inside: string): string {
  try {
    JSON.parse(`"${inside}"`);
  } catch {
    return "invalid";
  }
  return inside.includes("\\") ? "escaped" : "plain";
}

/** The form at each of four places, so that each byte is looked at alone and among others. */
function formsOf(inside: string): Set<string> {
  return new Set(
    [0, 1, 2, 3].map((before) => {
      const bytes = Buffer.from(`${'"'.repeat(before)}${inside}`);
      return stringForm(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), before, bytes.length);
    }),
  );
}

describe("the inside of a JSON string", () => {
  it.each([
    "",
    "abc",
    "abcdefg",
    "\\",
    "\\u",
    "\\u0",
    "\\u00",
    "\\u000",
    "abcde\\",
    "\\\\",
    "\\\\\\",
    "\ud83d\ude00é日",
  ])("%j is told as JSON.parse tells it", (inside) => {
    // An end of text without escapes must not be looked for behind it.
    expect(formsOf(inside)).toEqual(new Set([expectedForm(inside)]));
  });

  it.each([
    "%",
    "a%",
    "ab%",
    "abc%",
    "abcd%efgh",
    "abcdefg%",
    "\\%",
    "abc\\%",
    "\\u%000",
    "\\u0%00",
    "\\u00%0",
    "\\u000%",
    "\\n%",
    "é%é",
  ])("%j is told as JSON.parse tells it, with any character in the marked place", (template) => {
    for (let code = 0; code < 0x180; code += 1) {
      const inside = template.replace("%", () => String.fromCharCode(code));
      expect(formsOf(inside), JSON.stringify(inside)).toEqual(new Set([expectedForm(inside)]));
    }
  });
});
