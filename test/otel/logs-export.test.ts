import { OTLPLogExporter } from "@opentelemetry/exporter-logs-otlp-proto";
import { afterEach, describe, expect, test } from "vitest";

import { runSpanId, traceIdOf } from "../../src/otel/ids.ts";
import { createLogMapper, estimateLogBytes } from "../../src/otel/logs-export.ts";
import { createResource } from "../../src/otel/resource.ts";
import { LOGS } from "../../src/otel/serializers.ts";
import type { Notice } from "../../src/run/op.ts";
import { openTestExports, SCOPE } from "./export-setup.ts";
import { startGrpcBackend, startHttpBackend, type OtlpServer } from "./otlp-server.ts";
import { PARENT, RUN_ID, runFacts, SESSION_ID, START } from "./span-samples.ts";

const RESOURCE = createResource({ "service.name": "behest" });
const LIMITS = { value: { unit: "bytes", max: 16_384 }, attributes: 128 } as const;
const LOOP: Notice = { name: "behest.doom_loop.detected", time: START, description: "search, search" };
const CIRCUIT: Notice = { name: "behest.compaction.circuit_opened", time: START, consecutiveFailures: 3 };

const recordOf = createLogMapper({ limits: LIMITS, resource: RESOURCE, scope: SCOPE });

let backend: OtlpServer | undefined;
afterEach(() => backend?.close());

describe("a notice", () => {
  test("is a log event of the same name in the context of its run's span", () => {
    expect(recordOf(runFacts({ segment: "17" }), LOOP, true)).toEqual({
      hrTime: START,
      hrTimeObserved: START,
      spanContext: { traceId: traceIdOf(RUN_ID), spanId: runSpanId(RUN_ID, "17"), traceFlags: 1 },
      severityNumber: 13,
      severityText: "WARN",
      eventName: "behest.doom_loop.detected",
      attributes: {
        "gen_ai.conversation.id": SESSION_ID,
        "gen_ai.agent.name": "researcher",
        "behest.run.id": RUN_ID,
        "behest.run.doom_loop.description": "search, search",
      },
      droppedAttributesCount: 0,
      resource: RESOURCE,
      instrumentationScope: SCOPE,
    });
  });

  test("of a run that is not sampled says so, and of one under a remote parent is in its trace", () => {
    expect(recordOf(runFacts(), CIRCUIT, false).spanContext?.traceFlags).toBe(0);
    expect(recordOf(runFacts({ parent: PARENT }), CIRCUIT, true).spanContext?.traceId).toBe(PARENT.traceId);
  });

  test("is limited as the environment says", () => {
    const limited = createLogMapper({
      limits: { value: { unit: "characters", max: 5 }, attributes: 4 },
      resource: RESOURCE,
      scope: SCOPE,
    });
    const record = limited(runFacts({ sessionId: undefined, agent: undefined }), LOOP, true);
    expect(record.attributes).toEqual({
      "behest.run.id": RUN_ID,
      "behest.run.doom_loop.description": "searc",
      "behest.truncated.behest.run.doom_loop.description": 14,
    });
    const crowded = limited(runFacts(), LOOP, true);
    expect(Object.keys(crowded.attributes)).toHaveLength(4);
    expect(crowded.droppedAttributesCount).toBe(3);
  });
});

const PROTOCOLS = ["http/protobuf", "http/json", "grpc"] as const;

test.each(PROTOCOLS)("arrives over %s with its time, its severity and its context", async (protocol) => {
  backend = await (protocol === "grpc" ? startGrpcBackend() : startHttpBackend());
  const exports = openTestExports({
    OTEL_LOGS_EXPORTER: "otlp",
    OTEL_EXPORTER_OTLP_ENDPOINT: backend.url,
    OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
  });
  for (const notice of [LOOP, CIRCUIT]) {
    const record = recordOf(runFacts(), notice, true);
    void exports.logs.push(record, estimateLogBytes(record));
  }
  expect(await exports.logs.flushed()).toMatchObject({ exported: 2, failed: {} });
  exports.close();
  const { resourceLogs } = backend.requests[0]!.json as {
    resourceLogs: { scopeLogs: { logRecords: Record<string, unknown>[] }[] }[];
  };
  const records = resourceLogs[0]?.scopeLogs[0]?.logRecords ?? [];
  expect(records).toMatchObject([
    {
      timeUnixNano: "1763812345123456789",
      severityNumber: 13,
      severityText: "WARN",
      eventName: "behest.doom_loop.detected",
      traceId: traceIdOf(RUN_ID),
      spanId: runSpanId(RUN_ID, ""),
      flags: 1,
    },
    { eventName: "behest.compaction.circuit_opened" },
  ]);
});

test("what is on the wire is what the standard exporter sends", async () => {
  backend = await startHttpBackend();
  const exports = openTestExports({ OTEL_LOGS_EXPORTER: "otlp", OTEL_EXPORTER_OTLP_ENDPOINT: backend.url });
  const records = [LOOP, CIRCUIT].map((notice) => recordOf(runFacts(), notice, true));
  for (const record of records) void exports.logs.push(record, 1);
  await exports.logs.flushed();
  exports.close();
  const exporter = new OTLPLogExporter({ url: `${backend.url}/v1/logs` });
  await new Promise<void>((resolve, reject) => {
    exporter.export(records, ({ error }) => (error === undefined ? resolve() : reject(error)));
  });
  await exporter.shutdown();
  const [ours, theirs] = backend.requests;
  expect(ours?.body.equals(theirs!.body)).toBe(true);
  expect(ours?.path).toBe("/v1/logs");
});

test("the estimate of a record's size is near its size on the wire", () => {
  for (const description of ["short", "東".repeat(3_000)]) {
    const record = recordOf(runFacts(), { ...LOOP, description }, true);
    const wire = LOGS.encode.protobuf([record]).length - LOGS.encode.protobuf([]).length;
    expect(estimateLogBytes(record) / wire).toBeGreaterThan(0.7);
    expect(estimateLogBytes(record) / wire).toBeLessThan(1.5);
  }
});
