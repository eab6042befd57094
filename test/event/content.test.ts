import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Decoder, type Decoded, type DecoderOptions } from "../../src/event/decode.ts";
import { trial } from "./trial.ts";
import { eventLine, mutate, mutation, type Json } from "./wire-arbitrary.ts";
import { heldMemory } from "../held-memory.ts";

const RUN = "6f1f6d0e-3c51-4a7e-9b57-0d4cf3a1b2c3";
const TIME = "2026-06-21T00:00:00Z";

function lineOf(type: string, fields: string): string {
  return `{"${type}":{"run_id":"${RUN}",${fields},"timestamp":"${TIME}"}}`;
}

const textDelta = (delta: string) => lineOf("TextDelta", `"delta":${JSON.stringify(delta)}`);
const completed = (json: string) =>
  lineOf("ToolCallCompleted", `"call":{"id":"c","name":"n","arguments":${json}}`);
const finished = (result: string) =>
  lineOf("ToolExecutionFinished", `"call_id":"c","tool_name":"n","result":${result},"duration_ms":1`);
const success = (json: string) => finished(`{"Success":{"output":${json}}}`);
const failure = (error: string) => finished(`{"Failure":{"error":${JSON.stringify(error)}}}`);
const failed = (error: string) => lineOf("RunFailed", `"error":${JSON.stringify(error)}`);
const doom = (text: string) => lineOf("DoomLoopDetected", `"description":${JSON.stringify(text)}`);

/** The same from a line and from an object. */
function decode(text: string, options: DecoderOptions = {}): Decoded {
  const bytes = Buffer.from(text);
  const decoder = new Decoder(options);
  const decoded = decoder.line(bytes, 0, bytes.length, true);
  expect({ ...decoder.value(JSON.parse(text)), hash: 0 }).toEqual({ ...decoded, hash: 0 });
  return decoded;
}

describe("with content off", () => {
  it("texts, arguments and outputs become their lengths", () => {
    expect(decode(textDelta("words"))).toMatchObject({ text: undefined });
    expect(decode(completed('{"q":"é"}'))).toMatchObject({ arguments: { length: 9, text: undefined } });
    expect(decode(success("[1,2]"))).toMatchObject({ result: { output: { length: 5, text: undefined } } });
    expect(decode(doom("again 😀"))).toMatchObject({ description: { length: 8, text: undefined } });
  });

  it("messages of failures are kept, redacted and cut, unless they are off as well", () => {
    const text = `tool \`t\` failed: token=abc ${"x".repeat(2_000)}`;
    const message = `tool \`t\` failed: token=[redacted] ${"x".repeat(2_000)}`.slice(0, 1_024);
    expect(decode(failed(text))).toMatchObject({ failure: { errorType: "tool_failed", message } });
    expect(decode(failure(text))).toMatchObject({
      result: { failure: { errorType: "tool_failed", message } },
    });
    const off = { errorType: "tool_failed", message: undefined };
    expect(decode(failed(text), { errorMessages: "off" })).toMatchObject({ failure: off });
    expect(decode(failure(text), { errorMessages: "off" })).toMatchObject({ result: { failure: off } });
  });

  it("nothing that is decoded holds any of it, damaged events and their rejections included", () => {
    const decoder = new Decoder({ errorMessages: "off" });
    fc.assert(
      fc.property(eventLine, fc.array(damage, { maxLength: 2 }), (line, mutations) => {
        const marked = JSON.parse(JSON.stringify(line), (key, value: Json) =>
          CONTENT_FIELDS.has(key) ? mark(value) : value,
        );
        const text = JSON.stringify(mutations.reduce((object, change) => mutate(object, change), marked));
        const bytes = Buffer.from(text);
        for (const decoded of [decoder.line(bytes, 0, bytes.length, true), decoder.value(JSON.parse(text))]) {
          expect(JSON.stringify(decoded), text).not.toContain("MARKED");
        }
      }),
      trial("content", 0.3),
    );
  });

  it("events do not keep the text of their lines alive", async () => {
    const filler = "some words ".repeat(20_000);
    const lines = [
      textDelta(filler),
      lineOf("ToolCallDelta", `"call_id":"call-0123456789abcdef","delta":${JSON.stringify(filler)}`),
      completed(JSON.stringify({ filler })),
      success(JSON.stringify([filler])),
      failure(filler),
      failed(`${filler}é`),
      doom(filler),
      `{"event":${textDelta(filler)},"agent":"an agent with a long name","session_id":"${RUN}"}`,
      lineOf(
        "ToolCallStarted",
        `"call_id":"call-0123456789abcdef","tool_name":"a-tool-with-a-name","note":"${filler}"`,
      ),
    ];
    for (const [n, text] of lines.entries()) {
      expect(await heapHeldBy(text, 60), `line ${n}`).toBeLessThan(60 * 8_000);
    }
  });
});

/** What is put in the place of an id may be quoted. */
const damage = mutation.filter((change) => change.kind !== "rename" || change.name !== "run_id");

const CONTENT_FIELDS = new Set(["delta", "arguments", "output", "error", "description"]);

function mark(value: Json): Json {
  return typeof value === "string" ? `MARKED${value}` : { MARKED: ["MARKED", value] };
}

/** Bytes that the events of so many copies of a line hold, when all else is gone. Each line has 220 kB. */
async function heapHeldBy(text: string, copies: number): Promise<number> {
  const decoder = new Decoder();
  const events: Decoded[] = [];
  const decodeOne = (n: number) => {
    const bytes = Buffer.from(text.replace("00:00:00Z", `00:00:${String(n % 60).padStart(2, "0")}Z`));
    events.push(decoder.line(bytes, 0, bytes.length, true));
    events.push(decoder.value(JSON.parse(bytes.toString())));
  };
  decodeOne(0);
  const before = await heldBytes();
  for (let n = 0; n < copies; n += 1) decodeOne(n);
  // The decoder keeps the last buffer it saw, one for all.
  const held = (await heldBytes()) - before;
  expect(events.every((event) => event.type !== "rejected")).toBe(true);
  return held;
}

async function heldBytes(): Promise<number> {
  const { heapUsed, external } = await heldMemory();
  return heapUsed + external;
}

describe("with content captured", () => {
  const span = { content: "span" } as const;

  it("texts are kept as they are, to be redacted as a whole later", () => {
    expect(decode(textDelta("password=hunter2 \ud800"), span)).toMatchObject({
      text: "password=hunter2 \ud800",
    });
    expect(decode(textDelta(""), span)).toMatchObject({ text: "" });
  });

  it("arguments and outputs are JSON text, redacted, with the length they had before", () => {
    const json = '{"query":"x","api_key":"abcdef"}';
    const redacted = '{"query":"x","api_key":"[redacted]"}';
    expect(decode(completed(json), span)).toMatchObject({
      arguments: { length: json.length, text: redacted },
    });
    expect(decode(success(json), span)).toMatchObject({
      result: { output: { length: json.length, text: redacted } },
    });
    expect(decode(doom("token=x"), span)).toMatchObject({
      description: { length: 7, text: "token=[redacted]" },
    });
    expect(decode(completed("null"), span)).toMatchObject({ arguments: { length: 4, text: "null" } });
  });

  it("patterns of the user are redacted as well", () => {
    const options = { ...span, redact: [/customer-\d+/] };
    expect(decode(completed('"customer-7"'), options)).toMatchObject({ arguments: { text: '"[redacted]"' } });
    expect(decode(failed("customer-7 gone"), options)).toMatchObject({
      failure: { message: "[redacted] gone" },
    });
  });

  it("arguments of a line keep the order of their keys and the digits of their numbers", () => {
    const json = '{"10":123456789012345678901,"2":1.0,"__proto__":{}}';
    const spaced = ' { "10" : 123456789012345678901 , "2" : 1.0, "__proto__" : { } } ';
    const bytes = Buffer.from(`{"event":${completed(spaced)}}`);
    expect(new Decoder(span).line(bytes, 0, bytes.length, true)).toMatchObject({
      arguments: { length: json.length, text: json },
    });
  });
});
