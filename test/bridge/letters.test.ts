import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { openDeadLetter } from "../../src/dead-letter.ts";
import { HEAD_BYTES } from "../../src/event/lines.ts";
import { createLog } from "../../src/log.ts";
import { chainSource } from "../../src/source/chain.ts";
import { fileSource } from "../../src/source/file.ts";
import type { Delivery, Source } from "../../src/source/source.ts";
import { startHttpBackend, type OtlpServer, type ServedSpan } from "../otel/otlp-server.ts";
import { envFor, runOver, type BridgeRun, type BridgeRunOptions } from "./bridge-run.ts";
import { linewise } from "./feed.ts";
import { memoryLog } from "./memory-log.ts";
import * as wire from "./wire-runs.ts";

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

const SHAPE = { modelCalls: 1, deltas: 2 };
const LINES = wire.linesOf(wire.standardRun(1, SHAPE));
const [STARTED = "", ...REST] = LINES;
/** A line of which the end is missing. */
const damaged = (line: string) => line.slice(0, -2);

type Letter = Record<string, unknown> & { readonly payload: string };

interface Run extends BridgeRun {
  readonly spans: readonly ServedSpan[];
  readonly letters: readonly Letter[];
}

let files = 0;

/** Runs sources to their end; what was refused is in a file of its own. */
async function bridge(from: BridgeRunOptions["from"], more: Partial<BridgeRunOptions> = {}): Promise<Run> {
  const path = join(directory, `dead-${(files += 1)}.ndjson`);
  const quiet = createLog({ level: "error", format: "text", now: () => new Date(0), write: () => {} });
  const deadLetter = await openDeadLetter(path, quiet);
  const before = backend.taken.length;
  const run = await runOver({ from, env: envFor(backend.url), deadLetter, ...more });
  await deadLetter.close();
  const letters = readFileSync(path, "utf8").split("\n").slice(0, -1);
  return {
    ...run,
    spans: backend.taken.slice(before),
    letters: letters.map((line) => JSON.parse(line) as Letter),
  };
}

/** A file of these letters, mended or not. */
function fileOf(...letters: readonly object[]): string {
  const path = join(directory, `mended-${(files += 1)}.ndjson`);
  writeFileSync(path, letters.map((letter) => `${JSON.stringify(letter)}\n`).join(""));
  return path;
}

const mended = (letter: Letter, whole = STARTED) => ({ ...letter, payload: whole });
const compare = (a: string, b: string) => (a < b ? -1 : 1);
const bySpanId = (spans: readonly ServedSpan[]) => spans.toSorted((a, b) => (a.spanId < b.spanId ? -1 : 1));
const attributesOf = (span: ServedSpan | undefined) => Object.fromEntries(span?.attributes ?? []);
test("a letter is in its file before the commit that acknowledges what it keeps", async () => {
  const path = join(directory, "dead.ndjson");
  const quiet = createLog({ level: "error", format: "text", now: () => new Date(0), write: () => {} });
  const deadLetter = await openDeadLetter(path, quiet);
  const log = memoryLog(Array.from({ length: 500 }, (_, n) => ({ line: `{${n}`, appendedMs: n })));
  /** With each commit: how many letters there are, and how many events were acknowledged before it. */
  const seen: { letters: number; acknowledged: number }[] = [];
  const onCommit = () => {
    const letters = readFileSync(path, "utf8").split("\n").length - 1;
    seen.push({ letters, acknowledged: log.acknowledged.length });
    return undefined;
  };
  const stop = new AbortController();
  const from = [log.begin({ batch: () => 50, onCommit })];
  const run = runOver({
    from,
    env: envFor(backend.url),
    deadLetter,
    commitIntervalMs: 1,
    signal: stop.signal,
  });
  await log.done;
  stop.abort();
  await run;
  await deadLetter.close();
  const after = [...seen.slice(1).map(({ acknowledged }) => acknowledged), log.acknowledged.length];
  expect(after.at(-1)).toBe(500);
  for (const [at, { letters }] of seen.entries()) expect(letters).toBeGreaterThanOrEqual(after[at]!);
});

describe("a mended letter", () => {
  test("before the rest of its run gives what the whole would have given", async () => {
    const whole = await bridge([linewise(LINES)]);
    const torn = await bridge([linewise([damaged(STARTED), ...REST])]);
    expect(torn.report.events).toMatchObject({ rejected: { BEHEST_DECODE_JSON: 1 } });
    expect(torn.letters).toMatchObject([{ code: "BEHEST_DECODE_JSON", payload: damaged(STARTED) }]);
    const letters = fileSource(fileOf(mended(torn.letters[0]!)));
    const again = await bridge([chainSource([letters, linewise(REST)])]);
    expect(bySpanId(again.spans)).toEqual(bySpanId(whole.spans));
    expect(again.report).toEqual(whole.report);
    expect(again.letters).toEqual([]);
  });

  test("of the middle of a run finds its place when the rest of it is within the reorder window", async () => {
    const whole = await bridge([linewise(LINES)]);
    const at = LINES.findIndex((line) => line.startsWith('{"UsageRecorded"'));
    const torn = await bridge([linewise(LINES.with(at, damaged(LINES[at]!)))]);
    expect(torn.spans).not.toEqual(whole.spans);
    const letters = fileSource(fileOf(mended(torn.letters[0]!, LINES[at])));
    const from = [chainSource([letters, linewise(LINES.toSpliced(at, 1))])];
    const again = await bridge(from, { heart: { reorderWindowMs: 60_000 } });
    expect(bySpanId(again.spans)).toEqual(bySpanId(whole.spans));
  });

  test("alone is a run of which only that is known, in the same trace", async () => {
    const torn = await bridge([linewise([damaged(STARTED), ...REST])]);
    const { spans, report } = await bridge([fileOf(mended(torn.letters[0]!))]);
    expect(report.runs).toMatchObject({ incomplete: 1, completed: 0 });
    expect(spans).toHaveLength(1);
    expect(spans[0]?.traceId).toBe(torn.spans[0]?.traceId);
    expect(torn.spans.map(({ spanId }) => spanId)).not.toContain(spans[0]?.spanId);
    expect(attributesOf(spans[0])).toMatchObject({
      "behest.run.outcome": "incomplete",
      "behest.run.incomplete_reason": "drained",
    });
  });

  test("that comes to a bridge whose run is open is used there", async () => {
    const whole = await bridge([linewise(LINES)]);
    const [letter] = (await bridge([linewise([damaged(STARTED)])])).letters;
    const parts = [
      linewise(REST.slice(0, 2)),
      fileSource(fileOf(mended(letter!))),
      linewise(REST.slice(2)),
    ] as const;
    const { report, spans } = await bridge([chainSource(parts)]);
    expect(report).toEqual(whole.report);
    const names = ({ name }: ServedSpan) => name;
    expect(spans.map(names).toSorted(compare)).toEqual(whole.spans.map(names).toSorted(compare));
  });

  test("that comes to a bridge that has closed its run is late", async () => {
    const [letter] = (await bridge([linewise([damaged(LINES[3]!)])])).letters;
    const letters = fileSource(fileOf(mended(letter!, LINES[3])));
    const { report, spans } = await bridge([chainSource([linewise(LINES.toSpliced(3, 1)), letters])]);
    expect(report.events.dropped).toEqual({ late: 1 });
    expect(spans).toHaveLength(wire.standardSpans(SHAPE));
  });

  test("that comes twice counts once", async () => {
    const [letter] = (await bridge([linewise([damaged(STARTED)])])).letters;
    const letters = fileSource(fileOf(mended(letter!), mended(letter!)));
    const { report } = await bridge([chainSource([letters, linewise(LINES)])]);
    expect(report.events).toMatchObject({ used: LINES.length, dropped: { duplicate: 2 } });
  });

  test("of a run that was given up opens its next part", async () => {
    const run = wire.teller(1);
    const begun = wire.linesOf([wire.started(run), wire.model(run)]);
    run.at = 60_000;
    const [said = "", ended = ""] = wire.linesOf([wire.said(run), wire.completed(run)]);
    const other = wire.linesOf([wire.started(wire.teller(2, 30 * 60_000))]);
    const [letter] = (await bridge([linewise([damaged(said)])])).letters;
    const letters = fileSource(fileOf(mended(letter!, said), mended(letter!, ended)));
    const { spans, report } = await bridge([chainSource([linewise([...begun, ...other]), letters])]);
    expect(report.runs).toMatchObject({ completed: 1, incomplete: 2 });
    const [id] = begun.map((line) => /[0-9a-f-]{36}/.exec(line)?.[0].replaceAll("-", ""));
    const parts = spans
      .filter(({ name, traceId }) => name === "invoke_agent" && traceId === id)
      .map(attributesOf);
    expect(parts).toMatchObject([
      { "behest.run.incomplete_reason": "expired" },
      { "behest.run.outcome": "completed", "behest.run.resumed": true },
    ]);
  });

  test("stands beside events in one file", async () => {
    const [letter] = (await bridge([linewise([damaged(STARTED)])])).letters;
    const path = fileOf(mended(letter!));
    appendFileSync(path, `${REST.join("\n")}\n`);
    const { report } = await bridge([path]);
    expect(report).toMatchObject({ events: { used: LINES.length }, runs: { completed: 1 } });
  });

  test("goes to the shard of its run, and one that is refused to the first", async () => {
    const torn = await bridge([linewise([damaged(STARTED), ...REST])]);
    const path = fileOf(mended(torn.letters[0]!), torn.letters[0]!, { kind: "span", payload: "{}" });
    const shards = [0, 1].map((index) => bridge([path], { shard: { index, count: 2 } }));
    const [first, second] = await Promise.all(shards);
    expect(first!.report.events.rejected).toEqual({ BEHEST_DECODE_JSON: 1, BEHEST_DECODE_SPAN: 1 });
    expect(second!.report.events.rejected).toEqual({});
    expect(first!.report.events.used + second!.report.events.used).toBe(1);
  });
});

describe("a letter that is refused again", () => {
  test("holds its event, not the letter, and says where that came from, however often", async () => {
    const bytes = Buffer.from([0x7b, 0xff]);
    const one = await bridge([
      linewise([damaged(STARTED)], "first"),
      deliveries([{ id: "7-0", payload: bytes }]),
    ]);
    const two = await bridge([fileOf(...one.letters)]);
    const three = await bridge([fileOf(...two.letters)]);
    const told = (letters: readonly Letter[]) =>
      letters.toSorted((a, b) => (String(a.source) < String(b.source) ? -1 : 1));
    expect(told(one.letters)).toMatchObject([
      { code: "BEHEST_DECODE_UTF8", source: "broker", delivery_id: "7-0", payload_base64: "e/8=", bytes: 2 },
      { code: "BEHEST_DECODE_JSON", source: "first", delivery_id: null, payload: damaged(STARTED) },
    ]);
    const lasting = (letters: readonly Letter[]) =>
      told(letters).map((letter) => ({ ...letter, at: undefined }));
    expect(lasting(two.letters)).toEqual(lasting(one.letters));
    expect(lasting(three.letters)).toEqual(lasting(one.letters));
    expect(three.report.events).toMatchObject({ received: 2, used: 0 });
    expect(
      (await bridge([fileOf(mended(three.letters[0]!), mended(three.letters[1]!))])).report.events,
    ).toMatchObject({
      used: 1,
      dropped: { duplicate: 1 },
    });
  });

  test("without a source is said to come from its file", async () => {
    const path = fileOf({ kind: "event", payload: "{" });
    expect((await bridge([path])).letters).toMatchObject([{ source: path, delivery_id: null, payload: "{" }]);
  });

  test("of which only the head was kept is too long again, and says how long it was", async () => {
    const line = `{"TextDelta":{"run_id":"${wire.runIdOf(1)}","delta":"${"x".repeat(2_000_000)}`;
    const one = await bridge([linewise([line])]);
    expect(one.letters).toMatchObject([{ code: "BEHEST_LINE_TOO_LONG", bytes: line.length }]);
    const two = await bridge([fileOf(...one.letters)]);
    expect(two.report.events.rejected).toEqual({ BEHEST_LINE_TOO_LONG: 1 });
    expect(two.letters).toMatchObject([{ code: "BEHEST_LINE_TOO_LONG", bytes: line.length }]);
    expect(two.letters[0]?.payload === line.slice(0, HEAD_BYTES)).toBe(true);
  });

  test("because somebody broke the letter is kept as it is", async () => {
    const path = fileOf({ kind: "event", payload: STARTED });
    writeFileSync(path, readFileSync(path, "utf8").replace('\\"', '"'));
    const { letters } = await bridge([path]);
    expect(letters).toMatchObject([
      { code: "BEHEST_DECODE_JSON", payload: readFileSync(path, "utf8").trim() },
    ]);
  });
});

test("letters of spans are counted, told once, and not kept again", async () => {
  const span = { kind: "span", code: "BEHEST_EXPORT_REFUSED", payload: '{"resourceSpans":[]}', bytes: 20 };
  const { report, letters, logged, delivered } = await bridge([
    linewise([JSON.stringify(span), ...LINES, JSON.stringify(span)], "dead letters"),
  ]);
  expect(report.events).toEqual({
    received: LINES.length + 2,
    used: LINES.length,
    dropped: {},
    rejected: { BEHEST_DECODE_SPAN: 2 },
  });
  expect([letters, delivered]).toEqual([[], true]);
  const warnings = logged.filter((line) => line.startsWith("WARN"));
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toContain("Replay the events of those runs: they make the same spans again");
});

test("what headers said of an event is in its letter, and holds when that is read back", async () => {
  const parent = { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7", flags: 1 };
  const outside = { agent: "planner", parent: { ...parent, tracestate: "vendor=a" } };
  const long = { id: "2", payload: Buffer.from("{"), wholeBytes: 2_000_000, outside };
  const { letters } = await bridge([
    deliveries([{ id: "1", payload: Buffer.from(damaged(STARTED)), outside }, long]),
  ]);
  const told = {
    agent: "planner",
    traceparent: `00-${parent.traceId}-${parent.spanId}-01`,
    tracestate: "vendor=a",
  };
  expect(letters).toMatchObject([{ outside: told }, { outside: told }]);
  const again = await bridge([fileOf(letters[0]!)]);
  expect(again.letters).toMatchObject([{ outside: told, source: "broker", delivery_id: "1" }]);
  const { spans } = await bridge([
    chainSource([fileSource(fileOf(mended(again.letters[0]!))), linewise(REST)]),
  ]);
  expect(spans.find(({ name }) => name === "invoke_agent planner")).toMatchObject({
    traceId: parent.traceId,
    parentSpanId: parent.spanId,
    traceState: "vendor=a",
  });
});

/** A broker that has these, and then nothing. */
function deliveries(these: readonly (Pick<Delivery, "id" | "payload"> & Partial<Delivery>)[]): Source {
  const waiting = [these.map((one) => ({ appendedMs: wire.ORIGIN_MS, outside: undefined, ...one }))];
  return {
    name: "broker",
    keepsOrder: true,
    timed: true,
    open: () => Promise.resolve(),
    next: () => {
      const all = waiting.shift();
      return Promise.resolve(all && { kind: "deliveries", deliveries: all });
    },
    close: () => Promise.resolve(),
  };
}
