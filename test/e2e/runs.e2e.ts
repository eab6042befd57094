import { readFileSync } from "node:fs";

import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from "vitest";

import type { Report } from "../../src/report.ts";
import { truthOf } from "../bridge/raw-truth.ts";
import { linesOf, recordingsOf } from "../bridge/recordings.ts";
import { run, temporary } from "../cli/program.ts";
import { startHttpBackend } from "../otel/otlp-server.ts";
import {
  byId,
  monitoredCalls,
  outlineOf,
  pageTrace,
  samples,
  spansOf,
  storedIds,
  storedSpans,
  valuesBy,
  type PageSpan,
  type StoredSpan,
} from "./backends.ts";
import { startStack, type Stack } from "./stack.ts";

const RECORDINGS = recordingsOf("").filter(({ version }) => version === "0.5.9");
const LINES = RECORDINGS.flatMap(({ path }) => linesOf(path));
const TRUTH = truthOf(LINES);
const TRACES = new Set(TRUTH.spans.map(({ traceId }) => traceId));
const PATIENCE = { timeout: 30_000, interval: 200 };

let stack: Stack;
/** By trace, what a backend of the tests was sent of the same recordings. */
let sent: Map<string, StoredSpan[]>;

beforeAll(async () => {
  const backend = await startHttpBackend();
  [stack] = await Promise.all([startStack(), replay(backend.url)]);
  await backend.close();
  const traces = backend.requests.filter(({ signal }) => signal === "traces");
  sent = Map.groupBy(
    traces.flatMap(({ json }) => spansOf(json)),
    ({ traceId }) => traceId,
  );
  await replay(stack.otlpHttp);
});
afterAll(() => stack?.close());
beforeEach(() => onTestFailed(() => console.error(stack.logs())));

describe("every recording of 0.5.9, replayed with its original times", () => {
  test("is in Jaeger, each run as the trace that has its id", async () => {
    expect(new Set(sent.keys())).toEqual(TRACES);
    await expect.poll(async () => (await allStoredIds()).length, PATIENCE).toBe(TRUTH.spans.length);
  });

  describe.each(RECORDINGS.map(({ scenario, path }) => [scenario, linesOf(path)] as const))(
    "%s",
    (_, lines) => {
      const truth = truthOf(lines);
      const traces = [...new Set(truth.spans.map(({ traceId }) => traceId))];

      test("has in Jaeger the spans, ids, parents and times that follow from its JSON by hand", async () => {
        const spans = (await Promise.all(traces.map((id) => storedSpans(stack.jaegerUrl, id)))).flat();
        expect(byId(spans.map(outlineOf))).toEqual(byId(truth.spans));
      });

      test("is in Jaeger as it was sent, to the last attribute and span event", async () => {
        for (const id of traces) {
          const stored = await storedSpans(stack.jaegerUrl, id);
          expect(byId(stored)).toEqual(byId(sent.get(id)!));
        }
      });

      test("is shown on Jaeger's page whole, with its numbers and errors, and without a warning", async () => {
        for (const id of traces) {
          const page = await pageTrace(stack.jaegerUrl, id);
          expect(page.warnings).toBeNull();
          expect(Object.values(page.processes).map(({ serviceName }) => serviceName)).toEqual(["behest"]);
          const shown = page.spans.toSorted((a, b) => (a.spanID < b.spanID ? -1 : 1));
          expect(shown).toEqual(byId(sent.get(id)!).map((span) => expect.objectContaining(onPage(span))));
        }
      });
    },
  );

  test("has between them what the page can show: failures, loops, circuits, tokens, silent ends", () => {
    const all = [...sent.values()].flat();
    const events = new Set(all.flatMap((span) => span.events.map(({ name }) => name)));
    expect(events).toEqual(new Set(["behest.doom_loop.detected", "behest.compaction.circuit_opened"]));
    const types = new Set(all.map(({ attributes }) => attributes["error.type"]));
    expect(types).toEqual(
      new Set([undefined, "iteration_limit_exceeded", "token_budget_exceeded", "doom_loop"]),
    );
    const read = all.filter(({ attributes }) => "gen_ai.usage.cache_read.input_tokens" in attributes);
    expect(read.length).toBeGreaterThan(0);
  });
});

describe("what Prometheus has of them", () => {
  const query = (metric: string, labels: readonly string[]) => valuesBy(stack.prometheusUrl, metric, labels);
  const BY_KIND = ["gen_ai_provider_name", "gen_ai_request_model", "gen_ai_token_type"];

  test("is their tokens, by provider, model and kind", async () => {
    await expect
      .poll(() => query("behest_token_usage_total", BY_KIND), PATIENCE)
      .toEqual(nonZero(TRUTH.tokens));
    const sums = await query("gen_ai_client_token_usage_sum", BY_KIND);
    expect(sums).toEqual(nonZero(TRUTH.tokens, (key) => !key.includes("cache")));
  });

  test("is their ends by outcome, and every event by its type", async () => {
    const ended = await query("behest_run_ended_total", ["behest_run_outcome"]);
    expect(ended).toEqual(nonZero(TRUTH.runs));
    expect(await query("behest_bridge_events_used_total", ["type"])).toEqual(TRUTH.byType);
    expect(await query("behest_bridge_spans_exported_total", ["job"])).toEqual({
      behest: TRUTH.spans.length,
    });
  });

  test("stands under the service's name and one instance, whose id is that of the process", async () => {
    const found = await samples(stack.prometheusUrl, "count by (job, instance) ({__name__=~'behest_.+'})");
    expect(found.map(({ labels }) => labels)).toEqual([
      { job: "behest", instance: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/) },
    ]);
    const info = await samples(stack.prometheusUrl, 'target_info{job="behest"}');
    expect(info.map(({ labels }) => labels)).toEqual([
      expect.objectContaining({ ...found[0]!.labels, telemetry_sdk_language: "nodejs" }),
    ]);
  });
});

describe("all of them replayed once more", () => {
  beforeAll(() => replay(stack.otlpHttp));

  test("lie in Jaeger twice", async () => {
    const stored = async () => (await allStoredIds()).length;
    await expect.poll(stored, PATIENCE).toBe(2 * TRUTH.spans.length);
  });

  test("are shown by Jaeger once, and without a warning", async () => {
    const spans = await Promise.all([...TRACES].map((id) => storedSpans(stack.jaegerUrl, id)));
    expect(spans.flat().length).toBe(TRUTH.spans.length);
    const traces = await Promise.all([...TRACES].map((id) => pageTrace(stack.jaegerUrl, id)));
    expect(traces.flatMap((trace) => trace.spans).length).toBe(TRUTH.spans.length);
    const warnings = traces.flatMap((trace) => [trace.warnings, ...trace.spans.map((span) => span.warnings)]);
    expect(new Set(warnings)).toEqual(new Set([null]));
  });

  // Only now: the rate of a counter that was never seen at a lower value is 0.
  test("show in Jaeger's Monitor tab, every operation with its calls, from the span metrics in Prometheus", async () => {
    const names = [...new Set(TRUTH.spans.map(({ name }) => name))].toSorted();
    const called = async () => {
      const rates = await monitoredCalls(stack.jaegerUrl, "behest");
      return Object.keys(rates).filter((name) => rates[name]! > 0);
    };
    await expect.poll(async () => (await called()).toSorted(), PATIENCE).toEqual(names);
  });
});

/** All recordings in one process. */
async function replay(otlp: string): Promise<void> {
  const file = temporary("report.json");
  const { status, stderr } = await run({
    args: ["replay", "--metrics", "--report", file, ...RECORDINGS.map(({ path }) => path)],
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: otlp },
  });
  expect(status, stderr).toBe(0);
  const report = JSON.parse(readFileSync(file, "utf8")) as Report;
  expect(report).toEqual({
    events: { received: LINES.length, used: LINES.length, dropped: {}, rejected: {} },
    runs: TRUTH.runs,
    spans: { exported: TRUTH.spans.length, failed: 0 },
  });
}

async function allStoredIds(): Promise<string[]> {
  return (await Promise.all([...TRACES].map((id) => storedIds(stack.jaegerUrl, id)))).flat();
}

const KINDS = ["unspecified", "internal", "server", "client"];

/** A span as Jaeger's page has it: microseconds, and all that is said of it as tags. */
function onPage(span: StoredSpan): Omit<PageSpan, "tags"> & { readonly tags: unknown } {
  const { traceId, parentSpanId, status, scope, events } = span;
  const failed = status.code === 2;
  const start = Number(BigInt(span.start) / 1_000n);
  const tags: Record<string, unknown> = {
    ...span.attributes,
    "otel.scope.name": scope.name,
    "otel.scope.version": scope.version,
    "span.kind": KINDS[span.kind],
    ...(failed && { error: true, "otel.status_code": "ERROR", "otel.status_description": status.message }),
  };
  return {
    spanID: span.spanId,
    operationName: span.name,
    references: parentSpanId === "" ? [] : [{ refType: "CHILD_OF", traceID: traceId, spanID: parentSpanId }],
    startTime: start,
    duration: Number((BigInt(span.end) - BigInt(span.start)) / 1_000n),
    tags: Object.entries(tags)
      .map(([key, value]) => tagOf(key, value))
      .toSorted((a, b) => (a.key < b.key ? -1 : 1)),
    logs: events.map(({ name, time, attributes }) => ({
      timestamp: Number(BigInt(time) / 1_000n),
      fields: Object.entries({ event: name, ...attributes }).map(([key, value]) => tagOf(key, value)),
    })),
    warnings: null,
  };
}

function tagOf(key: string, value: unknown): PageSpan["tags"][number] {
  switch (typeof value) {
    case "bigint":
      return { key, type: "int64", value: Number(value) };
    case "number":
      return { key, type: "float64", value };
    case "boolean":
      return { key, type: "bool", value };
    case "object":
      return { key, type: "string", value: JSON.stringify(value) };
    default:
      return { key, type: "string", value };
  }
}

function nonZero(
  counts: Readonly<Record<string, number>>,
  keep: (key: string) => boolean = () => true,
): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([key, count]) => count !== 0 && keep(key)));
}
