import { isUtf8 } from "node:buffer";
import fc, { type Arbitrary } from "fast-check";
import { describe, expect, it } from "vitest";
import type { ContentPolicy } from "../../src/event/content.ts";
import { Decoder } from "../../src/event/decode.ts";
import { DeltaReader } from "../../src/event/delta.ts";
import { redactionOf } from "../../src/event/redact.ts";
import { TimestampReader } from "../../src/event/timestamp.ts";
import { fixtureLine } from "./fixture.ts";
import { trial } from "./trial.ts";
import { serdeTimestamp, text } from "./wire-arbitrary.ts";

const RUN = "6f1f6d0e-3c51-4a7e-9b57-0d4cf3a1b2c3";
const TIME = "2026-06-21T00:00:00.123456789Z";
const OUTSIDE = { agent: "planner" };

function shortWay(content: "off" | "span", maxStringLength = 1_024): DeltaReader {
  const policy: ContentPolicy = { content, errorMessages: "on", redaction: redactionOf(), maxDepth: 128 };
  return new DeltaReader({ timestamps: new TimestampReader(), policy, maxStringLength });
}

/** The long way alone: no short way takes a line that begins with a space, which changes nothing else. */
function longWay(decoder: Decoder, line: Buffer) {
  const spaced = Buffer.concat([Buffer.from(" "), line]);
  return decoder.line(spaced, 0, spaced.length, isUtf8(line), OUTSIDE);
}

function textDelta(delta: string, { runId = RUN, timestamp = TIME } = {}): string {
  return `{"TextDelta":{"run_id":"${runId}","delta":"${delta}","timestamp":"${timestamp}"}}`;
}

function toolDelta(callId: string, delta: string): string {
  return `{"ToolCallDelta":{"run_id":"${RUN}","call_id":"${callId}","delta":"${delta}","timestamp":"${TIME}"}}`;
}

function enveloped(
  event: string,
  { seq = "7", sessionId = `"${RUN}"`, emittedAt = TIME, runId = RUN } = {},
): string {
  return `{"event_id":"01900000-0000-7000-8000-000000000001","seq":${seq},"run_id":"${runId}","session_id":${sessionId},"event":${event},"emitted_at":"${emittedAt}"}`;
}

function read(reader: DeltaReader, line: string | Buffer) {
  const bytes = Buffer.from(line);
  return reader.read(bytes, 0, bytes.length, OUTSIDE);
}

describe("the short way", () => {
  const taken: [string, string][] = [
    ["the fixture's TextDelta", fixtureLine("TextDelta")],
    ["the fixture's ToolCallDelta", fixtureLine("ToolCallDelta")],
    ["an empty text", textDelta("")],
    ["escapes", textDelta(String.raw`\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00`)],
    ["lone surrogates", textDelta(String.raw`\ud800 \udc00`)],
    ["UTF-8 beyond ASCII", textDelta("é日本😀\u007f\u2028")],
    ["no fraction", textDelta("x", { timestamp: "2026-06-21T00:00:00Z" })],
    ["three digits", textDelta("x", { timestamp: "2026-06-21T00:00:00.120Z" })],
    ["six digits", textDelta("x", { timestamp: "2026-06-21T00:00:00.120003Z" })],
    [
      "text that looks like the end of a line",
      textDelta(String.raw`\",\"timestamp\":\"2026-06-21T00:00:00Z\"}}`),
    ],
    ["a call id beyond ASCII", toolDelta("ç1", "{")],
    ["an empty call id", toolDelta("", "{")],
    ["an envelope", enveloped(textDelta("x"))],
    ["an envelope of a ToolCallDelta", enveloped(toolDelta("c1", "x"))],
    ["an envelope without a session", enveloped(textDelta("x"), { sessionId: "null" })],
    ["seq of fifteen digits", enveloped(textDelta("x"), { seq: "999999999999999" })],
    ["any emitted_at", enveloped(textDelta("x"), { emittedAt: "" })],
  ];
  it.each(taken)("takes %s, and gives what the long way gives", (_, line) => {
    for (const content of ["off", "span"] as const) {
      const event = read(shortWay(content), line);
      expect(event).toBeDefined();
      expect(event).toEqual(longWay(new Decoder({ content }), Buffer.from(line)));
    }
  });

  const left: [string, string][] = [
    ["a space", textDelta("x").replace(":", ": ")],
    ["another order of keys", `{"TextDelta":{"delta":"x","run_id":"${RUN}","timestamp":"${TIME}"}}`],
    ["a field more", textDelta("x").replace("}}", ',"model":"m"}}')],
    ["fields beside it", textDelta("x").replace(/\}$/, ',"agent":"a"}')],
    ["upper-case hex", textDelta("x", { runId: RUN.toUpperCase() })],
    ["the nil run id", textDelta("x", { runId: "00000000-0000-0000-0000-000000000000" })],
    ["an offset", textDelta("x", { timestamp: "2026-06-21T00:00:00+00:00" })],
    ["a date that does not exist", textDelta("x", { timestamp: "2026-02-29T00:00:00Z" })],
    ["a bare control character", textDelta("a\u0001b")],
    ["a bare quote", textDelta('a"b')],
    ["an escape that does not exist", textDelta(String.raw`\x`)],
    ["a short unicode escape", textDelta(String.raw`\u12`)],
    ["an escaped closing quote", textDelta("x\\")],
    ["an escape in a call id", toolDelta(String.raw`c\u0031`, "x")],
    ["a call id of 1,025 characters", toolDelta("x".repeat(1_025), "x")],
    [
      "the nil event id",
      enveloped(textDelta("x")).replace(/[0-9a-f-]{36}/, "00000000-0000-0000-0000-000000000000"),
    ],
    ["seq 0", enveloped(textDelta("x"), { seq: "0" })],
    ["a seq with a leading zero", enveloped(textDelta("x"), { seq: "07" })],
    ["a seq of sixteen digits", enveloped(textDelta("x"), { seq: "1000000000000000" })],
    ["a seq that is not whole", enveloped(textDelta("x"), { seq: "1.5" })],
    ["no seq", enveloped(textDelta("x"), { seq: "" })],
    ["another run id outside", enveloped(textDelta("x"), { runId: RUN.replace("6", "7") })],
    ["an envelope with an escape behind the event", enveloped(textDelta("x"), { emittedAt: "\\u0041" })],
    ["a line cut off", textDelta("x").slice(0, -1)],
    ["a call id that nothing follows", `${toolDelta("x".repeat(80), "").split('","delta')[0]}"}}`],
    ["a call id that never ends", `${toolDelta("x".repeat(80), "").split('","delta')[0]}}}`],
    ["something behind it", `${textDelta("x")}}`],
    ["another variant", fixtureLine("ToolCallStarted")],
  ];
  it.each(left)("leaves %s to the long way", (_, line) => {
    expect(read(shortWay("span"), line)).toBeUndefined();
  });

  it("takes names up to the limit, and leaves longer ones", () => {
    for (const [length, accepted] of [
      [35, true],
      [36, true],
      [37, false],
    ] as const) {
      const line = toolDelta("x".repeat(length), "d");
      expect(read(shortWay("off", 36), line) !== undefined, `${length}`).toBe(accepted);
      expect(new Decoder({ maxStringLength: 36 }).line(Buffer.from(line), 0, line.length, true).type).toBe(
        accepted ? "ToolCallDelta" : "rejected",
      );
    }
    // The event id counts as well: it has 36 characters.
    expect(read(shortWay("off", 36), enveloped(textDelta("x")))).toBeDefined();
    expect(read(shortWay("off", 35), enveloped(textDelta("x")))).toBeUndefined();
  });

  it("finds lines anywhere in a buffer that itself lies within another", () => {
    const reader = shortWay("span");
    const line = textDelta("somewhere");
    const outer = Buffer.from(`##${line}\n${line}##`);
    const buffer = outer.subarray(2, outer.length - 2);
    const first = reader.read(buffer, 0, line.length, undefined);
    const second = reader.read(buffer, line.length + 1, buffer.length, undefined);
    expect(first).toMatchObject({ text: "somewhere", runId: RUN });
    expect(second).toEqual(first);
  });

  it("accepts nothing that the long way does not accept with the same result, whatever bytes are changed", () => {
    const reader = { off: shortWay("off"), span: shortWay("span") };
    const decoder = { off: new Decoder({ content: "off" }), span: new Decoder({ content: "span" }) };
    let accepted = 0;
    let leftOver = 0;
    fc.assert(
      fc.property(
        serdeLine,
        fc.array(edit, { maxLength: 3 }),
        fc.constantFrom("off", "span"),
        (line, edits, content) => {
          const bytes = edits.reduce(change, Buffer.from(line));
          if (!isUtf8(bytes)) return;
          const event = read(reader[content as "off"], bytes);
          if (event === undefined) {
            leftOver += 1;
            // Untouched lines of serde's own form are what the short way is for.
            expect(edits.length, line).toBeGreaterThan(0);
            return;
          }
          accepted += 1;
          expect(event, bytes.toString()).toEqual(longWay(decoder[content as "off"], bytes));
        },
      ),
      trial("short way", 0.6),
    );
    expect(Math.min(accepted, leftOver)).toBeGreaterThan(20);
  });
});

/** JSON text of a string as serde writes it: lone surrogates cannot occur there. */
const serdeText: Arbitrary<string> = text.map((value) => JSON.stringify(value.toWellFormed()).slice(1, -1));
const plainName = serdeText.filter((value) => !value.includes("\\"));

const serdeDelta: Arbitrary<string> = fc
  .tuple(fc.uuid(), fc.option(plainName), serdeText, serdeTimestamp)
  .map(([runId, callId, delta, timestamp]) =>
    callId === null
      ? `{"TextDelta":{"run_id":"${runId}","delta":"${delta}","timestamp":"${timestamp}"}}`
      : `{"ToolCallDelta":{"run_id":"${runId}","call_id":"${callId}","delta":"${delta}","timestamp":"${timestamp}"}}`,
  );

const serdeLine: Arbitrary<string> = fc.oneof(
  serdeDelta,
  fc
    .tuple(serdeDelta, fc.uuid({ version: 7 }), fc.integer({ min: 1 }), fc.option(fc.uuid()), serdeTimestamp)
    .map(([event, eventId, seq, sessionId, emittedAt]) => {
      const runId = /"run_id":"([^"]+)"/.exec(event)?.[1];
      const session = sessionId === null ? "null" : `"${sessionId}"`;
      return `{"event_id":"${eventId}","seq":${seq},"run_id":"${runId}","session_id":${session},"event":${event},"emitted_at":"${emittedAt}"}`;
    }),
);

const INTERESTING = [...Buffer.from('"\\{}[]:,ux0159afTZ.-+e \u0000\u001f\u007f')];

const edit = fc.record({
  kind: fc.constantFrom("replace", "insert", "remove", "repeat"),
  at: fc.nat(1_000),
  byte: fc.oneof(fc.constantFrom(...INTERESTING), fc.nat(255)),
  length: fc.integer({ min: 1, max: 40 }),
});

function change(
  line: Buffer,
  { kind, at, byte, length }: { kind: string; at: number; byte: number; length: number },
): Buffer {
  const place = line.length === 0 ? 0 : at % line.length;
  const before = line.subarray(0, place);
  switch (kind) {
    case "replace":
      return Buffer.concat([before, Buffer.of(byte), line.subarray(place + 1)]);
    case "insert":
      return Buffer.concat([before, Buffer.of(byte), line.subarray(place)]);
    case "remove":
      return Buffer.concat([before, line.subarray(place + 1)]);
    default:
      return Buffer.concat([before, line.subarray(place, place + length), line.subarray(place)]);
  }
}
