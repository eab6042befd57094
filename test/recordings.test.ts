import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { envFor, runOver, type BridgeRun } from "./bridge/bridge-run.ts";
import {
  linesOf,
  nameOf,
  recording,
  recordingsOf,
  treePath,
  TREES,
  VERSIONS,
  type Recording,
} from "./bridge/recordings.ts";
import { truthOf } from "./bridge/raw-truth.ts";
import { lastPoints, total, valuesBy, type ServedPoint } from "./bridge/served-metrics.ts";
import { treeOf } from "./bridge/tree.ts";
import { startGrpcBackend, startHttpBackend, type OtlpServer, type ServedSpan } from "./otel/otlp-server.ts";

/** What came of one recording over one protocol. */
interface Outcome extends BridgeRun {
  readonly spans: readonly ServedSpan[];
  readonly points: readonly ServedPoint[];
}

const PROTOCOLS = ["http/protobuf", "http/json", "grpc"] as const;
type Protocol = (typeof PROTOCOLS)[number];

const backends: Partial<Record<Protocol, OtlpServer>> = {};

beforeAll(async () => {
  backends["http/protobuf"] = await startHttpBackend();
  backends["http/json"] = await startHttpBackend();
  backends.grpc = await startGrpcBackend();
});

afterAll(async () => {
  await Promise.all(Object.values(backends).map((backend) => backend.close()));
});

/** A window that more than covers what the runtime's publishers swap (README of the recordings, 18). */
const REORDERED = { reorderWindowMs: 2_000 };

async function bridged(
  { path }: Recording,
  protocol: Protocol = "http/protobuf",
  heart: { readonly reorderWindowMs?: number } = {},
): Promise<Outcome> {
  const backend = backends[protocol]!;
  const before = backend.taken.length;
  const requests = backend.requests.length;
  const run = await runOver({ from: [path], env: envFor(backend.url, protocol), heart });
  return {
    ...run,
    spans: backend.taken.slice(before),
    points: lastPoints(backend.requests.slice(requests)),
  };
}

const inProcess = recordingsOf("");

describe.each(inProcess.map((one) => [nameOf(one), one] as const))("%s", (_, one) => {
  const truth = truthOf(linesOf(one.path));
  let outcome: Outcome;

  beforeAll(async () => {
    outcome = await bridged(one);
  });

  test("arrives as its committed tree says, to the nanosecond and the last attribute", () => {
    const tree = treeOf(outcome.spans);
    const path = treePath(one);
    if (process.env["UPDATE_TREES"] === "1") {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, tree);
    }
    expect(tree).toBe(readFileSync(path, "utf8"));
  });

  test("has the spans, ids and times that follow from its JSON by hand", () => {
    const got = outcome.spans.map(({ traceId, spanId, parentSpanId, name, start, end }) => ({
      traceId,
      spanId,
      parentSpanId,
      name,
      start,
      end,
    }));
    expect(byId(got)).toEqual(byId(truth.spans));
  });

  test("comes whole: sampled, under one resource and one scope, no id twice", () => {
    expect(new Set(outcome.spans.map(({ spanId }) => spanId)).size).toBe(outcome.spans.length);
    for (const { flags, resource, scope, dropped } of outcome.spans) {
      expect({ flags, resource, scope, dropped }).toEqual({
        flags: 0x101,
        resource: [
          ["service.name", "behest"],
          ["telemetry.sdk.language", "nodejs"],
          ["telemetry.sdk.name", "opentelemetry"],
          ["telemetry.sdk.version", "3.1.0"],
        ],
        scope: { name: "behest-otel", version: "0.1.0" },
        dropped: [0, 0, 0],
      });
    }
  });

  test("is the same over http/json and grpc", async () => {
    for (const protocol of ["http/json", "grpc"] as const) {
      const other = await bridged(one, protocol);
      expect(other.spans).toEqual(outcome.spans);
      expect(other.report).toEqual(outcome.report);
    }
  });

  test("is counted as its JSON says, in the report and in the metrics alike", () => {
    const { report, points } = outcome;
    expect(report).toEqual({
      events: { received: truth.events, used: truth.events, dropped: {}, rejected: {} },
      runs: truth.runs,
      spans: { exported: truth.spans.length, failed: 0 },
    });
    expect(valuesBy(points, "behest.bridge.events.used", ["type"])).toEqual(truth.byType);
    expect(valuesBy(points, "behest.bridge.events.received", ["type"])).toEqual(truth.byType);
    expect(total(points, "behest.bridge.events.dropped")).toBe(0);
    expect(total(points, "behest.bridge.events.rejected")).toBe(0);
    const ended = valuesBy(points, "behest.run.ended", ["behest.run.outcome"]);
    expect({ completed: 0, failed: 0, cancelled: 0, incomplete: 0, ...ended }).toEqual(truth.runs);
    expect(total(points, "behest.run.active")).toBe(0);
    expect(total(points, "behest.bridge.spans.exported")).toBe(truth.spans.length);
    expect(total(points, "gen_ai.invoke_agent.duration")).toBe(truth.endedRuns);
  });

  test("has its tokens, calls and chunks in the metrics, per provider, model and kind", () => {
    const { points } = outcome;
    const names = ["gen_ai.provider.name", "gen_ai.request.model"];
    const byKind = [...names, "gen_ai.token.type"];
    expect(valuesBy(points, "behest.token.usage", byKind)).toEqual(nonZero(truth.tokens));
    const sums = valuesBy(points, "gen_ai.client.token.usage", byKind, ({ sum }) => sum);
    expect(sums).toEqual(nonZero(truth.tokens, (key) => !key.includes("cache")));
    const counts = valuesBy(
      points.filter(({ attributes }) => attributes["gen_ai.token.type"] === "output"),
      "gen_ai.client.token.usage",
      names,
      ({ count }) => count,
    );
    expect(counts).toEqual(truth.callsWithUsage);
    const calls = outcome.spans.filter(({ name }) => name.startsWith("chat "));
    expect(calls.length).toBe(truth.modelCalls);
    expect(total(points, "gen_ai.client.operation.duration")).toBe(calls.filter(wasSeenToEnd).length);
    expect(total(points, "gen_ai.client.operation.time_to_first_chunk")).toBe(truth.streamedCalls);
    expect(total(points, "gen_ai.client.operation.time_per_output_chunk")).toBe(truth.chunkGaps);
    const chunks = outcome.spans.map(({ attributes }) =>
      Number(attribute(attributes, "behest.response.chunks") ?? 0),
    );
    expect(chunks.reduce((all, count) => all + count, 0)).toBe(truth.chunks);
    const tools = outcome.spans.filter(({ name }) => name.startsWith("execute_tool "));
    expect(total(points, "gen_ai.execute_tool.duration")).toBe(tools.filter(wasSeenToEnd).length);
  });

  test("agrees with what the runtime's own calls returned", () => {
    const returned = resultsOf(one).filter(({ run_id: id }) => id !== undefined);
    // A resumed run returned once, for all of it.
    for (const { run_id: id, finish_reason: reason, iterations, total_usage: usage } of returned) {
      const run = outcome.spans.find(
        ({ name, attributes }) => name === "invoke_agent" && hasRun(attributes, id!),
      );
      if (reason === undefined || run === undefined) continue;
      const has = (key: string) => attribute(run.attributes, key);
      expect(has("behest.run.iterations")).toBe(iterations);
      expect(attribute(run.attributes, "behest.run.finish_reason")).toBe(
        typeof reason === "string" ? reason : reason.unknown,
      );
      const cached =
        attribute(run.attributes, "gen_ai.provider.name") === "anthropic"
          ? Number(has("behest.run.usage.cache_read_input_tokens") ?? 0) +
            Number(has("behest.run.usage.cache_write_input_tokens") ?? 0)
          : 0;
      expect(Number(has("behest.run.usage.input_tokens") ?? 0) - cached).toBe(usage!.input_tokens);
      expect(has("behest.run.usage.output_tokens") ?? 0).toBe(usage!.output_tokens);
    }
  });

  test("names on a tool's span no message of another tool", () => {
    const answers = new Map(resultsOf(one).flatMap(({ tool_messages: pairs }) => pairs ?? []));
    for (const { name, attributes } of outcome.spans) {
      const message = attribute(attributes, "behest.message.id") as string | undefined;
      if (!name.startsWith("execute_tool") || message === undefined || !answers.has(message)) continue;
      expect(answers.get(message)).toBe(attribute(attributes, "gen_ai.tool.call.id"));
    }
  });
});

test("every committed tree is that of a recording", () => {
  const trees = VERSIONS.flatMap((version) =>
    readdirSync(join(TREES, version)).map((file) => join(TREES, version, file)),
  );
  expect(trees.toSorted(byText)).toEqual(inProcess.map(treePath).toSorted(byText));
});

describe("the same runs over other transports give the spans of the process's own channel", () => {
  for (const transport of ["redis", "nats", "redis-run", "nats-run", "memory-run", "invocation"]) {
    test.each(recordingsOf(transport).map((one) => [nameOf(one), one] as const))("%s", async (_, one) => {
      const expected = await bridged(recording(one.version, one.scenario));
      const got = await bridged(one, "http/protobuf", REORDERED);
      const contradicted = transport === "redis-run" && linesOf(one.path).some(hasCacheMetrics);
      const comparable = contradicted ? withoutRaisedEnd : (span: ServedSpan) => span;
      expect(byId(got.spans.map(withoutMissing).map(comparable))).toEqual(
        byId(expected.spans.map(comparable)),
      );
      if (!contradicted) expect(treeOf(got.spans.map(withoutMissing))).toBe(treeOf(expected.spans));
      const { events, runs } = got.report;
      expect(events.used).toBe(expected.report.events.used);
      expect(runs).toEqual(expected.report.runs);
      expect(events).toEqual({
        received: linesOf(one.path).length,
        used: events.used,
        dropped: repeats(one),
        rejected: {},
      });
    });
  }
});

test("a gap in the numbering is told on the run and nowhere else", async () => {
  // The runtime numbers CacheMetrics twice and publishes them once (README of the recordings, 15).
  const { spans } = await bridged(recording("0.5.9", "cache-tokens", "nats-run"), "http/protobuf", REORDERED);
  const missing = spans.map(({ name, attributes }) => [
    name,
    attribute(attributes, "behest.run.events_missing"),
  ]);
  expect(missing.filter(([, count]) => count !== undefined)).toEqual([
    ["invoke_agent", 2],
    ["invoke_agent", 1],
    ["invoke_agent", 1],
  ]);
});

interface Returned {
  readonly run_id?: string;
  readonly finish_reason?: string | { readonly unknown: string };
  readonly iterations?: number;
  readonly total_usage?: { readonly input_tokens: number; readonly output_tokens: number };
  readonly tool_messages?: readonly (readonly [message: string, callId: string])[];
}

function resultsOf({ version, scenario }: Recording): readonly Returned[] {
  const path = recording(version, "results").path.replace(/ndjson$/, "json");
  const all = JSON.parse(readFileSync(path, "utf8")) as Record<string, readonly Returned[]>;
  return all[scenario]!;
}

/** Events that are in the file twice, byte for byte. */
function repeats(one: Recording): { duplicate?: number } {
  const inner = linesOf(one.path).map((line) => {
    const value = JSON.parse(line) as { event?: unknown };
    return JSON.stringify(value.event ?? value);
  });
  const count = inner.length - new Set(inner).size;
  return count === 0 ? {} : { duplicate: count };
}

function withoutMissing(span: ServedSpan): ServedSpan {
  return { ...span, attributes: span.attributes.filter(([key]) => key !== "behest.run.events_missing") };
}

function hasCacheMetrics(line: string): boolean {
  return line.includes('"CacheMetrics"');
}

/**
 * The runtime numbers CacheMetrics before events that are older (README of the recordings, 15). Numbers
 * decide about order, so the time of those is raised to that of CacheMetrics, and their model call says
 * that its times were corrected.
 */
function withoutRaisedEnd(span: ServedSpan): ServedSpan {
  if (!span.name.startsWith("chat ")) return span;
  const attributes = span.attributes.filter(([key]) => key !== "behest.clock.corrected");
  return { ...span, attributes, end: "" };
}

function byId<S extends { readonly spanId: string }>(spans: readonly S[]): S[] {
  return spans.toSorted((a, b) => (a.spanId < b.spanId ? -1 : 1));
}

function attribute(attributes: ServedSpan["attributes"], key: string): unknown {
  return attributes.find(([name]) => name === key)?.[1];
}

/** How long it took is known: it was not just open when its run ended without a word. */
function wasSeenToEnd({ attributes, status }: ServedSpan): boolean {
  return status.code === 2 || !attributes.some(([key]) => key === "behest.span.incomplete");
}

function byText(a: string, b: string): number {
  return a < b ? -1 : 1;
}

function hasRun(attributes: ServedSpan["attributes"], runId: string): boolean {
  return attributes.some(([key, value]) => key === "behest.run.id" && value === runId);
}

function nonZero(
  counts: Readonly<Record<string, number>>,
  keep: (key: string) => boolean = () => true,
): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([key, count]) => count !== 0 && keep(key)));
}
