/*
 * Names of the GenAI semantic conventions and of this project, in one place.
 *
 * released: open-telemetry/semantic-conventions v1.41.1, the last registry that defines gen_ai.*.
 * latest:   open-telemetry/semantic-conventions-genai 6fd0d763a092db245a54104fc1124031eb3c51d2, which
 *           has no release. The published package of constants stops at v1.41 and marks all of them
 *           deprecated, so they stand here.
 */

import type { SemconvMode } from "../metric/table.ts";

/**
 * Reads `OTEL_SEMCONV_STABILITY_OPT_IN`, a list of words separated by commas.
 *
 * Words of other instrumentations are none of our business; `dup` wins over the plain opt-in, as in
 * every convention that has both.
 */
export function semconvMode(optIn: string | undefined): SemconvMode {
  const words = new Set((optIn ?? "").split(",").map((word) => word.trim().toLowerCase()));
  if (words.has("gen_ai_latest_experimental/dup")) return "dup";
  return words.has("gen_ai_latest_experimental") ? "latest" : "released";
}

export const ERROR_TYPE = "error.type";

export const OPERATION_NAME = "gen_ai.operation.name";
export const CONVERSATION_ID = "gen_ai.conversation.id";
export const AGENT_NAME = "gen_ai.agent.name";
export const PROVIDER_NAME = "gen_ai.provider.name";
export const REQUEST_MODEL = "gen_ai.request.model";
export const REQUEST_STREAM = "gen_ai.request.stream";
export const FINISH_REASONS = "gen_ai.response.finish_reasons";
export const TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk";
export const INPUT_TOKENS = "gen_ai.usage.input_tokens";
export const OUTPUT_TOKENS = "gen_ai.usage.output_tokens";
export const CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens";
export const OUTPUT_MESSAGES = "gen_ai.output.messages";
export const TOOL_NAME = "gen_ai.tool.name";
export const TOOL_CALL_ID = "gen_ai.tool.call.id";
export const TOOL_TYPE = "gen_ai.tool.type";
export const TOOL_ARGUMENTS = "gen_ai.tool.call.arguments";
export const TOOL_RESULT = "gen_ai.tool.call.result";

/** Renamed between the two registries (genai#440). */
export const CACHE_WRITE_TOKENS: Readonly<Record<SemconvMode, readonly string[]>> = {
  released: ["gen_ai.usage.cache_creation.input_tokens"],
  latest: ["gen_ai.usage.cache_write.input_tokens"],
  dup: ["gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_write.input_tokens"],
};

export const RUN_ID = "behest.run.id";
export const RUN_MODEL = "behest.run.model";
export const RUN_OUTCOME = "behest.run.outcome";
export const RUN_INCOMPLETE_REASON = "behest.run.incomplete_reason";
export const RUN_FINISH_REASON = "behest.run.finish_reason";
export const RUN_ITERATION = "behest.run.iteration";
export const RUN_ITERATIONS = "behest.run.iterations";
export const RUN_INPUT_TOKENS = "behest.run.usage.input_tokens";
export const RUN_OUTPUT_TOKENS = "behest.run.usage.output_tokens";
export const RUN_CACHE_READ_TOKENS = "behest.run.usage.cache_read_input_tokens";
export const RUN_CACHE_WRITE_TOKENS = "behest.run.usage.cache_write_input_tokens";
export const RUN_MODEL_CALLS = "behest.run.model_calls";
export const RUN_TOOL_CALLS = "behest.run.tool_calls";
export const RUN_TOOL_FAILURES = "behest.run.tool_failures";
export const RUN_EVENTS = "behest.run.events";
export const RUN_EVENTS_MISSING = "behest.run.events_missing";
export const RUN_RESUMED = "behest.run.resumed";
export const RUN_START_MISSING = "behest.run.start_missing";
export const CONTEXT_MESSAGE_COUNT = "behest.context.message_count";
export const RESPONSE_CHUNKS = "behest.response.chunks";
export const MESSAGE_ID = "behest.message.id";
export const SPAN_INFERRED = "behest.span.inferred";
export const SPAN_INCOMPLETE = "behest.span.incomplete";
export const CLOCK_CORRECTED = "behest.clock.corrected";
export const DOOM_LOOP_DESCRIPTION = "behest.run.doom_loop.description";
export const COMPACTION_FAILURES = "behest.compaction.consecutive_failures";

/**
 * Stands beside an attribute whose value was cut: `behest.truncated.gen_ai.tool.call.result` is the
 * length of the whole value in bytes of UTF-8.
 */
export const TRUNCATED_PREFIX = "behest.truncated.";
