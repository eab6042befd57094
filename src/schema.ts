import * as z from "zod";
import { eventLineSchema } from "./event/schema.ts";

export {
  agentEventSchema,
  bareEventSchema,
  envelopeSchema,
  eventLineSchema,
  finishReasonSchema,
  payloadSchemas,
  tokenUsageSchema,
  toolResultSchema,
} from "./event/schema.ts";
export type { AgentEvent, Beside, Envelope, EventLine } from "./event/schema.ts";

/**
 * JSON Schema (draft 2020-12) of what a line, an entry or a message may hold. What it cannot say (that a
 * date exists, that two run ids are equal) only the zod schemas check.
 */
export function eventLineJsonSchema(): z.core.JSONSchema.JSONSchema {
  return z.toJSONSchema(eventLineSchema, { io: "input" });
}
