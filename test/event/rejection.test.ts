import { describe, expect, it } from "vitest";
import { DECODE_CODES, type DecodeCode, type Rejected } from "../../src/event/codes.ts";
import { Decoder } from "../../src/event/decode.ts";
import { EVENT_TYPES } from "../../src/event/event.ts";
import { cancelled, code, decode, envelope, event, RUN, SESSION, started, TIME } from "./wire-lines.ts";

/** A line whose count is written in this way. */
function counted(number: string): string {
  return `{"ContextBuilt":{"run_id":"${RUN}","message_count":${number},"timestamp":"${TIME}"}}`;
}

describe("a rejection", () => {
  const delta = event("TextDelta", { delta: "secret words" });
  const deep = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  const completed = (json: string) =>
    `{"ToolCallCompleted":{"run_id":"${RUN}","call":{"id":"c","name":"n","arguments":${json}},"timestamp":"${TIME}"}}`;
  const finished = (json: string) =>
    `{"event":{"ToolExecutionFinished":{"run_id":"${RUN}","call_id":"c","tool_name":"n","result":{"Success":{"output":${json}}},"duration_ms":1,"timestamp":"${TIME}"}}}`;

  it.each<[DecodeCode, string, unknown]>([
    ["BEHEST_DECODE_JSON", "nothing", ""],
    ["BEHEST_DECODE_JSON", "a line cut off", '{"RunCancelled":{"run_id"'],
    ["BEHEST_DECODE_JSON", "something behind the object", `${JSON.stringify(cancelled)}}`],
    ["BEHEST_DECODE_JSON", "a line of a log", "INFO started"],
    [
      "BEHEST_DECODE_JSON",
      "a byte order mark that is not at the start of the input",
      `\uFEFF${JSON.stringify(cancelled)}`,
    ],
    ["BEHEST_DECODE_SCHEMA", "an array", []],
    ["BEHEST_DECODE_SCHEMA", "a number", "1"],
    ["BEHEST_DECODE_SCHEMA", "null", "null"],
    ["BEHEST_DECODE_SCHEMA", "a string", '"RunCancelled"'],
    ["BEHEST_DECODE_SCHEMA", "an empty object", {}],
    ["BEHEST_DECODE_SCHEMA", "two events", { ...cancelled, ...started }],
    ["BEHEST_DECODE_SCHEMA", "two events in an envelope", { event: { ...cancelled, ...started } }],
    ["BEHEST_DECODE_SCHEMA", "an event that is null", { RunCancelled: null }],
    ["BEHEST_DECODE_SCHEMA", "an event that is an array", { RunCancelled: [] }],
    ["BEHEST_DECODE_SCHEMA", "an envelope of text", { event: JSON.stringify(cancelled) }],
    ["BEHEST_DECODE_SCHEMA", "an envelope in an envelope", { event: { event: cancelled } }],
    ["BEHEST_DECODE_SCHEMA", "an event under __proto__", '{"__proto__":{"RunCancelled":{}}}'],
    [
      "BEHEST_DECODE_SCHEMA",
      "a field under __proto__",
      `{"RunCancelled":{"__proto__":{"run_id":"${RUN}"},"timestamp":"${TIME}"}}`,
    ],
    ["BEHEST_DECODE_SCHEMA", "a key that every object has", { constructor: {}, toString: {} }],
    ["BEHEST_DECODE_SCHEMA", "a field missing", event("ContextBuilt")],
    ["BEHEST_DECODE_SCHEMA", "a wrong type", event("TextDelta", { delta: 5 })],
    ["BEHEST_DECODE_SCHEMA", "a negative number", event("ContextBuilt", { message_count: -1 })],
    ["BEHEST_DECODE_SCHEMA", "a fraction", event("ContextBuilt", { message_count: 1.5 })],
    ["BEHEST_DECODE_SCHEMA", "2^53", event("ContextBuilt", { message_count: 2 ** 53 })],
    ["BEHEST_DECODE_SCHEMA", "infinity", counted("1e999")],
    ["BEHEST_DECODE_SCHEMA", "neither success nor failure", finished("1").replace("Success", "Skipped")],
    [
      "BEHEST_DECODE_SCHEMA",
      "success and failure",
      finished("1").replace('"Success"', '"Failure":{"error":"x"},"Success"'),
    ],
    ["BEHEST_DECODE_SCHEMA", "no output", finished("1").replace('"output":1', "")],
    ["BEHEST_DECODE_SCHEMA", "no run id", { RunCancelled: { timestamp: TIME } }],
    ["BEHEST_DECODE_SCHEMA", "no timestamp", { RunCancelled: { run_id: RUN } }],
    ["BEHEST_DECODE_SCHEMA", "an agent that is an object", { ...cancelled, agent: { name: "a" } }],
    ["BEHEST_DECODE_SCHEMA", "a traceparent that is a number", { ...cancelled, traceparent: 5 }],
    ["BEHEST_DECODE_SCHEMA", "a seq that is text", envelope(cancelled, { seq: "1" })],
    ["BEHEST_DECODE_SCHEMA", "a session that is no UUID", envelope(cancelled, { session_id: "s" })],
    [
      "BEHEST_DECODE_SCHEMA",
      "a message id that is no UUID",
      event("ToolMessageCommitted", { message_id: "m" }),
    ],
    [
      "BEHEST_DECODE_RUN_ID",
      "a run id without hyphens",
      { RunCancelled: { run_id: RUN.replaceAll("-", ""), timestamp: TIME } },
    ],
    [
      "BEHEST_DECODE_RUN_ID",
      "the nil run id",
      { RunCancelled: { run_id: "00000000-0000-0000-0000-000000000000", timestamp: TIME } },
    ],
    ["BEHEST_DECODE_RUN_ID", "another run id on the envelope", envelope(cancelled, { run_id: SESSION })],
    ["BEHEST_DECODE_RUN_ID", "no UUID on the envelope", envelope(cancelled, { run_id: "x" })],
    [
      "BEHEST_DECODE_TIMESTAMP",
      "a date that does not exist",
      JSON.stringify(cancelled).replace("06-21", "06-31"),
    ],
    ["BEHEST_DECODE_TIMESTAMP", "a date before 1970", JSON.stringify(cancelled).replace("2026", "1969")],
    ["BEHEST_DECODE_DEPTH", "arguments too deep", completed(deep(129))],
    ["BEHEST_DECODE_DEPTH", "output too deep", finished(deep(100_000))],
    [
      "BEHEST_DECODE_STRING_TOO_LONG",
      "a long model",
      event("ModelStarted", { provider: "p", model: "m".repeat(1_025), iteration: 1 }),
    ],
    ["BEHEST_DECODE_STRING_TOO_LONG", "a long agent", { ...cancelled, agent: "a".repeat(1_025) }],
    ["BEHEST_LINE_TOO_LONG", "a line of 1 MiB and a byte", " ".repeat(1_048_577)],
  ])("%s: %s", (expected, _, value) => {
    const rejected = decode(value) as Rejected;
    expect(rejected).toMatchObject({ type: "rejected", code: expected });
    expect(Object.keys(DECODE_CODES)).toContain(rejected.code);
    expect(rejected.message.length).toBeLessThan(300);
  });

  it("BEHEST_DECODE_UTF8: bytes that are none", () => {
    const bytes = Buffer.from([...Buffer.from('{"a":"'), 0xff, ...Buffer.from('"}')]);
    expect(new Decoder().line(bytes, 0, bytes.length, false)).toMatchObject({ code: "BEHEST_DECODE_UTF8" });
  });

  it.each<[unknown, string]>([
    [event("TextDelta", { delta: 5 }), "TextDelta.delta: expected a string, found a number"],
    [
      event("ContextBuilt", { message_count: -3 }),
      "ContextBuilt.message_count: expected a whole number from 0 to 2^53 - 1, found -3",
    ],
    [event("RunFailed"), "RunFailed.error: expected a string, found nothing"],
    [envelope(cancelled, { seq: true }), "seq: expected a whole number from 0 to 2^53 - 1, found a boolean"],
    [
      { RunCancelled: { run_id: "x", timestamp: TIME } },
      'RunCancelled.run_id: expected a hyphenated UUID that is not nil, found "x"',
    ],
    [
      { RunCancelled: { run_id: RUN, timestamp: "y".repeat(81) } },
      "RunCancelled.timestamp: expected an RFC 3339 date-time from 1970 to 2554, found a string of 81 characters",
    ],
    [
      envelope(cancelled, { run_id: SESSION }),
      `run_id: expected the one of the event, ${RUN}, found "${SESSION}"`,
    ],
    [{ ...cancelled, ...started }, "expected one event in the object, found RunCancelled and RunStarted"],
    [[], "expected a JSON object, found an array"],
    [
      completed(deep(200)),
      "ToolCallCompleted.call.arguments: expected at most 128 arrays and objects within each other, found 200",
    ],
    ['{"a":', "the line of 5 bytes is not JSON: it ends too early"],
    ['{"a":"b', "the line of 7 bytes is not JSON: it ends too early"],
    ['{"a":"é', "the line of 8 bytes is not JSON: it ends too early"],
    ['{"a":1', "the line of 6 bytes is not JSON: it ends too early"],
    ['{"a" 1}', "the line of 7 bytes is not JSON: at character 5"],
  ])("says what, where and what was expected: %j", (value, message) => {
    expect(decode(value)).toMatchObject({ message });
  });

  it("never quotes what a model or a tool said", () => {
    const texts = [
      JSON.stringify(delta).replace("words", 'words" at position 3'),
      JSON.stringify(delta).slice(0, -10),
      `secret words ${JSON.stringify(delta)}`,
      JSON.stringify({ RunFailed: "secret words" }),
      JSON.stringify(event("RunFailed", { error: ["secret words"] })),
      completed(deep(200)).replace("[[", '["secret words",['),
      JSON.stringify(event("TextDelta", { delta: { text: "secret words" } })),
    ];
    for (const text of texts) {
      const rejected = decode(text) as Rejected;
      expect(rejected.type, text).toBe("rejected");
      expect(rejected.message).not.toContain("secret");
    }
  });

  it("names the run when that much can be read", () => {
    expect(decode(event("ContextBuilt"))).toMatchObject({ runId: RUN });
    expect(decode(envelope(cancelled, { run_id: SESSION }))).toMatchObject({ runId: RUN });
    expect(decode({ RunCancelled: { run_id: "x" } })).not.toHaveProperty("runId");
    expect(decode("nonsense")).not.toHaveProperty("runId");
  });
});

describe("the limits", () => {
  const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;
  const called = (json: string) =>
    `{"ToolCallCompleted":{"run_id":"${RUN}","call":{"id":"c","name":"n","arguments":${json}},"timestamp":"${TIME}"}}`;

  it.each([
    [-1, "ToolCallCompleted"],
    [0, "ToolCallCompleted"],
    [1, "BEHEST_DECODE_DEPTH"],
  ])("of depth hold at %i", (extra, expected) => {
    expect(code(called(nested(128 + extra)))).toBe(expected);
    expect(code(called(nested(5 + extra)), { maxDepth: 5 })).toBe(expected);
    expect(code({ event: JSON.parse(called(nested(128 + extra))) })).toBe(expected);
    const decoded = new Decoder().value(JSON.parse(called(nested(128 + extra))));
    expect(decoded.type === "rejected" ? decoded.code : decoded.type).toBe(expected);
  });

  it("of depth are those of arguments and output, not of fields that are not read", () => {
    expect(code(`{"RunCancelled":{"run_id":"${RUN}","timestamp":"${TIME}","x":${nested(100_000)}}}`)).toBe(
      "RunCancelled",
    );
  });

  it.each([
    [-1, true],
    [0, true],
    [1, false],
  ])("of names hold at %i", (extra, accepted) => {
    const long = "n".repeat(1_024 + extra);
    const values = [
      event("RunStarted", { session_id: SESSION, provider: long, model: "m" }),
      event("RunStarted", { session_id: SESSION, provider: "p", model: long }),
      event("ModelStarted", { provider: long, model: "m", iteration: 1 }),
      event("ModelStarted", { provider: "p", model: long, iteration: 1 }),
      event("ToolCallStarted", { call_id: long, tool_name: "t" }),
      event("ToolCallStarted", { call_id: "c", tool_name: long }),
      event("ToolCallDelta", { call_id: long, delta: "d" }),
      event("ToolCallCompleted", { call: { id: long, name: "n", arguments: 1 } }),
      event("ToolCallCompleted", { call: { id: "c", name: long, arguments: 1 } }),
      event("ToolExecutionStarted", { call_id: long, tool_name: "t" }),
      event("ToolExecutionFinished", {
        call_id: "c",
        tool_name: long,
        result: { Failure: { error: "" } },
        duration_ms: 1,
      }),
      event("RunCompleted", { finish_reason: long, iterations: 1 }),
      event("RunCompleted", { finish_reason: { unknown: long }, iterations: 1 }),
      { ...cancelled, agent: long },
      envelope(cancelled, { event_id: long }),
    ];
    for (const value of values) {
      const expected = accepted ? Object.keys(value)[0] : "BEHEST_DECODE_STRING_TOO_LONG";
      const decoded = code(value);
      if (accepted) expect(EVENT_TYPES, JSON.stringify(value).slice(0, 40)).toContain(decoded);
      else expect(decoded).toBe(expected);
      const fromValue = new Decoder().value(value);
      expect(fromValue.type === "rejected" ? fromValue.code : fromValue.type).toBe(decoded);
    }
  });

  it.each([
    [-1, "RunCancelled"],
    [0, "RunCancelled"],
    [1, "BEHEST_LINE_TOO_LONG"],
  ])("of a line hold at %i", (extra, expected) => {
    const text = JSON.stringify(cancelled);
    const padded = text + " ".repeat(200 + extra - text.length);
    expect(code(padded, { maxLineBytes: 200 })).toBe(expected);
  });

  it("of a line are told in the same words to whoever found it too long before", () => {
    expect(new Decoder({ maxLineBytes: 10 }).tooLong(11)).toEqual(
      decode("x".repeat(11), { maxLineBytes: 10 }),
    );
  });

  it("of numbers are 0 and 2^53 - 1", () => {
    for (const count of [0, 1, 2 ** 53 - 1]) {
      expect(decode(event("ContextBuilt", { message_count: count }))).toMatchObject({ messageCount: count });
    }
    expect(decode(counted("-0"))).toMatchObject({ messageCount: 0 });
    expect(decode(counted("1.0e2"))).toMatchObject({ messageCount: 100 });
  });
});

describe("an object in process", () => {
  const decoder = new Decoder();

  it("may be of a class, have getters and undefined fields", () => {
    class Payload {
      readonly timestamp = TIME;
      get run_id() {
        return RUN;
      }
    }
    expect(decoder.value({ RunCancelled: new Payload(), RunFailed: undefined })).toMatchObject({
      type: "RunCancelled",
      runId: RUN,
    });
    const usage = { input_tokens: 1, output_tokens: 2, cache_read_input_tokens: undefined };
    expect(decoder.value(event("UsageRecorded", { usage }))).toMatchObject({
      usage: { input: 1, output: 2, cacheRead: undefined },
    });
  });

  it.each<[string, unknown]>([
    ["undefined", undefined],
    ["null", null],
    ["a function", () => {}],
    ["a symbol", Symbol("x")],
    ["a map", new Map()],
    ["an object without a prototype", Object.create(null)],
    ["a bigint", 5n],
  ])("that is %s is rejected", (_, value) => {
    expect(decoder.value(value)).toMatchObject({ type: "rejected", code: "BEHEST_DECODE_SCHEMA" });
  });

  it.each<[DecodeCode, string, unknown]>([
    ["BEHEST_DECODE_SCHEMA", "a bigint", 5n],
    ["BEHEST_DECODE_SCHEMA", "a circle", circle()],
    ["BEHEST_DECODE_SCHEMA", "a function", () => {}],
    ["BEHEST_DECODE_SCHEMA", "undefined", undefined],
    ["BEHEST_DECODE_DEPTH", "deeper than the stack", deeper(100_000)],
  ])("%s: arguments that are %s", (expected, _, value) => {
    const completed = event("ToolCallCompleted", { call: { id: "c", name: "n", arguments: value } });
    expect(decoder.value(completed)).toMatchObject({ type: "rejected", code: expected, runId: RUN });
  });

  it("lets the errors of its getters through, for its caller to catch", () => {
    const hostile = {
      get TextDelta(): never {
        throw new TypeError("mine");
      },
    };
    expect(() => decoder.value(hostile)).toThrow("mine");
  });
});

function circle(): unknown {
  const value: Record<string, unknown> = {};
  value["self"] = value;
  return value;
}

function deeper(depth: number): unknown {
  let value: unknown = 1;
  for (let n = 0; n < depth; n += 1) value = [value];
  return value;
}
