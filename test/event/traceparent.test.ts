import { describe, expect, it } from "vitest";
import { formatTraceparent, parseTraceparent } from "../../src/event/traceparent.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";

describe("a traceparent", () => {
  it.each([
    ["version 00", `00-${TRACE}-${SPAN}-01`, 1],
    ["not sampled", `00-${TRACE}-${SPAN}-00`, 0],
    ["flags that are not known", `00-${TRACE}-${SPAN}-ff`, 255],
    ["a later version", `01-${TRACE}-${SPAN}-01`, 1],
    ["a later version that goes on", `cc-${TRACE}-${SPAN}-03-what-the-future-holds`, 3],
    ["whitespace around it", ` \t00-${TRACE}-${SPAN}-01 `, 1],
  ])("is read: %s", (_, text, flags) => {
    expect(parseTraceparent(text)).toEqual({ traceId: TRACE, spanId: SPAN, flags });
  });

  it.each([
    ["nothing", ""],
    ["version ff", `ff-${TRACE}-${SPAN}-01`],
    ["version 00 that goes on", `00-${TRACE}-${SPAN}-01-x`],
    ["version 00 with a hyphen behind it", `00-${TRACE}-${SPAN}-01-`],
    ["a later version that goes on without a hyphen", `01-${TRACE}-${SPAN}-01x`],
    ["upper case", `00-${TRACE.toUpperCase()}-${SPAN}-01`],
    ["a trace id of zeros", `00-${"0".repeat(32)}-${SPAN}-01`],
    ["a span id of zeros", `00-${TRACE}-${"0".repeat(16)}-01`],
    ["a short trace id", `00-${TRACE.slice(1)}-${SPAN}-01`],
    ["a long span id", `00-${TRACE}-${SPAN}0-01`],
    ["no flags", `00-${TRACE}-${SPAN}`],
    ["letters beyond f", `00-${TRACE.replace("a", "g")}-${SPAN}-01`],
    ["no version", `${TRACE}-${SPAN}-01`],
    ["two of them", `00-${TRACE}-${SPAN}-01,00-${TRACE}-${SPAN}-01`],
    ["a text without an end", `01-${TRACE}-${SPAN}-01-${"x".repeat(10_000)}`],
  ])("is malformed: %s", (_, text) => {
    expect(parseTraceparent(text)).toBeUndefined();
  });

  it("has its tracestate with it, unless that is too long or no header text", () => {
    const text = `00-${TRACE}-${SPAN}-01`;
    expect(parseTraceparent(text, " a=1,b=2 ")).toMatchObject({ tracestate: "a=1,b=2" });
    expect(parseTraceparent(text, "x".repeat(512))).toMatchObject({ tracestate: "x".repeat(512) });
    for (const state of ["", "x".repeat(513), "a=é", "a=1\nb=2"]) {
      expect(parseTraceparent(text, state)).toEqual({ traceId: TRACE, spanId: SPAN, flags: 1 });
    }
    expect(parseTraceparent("malformed", "a=1")).toBeUndefined();
  });

  it("is written as version 00, and read back", () => {
    for (const flags of [0, 1, 10, 255]) {
      const parent = { traceId: TRACE, spanId: SPAN, flags };
      expect(parseTraceparent(formatTraceparent(parent))).toEqual(parent);
    }
    expect(formatTraceparent({ traceId: TRACE, spanId: SPAN, flags: 1 })).toBe(`00-${TRACE}-${SPAN}-01`);
  });
});
