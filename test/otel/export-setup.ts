import type { ResourceMetrics } from "@opentelemetry/sdk-metrics";

import { createLog, type Log } from "../../src/log.ts";
import type { Clock } from "../../src/clock.ts";
import { readEnvironment, type ExportConfig } from "../../src/otel/environment.ts";
import { openExports, type Exports, type ExportsOptions, type SpanWatch } from "../../src/otel/exports.ts";
import type { MetricDelivery } from "../../src/otel/metrics-export.ts";
import { createResource } from "../../src/otel/resource.ts";
import { createSpanMapper, estimateBytes } from "../../src/otel/spans.ts";
import type { FinishedSpan } from "../../src/run/op.ts";
import { hastyClock } from "./clocks.ts";

export const SCOPE = { name: "behest-otel", version: "0.1.0" };

/** The configuration of an environment in which nothing is wrong. */
export function configOf(env: Readonly<Record<string, string>>): ExportConfig {
  const { config, problems } = readEnvironment(env);
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  return config;
}

export interface OpenedExports extends Exports {
  readonly spans: ReturnType<Exports["openSpans"]>;
  readonly metrics: { readonly deliver: (metrics: ResourceMetrics) => Promise<MetricDelivery> };
  readonly put: (span: FinishedSpan) => Promise<void> | undefined;
  readonly resource: ReturnType<typeof createResource>;
  readonly clock: Clock;
  /** Lines of the log, `LEVEL message`. */
  readonly logged: readonly string[];
}

/** Exports as the program opens them, but for time, chance and the log, which are the test's. */
export function openTestExports(
  env: Readonly<Record<string, string>>,
  { onRequest, onExported, onFailed, ...over }: Partial<ExportsOptions & SpanWatch> = {},
): OpenedExports {
  const config = configOf(env);
  const resource = createResource(config.resource, "instance-1");
  const clock = over.clock ?? hastyClock();
  const logged: string[] = [];
  const exports = openExports(config, {
    clock,
    random: () => 0.5,
    log: listeningLog(logged),
    write: async () => {
      throw new Error("nothing goes to the console in this test");
    },
    ...over,
  });
  const map = createSpanMapper({ semconv: config.semconv, limits: config.limits, resource, scope: SCOPE });
  const spans = exports.openSpans({
    ...(onRequest && { onRequest }),
    ...(onExported && { onExported }),
    ...(onFailed && { onFailed }),
  });
  const out = exports.openMetrics(resource);
  const metrics = { deliver: (one: ResourceMetrics) => out.deliver(() => one) };
  const put = (span: FinishedSpan) => {
    const readable = map(span);
    return spans.push(readable, estimateBytes(readable));
  };
  return { ...exports, spans, metrics, put, resource, clock, logged };
}

/** A log whose lines are kept as `LEVEL message key=value ...`. */
export function listeningLog(lines: string[]): Log {
  return createLog({
    level: "debug",
    format: "text",
    now: () => new Date(0),
    write: (line) => lines.push(line.slice("1970-01-01T00:00:00.000Z ".length, -1)),
  });
}
