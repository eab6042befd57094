import { afterAll, beforeAll, describe, expect, test } from "vitest";

import type { Provider, ProviderMap } from "../../src/run/provider.ts";
import { manualClock, type ManualClock } from "../otel/clocks.ts";
import { startHttpBackend, type OtlpServer, type ServedSpan } from "../otel/otlp-server.ts";
import { envFor, runOver, type BridgeRun, type BridgeRunOptions } from "./bridge-run.ts";
import { feed, linewise, type Feed } from "./feed.ts";
import { lastPoints, valuesBy } from "./served-metrics.ts";
import * as wire from "./wire-runs.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

let backend: OtlpServer;

beforeAll(async () => {
  backend = await startHttpBackend();
});
afterAll(() => backend.close());

interface Ended extends BridgeRun {
  readonly spans: readonly ServedSpan[];
  readonly failures: Readonly<Record<string, number>>;
}

async function bridge(options: Omit<BridgeRunOptions, "env">): Promise<Ended> {
  const before = backend.taken.length;
  const run = await runOver({ ...options, env: envFor(backend.url) });
  const points = lastPoints(backend.requests);
  return {
    ...run,
    spans: backend.taken.slice(before),
    failures: valuesBy(points, "behest.run.failures", ["error.type"]),
  };
}

/** A run with a model call that reported, a tool that runs, and nothing after it. */
function open(n = 1): wire.Teller & { readonly lines: string[] } {
  const run = wire.teller(n, n * 0.001);
  const events = [wire.started(run), wire.model(run), wire.delta(run), wire.asked(run, "call_1")];
  events.push(wire.usage(run), wire.said(run), wire.toolStarted(run, "call_1"));
  return Object.assign(run, { lines: wire.linesOf(events) });
}

const told = (run: wire.Teller & { lines: string[] }, ...events: object[]) => [
  ...run.lines,
  ...wire.linesOf(events),
];

type Ending = Pick<ServedSpan, "name" | "status" | "attributes">;

/** Outcome, status and error type of each span, by name. */
function ends(spans: readonly Ending[]): Record<string, string> {
  return Object.fromEntries(
    spans.map(({ name, status, attributes }) => {
      const has = Object.fromEntries(attributes);
      const words = [
        has["behest.run.outcome"],
        has["behest.run.incomplete_reason"],
        ["Unset", "Ok", "ERROR"][status.code],
        status.message,
        has["error.type"],
        has["behest.span.incomplete"] === true ? "incomplete" : "",
      ];
      return [name, words.filter((word) => word !== undefined && word !== "").join(" ")];
    }),
  );
}

const ran = (outcome: string) => ({ completed: 0, failed: 0, cancelled: 0, incomplete: 0, [outcome]: 1 });

describe("every way a run leaves memory is told in the report, on its spans and in the metrics", () => {
  test("completed", async () => {
    const run = open();
    const { report, spans, failures, delivered } = await bridge({
      from: [linewise(told(run, wire.toolFinished(run, "call_1"), wire.completed(run)))],
    });
    expect(report.runs).toEqual(ran("completed"));
    expect(ends(spans)).toEqual({
      invoke_agent: "completed Unset",
      "chat gpt-4o": "Unset",
      "execute_tool search": "Unset",
    });
    expect([delivered, failures]).toEqual([true, {}]);
  });

  test("completed with finish reason error is failed", async () => {
    const run = wire.teller(1);
    const lines = wire.linesOf([
      wire.started(run),
      wire.model(run),
      wire.usage(run),
      wire.completed(run, "error"),
    ]);
    const { report, spans, failures } = await bridge({ from: [linewise(lines)] });
    expect(report.runs).toEqual(ran("failed"));
    expect(ends(spans)).toEqual({
      invoke_agent: "failed ERROR model_error",
      "chat gpt-4o": "ERROR model_error",
    });
    expect(failures).toEqual({ model_error: 1 });
  });

  test("failed", async () => {
    const run = open();
    const { report, spans, failures } = await bridge({
      from: [linewise(told(run, wire.failed(run, "tool execution timeout: search")))],
    });
    expect(report.runs).toEqual(ran("failed"));
    expect(ends(spans)).toEqual({
      invoke_agent: "failed ERROR tool execution timeout: search tool_timeout",
      "chat gpt-4o": "Unset",
      "execute_tool search": "ERROR tool execution timeout: search tool_timeout incomplete",
    });
    expect(failures).toEqual({ tool_timeout: 1 });
  });

  test("cancelled is no failure of the run", async () => {
    const run = open();
    const { report, spans, failures } = await bridge({ from: [linewise(told(run, wire.cancelled(run)))] });
    expect(report.runs).toEqual(ran("cancelled"));
    expect(ends(spans)).toEqual({
      invoke_agent: "cancelled Unset",
      "chat gpt-4o": "Unset",
      "execute_tool search": "ERROR cancelled incomplete",
    });
    expect(failures).toEqual({});
  });

  test("drained at the end of the input", async () => {
    const { report, spans, failures, delivered } = await bridge({ from: [linewise(open().lines)] });
    expect(report.runs).toEqual(ran("incomplete"));
    expect(ends(spans)).toEqual({
      invoke_agent: "incomplete drained Unset",
      "chat gpt-4o": "Unset",
      "execute_tool search": "Unset incomplete",
    });
    expect([delivered, failures]).toEqual([true, {}]);
  });

  test("drained when the bridge is stopped", async () => {
    const stop = new AbortController();
    const source = feed();
    source.push(...open().lines);
    const ending = bridge({ from: [source], signal: stop.signal });
    await source.hungry();
    stop.abort();
    const { report, spans, delivered } = await ending;
    expect(report.runs).toEqual(ran("incomplete"));
    expect(ends(spans)["invoke_agent"]).toBe("incomplete drained Unset");
    expect(delivered).toBe(true);
  });

  test("evicted at the limit of open runs, the one silent for longest first", async () => {
    const limit = { maxOpenRuns: 2 };
    const two = await bridge({ from: [linewise([...open(1).lines, ...open(2).lines])], heart: limit });
    expect(reasons(two.spans)).toEqual([
      [wire.runIdOf(1), "drained"],
      [wire.runIdOf(2), "drained"],
    ]);
    const lines = [...open(1).lines, ...open(2).lines, ...open(3).lines];
    const { report, spans, failures } = await bridge({ from: [linewise(lines)], heart: limit });
    expect(report.runs).toEqual({ ...ran("incomplete"), incomplete: 3 });
    expect(reasons(spans)).toEqual([
      [wire.runIdOf(1), "evicted"],
      [wire.runIdOf(2), "drained"],
      [wire.runIdOf(3), "drained"],
    ]);
    expect(failures).toEqual({});
  });

  test("faulted by a bug of ours, which is told, while every other run goes on", async () => {
    const bad = wire.teller(1);
    const good = open(2);
    const lines = wire.linesOf([
      wire.started(bad),
      wire.model(bad, 1, { provider: "poison" }),
      wire.delta(bad),
    ]);
    const { report, spans, failures, logged } = await bridge({
      from: [linewise([...lines, ...told(good, wire.completed(good))])],
      heart: { providers: new PoisonedProviders() },
    });
    expect(report.runs).toEqual({ ...ran("completed"), incomplete: 1 });
    expect(report.events).toEqual({ received: 11, used: 9, dropped: { faulted: 1, late: 1 }, rejected: {} });
    expect(reasons(spans)).toEqual([[wire.runIdOf(1), "faulted"]]);
    expect(failures).toEqual({});
    expect(logged.join("\n")).toMatch(/^ERROR A run was closed as faulted because of a bug/);
  });
});

/** A provider map that fails over one id, standing for a bug anywhere in the heart. */
class PoisonedProviders extends Map<string, Provider> implements ProviderMap {
  override get(id: string): Provider | undefined {
    if (id === "poison") throw new Error("a bug");
    return undefined;
  }
}

function reasons(spans: readonly ServedSpan[]): [unknown, unknown][] {
  return spans
    .map(({ attributes }) => Object.fromEntries(attributes))
    .filter((has) => has["behest.run.incomplete_reason"] !== undefined)
    .map((has): [unknown, unknown] => [has["behest.run.id"], has["behest.run.incomplete_reason"]])
    .toSorted((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1));
}

describe("on a source that has nothing to say, time goes on by the clock", () => {
  interface Silence {
    readonly clock: ManualClock;
    readonly source: Feed;
    readonly ending: Promise<BridgeRun>;
    readonly taken: readonly Ending[];
  }

  async function silence(lines: readonly string[], heart = {}): Promise<Silence> {
    // The clock of the machine is years ahead of the events: only how long it is silent may count.
    const clock = manualClock(wire.ORIGIN_MS + 5 * 365 * 24 * HOUR);
    const source = feed();
    const taken: Ending[] = [];
    source.push(...lines);
    const ending = runOver({
      from: [source],
      clock,
      heart,
      // Lines instead of requests: nothing but the clock takes time.
      env: { OTEL_TRACES_EXPORTER: "console", OTEL_METRICS_EXPORTER: "none" },
      write: async (line) => void taken.push(...spansOfLine(line)),
    });
    await source.hungry();
    return { clock, source, ending, taken };
  }

  test("a run expires after the run idle timeout, not before, and is a failure", async () => {
    const run = wire.teller(1);
    const { clock, source, ending, taken } = await silence(
      wire.linesOf([wire.started(run), wire.model(run)]),
    );
    await clock.advance(9 * MINUTE + 59_000);
    expect(taken).toEqual([]);
    await clock.advance(3_000);
    expect(ends(taken)).toEqual({
      invoke_agent: "incomplete expired ERROR run_expired",
      "chat gpt-4o": "Unset incomplete",
    });
    source.end();
    const { report, delivered } = await ending;
    expect(report.runs).toEqual(ran("incomplete"));
    expect(delivered).toBe(true);
  });

  test("a run with a tool that is seen to run has the tool idle timeout", async () => {
    const { clock, source, ending, taken } = await silence(open().lines);
    await clock.advance(HOUR - 1_000);
    expect(taken).toEqual([]);
    await clock.advance(3_000);
    expect(ends(taken)["invoke_agent"]).toBe("incomplete expired ERROR run_expired");
    source.end();
    await ending;
  });

  test("an event in time starts the wait anew", async () => {
    const run = wire.teller(1);
    const { clock, source, ending, taken } = await silence(
      wire.linesOf([wire.started(run), wire.model(run)]),
    );
    await clock.advance(9 * MINUTE);
    run.at = 9 * MINUTE;
    source.push(...wire.linesOf([wire.delta(run)]));
    await source.hungry();
    await clock.advance(9 * MINUTE);
    expect(taken).toEqual([]);
    run.at = 18 * MINUTE;
    source.push(...wire.linesOf([wire.completed(run)]));
    source.end();
    const { report } = await ending;
    expect(report.runs).toEqual(ran("completed"));
  });

  test("what waits in the reorder window is used when the window is over", async () => {
    const run = wire.teller(1);
    const lines = wire.linesOf([wire.started(run), wire.model(run), wire.completed(run)]);
    const { clock, source, ending, taken } = await silence(lines, { reorderWindowMs: 30_000 });
    await clock.advance(29_000);
    expect(taken).toEqual([]);
    await clock.advance(3_000);
    expect(ends(taken)["invoke_agent"]).toBe("completed Unset");
    source.end();
    await ending;
  });
});

/** The spans of one line of OTLP/JSON. */
function spansOfLine(line: Uint8Array): Ending[] {
  const request = JSON.parse(Buffer.from(line).toString()) as {
    resourceSpans: {
      scopeSpans: { spans: { name: string; status: Ending["status"]; attributes: Attribute[] }[] }[];
    }[];
  };
  return request.resourceSpans
    .flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans))
    .map(({ name, status, attributes }) => ({
      name,
      status: { code: status.code, message: status.message ?? "" },
      attributes: attributes.map(({ key, value }) => [key, Object.values(value)[0]] as const),
    }));
}

interface Attribute {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}
