import { OTLPTraceExporter as GrpcExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { OTLPTraceExporter as JsonExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as ProtobufExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace";
import { afterEach, describe, expect, test } from "vitest";

import { runSpanId, spanIdOf, traceIdOf } from "../../src/otel/ids.ts";
import { DEFAULT_SPAN_LIMITS } from "../../src/otel/limits.ts";
import { createResource } from "../../src/otel/resource.ts";
import { createSpanMapper } from "../../src/otel/spans.ts";
import type { FinishedSpan } from "../../src/run/op.ts";
import { openTestExports, SCOPE } from "./export-setup.ts";
import { startGrpcBackend, startHttpBackend, type OtlpServer } from "./otlp-server.ts";
import { modelSpan, PARENT, RUN_ID, runFacts, runSpan, START, toolSpan } from "./span-samples.ts";

/** Spans that have, between them, everything a span of ours can have. */
const SPANS: readonly FinishedSpan[] = [
  modelSpan({ output: [{ type: "text", content: "Grüße 😀" }] }),
  toolSpan({ failure: { errorType: "tool_failed", message: "no such city" }, arguments: '{"q":"東京"}' }),
  runSpan({
    ending: { outcome: "failed", failure: { errorType: "doom_loop", message: "doom loop detected: search" } },
    failure: { errorType: "doom_loop", message: "doom loop detected: search" },
    resumedFrom: "",
    run: runFacts({ segment: "1763812345123456789" }),
    notices: [
      { name: "behest.doom_loop.detected", time: START, description: "search, search, search" },
      { name: "behest.compaction.circuit_opened", time: START, consecutiveFailures: 3 },
    ],
    noticesDropped: 2,
  }),
  runSpan({ run: runFacts({ parent: PARENT, agent: undefined, sessionId: undefined }) }),
  toolSpan({ run: runFacts({ parent: PARENT }), start: [0, 1], end: [4_294_967_300, 999_999_999] }),
];

const PROTOCOLS = ["http/protobuf", "http/json", "grpc"] as const;

let backend: OtlpServer | undefined;
afterEach(() => backend?.close());

async function startBackend(protocol: (typeof PROTOCOLS)[number]): Promise<OtlpServer> {
  backend = await (protocol === "grpc" ? startGrpcBackend() : startHttpBackend());
  return backend;
}

/** Sends the spans in one batch. */
async function send(
  protocol: string,
  url: string,
  more: Readonly<Record<string, string>> = {},
): Promise<void> {
  const exports = openTestExports({
    OTEL_EXPORTER_OTLP_ENDPOINT: url,
    OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
    OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test",
    ...more,
  });
  for (const span of SPANS) void exports.put(span);
  expect(await exports.spans.flushed()).toMatchObject({ exported: SPANS.length, waiting: 0, failed: {} });
  exports.close();
}

describe.each(PROTOCOLS)("over %s", (protocol) => {
  test.each(["none", "gzip"])(
    "every field of a span arrives as it was made, compression %s",
    async (compression) => {
      const { url, taken } = await startBackend(protocol);
      await send(protocol, url, { OTEL_EXPORTER_OTLP_COMPRESSION: compression });
      const [chat, tool, segment, remote, longTool] = taken;
      expect(taken).toHaveLength(5);
      expect(chat).toMatchObject({
        traceId: traceIdOf(RUN_ID),
        spanId: spanIdOf({ runId: RUN_ID, segment: "", kind: "model", key: "1", occurrence: 0 }),
        parentSpanId: runSpanId(RUN_ID, ""),
        traceState: "",
        name: "chat gpt-4o",
        kind: 3,
        start: "1763812345123456789",
        end: "1763812347023456789",
        status: { code: 0, message: "" },
        flags: 0x101,
        dropped: [0, 0, 0],
        resource: [
          ["service.instance.id", "instance-1"],
          ["deployment.environment.name", "test"],
          ["service.name", "behest"],
          ["telemetry.sdk.language", "nodejs"],
          ["telemetry.sdk.name", "opentelemetry"],
          ["telemetry.sdk.version", "3.1.0"],
        ],
        scope: { name: "behest-otel", version: "0.1.0" },
      });
      expect(Object.fromEntries(chat!.attributes)).toMatchObject({
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.request.stream": true,
        "gen_ai.response.finish_reasons": ["tool_call"],
        "gen_ai.output.messages": expect.stringContaining("Grüße 😀"),
      });
      expect(tool).toMatchObject({ kind: 1, status: { code: 2, message: "no such city" } });
      expect(segment).toMatchObject({
        parentSpanId: "",
        dropped: [0, 2, 0],
        events: [
          {
            name: "behest.doom_loop.detected",
            time: "1763812345123456789",
            attributes: [["behest.run.doom_loop.description", "search, search, search"]],
            dropped: 0,
          },
          {
            name: "behest.compaction.circuit_opened",
            time: "1763812345123456789",
            attributes: [["behest.compaction.consecutive_failures", 3]],
            dropped: 0,
          },
        ],
        links: [
          {
            traceId: traceIdOf(RUN_ID),
            spanId: runSpanId(RUN_ID, ""),
            traceState: "",
            attributes: [],
            dropped: 0,
            flags: 0x101,
          },
        ],
      });
      expect(remote).toMatchObject({
        traceId: PARENT.traceId,
        parentSpanId: PARENT.spanId,
        traceState: PARENT.tracestate,
        name: "invoke_agent",
        flags: 0x301,
      });
      expect(longTool).toMatchObject({
        traceId: PARENT.traceId,
        parentSpanId: runSpanId(RUN_ID, ""),
        traceState: PARENT.tracestate,
        start: "1",
        end: "4294967300999999999",
        flags: 0x101,
      });
    },
  );
});

test("the three protocols carry the same spans", async () => {
  const seen = [];
  for (const protocol of PROTOCOLS) {
    const { url, taken } = await startBackend(protocol);
    await send(protocol, url);
    await backend?.close();
    seen.push(taken);
  }
  expect(seen[1]).toEqual(seen[0]);
  expect(seen[2]).toEqual(seen[0]);
});

describe("what is on the wire is what the standard exporter sends", () => {
  test.each([
    ["http/protobuf", (url: string) => new ProtobufExporter({ url: `${url}/v1/traces` })],
    ["http/json", (url: string) => new JsonExporter({ url: `${url}/v1/traces` })],
    ["grpc", (url: string) => new GrpcExporter({ url })],
  ] as const)("%s: the same bytes and the same kind of headers", async (protocol, exporterFor) => {
    const { url, requests } = await startBackend(protocol);
    await send(protocol, url);
    await sendBy(exporterFor(url));
    const [ours, theirs] = requests;
    expect(requests).toHaveLength(2);
    expect(ours?.body.equals(theirs!.body)).toBe(true);
    expect(ours?.path).toBe(theirs?.path);
    expect(ours?.headers["content-type"]).toBe(theirs?.headers["content-type"]);
    expect(ours?.headers["user-agent"]).toMatch(/^behest-otel\/\d+\.\d+\.\d+/);
  });
});

async function sendBy(exporter: SpanExporter): Promise<void> {
  const resource = createResource(
    { "deployment.environment.name": "test", "service.name": "behest" },
    "instance-1",
  );
  const map = createSpanMapper({ semconv: "released", limits: DEFAULT_SPAN_LIMITS, resource, scope: SCOPE });
  const spans: ReadableSpan[] = SPANS.map(map);
  await new Promise<void>((resolve, reject) => {
    exporter.export(spans, ({ error }) => (error === undefined ? resolve() : reject(error)));
  });
  await exporter.shutdown();
}
