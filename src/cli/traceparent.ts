import type { Config } from "../config/options.ts";
import { parseTraceparent } from "../event/traceparent.ts";
import { foldUuid } from "../event/uuid.ts";
import { readEnvironment } from "../otel/environment.ts";
import { traceIdOf, traceparentOf } from "../otel/ids.ts";
import { createRunSampler } from "../otel/sampling.ts";
import type { Io } from "./io.ts";

/** The line that `traceparent` prints, with the flags that the configured sampler gives the run. */
export function traceparent(
  config: Config<"traceparent">,
  operands: readonly string[],
  env: Io["env"],
): string {
  const { tool, model } = config;
  const runId = foldUuid(operands[0] ?? "") ?? "";
  const parent = config.parent === undefined ? undefined : parseTraceparent(config.parent);
  const isSampled = createRunSampler(readEnvironment(env).config.sampler);
  const sampled = isSampled(parent?.traceId ?? traceIdOf(runId), parent);
  const target = tool !== undefined ? { tool } : model !== undefined ? { model } : {};
  return traceparentOf(runId, { ...target, parent, sampled });
}
