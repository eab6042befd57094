import { Decoder, type Decoded, type DecoderOptions } from "../../src/event/decode.ts";
import type { Around } from "../../src/event/event.ts";

export const RUN = "6f1f6d0e-3c51-4a7e-9b57-0d4cf3a1b2c3";
export const SESSION = "00000000-0000-4000-8000-000000000001";
export const TIME = "2026-06-21T00:00:00Z";

/** Decodes a line: text as it is, anything else as its JSON. */
export function decode(value: unknown, options: DecoderOptions = {}, outside?: Around): Decoded {
  const bytes = Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
  return new Decoder(options).line(bytes, 0, bytes.length, true, outside);
}

export function event(type: string, fields: Record<string, unknown> = {}): Record<string, unknown> {
  return { [type]: { run_id: RUN, ...fields, timestamp: TIME } };
}

export function envelope(inner: unknown, fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    event_id: "01900000-0000-7000-8000-000000000001",
    seq: 1,
    run_id: RUN,
    session_id: null,
    event: inner,
    emitted_at: TIME,
    ...fields,
  };
}

/** The code of a rejection, else the type of what was decoded. */
export function code(value: unknown, options: DecoderOptions = {}): string {
  const decoded = decode(value, options);
  return decoded.type === "rejected" ? decoded.code : decoded.type;
}

export const started = event("RunStarted", { session_id: SESSION, provider: "anthropic", model: "claude" });
export const cancelled = event("RunCancelled");
