/** Why input is no event, one sentence each: metrics count by these codes, the documentation lists them. */
export const DECODE_CODES = {
  BEHEST_DECODE_JSON: "The line is not JSON, or is cut off.",
  BEHEST_DECODE_SCHEMA:
    "The JSON is no event: a field is missing, has the wrong type, or there are two events in one object.",
  BEHEST_DECODE_UTF8: "The line is not valid UTF-8.",
  BEHEST_DECODE_RUN_ID:
    "The run id is not a hyphenated UUID, is the nil UUID, or differs from the one of the envelope.",
  BEHEST_DECODE_TIMESTAMP: "The timestamp is no RFC 3339 date-time between 1970 and 2554.",
  BEHEST_DECODE_DEPTH: "Arguments or output are nested deeper than the limit.",
  BEHEST_DECODE_STRING_TOO_LONG: "An id or a name is longer than the limit.",
  BEHEST_DECODE_SPAN:
    "The line is the dead letter of a span: its events make the same span again, so it is neither used nor kept again.",
  BEHEST_LINE_TOO_LONG: "The line is longer than the limit; reading goes on behind it.",
} as const;

export type DecodeCode = keyof typeof DECODE_CODES;

/** Input that is no event. Its message names places and types, never what a model or a tool said. */
export interface Rejected {
  readonly type: "rejected";
  readonly code: DecodeCode;
  readonly message: string;
  /** The run it belongs to, when that much could be read. */
  readonly runId?: string;
}

/** An event of a variant that this version does not know: no error, counted as dropped. */
export interface UnknownType {
  readonly type: "unknown";
  /** At most 64 letters and digits. */
  readonly name: string;
}
