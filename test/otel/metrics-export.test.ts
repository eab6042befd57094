import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import type { ResourceMetrics } from "@opentelemetry/sdk-metrics";
import { afterEach, describe, expect, test } from "vitest";

import type { Delivery } from "../../src/otel/courier.ts";
import { createMetricsExport, metricFreight, type MetricRecord } from "../../src/otel/metrics-export.ts";
import { createResource } from "../../src/otel/resource.ts";
import { METRICS } from "../../src/otel/serializers.ts";
import { settle } from "./clocks.ts";
import { openTestExports, SCOPE } from "./export-setup.ts";
import { counter, gauge, histogram, readings } from "./metric-samples.ts";
import { startHttpBackend, take, type HttpAct, type OtlpServer, type Served } from "./otlp-server.ts";

const RESOURCE = createResource({ "service.name": "behest" }, "instance-1");

let backend: OtlpServer;
afterEach(() => backend?.close());

/** Deliveries that stay on the wire until the test answers them. */
function wire() {
  const sent: {
    readonly value: unknown;
    readonly answer: (over?: Partial<Delivery<MetricRecord>>) => void;
  }[] = [];
  const metrics = createMetricsExport(
    (records, abandon) =>
      new Promise((resolve) => {
        const value = records[0]?.metric.dataPoints[0]?.value;
        const answer = (over?: Partial<Delivery<MetricRecord>>) =>
          resolve({ delivered: 1, discarded: 0, failed: [], ...over });
        sent.push({ value, answer });
        abandon?.addEventListener("abort", () => answer({ delivered: 0, discarded: 1 }));
      }),
  );
  return { sent, deliver: (value: number) => metrics.deliver(() => oneCounter(value)), metrics };
}

function oneCounter(value: number): ResourceMetrics {
  return { resource: RESOURCE, scopeMetrics: [{ scope: SCOPE, metrics: [counter(["a"], value)] }] };
}

describe("readings", () => {
  test("are sent one after the other, and only the newest of those that wait", async () => {
    const { sent, deliver, metrics } = wire();
    const first = deliver(1);
    await settle();
    const second = deliver(2);
    const third = deliver(3);
    expect(await first).toEqual({ kind: "discarded" });
    expect(await second).toEqual({ kind: "discarded" });
    await settle();
    expect(sent.map(({ value }) => value)).toEqual([1, 3]);
    sent[1]?.answer();
    expect(await third).toEqual({ kind: "taken" });
    await metrics.settled();
  });

  test("that are on the wire when a newer one comes keep their answer, and the newer one is made after it", async () => {
    const answers: (() => void)[] = [];
    const metrics = createMetricsExport(
      () =>
        new Promise((resolve) => {
          answers.push(() => resolve({ delivered: 1, discarded: 0, failed: [] }));
        }),
    );
    const [one, two] = readings(RESOURCE, 2);
    const steps: string[] = [];
    const make = (name: string, made: ResourceMetrics) => () => {
      steps.push(`${name} made`);
      return made;
    };
    const first = metrics.deliver(make("first", one!), () => steps.push("first taken"));
    await settle();
    const second = metrics.deliver(make("second", two!));
    answers[0]?.();
    expect(await first).toEqual({ kind: "taken" });
    await settle();
    // What is new since the last one taken is known by then, and not before.
    expect(steps).toEqual(["first made", "first taken", "second made"]);
    answers[1]?.();
    expect(await second).toEqual({ kind: "taken" });
  });

  test("of which some points were given up say how many", async () => {
    const { sent, deliver } = wire();
    const delivery = deliver(1);
    await settle();
    sent[0]?.answer({
      delivered: 0,
      failed: [{ reason: "refused", message: "no", count: 2, records: undefined }],
    });
    expect(await delivery).toEqual({ kind: "failed", points: 2, message: "no" });
  });
});

async function openTo(act?: (request: Served, index: number) => HttpAct) {
  backend = await startHttpBackend(act);
  return openTestExports({ OTEL_EXPORTER_OTLP_ENDPOINT: backend.url });
}

function reading(resource: ResourceMetrics["resource"]): ResourceMetrics {
  return {
    resource,
    scopeMetrics: [{ scope: SCOPE, metrics: [counter(["a", "bad", "c"], 5), gauge(1), histogram()] }],
  };
}

/** Names of metrics and the agents of their points, as they stand in a request. */
function pointsOf(request: Served): readonly string[] {
  return (
    request.body.toString("latin1").match(/behest\.run\.[a-z_]+|gen_ai\.client\.operation\.duration|bad/g) ??
    []
  );
}

test("a refused request is narrowed down to the metric and then to the point that is wrong", async () => {
  const exports = await openTo((request) =>
    pointsOf(request).includes("bad") ? { act: "answer", status: 400, body: "label" } : take,
  );
  expect(await exports.metrics.deliver(reading(exports.resource))).toEqual({
    kind: "failed",
    points: 1,
    message: "http 400: label",
  });
  const taken = backend.requests.filter((request) => !pointsOf(request).includes("bad"));
  expect(taken.flatMap(pointsOf).toSorted()).toEqual([
    "behest.run.ended",
    "behest.run.ended",
    "behest.run.oldest_active_age",
    "gen_ai.client.operation.duration",
  ]);
  exports.close();
});

test("a backend that is down holds up nothing: the newest reading is the one that arrives", async () => {
  const exports = await openTo((_, index) => (index < 5 ? { act: "answer", status: 503 } : take));
  const deliveries = readings(exports.resource, 3).map((one) => exports.metrics.deliver(one));
  expect((await Promise.all(deliveries)).map(({ kind }) => kind)).toEqual([
    "discarded",
    "discarded",
    "taken",
  ]);
  const last = backend.requests.at(-1)?.json as {
    resourceMetrics: { scopeMetrics: { metrics: unknown[] }[] }[];
  };
  expect(last.resourceMetrics[0]?.scopeMetrics[0]?.metrics[0]).toMatchObject({
    name: "behest.run.ended",
    unit: "{run}",
    sum: { isMonotonic: true, aggregationTemporality: 2, dataPoints: [{ asInt: "3" }, { asInt: "3" }] },
  });
  exports.close();
});

test("what is on the wire is what the standard exporter sends", async () => {
  const exports = await openTo();
  const metrics = reading(exports.resource);
  await exports.metrics.deliver(metrics);
  const exporter = new OTLPMetricExporter({ url: `${backend.url}/v1/metrics` });
  await new Promise<void>((resolve, reject) => {
    exporter.export(metrics, ({ error }) => (error === undefined ? resolve() : reject(error)));
  });
  await exporter.shutdown();
  const [ours, theirs] = backend.requests;
  expect(ours?.body.equals(theirs!.body)).toBe(true);
  expect(ours?.path).toBe("/v1/metrics");
  expect(ours?.headers["content-type"]).toBe(theirs?.headers["content-type"]);
  exports.close();
});

test("a metric is taken apart into one metric per point, and counts as many", () => {
  const freight = metricFreight(RESOURCE, METRICS.encode.protobuf);
  const record: MetricRecord = { scope: SCOPE, metric: counter(["a", "b"], 1) };
  expect(freight.count?.(record)).toBe(2);
  const parts = freight.divide?.(record) ?? [];
  expect(parts.map(({ metric }) => metric.dataPoints.map((point) => point.attributes))).toEqual([
    [{ "gen_ai.agent.name": "a" }],
    [{ "gen_ai.agent.name": "b" }],
  ]);
  expect(parts.every(({ metric }) => metric.descriptor === record.metric.descriptor)).toBe(true);
});
