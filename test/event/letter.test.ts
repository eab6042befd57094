import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { Decoder, type Decoded } from "../../src/event/decode.ts";
import type { Around, Event } from "../../src/event/event.ts";
import { openLetter } from "../../src/event/letter.ts";
import { DEFAULT_MAX_LINE_BYTES } from "../../src/event/lines.ts";
import { fixtureLine, fixtureLines } from "./fixture.ts";
import { trial } from "./trial.ts";
import { eventLine, mutate, mutation } from "./wire-arbitrary.ts";
import { cancelled, code, decode, envelope, event, started } from "./wire-lines.ts";

const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const PARENT = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", flags: 1 };

/** A dead letter of an event as it is written. */
function letter(payload: unknown, fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    kind: "event",
    code: "BEHEST_DECODE_JSON",
    message: "the line of 1 bytes is not JSON: it ends too early",
    source: "stdin",
    delivery_id: null,
    at: "2026-11-22T16:00:00.123Z",
    payload,
    bytes: typeof payload === "string" ? Buffer.byteLength(payload) : 0,
    ...fields,
  };
}

const base64 = (text: string) => ({
  payload: undefined,
  payload_base64: Buffer.from(text).toString("base64"),
});

const message = (decoded: Decoded) => (decoded.type === "rejected" ? decoded.message : "");

describe("a dead letter of an event", () => {
  it.each([
    ["text", (text: string) => letter(text)],
    ["bytes", (text: string) => letter("", base64(text))],
    ["only its kind and its payload", (text: string) => ({ kind: "event", payload: text })],
    ["other fields, in another order", (text: string) => ({ payload: text, note: [1], kind: "event" })],
  ])("is decoded as what is in it: %s", (_, form) => {
    for (const text of fixtureLines()) {
      for (const line of [text, `{"event":${text},"seq":3,"agent":"a"}`, ` ${text}\r\n`]) {
        expect(decode(form(line)), line).toEqual(decode(line));
      }
    }
  });

  it("may have the event itself instead of its text, with the bytes that stand there as its identity", () => {
    for (const text of fixtureLines()) {
      expect(decode(`{"kind":"event","payload":${text},"bytes":7}`)).toEqual(decode(text));
      expect(decode(` { "payload" : ${text} , "kind" : "event" } `)).toEqual(decode(text));
    }
    const digits = '{"n":1.0,"q":1e2}';
    const call = fixtureLine("ToolCallCompleted").replace(/"arguments":\{[^}]*\}/, `"arguments":${digits}`);
    const decoded = decode(`{"kind":"event","payload":${call}}`, { content: "span" });
    expect(decoded).toMatchObject({ arguments: { text: digits } });
  });

  it("whose payload is written twice has the last one, as in any JSON", () => {
    const first = JSON.stringify(started);
    expect(code(`{"kind":"event","payload":${first},"payload":${JSON.stringify(cancelled)}}`)).toBe(
      "RunCancelled",
    );
  });

  it("is rejected as its payload would be", () => {
    for (const text of ["", '{"RunCancelled":{"run_id"', "[]", '{"RunCancelled":null}', "INFO started"]) {
      expect(decode(letter(text))).toEqual(decode(text));
      expect(decode(letter("", base64(text)))).toEqual(decode(text));
    }
    const bytes = Buffer.from([0x7b, 0xff, 0x7d]);
    expect(decode(letter("", { ...base64(""), payload_base64: bytes.toString("base64") }))).toMatchObject({
      code: "BEHEST_DECODE_UTF8",
    });
  });

  it("of a variant that is not known is one of those", () => {
    expect(decode(letter('{"Brandnew":{}}'))).toEqual({ type: "unknown", name: "Brandnew" });
    expect(decode(letter({ Brandnew: {} }))).toEqual({ type: "unknown", name: "Brandnew" });
  });

  it("within another one is no event", () => {
    const inner = letter(JSON.stringify(cancelled));
    expect(code(inner)).toBe("RunCancelled");
    expect(code(letter(JSON.stringify(inner)))).toBe("BEHEST_DECODE_SCHEMA");
    expect(code(letter(inner))).toBe("BEHEST_DECODE_SCHEMA");
    const nested = '{"kind":"event","payload":'.repeat(20_000);
    expect(code(`${nested}${JSON.stringify(cancelled)}${"}".repeat(20_000)}`)).toBe("BEHEST_DECODE_SCHEMA");
  });

  it("gives the same verdict as its payload, for any event and any damage to it", () => {
    const decoder = new Decoder();
    const line = (value: unknown) => {
      const bytes = Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
      return decoder.line(bytes, 0, bytes.length, true);
    };
    let used = 0;
    fc.assert(
      fc.property(eventLine, fc.array(mutation, { maxLength: 2 }), fc.nat(200), (object, mutations, cut) => {
        const damaged = mutations.reduce((one, change) => mutate(one, change), object);
        const text = JSON.stringify(damaged);
        const expected = line(text);
        if (expected.type !== "rejected" && expected.type !== "unknown") used += 1;
        expect(line(letter(text))).toEqual(expected);
        expect(line(letter("", base64(text)))).toEqual(expected);
        expect(line(letter(damaged))).toEqual(expected);
        expect(line(letter(text.slice(cut)))).toEqual(line(text.slice(cut)));
      }),
      trial("letters", 0.3),
    );
    expect(used).toBeGreaterThan(10);
  });
});

describe("what is no dead letter", () => {
  it.each([
    ["an event", { ...cancelled, kind: "event", payload: JSON.stringify(started) }, "RunCancelled"],
    ["an envelope", envelope(cancelled, { kind: "event", payload: "{}" }), "RunCancelled"],
    ["an event of a variant that is not known", { Brandnew: {}, kind: "event", payload: "{}" }, "unknown"],
    [
      "two events",
      { ...cancelled, ...started, kind: "event", payload: JSON.stringify(cancelled) },
      undefined,
    ],
    ["an envelope of nothing", { event: null, kind: "event", payload: JSON.stringify(cancelled) }, undefined],
    ["of another kind", letter(JSON.stringify(cancelled), { kind: "log" }), undefined],
    ["without a payload", { kind: "event", message: "x" }, undefined],
    ["with a payload that is a number", letter(5), undefined],
    ["with a payload that is a list", letter([cancelled]), undefined],
    ["with a payload that is null", letter(null), undefined],
  ])("is read as what it is: %s", (_, value, type = "BEHEST_DECODE_SCHEMA") => {
    expect(code(value)).toBe(type);
    expect(openLetter(Buffer.from(JSON.stringify(value)))).toBeUndefined();
  });

  it("is one that is an object in this process", () => {
    expect(new Decoder().value(letter(JSON.stringify(cancelled)))).toMatchObject({
      code: "BEHEST_DECODE_SCHEMA",
    });
  });
});

describe("what stood beside the event when it was refused", () => {
  const outside = { agent: "planner", traceparent: TRACEPARENT, tracestate: "a=1" };
  const around = (value: unknown, delivered?: Around) => (decode(value, {}, delivered) as Event).around;

  it("counts as beside the event, over what the delivery of the letter says", () => {
    const given = { agent: "planner", parent: { ...PARENT, tracestate: "a=1" } };
    const text = JSON.stringify(cancelled);
    expect(around(letter(text, { outside }))).toEqual(given);
    expect(
      around(letter(text, { outside: { agent: "planner" } }), { agent: "other", parent: PARENT }),
    ).toEqual({
      agent: "planner",
      parent: PARENT,
    });
    expect(around(letter(text), { agent: "other" })).toEqual({ agent: "other" });
    expect(around(letter(text, { outside: null }))).toBeUndefined();
    expect(around(letter(JSON.stringify({ ...cancelled, agent: "inner" }), { outside }))).toEqual({
      ...given,
      agent: "inner",
    });
  });

  it("is checked like what stands beside an event", () => {
    const text = JSON.stringify(cancelled);
    expect(decode(letter(text, { outside: { agent: 5 } }))).toEqual({
      type: "rejected",
      code: "BEHEST_DECODE_SCHEMA",
      message: "outside.agent: expected a string, found a number",
    });
    expect(message(decode(letter(text, { outside: "x" })))).toBe(
      "outside: expected an object, found a string",
    );
    expect(around(letter(text, { outside: { traceparent: "00-malformed" } }))).toBeUndefined();
  });
});

describe("a letter of which only the head was kept", () => {
  const tooLong = (payload: string, bytes: unknown) =>
    letter(payload, { code: "BEHEST_LINE_TOO_LONG", bytes });

  it("is too long again", () => {
    const head = '{"TextDelta":{"run_id":"6f1f6d0e-3c51-4a7e-9b57-0d4cf3a1b2c3","delta":"xxx';
    expect(decode(tooLong(head, 3_000_000))).toEqual({
      type: "rejected",
      code: "BEHEST_LINE_TOO_LONG",
      message: expect.stringMatching(
        /^the letter has 74 of 3000000 bytes, and they are no event: the line of 74 bytes is not JSON: /,
      ),
    });
  });

  it("is used when somebody made it whole, shorter than it was", () => {
    expect(decode(tooLong(JSON.stringify(cancelled), 3_000_000))).toEqual(decode(cancelled));
  });

  it("is rejected for what is wrong with it when it has as many bytes as it says, or says no number", () => {
    for (const bytes of [8, 7, "9", 9.5, undefined]) {
      expect(code(tooLong('{"broken', bytes))).toBe("BEHEST_DECODE_JSON");
    }
    expect(code(tooLong('{"broken', 9))).toBe("BEHEST_LINE_TOO_LONG");
    // One that was whole and was made shorter by mending is not cut.
    expect(code(letter('{"broken', { bytes: 20 }))).toBe("BEHEST_DECODE_JSON");
  });
});

describe("a dead letter of a span", () => {
  it.each([
    ["text", letter('{"resourceSpans":[]}', { kind: "span" })],
    ["bytes", letter("", { ...base64("x"), kind: "span" })],
    ["an event", letter(JSON.stringify(cancelled), { kind: "span" })],
  ])("is rejected, whatever is in it: %s", (_, value) => {
    expect(decode(value)).toEqual({
      type: "rejected",
      code: "BEHEST_DECODE_SPAN",
      message:
        "a dead letter of a span, which its events make again: expected those, or a letter of an event",
    });
  });
});

describe("the limit of a line", () => {
  const limited = { maxLineBytes: 200 };
  const text = (bytes: number) => {
    const empty = JSON.stringify(event("TextDelta", { delta: "" })).length;
    return JSON.stringify(event("TextDelta", { delta: "x".repeat(bytes - empty) }));
  };

  it.each([-1, 0, 1])("is that of the payload, %d bytes from it", (extra) => {
    const payload = text(200 + extra);
    const expected = extra > 0 ? "BEHEST_LINE_TOO_LONG" : "TextDelta";
    expect(code(letter(payload), limited)).toBe(expected);
    expect(code(letter("", base64(payload)), limited)).toBe(expected);
    expect(code(`{"kind":"event","payload":${payload}}`, limited)).toBe(expected);
    expect(code(payload, limited)).toBe(expected);
  });

  it("lets only lines be longer that begin as the program writes them, and are what they seem", () => {
    const payload = text(200);
    expect(code({ payload, kind: "event", source: "x".repeat(300) }, limited)).toBe("BEHEST_LINE_TOO_LONG");
    const long = { kind: "event", ...event("TextDelta", { delta: "x".repeat(300) }) };
    expect(code(long, limited)).toBe("BEHEST_LINE_TOO_LONG");
    expect(code({ kind: "event", note: "x".repeat(300) }, limited)).toBe("BEHEST_LINE_TOO_LONG");
    const inner = JSON.stringify(letter("x".repeat(300)));
    expect([code(inner, limited), code(letter(inner), limited)]).toEqual([
      "BEHEST_LINE_TOO_LONG",
      "BEHEST_LINE_TOO_LONG",
    ]);
    expect(code({ kind: "event", payload: "{", note: "x".repeat(300) }, limited)).toBe("BEHEST_DECODE_JSON");
  });

  it.each([-1, 0, 1])("is six times that and 128 KiB for the letter, %d bytes from it", (extra) => {
    const bytes = 6 * 200 + 131_072 + extra;
    const start = `{"kind":"event","payload":${JSON.stringify(text(200))},"note":"`;
    const line = `${start}${"x".repeat(bytes - start.length - 2)}"}`;
    expect(line).toHaveLength(bytes);
    expect(code(line, limited)).toBe(extra > 0 ? "BEHEST_LINE_TOO_LONG" : "TextDelta");
  });

  it("takes a letter of a payload of exactly 1 MiB", () => {
    const payload = text(DEFAULT_MAX_LINE_BYTES);
    for (const line of [letter(payload), letter("", base64(payload)), letter(JSON.parse(payload))]) {
      expect(code(line)).toBe("TextDelta");
    }
  });
});
