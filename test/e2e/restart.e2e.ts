import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from "vitest";

import { truthOf } from "../bridge/raw-truth.ts";
import { recordingsOf } from "../bridge/recordings.ts";
import { SEED, seeded } from "../bridge/seeded.ts";
import { byId, outlineOf, pageTrace, samples, storedIds, storedSpans, valuesBy } from "./backends.ts";
import { LiveBridge, retold, runsOf, type TimedLine } from "./live.ts";
import { startStack, type Stack } from "./stack.ts";

/** Hundreds of runs, with all ends that there are; the fifty at once are most of them. */
const SCENARIOS = recordingsOf("")
  .filter(({ version }) => version === "0.5.9")
  .map(({ scenario }) => scenario);
const COPIES = 5;
const STREAM_MS = 24_000;

/** The collector tries Jaeger again after half a minute at most. */
const PATIENCE = { timeout: 90_000, interval: 500 };

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
  // From the start: what it had in memory would be gone with it.
  await stack.jaeger.kill("SIGTERM");
});
afterAll(() => stack?.close());
beforeEach(() => onTestFailed(() => console.error(stack.logs())));

describe(`a live stream of hundreds of runs (SEED=${SEED}), Jaeger away at first, the collector killed three times`, () => {
  let lines: readonly string[];
  let truth: ReturnType<typeof truthOf>;
  let traces: readonly string[];
  let bridge: Awaited<ReturnType<LiveBridge["stop"]>>;

  beforeAll(async () => {
    const live = await LiveBridge.start({ otlp: stack.otlpHttp });
    const stream = streamFrom(Date.now());
    lines = stream.map(({ line }) => line);
    truth = truthOf(lines);
    traces = [...new Set(truth.spans.map(({ traceId }) => traceId))];

    const telling = live.tell(stream);
    // Unhandled until it is waited for below.
    telling.catch(() => {});
    const { collector, jaeger } = stack;
    await passed(stream, 0.2);
    await collector.kill("SIGKILL");
    await passed(stream, 0.35);
    await collector.start();
    await passed(stream, 0.5);
    // With all that Jaeger has not got yet in its queue.
    await collector.kill("SIGKILL");
    await Promise.all([collector.start(), jaeger.start()]);
    await passed(stream, 0.75);
    // In the middle of sending.
    await collector.kill("SIGKILL");
    await collector.start();
    await telling;
    bridge = await live.stop();
  }, 120_000);

  test("ends with status 0: everything was delivered, and nothing was lost on the way", () => {
    expect(truth.endedRuns).toBeGreaterThan(300);
    expect({ status: bridge.status, report: bridge.report }, bridge.stderr).toEqual({
      status: 0,
      report: {
        events: { received: lines.length, used: lines.length, dropped: {}, rejected: {} },
        runs: truth.runs,
        spans: { exported: truth.spans.length, failed: 0 },
      },
    });
  });

  test("met a collector that was away, and sent again what it could not", () => {
    expect(bridge.stderr).toContain("WARN  The traces cannot be delivered now");
    expect(bridge.stderr).toContain("INFO  The backend answers to the traces again");
  });

  test("is in Jaeger, nothing missing and nothing twice, as its events say", async () => {
    const stored = async () =>
      (await Promise.all(traces.map((id) => storedIds(stack.jaegerUrl, id)))).map((ids) => new Set(ids).size);
    await expect
      .poll(async () => (await stored()).reduce((sum, count) => sum + count, 0), PATIENCE)
      .toBe(truth.spans.length);
    const spans = (await Promise.all(traces.map((id) => storedSpans(stack.jaegerUrl, id)))).flat();
    expect(byId(spans.map(outlineOf))).toEqual(byId(truth.spans));
  });

  test("makes Jaeger warn of nothing", async () => {
    const pages = await Promise.all(traces.map((id) => pageTrace(stack.jaegerUrl, id)));
    const warnings = pages.flatMap((page) => [page.warnings, ...page.spans.map((span) => span.warnings)]);
    expect(new Set(warnings)).toEqual(new Set([null]));
  });

  test("is counted in Prometheus as its events say", async () => {
    const query = (metric: string, labels: readonly string[]) =>
      valuesBy(stack.prometheusUrl, metric, labels);
    await expect
      .poll(() => query("behest_run_ended_total", ["behest_run_outcome"]), PATIENCE)
      .toEqual(nonZero(truth.runs));
    const byKind = ["gen_ai_provider_name", "gen_ai_request_model", "gen_ai_token_type"];
    expect(await query("behest_token_usage_total", byKind)).toEqual(nonZero(truth.tokens));
    expect(await query("behest_bridge_events_received_total", ["type"])).toEqual(truth.byType);
    expect(await query("behest_bridge_spans_exported_total", ["job"])).toEqual({
      behest: truth.spans.length,
    });
    expect(await query("gen_ai_invoke_agent_duration_seconds_count", ["job"])).toEqual({
      behest: truth.endedRuns,
    });
  });

  test("never made a counter fall, though the collector that shows them was killed", async () => {
    const counters = ["run_ended", "token_usage", "bridge_events_received", "bridge_spans_exported"];
    const falls = counters.map((name) =>
      samples(stack.prometheusUrl, `sum(resets(behest_${name}_total[10m]))`),
    );
    expect((await Promise.all(falls)).flat().map(({ value }) => value)).toEqual([0, 0, 0, 0]);
    const bridges = await samples(stack.prometheusUrl, "count(count by (instance) (behest_run_active))");
    expect(bridges.map(({ value }) => value)).toEqual([1]);
  });
});

/** Every run of every recording several times, each as another run, beginning at random within the stream. */
function streamFrom(startMs: number): readonly TimedLine[] {
  const random = seeded(SEED);
  const runs = SCENARIOS.flatMap(runsOf);
  const copies = Array.from({ length: COPIES }, (_, copy) => copy);
  return copies
    .flatMap((copy) => runs.flatMap((run) => retold(run, copy, startMs + Math.floor(random() * STREAM_MS))))
    .toSorted((a, b) => a.atMs - b.atMs);
}

/** Waits for this part of the stream's time to have passed. */
function passed(stream: readonly TimedLine[], part: number): Promise<void> {
  const atMs = stream[Math.floor(part * stream.length)]!.atMs;
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, atMs - Date.now())));
}

function nonZero(counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0));
}
