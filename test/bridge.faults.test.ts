import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { openDeadLetter } from "../src/dead-letter.ts";
import { createLog, type Log } from "../src/log.ts";
import {
  startGrpcBackend,
  startHttpBackend,
  take,
  type HttpAct,
  type OtlpServer,
  type Served,
} from "./otel/otlp-server.ts";
import { envFor, runOver, type BridgeRun, type BridgeRunOptions } from "./bridge/bridge-run.ts";
import { hurriedClock } from "./bridge/clocks.ts";
import { feed, linewise } from "./bridge/feed.ts";
import { spanIdOf } from "./bridge/raw-truth.ts";
import { until } from "./bridge/turns.ts";
import * as wire from "./bridge/wire-runs.ts";

const RUNS = 40;
const SHAPE = { modelCalls: 2, deltas: 2 };
const SPANS = wire.standardSpans(SHAPE);
const LINES = Array.from({ length: RUNS }, (_, n) => wire.linesOf(wire.standardRun(n, SHAPE))).flat();
/** Batches of so many, so that there are several. */
const BATCH = { OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "32" };
/** The span of the second model call of the eighth run. */
const POISON = spanIdOf(wire.runIdOf(7), "", "model", "2", 0);

const hasPoison = ({ spans }: Served) => spans.some(({ spanId }) => spanId === POISON);
const answer = (status: number, rest: Partial<Extract<HttpAct, { act: "answer" }>> = {}): HttpAct => ({
  act: "answer",
  status,
  ...rest,
});

let backend: OtlpServer;
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "behest-otel-"));
});
afterEach(async () => {
  await backend.close();
  rmSync(directory, { recursive: true });
});

/** Starts a backend that decides about the n-th request of spans, and takes everything else. */
async function startBackend(
  act: (request: Served, index: number) => HttpAct | Promise<HttpAct>,
): Promise<void> {
  let index = 0;
  backend = await startHttpBackend((request) => (request.signal === "traces" ? act(request, index++) : take));
}

function bridge(options: Partial<BridgeRunOptions> = {}): Promise<BridgeRun> {
  const { env, ...rest } = options;
  // No jitter: the shortest wait there is, 50 ms.
  return runOver({
    from: [linewise(LINES)],
    env: { ...envFor(backend.url), ...BATCH, ...env },
    random: () => 0,
    ...rest,
  });
}

/** All spans arrived, each with one content however often it was sent. */
function expectAllBut(missing: readonly string[]): void {
  const contents = Map.groupBy(backend.taken, ({ spanId }) => spanId);
  expect(contents.size).toBe(RUNS * SPANS - missing.length);
  for (const spanId of missing) expect(contents.has(spanId)).toBe(false);
  for (const sent of contents.values()) {
    expect(new Set(sent.map((span) => JSON.stringify(span))).size).toBe(1);
  }
}

const ALL = { exported: RUNS * SPANS, failed: 0 };

describe("a backend that comes back loses nothing", () => {
  test("down at the start", async () => {
    backend = await startHttpBackend();
    const port = Number(new URL(backend.url).port);
    await backend.close();
    const source = feed();
    source.push(...LINES);
    const logged: string[] = [];
    const ending = bridge({ from: [source], log: logInto(logged) });
    await until(() => logged.some((line) => line.includes("ECONNREFUSED")), "it is said that nobody answers");
    backend = await startHttpBackend(() => take, port);
    source.end();
    expect(await ending).toMatchObject({ delivered: true, report: { spans: ALL } });
    expectAllBut([]);
    expect(
      logged.filter((line) => /WARN .*cannot be delivered now/.test(line) && line.includes("traces")),
    ).toHaveLength(1);
  });

  test.each([
    ["503", answer(503)],
    ["502 with a page", answer(502, { headers: { "content-type": "text/html" }, body: "<html>bad gateway" })],
    ["500", answer(500)],
    ["a connection that is cut", { act: "hang up" } as const],
    ["an answer that is cut", { act: "cut" } as const],
  ])("in the middle: %s", async (_, trouble) => {
    await startBackend((_request, index) => (index >= 2 && index < 6 ? trouble : take));
    expect(await bridge()).toMatchObject({ delivered: true, report: { spans: ALL } });
    expectAllBut([]);
  });

  test("at the end, when the input is over", async () => {
    let wasEnded = false;
    const source = feed();
    await startBackend(() => (wasEnded ? take : answer(503)));
    source.push(...LINES);
    source.end();
    const ending = bridge({ from: [source] });
    await until(() => backend.requests.length >= 4, "it tried again");
    wasEnded = true;
    expect(await ending).toMatchObject({ delivered: true, report: { spans: ALL } });
    expectAllBut([]);
  });

  test("over gRPC: UNAVAILABLE in the middle", async () => {
    let index = 0;
    backend = await startGrpcBackend(({ signal }) => {
      if (signal !== "traces") return { act: "take" };
      index += 1;
      return index > 2 && index < 6 ? { act: "fail", code: 14, message: "restarting" } : { act: "take" };
    });
    const env = { ...envFor(backend.url, "grpc"), ...BATCH };
    expect(await bridge({ env })).toMatchObject({ delivered: true, report: { spans: ALL } });
    expectAllBut([]);
  });

  test("slow: everything waits its turn and arrives once", async () => {
    await startBackend(async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return take;
    });
    expect(await bridge()).toMatchObject({ delivered: true, report: { spans: ALL } });
    expect(backend.taken.length).toBe(RUNS * SPANS);
  });

  test("429: not before Retry-After says", async () => {
    const came: number[] = [];
    await startBackend((_request, index) => {
      came.push(Date.now());
      return index === 0 ? answer(429, { headers: { "retry-after": "1" } }) : take;
    });
    const env = { OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "512" };
    expect(await bridge({ env })).toMatchObject({ delivered: true, report: { spans: ALL } });
    expect(came).toHaveLength(2);
    expect(came[1]! - came[0]!).toBeGreaterThanOrEqual(990);
    expectAllBut([]);
  });

  test("a page of HTML with 200 is no delivery: it is an error of configuration until it is put right", async () => {
    await startBackend((_request, index) =>
      index < 2 ? answer(200, { headers: { "content-type": "text/html" }, body: "<html>log in" }) : take,
    );
    const clock = hurriedClock(50);
    const env = { OTEL_EXPORTER_OTLP_TIMEOUT: "600000" };
    const end = await bridge({ clock, env, flushTimeoutMs: 120_000 });
    expect(end).toMatchObject({ delivered: true, report: { spans: ALL } });
    expect(
      end.logged.filter((line) => line.startsWith("ERROR The traces are refused because of where")),
    ).toHaveLength(1);
    expectAllBut([]);
  });
});

describe("what the backend refuses is lost alone, counted, and kept as a dead letter", () => {
  async function deadLetters(run: (options: Partial<BridgeRunOptions>) => Promise<BridgeRun>) {
    const path = join(directory, "dead.ndjson");
    const deadLetter = await openDeadLetter(path, logInto([]));
    const end = await run({ deadLetter });
    await deadLetter.close();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const text = readFileSync(path, "utf8");
    const letters = text
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, string>);
    return { end, letters };
  }

  test.each([
    ["400", answer(400, { body: "bad span" }), "refused"],
    ["422", answer(422), "refused"],
    ["413 even alone", answer(413), "too_large"],
    ["500 again and again", answer(500), "server_error"],
  ])("one span, by %s", async (_, trouble, reason) => {
    await startBackend((request) => (hasPoison(request) ? trouble : take));
    const { end, letters } = await deadLetters((options) =>
      bridge({ ...options, clock: hurriedClock(100), flushTimeoutMs: 600_000 }),
    );
    expect(end).toMatchObject({
      delivered: false,
      comesAgain: false,
      report: { spans: { exported: RUNS * SPANS - 1, failed: 1 } },
    });
    expectAllBut([POISON]);
    expect(letters).toHaveLength(1);
    expect(letters[0]).toMatchObject({
      kind: "span",
      code: `BEHEST_EXPORT_${reason.toUpperCase()}`,
      source: "lines",
      delivery_id: null,
    });
    expect(spanIdsIn(letters[0]!["payload"]!)).toEqual([POISON]);
  });

  test("413 for what is too large is sent in smaller parts, and nothing is lost", async () => {
    await startBackend(({ spans }) => (spans.length > 5 ? answer(413) : take));
    expect(await bridge()).toMatchObject({ delivered: true, report: { spans: ALL } });
    expectAllBut([]);
  });

  test("partial success: as many as it says are lost, and the rest is not sent again", async () => {
    // ExportTraceServiceResponse { partial_success { rejected_spans: 3, error_message: "no" } }
    const partial = Buffer.from([0x0a, 0x06, 0x08, 0x03, 0x12, 0x02, 0x6e, 0x6f]);
    await startBackend((_request, index) =>
      index === 1
        ? answer(200, { headers: { "content-type": "application/x-protobuf" }, body: partial })
        : take,
    );
    const { end, letters } = await deadLetters(bridge);
    expect(end).toMatchObject({
      delivered: false,
      comesAgain: false,
      report: { spans: { exported: RUNS * SPANS - 3, failed: 3 } },
    });
    expect(letters).toEqual([]);
    expect(
      backend.requests.filter(({ signal }) => signal === "traces").flatMap(({ spans }) => spans),
    ).toHaveLength(RUNS * SPANS);
    expect(end.logged.join("\n")).toMatch(/ERROR Some traces were given up .*reason=rejected count=3/);
  });

  test("what is not delivered when the time is over is counted and kept, each span once", async () => {
    await startBackend((_request, index) => (index < 2 ? take : answer(503)));
    const { end, letters } = await deadLetters((options) => bridge({ ...options, flushTimeoutMs: 400 }));
    expect(end.delivered).toBe(false);
    const { exported, failed } = end.report.spans;
    expect([exported, failed]).toEqual([64, RUNS * SPANS - 64]);
    expect(letters).toHaveLength(failed);
    expect(new Set(letters.map(({ code }) => code))).toEqual(new Set(["BEHEST_EXPORT_UNDELIVERED"]));
    const kept = letters.flatMap(({ payload }) => spanIdsIn(payload!));
    const arrived = backend.taken.map(({ spanId }) => spanId);
    expect(new Set([...kept, ...arrived]).size).toBe(RUNS * SPANS);
  });

  test("rejected lines are kept as they came, text as text and bytes as base64", async () => {
    await startBackend(() => take);
    const source = feed("events");
    source.push('{"broken', ...LINES.slice(0, 2));
    const bytes = { ...feed("bytes") };
    const raw = Buffer.from([0x7b, 0xff, 0xfe, 0x0a]);
    let given = false;
    bytes.next = async () => {
      if (given) return undefined;
      given = true;
      return { kind: "chunk", bytes: raw, position: { file: "bytes", offset: 0 } };
    };
    source.end();
    const { end, letters } = await deadLetters((options) => bridge({ ...options, from: [source, bytes] }));
    expect(end).toMatchObject({ delivered: true });
    expect(letters.toSorted((a, b) => (a["source"]! < b["source"]! ? -1 : 1))).toMatchObject([
      { kind: "event", code: "BEHEST_DECODE_UTF8", source: "bytes", payload_base64: "e//+", bytes: 3 },
      { kind: "event", code: "BEHEST_DECODE_JSON", source: "events", payload: '{"broken', bytes: 8 },
    ]);
  });
});

describe("logs that nobody takes", () => {
  const run = wire.teller(1);
  const lines = wire.linesOf([
    wire.started(run),
    run.tell("DoomLoopDetected", { description: "again" }),
    wire.failed(run, "doom loop detected: again"),
  ]);

  test("are something undelivered", async () => {
    backend = await startHttpBackend(({ signal }) => (signal === "logs" ? answer(400) : take));
    const env = { OTEL_LOGS_EXPORTER: "otlp" };
    const end = await bridge({ from: [linewise(lines)], env });
    expect(end.logged.join("\n")).toContain("ERROR Some logs were given up");
    expect(end).toMatchObject({
      delivered: false,
      comesAgain: false,
      report: { spans: { exported: 1, failed: 0 } },
    });
  });

  test("that were taken are not", async () => {
    backend = await startHttpBackend();
    const end = await bridge({ from: [linewise(lines)], env: { OTEL_LOGS_EXPORTER: "otlp" } });
    expect(end.delivered).toBe(true);
    expect(backend.requests.filter(({ signal }) => signal === "logs")).toHaveLength(1);
  });
});

function spanIdsIn(payload: string): string[] {
  return [...payload.matchAll(/"spanId":"([0-9a-f]{16})"/g)].map(([, id]) => id!);
}

function logInto(lines: string[]): Log {
  return createLog({
    level: "debug",
    format: "text",
    now: () => new Date(0),
    write: (line) => lines.push(line),
  });
}
