import { SeverityNumber } from "@opentelemetry/api";
import type { Attributes, HrTime } from "@opentelemetry/api";
import type { InstrumentationScope } from "@opentelemetry/core";
import type { Resource } from "@opentelemetry/resources";
import type { ReadableLogRecord } from "@opentelemetry/sdk-logs";

import type { Notice, RunFacts } from "../run/op.ts";
import { noticeAttributes, putRun } from "./attributes.ts";
import type { LogLimits } from "./environment.ts";
import { limitCount, traceOf } from "./spans.ts";

export interface LogMapperOptions {
  readonly limits: LogLimits;
  readonly resource: Resource;
  readonly scope: InstrumentationScope;
}

/**
 * Makes the function that turns a notice into a log event of the same name, in the trace context of
 * its run.
 *
 * The time observed is the time of the event: what reads a log again later must not give other bytes.
 */
export function createLogMapper(
  options: LogMapperOptions,
): (run: RunFacts, notice: Notice, sampled: boolean) => ReadableLogRecord {
  const { limits, resource, scope } = options;
  return (run, notice, sampled) => {
    const all: Attributes = {};
    putRun(all, run, limits.value);
    Object.assign(all, noticeAttributes(notice, limits.value));
    const { attributes, dropped } = limitCount(all, limits.attributes);
    const { context } = traceOf(run);
    const time = notice.time as HrTime;
    return {
      hrTime: time,
      hrTimeObserved: time,
      spanContext: sampled ? context : { ...context, traceFlags: 0 },
      severityNumber: SeverityNumber.WARN,
      severityText: "WARN",
      eventName: notice.name,
      attributes,
      droppedAttributesCount: dropped,
      resource,
      instrumentationScope: scope,
    };
  };
}

/** About how many bytes a record takes: it has few attributes, and only a description can be long. */
export function estimateLogBytes({ attributes }: ReadableLogRecord): number {
  let bytes = LOG_BYTES;
  for (const value of Object.values(attributes)) {
    if (typeof value === "string") bytes += Buffer.byteLength(value);
  }
  return bytes;
}

const LOG_BYTES = 250;
