import { errorTypeOf } from "../../src/event/error-type.ts";
import type { EventLine } from "../../src/event/schema.ts";
import { EVENT_TYPES, type EventType } from "../../src/event/event.ts";
import { hashText } from "../../src/event/hash.ts";
import { redactErrorMessage, redactionOf } from "../../src/event/redact.ts";
import { TimestampReader } from "../../src/event/timestamp.ts";
import { parseTraceparent } from "../../src/event/traceparent.ts";
import { NIL_UUID } from "../../src/event/uuid.ts";

/* oxlint-disable typescript/no-explicit-any -- one reading of eighteen shapes, checked by what it is compared with */

/** What the decoder must make of a valid line when content is off, without the hash: a second reading of the contract, from objects. */
export function expectedFields(line: EventLine): Record<string, unknown> {
  const object = line as Record<string, any>;
  const enveloped = !EVENT_TYPES.some((type) => object[type] !== undefined);
  const event = enveloped ? object["event"] : object;
  const type = EVENT_TYPES.find((name) => event[name] !== undefined) as EventType;
  const payload = event[type];
  return {
    type,
    runId: payload.run_id.toLowerCase(),
    time: new TimestampReader().text(payload.timestamp),
    around: expectedAround(object, enveloped),
    ...ownFields(type, payload),
  };
}

function expectedAround(
  object: Record<string, any>,
  enveloped: boolean,
): Record<string, unknown> | undefined {
  const around: Record<string, unknown> = {};
  if (enveloped) {
    const { event_id: id, seq } = object;
    // The empty id, the nil one and number 0 stand for none.
    if (id && id !== NIL_UUID) around["eventId"] = hashText(id);
    if (seq) around["seq"] = seq;
    if (typeof object["session_id"] === "string") around["sessionId"] = object["session_id"].toLowerCase();
  }
  if (object["agent"]) around["agent"] = object["agent"];
  const parent =
    typeof object["traceparent"] === "string"
      ? parseTraceparent(object["traceparent"], object["tracestate"] ?? undefined)
      : undefined;
  if (parent !== undefined) around["parent"] = parent;
  return Object.keys(around).length === 0 ? undefined : around;
}

function ownFields(type: EventType, payload: any): Record<string, unknown> {
  switch (type) {
    case "RunStarted":
      return {
        sessionId: payload.session_id.toLowerCase(),
        provider: payload.provider,
        model: payload.model,
      };
    case "ContextBuilt":
      return { messageCount: payload.message_count };
    case "ModelStarted":
      return { provider: payload.provider, model: payload.model, iteration: payload.iteration };
    case "TextDelta":
      return { text: undefined };
    case "ToolCallDelta":
      return { callId: payload.call_id };
    case "ToolCallStarted":
    case "ToolExecutionStarted":
      return { callId: payload.call_id, toolName: payload.tool_name };
    case "ToolCallCompleted":
      return {
        callId: payload.call.id,
        toolName: payload.call.name,
        arguments: lengthOf(payload.call.arguments),
      };
    case "ToolExecutionFinished": {
      const { Success: success, Failure: failure } = payload.result;
      const result = failure ? { failure: failed(failure.error) } : { output: lengthOf(success.output) };
      return {
        callId: payload.call_id,
        toolName: payload.tool_name,
        durationMs: payload.duration_ms,
        result,
      };
    }
    case "AssistantMessageCommitted":
    case "ToolMessageCommitted":
      return { messageId: payload.message_id.toLowerCase() };
    case "UsageRecorded":
      return {
        usage: {
          input: payload.usage.input_tokens,
          output: payload.usage.output_tokens,
          ...cacheOf(payload.usage),
        },
      };
    case "CacheMetrics":
      return { cache: cacheOf(payload) };
    case "RunCompleted": {
      const reason = payload.finish_reason;
      return {
        finishReason: typeof reason === "string" ? reason : reason.unknown,
        iterations: payload.iterations,
      };
    }
    case "RunFailed":
      return { failure: failed(payload.error) };
    case "RunCancelled":
      return {};
    case "DoomLoopDetected":
      return { description: { length: payload.description.length, text: undefined } };
    case "CompactionCircuitOpened":
      return { consecutiveFailures: payload.consecutive_failures };
  }
}

function lengthOf(value: unknown): { length: number; text: undefined } {
  return { length: JSON.stringify(value).length, text: undefined };
}

function failed(error: string): { errorType: string; message: string } {
  return { errorType: errorTypeOf(error), message: redactErrorMessage(error, redactionOf()) };
}

function cacheOf(object: any): Record<string, number | undefined> {
  return {
    cacheCreation: object.cache_creation_input_tokens ?? undefined,
    cacheRead: object.cache_read_input_tokens ?? undefined,
    cached: object.cached_input_tokens ?? undefined,
  };
}
