import { describe, expect, it } from "vitest";
import { Decoder } from "../../src/event/decode.ts";
import { EVENT_TYPES, type Around, type Event } from "../../src/event/event.ts";
import { hashText } from "../../src/event/hash.ts";
import { fixtureLine, fixtureLines } from "./fixture.ts";
import { cancelled, code, decode, envelope, event, RUN, SESSION, started, TIME } from "./wire-lines.ts";

const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const PARENT = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", flags: 1 };

function around(value: unknown, outside?: Around): Around | undefined {
  const decoded = decode(value, {}, outside);
  expect(decoded.type).toBe("RunCancelled");
  return (decoded as Event).around;
}

describe("the lines that serde writes", () => {
  it("are decoded as this table says, content captured", () => {
    const common = (nanos: number) => ({ runId: RUN, time: [1_782_000_000, nanos], around: undefined });
    const decoded = fixtureLines().map((text) => {
      const { hash, ...fields } = decode(text, { content: "span" }) as Event;
      expect(Number.isSafeInteger(hash) && hash >= 0).toBe(true);
      return fields;
    });
    expect(decoded).toEqual([
      { type: "RunStarted", ...common(0), sessionId: SESSION, provider: "anthropic", model: "claude" },
      { type: "ContextBuilt", ...common(1_000_000), messageCount: 3 },
      { type: "ModelStarted", ...common(1_000_001), provider: "anthropic", model: "claude", iteration: 1 },
      { type: "TextDelta", ...common(123_456_789), text: 'hé"\n' },
      { type: "ToolCallStarted", ...common(200_000_000), callId: "c1", toolName: "search" },
      { type: "ToolCallDelta", ...common(200_100_000), callId: "c1" },
      {
        type: "ToolCallCompleted",
        ...common(210_000_000),
        callId: "c1",
        toolName: "search",
        arguments: { length: 15, text: '{"n":1,"q":"x"}' },
      },
      {
        type: "UsageRecorded",
        ...common(220_000_000),
        usage: { input: 100, output: 20, cacheCreation: undefined, cacheRead: undefined, cached: undefined },
      },
      { type: "AssistantMessageCommitted", ...common(230_000_000), messageId: SESSION },
      { type: "ToolExecutionStarted", ...common(240_000_000), callId: "c1", toolName: "search" },
      {
        type: "ToolExecutionFinished",
        ...common(300_000_000),
        callId: "c1",
        toolName: "search",
        durationMs: 60,
        result: { output: { length: 11, text: '{"ok":true}' } },
      },
      {
        type: "ToolExecutionFinished",
        ...common(300_000_000),
        callId: "c2",
        toolName: "search",
        durationMs: 60,
        result: { failure: { errorType: "_OTHER", message: "boom" } },
      },
      { type: "ToolMessageCommitted", ...common(310_000_000), messageId: SESSION },
      { type: "RunCompleted", ...common(400_000_000), finishReason: "tool_calls", iterations: 1 },
      { type: "RunCompleted", ...common(400_000_000), finishReason: "pause_turn", iterations: 1 },
      { type: "RunFailed", ...common(400_000_000), failure: { errorType: "_OTHER", message: "e" } },
      { type: "RunCancelled", ...common(400_000_000) },
      { type: "DoomLoopDetected", ...common(400_000_000), description: { length: 1, text: "d" } },
      { type: "CompactionCircuitOpened", ...common(400_000_000), consecutiveFailures: 3 },
    ]);
  });

  it("cover every variant of 0.2.2, and 0.5 has one more", () => {
    const types = new Set(fixtureLines().map((text) => decode(text).type));
    expect(EVENT_TYPES.filter((type) => !types.has(type))).toEqual(["CacheMetrics"]);
    expect(
      decode(
        event("CacheMetrics", {
          cache_creation_input_tokens: 1,
          cache_read_input_tokens: 0,
          cached_input_tokens: null,
        }),
      ),
    ).toMatchObject({ cache: { cacheCreation: 1, cacheRead: 0, cached: undefined } });
  });

  it("give the same from an envelope, hash included, and from an object", () => {
    const decoder = new Decoder();
    for (const text of fixtureLines()) {
      const bare = decode(text) as Event;
      const enveloped = decode(
        `{"event_id":"x","seq":3,"run_id":"${RUN}","session_id":null,"event":${text},"emitted_at":"${TIME}"}`,
      );
      expect(enveloped).toEqual({ ...bare, around: { eventId: hashText("x"), seq: 3 } });
      const fromValue = decoder.value(JSON.parse(text));
      expect({ ...fromValue, hash: 0 }).toEqual({ ...bare, hash: 0 });
    }
  });
});

describe("the forms of a line", () => {
  it("are bare, with fields beside it, and enveloped", () => {
    expect(around(cancelled)).toBeUndefined();
    expect(around({ ...cancelled, agent: "planner", traceparent: TRACEPARENT, tracestate: "a=1" })).toEqual({
      agent: "planner",
      parent: { ...PARENT, tracestate: "a=1" },
    });
    expect(around(envelope(cancelled, { session_id: SESSION.toUpperCase(), seq: 7, agent: "a" }))).toEqual({
      eventId: hashText("01900000-0000-7000-8000-000000000001"),
      seq: 7,
      sessionId: SESSION,
      agent: "a",
    });
  });

  it("may be any of those as an object, and the fields beside it come first or last", () => {
    const decoder = new Decoder();
    const delta = { TextDelta: { run_id: RUN, delta: "d", timestamp: TIME } };
    for (const value of [
      { agent: "a", ...delta },
      { ...delta, agent: "a" },
      { event: delta, agent: "a" },
    ]) {
      expect(decoder.value(value)).toMatchObject({ type: "TextDelta", around: { agent: "a" } });
    }
    expect(decoder.value(delta)).toMatchObject({ type: "TextDelta", around: undefined });
  });

  it("may say null, and leave out all but the event", () => {
    const nothing = { event_id: null, seq: null, run_id: null, session_id: null, emitted_at: null };
    expect(around({ event: cancelled })).toBeUndefined();
    expect(
      around({ event: cancelled, ...nothing, agent: null, traceparent: null, tracestate: null }),
    ).toBeUndefined();
    expect(around({ ...cancelled, agent: "", traceparent: "00-malformed" })).toBeUndefined();
  });

  it("take what stands for no id and no number for none", () => {
    const nil = "00000000-0000-0000-0000-000000000000";
    expect(around(envelope(cancelled, { event_id: "", seq: 0 }))).toBeUndefined();
    expect(around(envelope(cancelled, { event_id: nil, seq: 0 }))).toBeUndefined();
    const delta = event("TextDelta", { delta: "d" });
    expect(decode(envelope(delta, { event_id: nil, seq: 0 }))).toMatchObject({ around: undefined });
    expect(decode(envelope(delta, { event_id: nil }))).toMatchObject({ around: { seq: 1 } });
  });

  it("may have other fields anywhere", () => {
    const inner = { RunCancelled: { run_id: RUN, timestamp: TIME, reason: { a: 1 } }, note: "x", event: 5 };
    expect(around({ ...inner, level: "info", tags: [1], Host: "h" })).toBeUndefined();
    expect(around(envelope(inner, { partition: 3 }))).toMatchObject({ seq: 1 });
  });

  it("with what the delivery says, which what stands nearer to the event overrides", () => {
    const outside = { agent: "outer", parent: PARENT };
    expect(around(cancelled, outside)).toBe(outside);
    expect(around({ ...cancelled, agent: "inner" }, outside)).toEqual({ agent: "inner", parent: PARENT });
    expect(around(envelope(cancelled), outside)).toMatchObject({ agent: "outer", parent: PARENT, seq: 1 });
    expect(new Decoder().value(cancelled, outside)).toMatchObject({ around: outside });
    expect(decode(fixtureLine("TextDelta"), {}, outside)).toMatchObject({ around: outside });
  });

  it("may have whitespace wherever JSON may", () => {
    const text = JSON.stringify(envelope(cancelled), undefined, " \r\n\t");
    expect(decode(` ${text} `)).toMatchObject({ type: "RunCancelled", around: { seq: 1 } });
  });

  it("fold ids to lower case", () => {
    const upper = JSON.parse(JSON.stringify(started).replace(RUN, RUN.toUpperCase())) as object;
    expect(decode(upper)).toMatchObject({ runId: RUN });
    expect(decode(envelope(upper))).toMatchObject({ runId: RUN });
    expect(decode(envelope(started, { run_id: RUN.toUpperCase() }))).toMatchObject({ runId: RUN });
  });
});

describe("a variant that is not known", () => {
  it.each([
    ["bare", { Brandnew: { x: 1 } }],
    ["with fields beside it", { agent: "a", Brandnew: { x: 1 } }],
    ["enveloped", envelope({ Brandnew: {} })],
    ["named like what objects have", JSON.parse('{"Object":{}}')],
    ["of 64 characters", { [`B${"x".repeat(63)}`]: {} }],
  ])("is no error, %s", (_, value) => {
    expect(decode(value)).toMatchObject({ type: "unknown" });
    expect(new Decoder().value(value)).toEqual(decode(value));
  });

  it.each([
    ["two of them", { Brandnew: {}, Newer: {} }],
    ["without an object", { Brandnew: 5 }],
    ["in lower case", { brandnew: {} }],
    ["of 65 characters", { [`B${"x".repeat(64)}`]: {} }],
    ["with a hyphen", { "X-Header": {} }],
  ])("is one, %s", (_, value) => {
    expect(code(value)).toBe("BEHEST_DECODE_SCHEMA");
  });

  it("beside a known one is a field like others", () => {
    expect(code({ Brandnew: {}, ...cancelled })).toBe("RunCancelled");
  });
});

describe("the hash", () => {
  const hashOf = (value: unknown, decoder = new Decoder()) => {
    const bytes = Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
    return (decoder.line(bytes, 0, bytes.length, true) as Event).hash;
  };
  const text = JSON.stringify(started);

  it("is that of the inner event, whatever stands around it", () => {
    const hash = hashOf(text);
    for (const other of [
      ` ${text} `,
      text.replace("{", "{ "),
      text.replace(/\}$/, ' ,"agent":"a"}'),
      `{"agent":"a",${text.slice(1)}`,
      `{"event":${text}}`,
      `{"event": { ${text.slice(1, -1)} } , "seq":5}`,
    ]) {
      expect(hashOf(other), other).toBe(hash);
    }
  });

  it("differs when any byte of the inner event does", () => {
    const hashes = [
      text,
      text.replace("claude", "clauda"),
      text.replace(":00Z", ":01Z"),
      text.replace(":", ": ").replace("{ ", "{"),
    ];
    expect(new Set(hashes.map((other) => hashOf(other))).size).toBe(4);
  });

  it("does not depend on the content policy", () => {
    for (const line of fixtureLines()) {
      expect(hashOf(line, new Decoder({ content: "span", errorMessages: "off" }))).toBe(hashOf(line));
    }
  });

  it("of objects differs by run, time, text and call", () => {
    const decoder = new Decoder();
    const value = (type: string, fields: object, timestamp = TIME) =>
      (decoder.value({ [type]: { run_id: RUN, ...fields, timestamp } }) as Event).hash;
    const hashes = [
      value("TextDelta", { delta: "a" }),
      value("TextDelta", { delta: "b" }),
      value("TextDelta", { delta: "a" }, "2026-06-21T00:00:01Z"),
      value("TextDelta", { delta: "a" }, "2026-06-21T00:00:00.000000001Z"),
      value("ToolCallDelta", { delta: "a", call_id: "1" }),
      value("ToolCallDelta", { delta: "a", call_id: "2" }),
      value("ToolCallDelta", { delta: "b", call_id: "1" }),
      value("AssistantMessageCommitted", { message_id: SESSION }),
      value("ToolMessageCommitted", { message_id: SESSION }),
    ];
    expect(new Set(hashes).size).toBe(hashes.length);
    expect(value("TextDelta", { delta: "a" })).toBe(hashes[0]);
    // The long way, which fields beside the event lead to, gives the same.
    const beside = { TextDelta: { run_id: RUN, delta: "a", timestamp: TIME }, agent: "a" };
    expect((decoder.value(beside) as Event).hash).toBe(hashes[0]);
  });
});
