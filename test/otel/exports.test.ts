import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { afterEach, describe, expect, test } from "vitest";

import type { Failed } from "../../src/otel/courier.ts";
import { hastyClock, manualClock } from "./clocks.ts";
import { openTestExports, type OpenedExports } from "./export-setup.ts";
import { readings } from "./metric-samples.ts";
import { partialSuccess, statusWithRetryInfo } from "./otlp-proto.ts";
import {
  startGrpcBackend,
  startHttpBackend,
  take,
  type GrpcAct,
  type HttpAct,
  type OtlpServer,
  type Served,
} from "./otlp-server.ts";
import { toolSpans } from "./span-samples.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function httpBackend(
  act?: (request: Served, index: number) => HttpAct | Promise<HttpAct>,
  port?: number,
): Promise<OtlpServer> {
  const backend = await startHttpBackend(act, port);
  closers.push(backend.close);
  return backend;
}

async function grpcBackend(act: (request: Served, index: number) => GrpcAct): Promise<OtlpServer> {
  const backend = await startGrpcBackend(act);
  closers.push(backend.close);
  return backend;
}

/** Exports to a backend, with spans that are given up collected. */
function openTo(
  url: string,
  env: Readonly<Record<string, string>> = {},
): OpenedExports & { lost: Failed<ReadableSpan>[] } {
  const lost: Failed<ReadableSpan>[] = [];
  const exports = openTestExports(
    { OTEL_EXPORTER_OTLP_ENDPOINT: url, ...env },
    { onFailed: (failed) => lost.push(failed) },
  );
  closers.push(exports.close);
  return { ...exports, lost };
}

function openGrpcTo(url: string): ReturnType<typeof openTo> {
  return openTo(url, { OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" });
}

/** Puts as a source does: it waits when it is asked to. */
async function putAll(exports: OpenedExports, count: number): Promise<void> {
  for (const span of toolSpans(count)) await exports.put(span);
}

function callIds(spans: OtlpServer["taken"]): Set<unknown> {
  return new Set(spans.map((span) => new Map(span.attributes).get("gen_ai.tool.call.id")));
}

const unavailable = (headers: Readonly<Record<string, string>> = {}): HttpAct => ({
  act: "answer",
  status: 503,
  headers,
});

/** Turns of the event loop until something is so; no time is waited for. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

describe("no span is lost to a backend", () => {
  test("that is down when they come", async () => {
    const first = await startHttpBackend();
    const port = Number(new URL(first.url).port);
    await first.close();
    const exports = openTo(first.url);
    for (const span of toolSpans(600)) void exports.put(span);
    const flushed = exports.spans.flushed();
    await until(() => exports.logged.length > 0);
    expect(exports.status().traces.phase).toBe("retrying");
    const second = await httpBackend(undefined, port);
    expect(await flushed).toMatchObject({ exported: 600, waiting: 0, failed: {} });
    expect(callIds(second.taken).size).toBe(600);
    expect(exports.logged).toEqual([
      expect.stringMatching(/^WARN .*cannot be delivered now.*cause=ECONNREFUSED/),
      expect.stringMatching(/^INFO .*again/),
    ]);
  });

  test.each<[string, HttpAct]>([
    ["cuts connections without a word", { act: "hang up" }],
    ["cuts connections in the middle of its answer", { act: "cut" }],
    ["is overloaded", unavailable()],
    ["is overloaded and says until when", unavailable({ "retry-after": "3" })],
    ["limits the rate", { act: "answer", status: 429, headers: { "retry-after": "1" } }],
    ["has a bad gateway", { act: "answer", status: 502, body: "<html>" }],
    ["fails a few times", { act: "answer", status: 500 }],
    [
      "shows a login page",
      { act: "answer", status: 200, headers: { "content-type": "text/html" }, body: "<html>" },
    ],
    ["wants a key, until that is mended", { act: "answer", status: 401 }],
    ["is not there, until that is mended", { act: "answer", status: 404 }],
  ])("that %s in between", async (_, trouble) => {
    const backend = await httpBackend((_request, index) => (index >= 2 && index < 8 ? trouble : take));
    const exports = openTo(backend.url, { OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "100" });
    await putAll(exports, 1_000);
    expect(await exports.spans.flushed()).toMatchObject({ exported: 1_000, failed: {} });
    expect(callIds(backend.taken).size).toBe(1_000);
    expect(backend.requests).toHaveLength(16);
    expect(exports.status().traces).toMatchObject({
      phase: "delivering",
      target: `${backend.url}/v1/traces`,
    });
  });

  test("that is slow: the source is asked to wait, and never more than two requests are open", async () => {
    let open = 0;
    let most = 0;
    const backend = await httpBackend(async () => {
      most = Math.max(most, (open += 1));
      await new Promise((resolve) => setTimeout(resolve, 20));
      open -= 1;
      return take;
    });
    const exports = openTo(backend.url, { OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "10" });
    let waits = 0;
    for (const span of toolSpans(300)) {
      const room = exports.put(span);
      if (room !== undefined) waits += 1;
      await room;
      expect(exports.spans.counts.waiting).toBeLessThanOrEqual(80);
    }
    expect(await exports.spans.flushed()).toMatchObject({ exported: 300, failed: {} });
    expect(callIds(backend.taken).size).toBe(300);
    expect(waits).toBeGreaterThan(10);
    expect(most).toBe(2);
  });
});

function hasBad(request: Served): boolean {
  return callIds(request.spans).has("call_41");
}

describe("one span that is refused takes no other with it", () => {
  test.each<[string, HttpAct, string]>([
    ["as bad", { act: "answer", status: 400, body: "no such thing" }, "refused"],
    ["as not processable", { act: "answer", status: 422 }, "refused"],
    ["as too large", { act: "answer", status: 413 }, "too_large"],
    ["by failing over it", { act: "answer", status: 500 }, "server_error"],
  ])("over HTTP, %s", async (_, refusal, reason) => {
    const backend = await httpBackend((request) => (hasBad(request) ? refusal : take));
    const exports = openTo(backend.url);
    await putAll(exports, 100);
    expect(await exports.spans.flushed()).toMatchObject({
      exported: 99,
      waiting: 0,
      failed: { [reason]: 1 },
    });
    expect(callIds(backend.taken).size).toBe(99);
    expect(exports.lost).toMatchObject([{ reason, count: 1 }]);
    expect(exports.lost[0]?.records?.[0]?.attributes["gen_ai.tool.call.id"]).toBe("call_41");
  });

  test.each<[string, GrpcAct, string]>([
    ["INVALID_ARGUMENT", { act: "fail", code: 3, message: "no such thing" }, "refused"],
    [
      "a message too large",
      { act: "fail", code: 8, message: "received message larger than max" },
      "too_large",
    ],
    ["INTERNAL", { act: "fail", code: 13, message: "oops" }, "server_error"],
  ])("over gRPC, by %s", async (_, refusal, reason) => {
    const backend = await grpcBackend((request) => (hasBad(request) ? refusal : { act: "take" }));
    const exports = openGrpcTo(backend.url);
    await putAll(exports, 100);
    expect(await exports.spans.flushed()).toMatchObject({ exported: 99, failed: { [reason]: 1 } });
    expect(callIds(backend.taken).size).toBe(99);
  });
});

describe("over gRPC no span is lost", () => {
  test.each<[string, GrpcAct]>([
    ["UNAVAILABLE", { act: "fail", code: 14, message: "" }],
    ["RESOURCE_EXHAUSTED", { act: "fail", code: 8, message: "", details: statusWithRetryInfo(8, "", 2) }],
    ["UNAUTHENTICATED", { act: "fail", code: 16, message: "" }],
    ["ABORTED", { act: "fail", code: 10, message: "" }],
  ])("to %s in between", async (_, trouble) => {
    const backend = await grpcBackend((_request, index) => (index < 5 ? trouble : { act: "take" }));
    const exports = openGrpcTo(backend.url);
    await putAll(exports, 100);
    expect(await exports.spans.flushed()).toMatchObject({ exported: 100, failed: {} });
    expect(backend.requests).toHaveLength(6);
  });

  test("to a backend that does not answer: the deadline is real, and the request is sent again", async () => {
    const backend = await grpcBackend((_request, index) => (index < 4 ? { act: "hang" } : { act: "take" }));
    const exports = openTo(backend.url, {
      OTEL_EXPORTER_OTLP_PROTOCOL: "grpc",
      OTEL_EXPORTER_OTLP_TIMEOUT: "50",
    });
    await putAll(exports, 3);
    expect(await exports.spans.flushed()).toMatchObject({ exported: 3, failed: {} });
    expect(exports.logged[0]).toContain("DEADLINE_EXCEEDED");
  });
});

test.each(["http", "grpc"])(
  "what a backend rejects in part is counted and not sent again, over %s",
  async (way) => {
    const body = partialSuccess(7, "too old");
    const headers = { "content-type": "application/x-protobuf" };
    const backend =
      way === "grpc"
        ? await grpcBackend(() => ({ act: "partial", body }))
        : await httpBackend(() => ({ act: "answer", status: 200, headers, body }));
    const exports = way === "grpc" ? openGrpcTo(backend.url) : openTo(backend.url);
    await putAll(exports, 100);
    expect(await exports.spans.flushed()).toMatchObject({ exported: 93, failed: { rejected: 7 } });
    expect(backend.requests).toHaveLength(1);
    expect(exports.lost).toEqual([{ reason: "rejected", message: "too old", count: 7, records: undefined }]);
  },
);

test("Retry-After is waited out, as seconds and as a date", async () => {
  const start = Date.parse("2026-11-22T12:00:00Z");
  const waits = ["7", "Sun, 22 Nov 2026 13:00:00 GMT"];
  const times: number[] = [];
  const clock = hastyClock(start);
  const backend = await httpBackend((_request, index) => {
    times.push(clock.now());
    return index < waits.length ? unavailable({ "retry-after": waits[index]! }) : take;
  });
  const exports = openTestExports({ OTEL_EXPORTER_OTLP_ENDPOINT: backend.url }, { clock });
  closers.push(exports.close);
  await putAll(exports, 1);
  await exports.spans.flushed();
  const [first = 0, second = 0, third = 0] = times;
  expect(second - first).toBe(7_000);
  expect(third).toBe(Date.parse("2026-11-22T13:00:00Z"));
});

test("when the backend is gone at the end, what it did not take is counted when the time is over", async () => {
  const backend = await httpBackend();
  const exports = openTo(backend.url);
  await putAll(exports, 10);
  await exports.spans.flushed();
  await backend.close();
  await putAll(exports, 5);
  await exports.finish(60_000);
  expect(exports.spans.counts).toMatchObject({
    pushed: 15,
    waiting: 0,
    exported: 10,
    failed: { undelivered: 5 },
  });
  expect(exports.lost).toMatchObject([{ reason: "undelivered", count: 5 }]);
  expect(exports.logged.at(-1)).toMatch(
    /^ERROR .*could not be delivered before the end.*reason=undelivered count=5/,
  );
});

describe("metrics beside traces", () => {
  test("are switched off with one warning when the backend takes traces only", async () => {
    const backend = await httpBackend(({ signal }) =>
      signal === "traces" ? take : { act: "answer", status: 404, body: "404 page not found" },
    );
    // The clock stands still: it is the acceptance of traces that ends the wait, not time.
    const exports = openTestExports({ OTEL_EXPORTER_OTLP_ENDPOINT: backend.url }, { clock: manualClock() });
    closers.push(exports.close);
    const [reading] = readings(exports.resource, 1);
    const delivery = exports.metrics.deliver(reading!);
    await until(() => backend.requests.length > 0);
    await putAll(exports, 3);
    await exports.spans.flushed();
    expect(await delivery).toEqual({ kind: "discarded" });
    expect(exports.spans.counts).toMatchObject({ exported: 3, failed: {} });
    expect(exports.status()).toMatchObject({ traces: { phase: "delivering" }, metrics: { phase: "off" } });
    expect(exports.logged.filter((line) => line.startsWith("WARN"))).toHaveLength(1);
    const sent = backend.requests.length;
    expect(await exports.metrics.deliver(reading!)).toEqual({ kind: "discarded" });
    expect(backend.requests).toHaveLength(sent);
  });

  test("are switched off over gRPC too", async () => {
    const backend = await grpcBackend(({ signal }) =>
      signal === "traces" ? { act: "take" } : { act: "fail", code: 12, message: "unknown service" },
    );
    const exports = openGrpcTo(backend.url);
    await putAll(exports, 3);
    await exports.spans.flushed();
    const [reading] = readings(exports.resource, 1);
    expect(await exports.metrics.deliver(reading!)).toEqual({ kind: "discarded" });
    expect(exports.status().metrics.phase).toBe("off");
  });

  test.each([
    ["OTEL_METRIC_EXPORT_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"],
    ["OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "OTEL_METRIC_EXPORT_TIMEOUT"],
  ])("are sent again when no answer came within %s, the shorter one", async (short, long) => {
    const hold = new Promise<HttpAct>(() => {});
    const backend = await httpBackend((_request, index) => (index === 0 ? hold : take));
    const exports = openTo(backend.url, { [short]: "20", [long]: "600000" });
    const [reading] = readings(exports.resource, 1);
    expect(await exports.metrics.deliver(reading!)).toEqual({ kind: "taken" });
    expect(backend.requests).toHaveLength(2);
  });

  test("go to an endpoint of their own", async () => {
    const [traces, metrics] = [await httpBackend(), await httpBackend()];
    const exports = openTo(traces.url, {
      OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `${metrics.url}/own/v1/metrics`,
    });
    await putAll(exports, 1);
    expect(await exports.metrics.deliver(readings(exports.resource, 1)[0]!)).toEqual({ kind: "taken" });
    await exports.spans.flushed();
    expect(traces.requests.map(({ path }) => path)).toEqual(["/v1/traces"]);
    expect(metrics.requests.map(({ path }) => path)).toEqual(["/own/v1/metrics"]);
  });
});

test("a signal that goes nowhere takes everything and sends nothing", async () => {
  const backend = await httpBackend();
  const exports = openTo(backend.url, { OTEL_TRACES_EXPORTER: "none", OTEL_METRICS_EXPORTER: "none" });
  await putAll(exports, 600);
  expect(await exports.metrics.deliver(readings(exports.resource, 1)[0]!)).toEqual({ kind: "discarded" });
  await exports.finish(1_000);
  expect(exports.spans.counts).toMatchObject({
    pushed: 600,
    waiting: 0,
    exported: 0,
    discarded: 600,
    failed: {},
  });
  expect(exports.status().traces).toEqual({ phase: "off", forSeconds: 0, target: undefined });
  expect(backend.requests).toEqual([]);
});

describe("the console", () => {
  const env = { OTEL_TRACES_EXPORTER: "console", OTEL_METRICS_EXPORTER: "none" };

  test("gets requests as lines of OTLP/JSON", async () => {
    const lines: string[] = [];
    const exports = openTestExports(env, {
      write: async (line) => void lines.push(Buffer.from(line).toString()),
    });
    await putAll(exports, 2);
    await exports.finish(1_000);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^\{"resourceSpans":\[.*\]\}\n$/);
    expect(exports.spans.counts.exported).toBe(2);
    expect(exports.status().traces).toMatchObject({ phase: "delivering", target: "stdout" });
  });

  test("that nobody reads any more ends in a loss and not in a wait", async () => {
    const exports = openTestExports(env, {
      write: async () => {
        throw Object.assign(new Error("write EPIPE"), { code: "EPIPE" });
      },
    });
    await putAll(exports, 3);
    expect(await exports.spans.flushed()).toMatchObject({ exported: 0, failed: { refused: 3 } });
  });
});

test("how long requests took is told, of every one", async () => {
  const backend = await httpBackend((_request, index) => (index < 2 ? unavailable() : take));
  const took: boolean[] = [];
  let exported = 0;
  const exports = openTestExports(
    { OTEL_EXPORTER_OTLP_ENDPOINT: backend.url },
    {
      onRequest: (seconds) => took.push(seconds >= 0),
      onExported: (n) => (exported += n),
    },
  );
  closers.push(exports.close);
  await putAll(exports, 2);
  await exports.spans.flushed();
  expect(took).toEqual([true, true, true]);
  expect(exported).toBe(2);
});
