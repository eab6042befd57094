import { readRetryDelayMs, readStatus } from "./grpc-status.ts";

/**
 * What a backend said to one request, in the only words that matter to delivery.
 *
 * `cause` is short and of few values (`http 503`, `grpc UNAVAILABLE`, `ECONNREFUSED`); `message` is
 * what the backend wrote, at most 1,000 characters of it.
 */
export type Answer =
  /** Taken; `warning` when the backend had something to say about it. */
  | { readonly kind: "accepted"; readonly warning?: string }
  /** Taken but for `rejected` records, nobody knows which; must not be sent again. */
  | { readonly kind: "partial"; readonly rejected: number; readonly message: string }
  /** To be sent again, not before `afterMs` when the backend named a time. */
  | { readonly kind: "retry"; readonly cause: string; readonly message: string; readonly afterMs?: number }
  /** Something in the batch is refused for good: to be found by sending parts. */
  | { readonly kind: "split"; readonly cause: string; readonly message: string; readonly tooLarge: boolean }
  /** Nothing is wrong with the data but with where or how it is sent; `absent`: this signal is unknown there. */
  | {
      readonly kind: "misconfigured";
      readonly cause: string;
      readonly message: string;
      readonly absent: boolean;
    }
  /** The backend failed, perhaps over this batch. */
  | { readonly kind: "server_error"; readonly cause: string; readonly message: string };

export interface HttpReply {
  readonly status: number;
  readonly contentType: string | undefined;
  readonly location?: string | undefined;
  readonly retryAfter: string | undefined;
  readonly body: Uint8Array;
}

/** What a serializer of otlp-transformer reads out of a response, for any signal. */
export interface ExportResponse {
  readonly partialSuccess?: {
    readonly rejectedSpans?: number | string;
    readonly rejectedDataPoints?: number | string;
    readonly rejectedLogRecords?: number | string;
    readonly errorMessage?: string;
  } | null;
}

/** How bodies of one protocol are read; throws on what is no response. */
export type DecodeResponse = (body: Uint8Array) => ExportResponse;

/** A wait longer than an hour is an accident, not a wish. */
const MAX_RETRY_AFTER_MS = 3_600_000;
const MAX_MESSAGE_CHARACTERS = 1_000;

/** Sorts an HTTP answer by OTLP 1.x "OTLP/HTTP Response" and docs/backends.md; `nowMs` is for a Retry-After with a date. */
export function answerOfHttp(reply: HttpReply, decode: Decoders, nowMs: number): Answer {
  const { status } = reply;
  const cause = `http ${status}`;
  if (status >= 200 && status < 300) return answerOfSuccess(reply, decode);
  const message = messageOf(reply);
  if (status >= 300 && status < 400) {
    const to = reply.location === undefined ? "" : ` to ${reply.location}`;
    return { kind: "misconfigured", cause, message: `redirected${to}`, absent: false };
  }
  if (SPLIT.has(status)) return { kind: "split", cause, message, tooLarge: status === 413 };
  if (RETRY.has(status) || isGatewayFailure(status)) {
    return { kind: "retry", cause, message, ...retryAfter(reply.retryAfter, nowMs) };
  }
  if (status >= 500 && !MISCONFIGURED_5XX.has(status)) return { kind: "server_error", cause, message };
  // Every other 4xx speaks of the address, the credentials or the account, never of one span.
  return {
    kind: "misconfigured",
    cause,
    message,
    absent: status === 404 || status === 405 || status === 501,
  };
}

const SPLIT = new Set([400, 413, 422]);
const RETRY = new Set([408, 425, 429, 502, 503, 504, 507]);
/** Not implemented, and a network that wants a login first. */
const MISCONFIGURED_5XX = new Set([501, 511]);

/** 520 to 530 are a content network's words for an origin that is down. */
function isGatewayFailure(status: number): boolean {
  return status >= 520 && status <= 530;
}

export interface Decoders {
  readonly protobuf: DecodeResponse;
  readonly json: DecodeResponse;
}

function answerOfSuccess(reply: HttpReply, decode: Decoders): Answer {
  const { body, contentType = "" } = reply;
  if (body.length === 0) return { kind: "accepted" };
  if (contentType.startsWith("text/html") || (!isProtobuf(contentType) && startsWithMarkup(body))) {
    const message =
      "a page of HTML instead of an OTLP response: a login page or another server answers there";
    return { kind: "misconfigured", cause: `http ${reply.status}`, message, absent: false };
  }
  if (isProtobuf(contentType)) return answerOfResponse(body, decode.protobuf);
  if (contentType.startsWith("application/json")) return answerOfResponse(body, decode.json);
  // Proxies and small receivers say "ok" in a type of their own; 2xx is the word that counts.
  return { kind: "accepted" };
}

/** What the body of a success says: all taken, or some rejected. */
export function answerOfResponse(body: Uint8Array, decode: DecodeResponse): Answer {
  let response: ExportResponse;
  try {
    response = decode(body);
  } catch (error) {
    return { kind: "accepted", warning: `its response could not be read: ${String(error)}` };
  }
  const partial = response?.partialSuccess;
  if (partial === undefined || partial === null) return { kind: "accepted" };
  // JSON writes 64-bit numbers as strings.
  const rejected = Number(
    partial.rejectedSpans ?? partial.rejectedDataPoints ?? partial.rejectedLogRecords ?? 0,
  );
  const message = cut(partial.errorMessage ?? "");
  if (rejected > 0) return { kind: "partial", rejected, message };
  return message === "" ? { kind: "accepted" } : { kind: "accepted", warning: message };
}

export interface GrpcFailure {
  readonly code: number;
  readonly message: string;
  /** The trailer `grpc-status-details-bin`: a `google.rpc.Status`. */
  readonly details: Uint8Array | undefined;
}

/** Sorts a gRPC status other than OK by OTLP 1.x "OTLP/gRPC Response" and docs/backends.md. */
export function answerOfGrpc({ code, message: text, details }: GrpcFailure): Answer {
  const name = GRPC_CODES[code] ?? "UNKNOWN";
  const cause = `grpc ${name}`;
  const message = cut(text);
  const afterMs = details === undefined ? undefined : readRetryDelayMs(details);
  switch (name) {
    case "RESOURCE_EXHAUSTED":
    case "OUT_OF_RANGE":
      // Receivers in Go, Java, C++ and JavaScript say the first for a message over their limit, in Rust the second.
      if (afterMs === undefined && saysTooLarge(message)) {
        return { kind: "split", cause, message, tooLarge: true };
      }
      return { kind: "retry", cause, message, ...capped(afterMs) };
    case "CANCELLED":
    case "DEADLINE_EXCEEDED":
    case "ABORTED":
    case "UNAVAILABLE":
    case "DATA_LOSS":
      return { kind: "retry", cause, message, ...capped(afterMs) };
    case "INVALID_ARGUMENT":
      return { kind: "split", cause, message, tooLarge: false };
    case "UNIMPLEMENTED":
      return { kind: "misconfigured", cause, message, absent: true };
    case "NOT_FOUND":
    case "ALREADY_EXISTS":
    case "PERMISSION_DENIED":
    case "FAILED_PRECONDITION":
    case "UNAUTHENTICATED":
      return { kind: "misconfigured", cause, message, absent: false };
    case "UNKNOWN":
    case "INTERNAL":
      return { kind: "server_error", cause, message };
  }
}

/** The status codes of gRPC by number, without OK. */
const GRPC_CODES: Readonly<Record<number, GrpcCode>> = {
  1: "CANCELLED",
  2: "UNKNOWN",
  3: "INVALID_ARGUMENT",
  4: "DEADLINE_EXCEEDED",
  5: "NOT_FOUND",
  6: "ALREADY_EXISTS",
  7: "PERMISSION_DENIED",
  8: "RESOURCE_EXHAUSTED",
  9: "FAILED_PRECONDITION",
  10: "ABORTED",
  11: "OUT_OF_RANGE",
  12: "UNIMPLEMENTED",
  13: "INTERNAL",
  14: "UNAVAILABLE",
  15: "DATA_LOSS",
  16: "UNAUTHENTICATED",
};

type GrpcCode =
  | "CANCELLED"
  | "UNKNOWN"
  | "INVALID_ARGUMENT"
  | "DEADLINE_EXCEEDED"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "PERMISSION_DENIED"
  | "RESOURCE_EXHAUSTED"
  | "FAILED_PRECONDITION"
  | "ABORTED"
  | "OUT_OF_RANGE"
  | "UNIMPLEMENTED"
  | "INTERNAL"
  | "UNAVAILABLE"
  | "DATA_LOSS"
  | "UNAUTHENTICATED";

/** Sorts what went wrong before there was an answer; `code` is the system's (`ECONNREFUSED`) or ours. */
export function answerOfNetwork(code: string, text: string): Answer {
  const message = cut(text);
  // A certificate or a protocol that does not fit stays so until somebody changes it.
  if (TLS_FAILURE.test(code) || code.startsWith("HPE_")) {
    return { kind: "misconfigured", cause: code, message, absent: false };
  }
  return { kind: "retry", cause: code, message };
}

const TLS_FAILURE =
  /^(CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|ERR_TLS_CERT|ERR_SSL_|EPROTO$|HOSTNAME_MISMATCH)/;

function saysTooLarge(message: string): boolean {
  return /larger than|too large|exceeds|maximum size|max(imum)? (message )?size/i.test(message);
}

function messageOf({ body, contentType = "" }: HttpReply): string {
  if (body.length === 0) return "";
  if (isProtobuf(contentType)) return cut(readStatus(body)?.message ?? "");
  const text = new TextDecoder().decode(body.subarray(0, MAX_MESSAGE_CHARACTERS * 4)).trim();
  if (contentType.startsWith("application/json")) return cut(jsonMessage(text) ?? text);
  return startsWithMarkup(body) ? "a page of HTML" : cut(text);
}

/** Errors in JSON are a `google.rpc.Status` by the protocol, and `{"error": "..."}` in real life. */
function jsonMessage(text: string): string | undefined {
  try {
    const { message, error } = JSON.parse(text) as { message?: unknown; error?: unknown };
    return typeof message === "string" ? message : typeof error === "string" ? error : undefined;
  } catch {
    return undefined;
  }
}

/** Retry-After is whole seconds or an HTTP date (RFC 9110, 10.2.3); anything else is as if it were not there. */
function retryAfter(header: string | undefined, nowMs: number): { readonly afterMs?: number } {
  if (header === undefined) return {};
  const text = header.trim();
  if (/^\d{1,9}$/.test(text)) return capped(Number(text) * 1_000);
  const at = /^[A-Z][a-z]{2}/.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(at) ? {} : capped(Math.max(0, at - nowMs));
}

function capped(afterMs: number | undefined): { readonly afterMs?: number } {
  return afterMs === undefined ? {} : { afterMs: Math.min(afterMs, MAX_RETRY_AFTER_MS) };
}

function isProtobuf(contentType: string): boolean {
  return contentType.startsWith("application/x-protobuf") || contentType.startsWith("application/protobuf");
}

function startsWithMarkup(body: Uint8Array): boolean {
  return /^\s*<(!doctype|html|head|body)/i.test(new TextDecoder().decode(body.subarray(0, 64)));
}

function cut(text: string): string {
  return text.length <= MAX_MESSAGE_CHARACTERS ? text : `${text.slice(0, MAX_MESSAGE_CHARACTERS)}...`;
}
