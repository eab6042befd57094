import fc, { type Arbitrary } from "fast-check";
import { describe, expect, it } from "vitest";
import { findMember, insideOf } from "../../src/event/json-bytes.ts";
import { measureJson, rewriteJson } from "../../src/event/json-text.ts";
import { trial } from "./trial.ts";
import type { Json } from "./wire-arbitrary.ts";

const json = fc.jsonValue({ maxDepth: 5, stringUnit: "grapheme" }) as Arbitrary<Json>;

/** The same value with whitespace between all tokens. */
function spaced(value: Json): string {
  return ` ${JSON.stringify(value, undefined, "\t ")}\r\n`;
}

const KEEP = { member: () => undefined, string: (value: string) => value };

describe("a member of JSON bytes", () => {
  function textOf(text: string, name: string): string {
    const bytes = Buffer.from(text);
    const { valueStart, valueEnd } = findMember(bytes, 0, name);
    return bytes.toString("utf8", valueStart, valueEnd);
  }

  it.each([
    ['{"a":1}', "1"],
    ['  { "b" : [ {"a":2} , "]" ] , "a" : -1.5e3 }', "-1.5e3"],
    ['{"b":"\\"a\\":9","a":"x\\\\"}', '"x\\\\"'],
    ['{"a":{"}":"{","a":[]},"b":1}', '{"}":"{","a":[]}'],
    ['{"a":[[],[{}]],"b":1}', "[[],[{}]]"],
    ['{"a":1,"a":2}', "2"],
    ['{"\\u0061":3}', "3"],
    ['{"ab":1,"":2,"a":4,"aa":5}', "4"],
    ['{"a":true\n}', "true"],
    ['{"é":1,"a":null}', "null"],
  ])("is found in %s", (text, expected) => {
    expect(textOf(text, "a")).toBe(expected);
    expect(JSON.parse(expected)).toEqual(JSON.parse(text).a);
  });

  it("begins at its key", () => {
    const bytes = Buffer.from('{"b":0, "a" : 1 }');
    const { keyStart, valueEnd } = findMember(bytes, 0, "a");
    expect(bytes.toString("utf8", keyStart, valueEnd)).toBe('"a" : 1');
  });

  it("that is not there is a bug, and said to be one", () => {
    expect(() => findMember(Buffer.from('{"a":1}'), 0, "b")).toThrow(/member b/);
    expect(() => findMember(Buffer.from("[1]"), 0, "b")).toThrow(/member b/);
  });

  it("is the one that JSON.parse finds, in any object", () => {
    const name = fc.oneof(fc.constantFrom("a", "b", "c"), fc.string({ unit: "grapheme", maxLength: 3 }));
    fc.assert(
      fc.property(fc.array(fc.tuple(name, json), { minLength: 1 }), fc.boolean(), (members, wide) => {
        const write = wide ? spaced : JSON.stringify;
        const text = `{${members.map(([key, value]) => `${JSON.stringify(key)} : ${write(value)}`).join(",")}}`;
        const parsed = JSON.parse(text) as Record<string, Json>;
        for (const wanted of ["a", "b", "c"]) {
          if (!Object.hasOwn(parsed, wanted)) continue;
          expect(JSON.parse(textOf(text, wanted))).toEqual(parsed[wanted]);
        }
      }),
      trial("members", 0.1),
    );
  });
});

describe("the inside of an object", () => {
  it.each(['{"a":1}', ' { "a":1 } ', '{\n"a":1\t}'])(
    "of %j is without braces and the space around",
    (text) => {
      const bytes = Buffer.from(`##${text}##`);
      const { start, end } = insideOf(bytes, 2, bytes.length - 2);
      expect(bytes.toString("utf8", start, end)).toBe('"a":1');
    },
  );
});

describe("JSON text", () => {
  it.each([
    ["1", 0],
    ['"[[["', 0],
    ["[]", 1],
    ["[1,[2,{}],[]]", 3],
    ['{"a":{"b":[]},"c":[]}', 3],
    ['"\\"["', 0],
  ])("of %s has a depth", (text, depth) => {
    expect(measureJson(text)).toEqual({ length: text.length, depth });
  });

  it("is measured without the whitespace between its tokens, and kept as it is", () => {
    fc.assert(
      fc.property(json, (value) => {
        const text = JSON.stringify(value);
        expect(measureJson(spaced(value))).toEqual(measureJson(text));
        expect(measureJson(text).length).toBe(text.length);
        expect(rewriteJson(text, KEEP)).toBe(text);
        expect(rewriteJson(spaced(value), KEEP)).toBe(text);
      }),
      trial("whitespace", 0.1),
    );
  });

  it("keeps what JSON.parse would lose: the order of keys, repeated ones, digits, escapes", () => {
    const text = '{"10":1.0,"2":12345678901234567890,"a":1e400,"a":"\\u0041\\ud800","__proto__":{"x":-0}}';
    expect(rewriteJson(text, KEEP)).toBe(text);
    expect(rewriteJson(text, { ...KEEP, string: () => "é\n" })).toBe(
      text.replace('"\\u0041\\ud800"', '"é\\n"'),
    );
  });

  it("has whole members replaced, and what lies in them not looked at", () => {
    const text = '{ "a" : {"b":[1,"x"],"c":"y"} , "b" : [ "a" ], "c" : 5 }';
    const strings: string[] = [];
    const rewritten = rewriteJson(text, {
      member: (name) => (name === "a" || name === "c" ? "null" : undefined),
      string: (value) => {
        strings.push(value);
        return value;
      },
    });
    expect(rewritten).toBe('{"a":null,"b":["a"],"c":null}');
    expect(strings).toEqual(["a"]);
  });

  it("has the same members replaced as its value would, in any nesting", () => {
    const key = fc.constantFrom("a", "drop", "b\n", "\\");
    const { tree } = fc.letrec<{ tree: Json }>((tie) => ({
      tree: fc.oneof(
        { depthSize: "small" },
        fc.oneof(fc.string({ unit: "grapheme" }), fc.integer(), fc.constantFrom(null, true)),
        fc.array(tie("tree"), { maxLength: 4 }),
        fc.dictionary(key, tie("tree"), { maxKeys: 4, noNullPrototype: true }),
      ),
    }));
    fc.assert(
      fc.property(tree, fc.boolean(), (value, wide) => {
        const text = wide ? spaced(value) : JSON.stringify(value);
        const rewritten = rewriteJson(text, {
          member: (name) => (name === "drop" ? '"-"' : undefined),
          string: (inner) => inner.toUpperCase(),
        });
        expect(JSON.parse(rewritten)).toEqual(rewriteValue(value));
      }),
      trial("rewriting", 0.1),
    );
  });
});

function rewriteValue(value: Json): Json {
  if (typeof value === "string") return value.toUpperCase();
  if (Array.isArray(value)) return value.map(rewriteValue);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, key === "drop" ? "-" : rewriteValue(inner)]),
  );
}
