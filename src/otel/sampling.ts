import { ROOT_CONTEXT, SpanKind, trace, TraceFlags } from "@opentelemetry/api";
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  SamplingDecision,
  TraceIdRatioBasedSampler,
  type Sampler,
} from "@opentelemetry/sdk-trace";

import type { RemoteParent } from "../event/event.ts";
import type { Variables } from "./variables.ts";

const SAMPLER_NAMES = [
  "always_on",
  "always_off",
  "traceidratio",
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio",
] as const;
export type SamplerName = (typeof SAMPLER_NAMES)[number];

export interface SamplerConfig {
  readonly name: SamplerName;
  /** From 0 to 1; only the samplers by ratio look at it. */
  readonly ratio: number;
}

/** Whether the run of this trace is recorded: asked once per run, at its first event. */
export type RunSampler = (traceId: string, parent: RemoteParent | undefined) => boolean;

/** The SDK's own samplers, so that every process with the same configuration decides alike. */
export function createRunSampler(config: SamplerConfig): RunSampler {
  const sampler = samplerOf(config);
  return (traceId, parent) => {
    const context =
      parent === undefined
        ? ROOT_CONTEXT
        : trace.setSpanContext(ROOT_CONTEXT, {
            traceId,
            spanId: parent.spanId,
            traceFlags: parent.flags & TraceFlags.SAMPLED,
            isRemote: true,
          });
    const { decision } = sampler.shouldSample(context, traceId, "invoke_agent", SpanKind.INTERNAL, {}, []);
    return decision === SamplingDecision.RECORD_AND_SAMPLED;
  };
}

/** Reads `OTEL_TRACES_SAMPLER` and, for the samplers by ratio, `OTEL_TRACES_SAMPLER_ARG`. */
export function readSampler(variables: Variables): SamplerConfig {
  const name = variables.choice(["OTEL_TRACES_SAMPLER"], SAMPLER_NAMES, "parentbased_always_on");
  const found = name.endsWith("traceidratio") ? variables.text(["OTEL_TRACES_SAMPLER_ARG"]) : undefined;
  if (found === undefined) return { name, ratio: 1 };
  const ratio = Number(found.value);
  if (ratio >= 0 && ratio <= 1) return { name, ratio };
  variables.problem(found.name, found.value, "a number from 0 to 1");
  return { name, ratio: 1 };
}

function samplerOf({ name, ratio }: SamplerConfig): Sampler {
  switch (name) {
    case "always_on":
      return new AlwaysOnSampler();
    case "always_off":
      return new AlwaysOffSampler();
    case "traceidratio":
      return new TraceIdRatioBasedSampler(ratio);
    case "parentbased_always_on":
      return new ParentBasedSampler({ root: new AlwaysOnSampler() });
    case "parentbased_always_off":
      return new ParentBasedSampler({ root: new AlwaysOffSampler() });
    case "parentbased_traceidratio":
      return new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) });
  }
}
