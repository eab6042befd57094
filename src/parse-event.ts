import type { DecodeCode } from "./event/codes.ts";
import { Decoder } from "./event/decode.ts";
import type { EventLine } from "./event/schema.ts";

export type ParsedEvent =
  | { readonly kind: "event"; readonly event: EventLine }
  /** A variant that this version does not know: no error. */
  | { readonly kind: "unknown"; readonly type: string }
  | { readonly kind: "rejected"; readonly code: DecodeCode; readonly message: string };

const decoder = new Decoder();

/**
 * Reads an event, bare or in its envelope, from JSON text or from an object, and says what is wrong
 * with it when it is none. The verdict is the bridge's own and that of the schemas. Never throws.
 */
export function parseEvent(input: unknown): ParsedEvent {
  let value: unknown;
  try {
    value = typeof input === "string" ? JSON.parse(input) : input;
    const decoded = decoder.value(value);
    if (decoded.type === "unknown") return { kind: "unknown", type: decoded.name };
    if (decoded.type === "rejected") {
      return { kind: "rejected", code: decoded.code, message: decoded.message };
    }
    return { kind: "event", event: value as EventLine };
  } catch (error) {
    const message =
      error instanceof SyntaxError ? "the text is not JSON" : "a field of the object throws when it is read";
    return {
      kind: "rejected",
      code: error instanceof SyntaxError ? "BEHEST_DECODE_JSON" : "BEHEST_DECODE_SCHEMA",
      message,
    };
  }
}
