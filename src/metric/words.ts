import { DECODE_CODES, type DecodeCode } from "../event/codes.ts";
import { ERROR_TYPES } from "../event/error-type.ts";

/** What stands for everything that has no word of its own, as the conventions spell it. */
export const OTHER = "_OTHER";

/** What stands for the names beyond a limit. */
export const OTHER_NAME = "_other";

/** The `error.type` of a run that fell silent. */
export const RUN_EXPIRED = "run_expired";

/**
 * Every `error.type` a run can fail with: the classes of RunFailed's texts, RunCompleted with finish
 * reason `error`, and silence.
 */
export const RUN_ERROR_TYPES: readonly string[] = [...ERROR_TYPES, "model_error", RUN_EXPIRED];

/** Why input was no event. */
export const REJECT_CODES = Object.keys(DECODE_CODES) as readonly DecodeCode[];

/** Why spans were given up, one sentence each. */
export const SPAN_FAILURES = {
  refused: "The backend said that this one is wrong, now and for ever (400, 422, INVALID_ARGUMENT).",
  too_large: "The span alone is larger than the backend takes (413, RESOURCE_EXHAUSTED).",
  rejected: "The backend took a batch and rejected some of it (partial success); which ones, only it knows.",
  server_error: "The backend failed over this one span again and again (500).",
  serialize: "The span could not be turned into bytes.",
  undelivered: "The input had ended and the backend did not answer within `--flush-timeout`.",
  queue_full: "In process only: more finished spans waited than may wait.",
} as const;
export type SpanFailure = keyof typeof SPAN_FAILURES;

/** Why a request over HTTP, or a connection, was refused, one sentence each. */
export const REQUEST_REFUSALS = {
  full: "There was no room for the events then (429): senders send them again.",
  too_large: "The body, or the headers, were larger than is taken (413, 431).",
  content_type: "The content type or encoding is none that is read (415).",
  unauthorized: "The token was missing or wrong (401), or a page in a browser sent it (403).",
  malformed: "It could not be read as a request with events (400, 501).",
  timeout: "The request did not come in time (408); a connection that says nothing can end so too.",
  unavailable: "The bridge was starting or stopping, the journal could not be written, or a bug (503, 500).",
  not_found: "The path or the method is another one (404, 405).",
  connections: "More connections were open than may be; it was closed without a word.",
} as const;
export type RequestRefusal = keyof typeof REQUEST_REFUSALS;
