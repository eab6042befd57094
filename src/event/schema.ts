import * as z from "zod";
import { EVENT_TYPES } from "./event.ts";
import type { EventType } from "./event.ts";
import { TimestampReader } from "./timestamp.ts";
import { NIL_UUID } from "./uuid.ts";

/**
 * The wire form as zod schemas: the contract that producers are held to, and its public types.
 *
 * The decoder does not use them, as reading a schema costs several times what reading an event does: it has
 * validators of its own, and a test proves that both give the same verdict. The form is that of behest 0.2.2
 * to 0.5.9 (`behest-event`), externally tagged by serde; fields that are not listed here are ignored.
 */

const MAX_STRING_LENGTH = 1_024;

const timestamps = new TimestampReader();

const uuid = z.guid().meta({ id: "Uuid", description: "Hyphenated; upper case is folded." });
const runId = z
  .guid()
  .refine((text) => text !== NIL_UUID, "must not be the nil UUID")
  .meta({ id: "RunId", description: "Hyphenated UUID, not nil; upper case is folded." });
const timestamp = z
  .string()
  .refine((text) => timestamps.text(text) !== undefined, "must be an RFC 3339 date-time from 1970 to 2554")
  .meta({ id: "Timestamp", format: "date-time", description: "RFC 3339, up to nine fraction digits." });
const name = z.string().max(MAX_STRING_LENGTH).meta({ id: "Name", description: "An id or a name." });
const count = z.int().min(0).meta({ id: "Count" });
const optionalCount = count.nullish();
const anyJson = z.unknown().refine((value) => value !== undefined, "must be a JSON value");

const common = { run_id: runId, timestamp };
const toolReference = { call_id: name, tool_name: name };
const cacheNumbers = {
  cache_creation_input_tokens: optionalCount,
  cache_read_input_tokens: optionalCount,
  cached_input_tokens: optionalCount,
};

export const tokenUsageSchema = z
  .object({ input_tokens: count, output_tokens: count, total_tokens: optionalCount, ...cacheNumbers })
  .meta({ id: "TokenUsage" });

export const finishReasonSchema = z.union([
  z.enum(["stop", "tool_calls", "length", "content_filter", "error"]),
  name.describe("A word that later versions may add."),
  z.object({ unknown: name }),
]);

export const toolResultSchema = z.union([
  z.object({ Success: z.object({ output: anyJson }), Failure: z.never().optional() }),
  z.object({ Failure: z.object({ error: z.string() }), Success: z.never().optional() }),
]);

/** What stands under each variant's name. */
export const payloadSchemas = {
  RunStarted: payload("RunStarted", { session_id: uuid, provider: name, model: name }),
  ContextBuilt: payload("ContextBuilt", { message_count: count }),
  ModelStarted: payload("ModelStarted", { provider: name, model: name, iteration: count }),
  TextDelta: payload("TextDelta", { delta: z.string() }),
  ToolCallStarted: payload("ToolCallStarted", { ...toolReference }),
  ToolCallDelta: payload("ToolCallDelta", { call_id: name, delta: z.string() }),
  ToolCallCompleted: payload("ToolCallCompleted", { call: z.object({ id: name, name, arguments: anyJson }) }),
  ToolExecutionStarted: payload("ToolExecutionStarted", { ...toolReference }),
  ToolExecutionFinished: payload("ToolExecutionFinished", {
    ...toolReference,
    result: toolResultSchema,
    duration_ms: count,
  }),
  AssistantMessageCommitted: payload("AssistantMessageCommitted", { message_id: uuid }),
  ToolMessageCommitted: payload("ToolMessageCommitted", { message_id: uuid }),
  UsageRecorded: payload("UsageRecorded", { usage: tokenUsageSchema }),
  CacheMetrics: payload("CacheMetrics", { ...cacheNumbers }),
  RunCompleted: payload("RunCompleted", { finish_reason: finishReasonSchema, iterations: count }),
  RunFailed: payload("RunFailed", { error: z.string() }),
  RunCancelled: payload("RunCancelled", {}),
  DoomLoopDetected: payload("DoomLoopDetected", { description: z.string() }),
  CompactionCircuitOpened: payload("CompactionCircuitOpened", { consecutive_failures: count }),
} as const satisfies Record<(typeof EVENT_TYPES)[number], z.ZodObject>;

type Payloads = typeof payloadSchemas;

/** An event as the runtime sends it: one key, the variant's name. */
export type AgentEvent = { [K in EventType]: { [P in K]: z.infer<Payloads[P]> } }[EventType];

const beside = {
  agent: name.nullish().describe("Name of the agent, for gen_ai.agent.name."),
  traceparent: z.string().nullish().describe("W3C traceparent of the span that the run belongs under."),
  tracestate: z.string().nullish(),
};

/** What may stand beside an event or on its envelope. */
export type Beside = z.infer<z.ZodObject<typeof beside>>;

export const agentEventSchema: z.ZodType<AgentEvent> = oneVariant({});

/** A bare event, with or without fields beside it. */
export const bareEventSchema: z.ZodType<AgentEvent & Beside> = oneVariant(beside);

/** What behest's event store and stream adapters put around an event from 0.3 on. */
export const envelopeSchema = z
  .looseObject({
    event_id: name.nullish().describe("The same event has the same id, however often it is delivered."),
    seq: optionalCount.describe("Counts the events of a run from 1."),
    run_id: uuid.nullish().describe("The one of the event."),
    session_id: uuid.nullish(),
    event: agentEventSchema,
    emitted_at: z.string().nullish(),
    ...beside,
  })
  .refine((envelope) => variantsIn(envelope).length === 0, "must not be an event itself")
  .refine(
    (envelope) =>
      typeof envelope.run_id !== "string" || envelope.run_id.toLowerCase() === runIdOf(envelope.event),
    { path: ["run_id"], error: "must be the run id of the event" },
  );

export type Envelope = z.infer<typeof envelopeSchema>;

/** What a line, an entry or a message holds. */
export const eventLineSchema: z.ZodType<(AgentEvent & Beside) | Envelope> = z.union([
  bareEventSchema,
  envelopeSchema,
]);

export type EventLine = z.infer<typeof eventLineSchema>;

function payload<Shape extends z.ZodRawShape>(type: EventType, shape: Shape) {
  return z.object({ ...common, ...shape }).meta({ id: type });
}

function oneVariant<Extra extends z.ZodRawShape>(extra: Extra) {
  const variants = EVENT_TYPES.map((type) => z.looseObject({ [type]: payloadSchemas[type], ...extra }));
  const schema = z.xor(variants).refine((event) => variantsIn(event).length === 1, "must be one event");
  // The keys are computed, which the type of the object cannot say.
  return schema as unknown as z.ZodType<AgentEvent & z.infer<z.ZodObject<Extra>>>;
}

function variantsIn(object: object): EventType[] {
  return EVENT_TYPES.filter((type) => (object as Record<string, unknown>)[type] !== undefined);
}

function runIdOf(event: AgentEvent): string | undefined {
  return Object.values(event)[0]?.run_id.toLowerCase();
}
