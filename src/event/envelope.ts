import { literal } from "./literal.ts";

/** The envelope of the runtime as serde writes it, in the parts that never change. */
export const ENVELOPE_HEAD = literal('{"event_id":"');
export const SEQ = literal('","seq":');
export const RUN_ID = literal(',"run_id":"');
export const SESSION_ID = literal('","session_id":');
export const NULL = literal("null");
export const EVENT = literal(',"event":{');
export const EMITTED_AT = literal('},"emitted_at":"');
