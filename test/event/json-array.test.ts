import fc from "fast-check";
import { expect, it } from "vitest";

import { elementsOf } from "../../src/event/json-array.ts";
import { trial } from "./trial.ts";

/** The texts of the elements, and what was wrong at the end. */
function cut(text: string): { texts: string[]; fault: string | undefined } {
  const json = Buffer.from(text);
  const texts: string[] = [];
  const elements = elementsOf(json, 0);
  for (;;) {
    const { done, value } = elements.next();
    if (done) return { texts, fault: value };
    texts.push(json.toString("utf8", value.start, value.end));
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

const space = fc.stringMatching(/^[ \t\r\n]{0,2}$/);
const element = fc.tuple(space, fc.jsonValue(), fc.constantFrom(0, 1), space);

it("gives each element in its own bytes, whatever stands between them", () => {
  fc.assert(
    fc.property(fc.array(element, { maxLength: 6 }), space, (elements, behind) => {
      const texts = elements.map(([, value, indent]) => JSON.stringify(value, null, indent));
      const all = elements.map(([before, , , after], index) => `${before}${texts[index]}${after}`).join(",");
      expect(cut(`[${all}]${behind}`)).toEqual({ texts, fault: undefined });
    }),
    trial("json array", 0.3),
  );
});

it("finds no fault exactly when every element is JSON and the whole is JSON", () => {
  const letters = fc.constantFrom(
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    '"',
    "\\",
    " ",
    "1",
    "a",
    "null",
    '"a"',
    '{"a":[1]}',
    "\n",
  );
  const text = fc.array(letters, { maxLength: 14 }).map((parts) => `[${parts.join("")}`);
  fc.assert(
    fc.property(text, (json) => {
      const { texts, fault } = cut(json);
      const whole = parsed(json);
      const parts = texts.map(parsed);
      if (fault === undefined && parts.every((part) => part !== undefined)) expect(whole).toEqual(parts);
      if (whole !== undefined) expect([fault, parts]).toEqual([undefined, whole]);
    }),
    trial("broken json array", 0.4),
  );
});

it.each([
  ["[]", undefined],
  [" []", "it is no JSON array"],
  ["{}", "it is no JSON array"],
  ["", "it is no JSON array"],
  ["[", "the JSON array ends too early"],
  ["[1", "the JSON array ends too early"],
  ["[1,", "the JSON array ends too early"],
  ['["a', "the JSON array ends too early"],
  ['["a\\', "the JSON array ends too early"],
  ["[{", "the JSON array ends too early"],
  ["[,]", "expected an element of the JSON array at byte 2"],
  ["[1,]", "expected an element of the JSON array at byte 4"],
  ["[1 2]", "expected a comma or the end of the JSON array at byte 4"],
  ["[1]]", "there is more behind the JSON array, at byte 4"],
  ["[] x", "there is more behind the JSON array, at byte 4"],
])("says what is wrong with %j", (text, fault) => {
  expect(cut(text).fault).toBe(fault);
});
