import { deltaText, failureMessage, jsonContent, textContent } from "./content.ts";
import type { ContentPolicy, Origin } from "./content.ts";
import { errorTypeOf } from "./error-type.ts";
import type { Around, Content, Event, EventType, Failure } from "./event.ts";
import {
  isRecord,
  misfit,
  readCount,
  readName,
  readObject,
  readOptionalCount,
  readText,
  readUuid,
} from "./fields.ts";
import type { Fields, Wire } from "./fields.ts";
import type { Time } from "./time.ts";

/** What all variants share, read before the rest. */
export interface Common {
  readonly runId: string;
  readonly time: Time;
  readonly hash: number;
  readonly around: Around | undefined;
}

export interface Reading {
  readonly fields: Fields;
  readonly payload: Wire;
  readonly common: Common;
  readonly policy: ContentPolicy;
  readonly origin: Origin;
}

/**
 * Reads what stands in a variant beside `run_id` and `timestamp`. The event holds only if `fields` has no
 * problem.
 */
export function readVariant(type: EventType, reading: Reading): Event {
  const { fields, payload, common } = reading;
  switch (type) {
    case "RunStarted":
      return {
        ...common,
        type,
        sessionId: readUuid(fields, payload["session_id"], "session_id"),
        provider: readName(fields, payload["provider"], "provider"),
        model: readName(fields, payload["model"], "model"),
      };
    case "ContextBuilt":
      return { ...common, type, messageCount: readCount(fields, payload["message_count"], "message_count") };
    case "ModelStarted":
      return {
        ...common,
        type,
        provider: readName(fields, payload["provider"], "provider"),
        model: readName(fields, payload["model"], "model"),
        iteration: readCount(fields, payload["iteration"], "iteration"),
      };
    case "TextDelta":
      return {
        ...common,
        type,
        text: deltaText(reading.policy, readText(fields, payload["delta"], "delta")),
      };
    case "ToolCallDelta":
      readText(fields, payload["delta"], "delta");
      return { ...common, type, callId: readName(fields, payload["call_id"], "call_id") };
    case "ToolCallStarted":
    case "ToolExecutionStarted":
      return {
        ...common,
        type,
        callId: readName(fields, payload["call_id"], "call_id"),
        toolName: readName(fields, payload["tool_name"], "tool_name"),
      };
    case "ToolCallCompleted":
    case "ToolExecutionFinished":
      return readToolEnd(type, reading);
    case "AssistantMessageCommitted":
    case "ToolMessageCommitted":
      return { ...common, type, messageId: readUuid(fields, payload["message_id"], "message_id") };
    case "UsageRecorded":
      return readUsage(type, reading);
    case "CacheMetrics":
      return { ...common, type, cache: readCache(fields, payload, "") };
    case "RunCompleted":
    case "RunFailed":
    case "RunCancelled":
      return readRunEnd(type, reading);
    case "DoomLoopDetected":
      return {
        ...common,
        type,
        description: textContent(reading.policy, readText(fields, payload["description"], "description")),
      };
    case "CompactionCircuitOpened":
      return {
        ...common,
        type,
        consecutiveFailures: readCount(fields, payload["consecutive_failures"], "consecutive_failures"),
      };
  }
}

function readToolEnd(type: "ToolCallCompleted" | "ToolExecutionFinished", reading: Reading): Event {
  const { fields, payload, common } = reading;
  if (type === "ToolCallCompleted") {
    const call = readObject(fields, payload["call"], "call");
    return {
      ...common,
      type,
      callId: readName(fields, call["id"], "call.id"),
      toolName: readName(fields, call["name"], "call.name"),
      arguments: readJson(reading, call["arguments"], ["call", "arguments"]),
    };
  }
  return {
    ...common,
    type,
    callId: readName(fields, payload["call_id"], "call_id"),
    toolName: readName(fields, payload["tool_name"], "tool_name"),
    durationMs: readCount(fields, payload["duration_ms"], "duration_ms"),
    result: readResult(reading),
  };
}

function readRunEnd(type: "RunCompleted" | "RunFailed" | "RunCancelled", reading: Reading): Event {
  const { fields, payload, common } = reading;
  switch (type) {
    case "RunCompleted":
      return {
        ...common,
        type,
        finishReason: readFinishReason(fields, payload["finish_reason"]),
        iterations: readCount(fields, payload["iterations"], "iterations"),
      };
    case "RunFailed":
      return { ...common, type, failure: readFailure(reading, payload["error"], "error") };
    case "RunCancelled":
      return { ...common, type };
  }
}

function readResult(reading: Reading): { readonly output: Content } | { readonly failure: Failure } {
  const { fields, payload } = reading;
  const result = readObject(fields, payload["result"], "result");
  const success = result["Success"];
  const failure = result["Failure"];
  if ((success === undefined) === (failure === undefined)) {
    misfit(fields, "result", "either Success or Failure", result);
  }
  if (failure !== undefined) {
    const { error } = readObject(fields, failure, "result.Failure");
    return { failure: readFailure(reading, error, "result.Failure.error") };
  }
  const { output } = readObject(fields, success, "result.Success");
  return { output: readJson(reading, output, ["result", "Success", "output"]) };
}

function readFailure(reading: Reading, error: unknown, path: string): Failure {
  const text = readText(reading.fields, error, path);
  return { errorType: errorTypeOf(text), message: failureMessage(reading.policy, text) };
}

function readJson(reading: Reading, value: unknown, path: readonly string[]): Content {
  const { policy, fields, origin } = reading;
  return jsonContent(policy, { fields, origin, value, path });
}

function readUsage(type: "UsageRecorded", reading: Reading): Event {
  const { fields, payload, common } = reading;
  const usage = readObject(fields, payload["usage"], "usage");
  // Never used, for it means different things to different providers, but it has to be a number.
  readOptionalCount(fields, usage["total_tokens"], "usage.total_tokens");
  return {
    ...common,
    type,
    usage: {
      input: readCount(fields, usage["input_tokens"], "usage.input_tokens"),
      output: readCount(fields, usage["output_tokens"], "usage.output_tokens"),
      ...readCache(fields, usage, "usage."),
    },
  };
}

function readCache(fields: Fields, object: Wire, prefix: string) {
  const read = (name: string) => readOptionalCount(fields, object[name], prefix + name);
  return {
    cacheCreation: read("cache_creation_input_tokens"),
    cacheRead: read("cache_read_input_tokens"),
    cached: read("cached_input_tokens"),
  };
}

/** A word, also one that this version does not know, or `{"unknown": word}`. */
function readFinishReason(fields: Fields, value: unknown): string {
  return isRecord(value)
    ? readName(fields, value["unknown"], "finish_reason.unknown")
    : readName(fields, value, "finish_reason");
}
