import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { MemberReader } from "../../src/event/json-members.ts";
import { trial } from "./trial.ts";

/** The members behind the first of an object, as text between its value and the end of the line. */
function read(rest: string) {
  const bytes = Buffer.from(rest);
  const reader = new MemberReader();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!reader.read(view, 0, bytes.length)) return undefined;
  const { end, timestampStart, timestampEnd } = reader;
  const timestamp = timestampStart < 0 ? undefined : bytes.toString("utf8", timestampStart, timestampEnd);
  return { end, timestamp };
}

function nested(depth: number): string {
  return `,"a":${"[".repeat(depth)}${"]".repeat(depth)}}`;
}

describe("the members of an object", () => {
  it.each([
    ["}", undefined],
    [',"a":1}', undefined],
    [',"timestamp":"t","a":"b"}', "t"],
    [',"delta":"x","timestamp":"2026"}', "2026"],
    [',"delta":{"timestamp":"inside","run_id":"inside"}}', undefined],
    [',"timestamp":null}', undefined],
    [',"a":[],"b":{},"c":[{"d":[1,2]},[]],"timestamp":"t"}', "t"],
    [',"a":0,"b":-0,"c":-1.50,"d":1e9,"e":2E-7,"f":3.1e+10,"g":true,"h":false,"i":null}', undefined],
    [String.raw`,"a":"\"\\\/\b\f\n\r\t\u00e9"}`, undefined],
    [nested(30), undefined],
  ])("are read when they are JSON: %s", (rest, timestamp) => {
    expect(read(rest)).toEqual({ end: Buffer.byteLength(rest) - 1, timestamp });
    expect(() => JSON.parse(`{"first":1${rest}`)).not.toThrow();
  });

  const odd = [
    ["", ",", ",}", ',"a"', ',"a":', ',"a":}', ',"a":1', ',"a":1,}', '"a":1}', "]", ",1}", ",'a':1}"],
    [',"a":01}', ',"a":1.}', ',"a":.5}', ',"a":+1}', ',"a":1e}', ',"a":1e+}', ',"a":-}', ',"a":tru}'],
    [',"a":[1,]}', ',"a":[,1]}', ',"a":[1 2]}', ',"a":[1}}', ',"a":{"b"}}', ',"a":{"b":1,}}', ',"a":"x}'],
    [String.raw`,"a":"\x"}`, String.raw`,"a":"\u00g0"}`, ',"a":"\u0001"}', String.raw`,"a":"\"}`],
    [',"a":1 }', ', "a":1}', ',"run_id":1}', ',"a":1,"run_id":"x"}', ',"timestamp":"a","timestamp":"b"}'],
    [',"timestamp":"a","timestamp":1}', String.raw`,"timest\u0061mp":"a"}`, String.raw`,"run\u005fid":"a"}`],
    [nested(31)],
  ].flat();
  it.each(odd)("are left alone when they are not, or unusual: %s", (rest) => {
    expect(read(rest)).toBeUndefined();
  });

  it("are never taken for what JSON.parse does not take them for", () => {
    const value = fc.jsonValue({ maxDepth: 4, stringUnit: "grapheme" });
    const edits = fc.array(
      fc.record({
        at: fc.nat(200),
        text: fc.constantFrom("", '"', "\\", ",", ":", "{", "}", "[", "]", "0", "e", " "),
      }),
      { maxLength: 3 },
    );
    let [taken, left] = [0, 0];
    fc.assert(
      fc.property(
        fc.dictionary(fc.oneof(fc.string({ maxLength: 8 }), fc.constantFrom("timestamp", "delta")), value),
        edits,
        (object, changes) => {
          const text = JSON.stringify({ first: 1, ...object }).slice('{"first":1'.length);
          const rest = changes.reduce(
            (line, change) => line.slice(0, change.at) + change.text + line.slice(change.at + 1),
            text,
          );
          const members = read(rest);
          if (members === undefined) {
            left += 1;
            return;
          }
          taken += 1;
          const whole = Buffer.from(`{"first":1${rest}`).subarray(0, '{"first":1'.length + members.end + 1);
          const parsed = JSON.parse(whole.toString()) as Record<string, unknown>;
          expect(Object.hasOwn(parsed, "run_id")).toBe(false);
          const { timestamp } = parsed;
          const said = members.timestamp === undefined ? undefined : JSON.parse(`"${members.timestamp}"`);
          expect(said).toBe(typeof timestamp === "string" ? timestamp : undefined);
        },
      ),
      trial("json members", 0.3),
    );
    expect(Math.min(taken, left)).toBeGreaterThan(20);
  });
});
