import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { view } from "../src/cli/view.ts";
import { readConfig } from "../src/config.ts";
import { openDeadLetter } from "../src/dead-letter.ts";
import { Decoder, type DecoderOptions } from "../src/event/decode.ts";
import { Ledger } from "../src/metric/ledger.ts";
import { Pipeline } from "../src/pipeline.ts";
import { Assembler } from "../src/run/assembler.ts";
import { HEART_DEFAULTS } from "../src/run/limits.ts";
import { startHttpBackend, type OtlpServer, type ServedSpan } from "./otel/otlp-server.ts";
import { listeningLog } from "./otel/export-setup.ts";
import { envFor, runOver, type BridgeRunOptions } from "./bridge/bridge-run.ts";
import { linewise } from "./bridge/feed.ts";
import { secretGarbage, secretRun } from "./bridge/secret-run.ts";
import * as wire from "./bridge/wire-runs.ts";

let backend: OtlpServer;
let directory: string;
beforeEach(async () => {
  backend = await startHttpBackend();
  directory = mkdtempSync(join(tmpdir(), "behest-otel-"));
});
afterEach(async () => {
  await backend.close();
  rmSync(directory, { recursive: true });
});

const run = secretRun();
const garbage = secretGarbage();

/** The run in every form that a line may have. */
const FORMS: Readonly<Record<string, (event: object, index: number) => object>> = {
  bare: (event) => event,
  "with fields beside it": (event) => ({ ...event, agent: "researcher", note: "beside" }),
  enveloped: (event, index) => ({
    event_id: wire.idOf(index),
    seq: index + 1,
    event,
    emitted_at: wire.stamp(index),
  }),
};

/** Everything that leaves the process for a run, as one text. */
async function everything(
  lines: readonly string[],
  options: Partial<BridgeRunOptions> = {},
): Promise<string> {
  const { report, logged } = await runOver({
    from: [linewise(lines)],
    env: { ...envFor(backend.url, "http/json"), OTEL_LOGS_EXPORTER: "otlp" },
    ...options,
  });
  expect(new Set(backend.requests.map(({ signal }) => signal))).toEqual(
    new Set(["traces", "metrics", "logs"]),
  );
  const sent = backend.requests.map(({ body, headers }) => `${JSON.stringify(headers)}\n${body.toString()}`);
  return [JSON.stringify(report), ...logged, ...sent].join("\n");
}

/** The state after each line, as it would be written down. */
function statesOf(lines: readonly string[], decoder: DecoderOptions = {}): string {
  const pipeline = new Pipeline({
    decoder: new Decoder(decoder),
    heart: new Assembler({ ...HEART_DEFAULTS, reorderWindowMs: 5 }),
    ledger: new Ledger(),
    onOp: () => {},
  });
  const states = lines.map((line) => {
    const bytes = Buffer.from(line);
    const odd = pipeline.line(bytes, 0, bytes.length, true);
    return JSON.stringify([odd, pipeline.heart.save(), pipeline.ledger.save()]);
  });
  return states.join("\n");
}

async function viewed(lines: readonly string[], json: boolean): Promise<string> {
  const path = join(directory, "view.ndjson");
  writeFileSync(path, `${lines.join("\n")}\n`);
  const { config } = readConfig("view", { args: new Map(), env: {} });
  const stdout = Object.assign(new PassThrough(), { isTTY: false });
  const shown: Buffer[] = [];
  stdout.on("data", (bytes: Buffer) => shown.push(bytes));
  const logged: string[] = [];
  const io = {
    env: {},
    stdin: new PassThrough(),
    stdout,
    stderr: { write: (text: string) => logged.push(text) },
    log: listeningLog(logged),
    signal: new AbortController().signal,
  };
  expect(await view({ ...config, json }, [path], io)).toBe(0);
  return Buffer.concat(shown).toString() + logged.join("\n");
}

function expectNone(text: string, words: readonly string[]): void {
  expect(words.filter((word) => text.includes(word))).toEqual([]);
}

describe.each(Object.entries(FORMS))("with content off, of a run %s", (_, form) => {
  const lines = wire.linesOf(run.events.map(form));

  test("nothing that models and tools said leaves by spans, metrics, logs, report or log", async () => {
    const text = await everything(lines);
    expectNone(text, [...run.content, ...run.secrets]);
    expect(run.errors.filter((word) => !text.includes(word))).toEqual([]);
  });

  test("nothing of it is in the state, not even while it waits", () => {
    const text = statesOf(lines);
    expect(text).toContain(wire.runIdOf(1));
    expectNone(text, [...run.content, ...run.secrets]);
  });

  test("nothing of it is in what view shows", async () => {
    for (const json of [false, true]) {
      const text = await viewed(lines, json);
      expect(text).toContain("search");
      expectNone(text, [...run.content, ...run.secrets]);
    }
  });

  test("with error messages off nothing of an error is there either, but its type is", async () => {
    const decoder: DecoderOptions = { errorMessages: "off" };
    const text = await everything(lines, { decoder });
    expectNone(text, [...run.content, ...run.secrets, ...run.errors]);
    expect(text).toContain("provider_error");
    expectNone(statesOf(lines, decoder), run.errors);
  });
});

describe("input that is no event", () => {
  test("is nowhere in what is exported, logged or reported", async () => {
    const text = await everything([...garbage.lines, ...wire.linesOf(run.events)]);
    expect(text).toContain("BEHEST_DECODE_JSON");
    expectNone(text, garbage.words);
    expectNone(statesOf(garbage.lines), garbage.words);
  });

  test("is in the dead letters, whole, and only when they are asked for", async () => {
    const path = join(directory, "dead.ndjson");
    const deadLetter = await openDeadLetter(path, listeningLog([]));
    await everything([...garbage.lines, ...wire.linesOf(run.events)], { deadLetter });
    await deadLetter.close();
    const text = readFileSync(path, "utf8");
    expect(garbage.words.filter((word) => !text.includes(word))).toEqual([]);
    const messages = text
      .split("\n")
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { message: string }).message);
    expect(messages).toHaveLength(garbage.lines.length);
    expectNone(messages.join("\n"), garbage.words);
  });
});

describe("with content on the spans", () => {
  const decoder: DecoderOptions = { content: "span" };

  test("it is there, redacted, and on the spans alone", async () => {
    const text = await everything(wire.linesOf(run.events), { decoder });
    expectNone(text, run.secrets);
    const onSpans = JSON.stringify(backend.taken.map(({ attributes, events }) => [attributes, events]));
    const other = backend.requests
      .filter(({ signal }) => signal === "metrics")
      .map(({ body }) => body.toString());
    expectNone(other.join("\n"), run.content);
    // Fields that the form of an event does not have are never read, and what came late is not used.
    const unread = run.content.filter((word) => !onSpans.includes(word));
    expect(unread.map((word) => whereIs(word))).toEqual([
      "RunStarted.extra",
      "ContextBuilt.prompt",
      "ModelStarted.prompt",
      "ToolCallStarted.arguments",
      "ToolCallDelta.delta",
      "UsageRecorded.usage",
      "CacheMetrics.note",
      "CompactionCircuitOpened.reason",
      "SomethingNew.text",
      "TextDelta.delta",
    ]);
    expect(onSpans).toContain("[redacted]");
  });

  test("messages, arguments and results are JSON in the form of the conventions", async () => {
    await everything(wire.linesOf(run.events), { decoder });
    const [chat] = spansOf("chat gpt-4o");
    const messages = JSON.parse(String(chat!["gen_ai.output.messages"])) as {
      role: string;
      parts: { type: string }[];
    }[];
    expect(messages.map(({ role, parts }) => [role, parts.map(({ type }) => type)])).toEqual([
      ["assistant", ["text", "tool_call"]],
    ]);
    const tools = spansOf("execute_tool search");
    const [first] = tools;
    expect(JSON.parse(String(first!["gen_ai.tool.call.arguments"]))).toMatchObject({
      api_key: "[redacted]",
      url: "https://[redacted]@example.com/",
    });
    expect(JSON.parse(String(first!["gen_ai.tool.call.result"]))).toMatchObject({ token: "[redacted]" });
  });

  test("a secret cut in two by the stream is redacted all the same", async () => {
    const one = wire.teller(5);
    const lines = wire.linesOf([
      wire.started(one),
      wire.model(one),
      ...["the pass", "word: ", "hun", "ter2", " is it"].map((part) => wire.delta(one, part)),
      run.events.find((event) => "DoomLoopDetected" in event)!,
      wire.completed(one),
    ]);
    const text = await everything(lines, { decoder });
    expect(text).not.toMatch(/hunter2|hun.{0,12}ter2/);
    expect(text).toContain("the password: [redacted]");
  });

  test("what a pattern of the user matches is redacted in texts, arguments and results alike", async () => {
    const own: DecoderOptions = { ...decoder, redact: [/CONTENT\d+Q/] };
    const text = await everything(wire.linesOf(run.events), { decoder: own });
    expectNone(text, [...run.content.filter((word) => !isMemberName(word)), ...run.secrets]);
    expect(JSON.stringify(spansOf("chat gpt-4o"))).toContain("[redacted] and [redacted]");
  });

  test("a value of more than 16 KiB is cut at a character, and says how long it was", async () => {
    const one = wire.teller(6);
    const long = "ü".repeat(20_000);
    const lines = wire.linesOf([
      wire.started(one),
      wire.model(one),
      wire.asked(one, "call_1", long),
      wire.said(one),
      wire.toolStarted(one, "call_1"),
      wire.toolFinished(one, "call_1", { Success: { output: long } }),
      run.events.find((event) => "DoomLoopDetected" in event)!,
      wire.completed(one),
    ]);
    await everything(lines, { decoder });
    const tool = spansOf("execute_tool search").at(-1)!;
    for (const name of ["gen_ai.tool.call.arguments", "gen_ai.tool.call.result"]) {
      const value = String(tool[name]);
      expect(Buffer.byteLength(value)).toBeLessThanOrEqual(16_384);
      expect(Buffer.byteLength(value)).toBeGreaterThan(16_380);
      expect(value).toMatch(/^"ü+$/u);
      expect(tool[`behest.truncated.${name}`]).toBe(40_002);
    }
  });
});

/** Patterns are for what is said; of the names in a JSON object only their values are looked at. */
function isMemberName(word: string): boolean {
  return JSON.stringify(run.events).includes(`"${word}":`);
}

/** `Type.field` of the event that has a word in it. */
function whereIs(word: string): string {
  for (const event of run.events) {
    const [[type, payload]] = Object.entries(event) as [[string, object]];
    for (const [field, value] of Object.entries(payload)) {
      if (JSON.stringify(value).includes(word)) return `${type}.${field}`;
    }
  }
  return "nowhere";
}

function spansOf(name: string): Record<string, unknown>[] {
  return backend.taken
    .filter((span: ServedSpan) => span.name === name)
    .map(({ attributes }) => Object.fromEntries(attributes));
}
