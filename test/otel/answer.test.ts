import { describe, expect, test } from "vitest";

import {
  answerOfGrpc,
  answerOfHttp,
  answerOfNetwork,
  answerOfResponse,
  type Answer,
  type HttpReply,
} from "../../src/otel/answer.ts";
import { LOGS, METRICS, SPANS } from "../../src/otel/serializers.ts";
import { partialSuccess, statusWithRetryInfo } from "./otlp-proto.ts";

const NOW = Date.parse("2026-11-22T12:00:00Z");
const PROTOBUF = "application/x-protobuf";
const JSON_TYPE = "application/json";

function reply(
  over: Partial<Omit<HttpReply, "body">> & { readonly body?: string | Uint8Array } = {},
): HttpReply {
  const { body = "", ...rest } = over;
  return {
    status: 200,
    contentType: undefined,
    retryAfter: undefined,
    ...rest,
    body: typeof body === "string" ? Buffer.from(body) : body,
  };
}

function answer(over: Parameters<typeof reply>[0]): Answer {
  return answerOfHttp(reply(over), SPANS.decode, NOW);
}

describe("an HTTP status", () => {
  const KINDS: Readonly<Record<Answer["kind"], readonly number[]>> = {
    accepted: [200, 201, 202, 204, 299],
    partial: [],
    retry: [408, 425, 429, 502, 503, 504, 507, 520, 521, 522, 523, 524, 525, 526, 527, 530],
    split: [400, 413, 422],
    misconfigured: [
      300, 301, 302, 303, 304, 307, 308, 401, 402, 403, 404, 405, 406, 407, 409, 410, 411, 412, 414, 415, 416,
      417, 418, 421, 423, 424, 426, 428, 431, 451, 499, 501, 511,
    ],
    server_error: [500, 505, 506, 508, 510, 519, 531, 599],
  };
  const rows = Object.entries(KINDS).flatMap(([kind, statuses]) =>
    statuses.map((status) => [status, kind] as const),
  );

  test.each(rows)("%i is %s", (status, kind) => {
    expect(answer({ status })).toMatchObject({ kind });
  });

  test("is the cause that is told, with what the backend wrote", () => {
    expect(answer({ status: 400, body: "no span id" })).toEqual({
      kind: "split",
      cause: "http 400",
      message: "no span id",
      tooLarge: false,
    });
    expect(answer({ status: 413 })).toMatchObject({ tooLarge: true });
    expect(
      answer({ status: 401, contentType: JSON_TYPE, body: '{"code":16,"message":"no key"}' }),
    ).toMatchObject({
      message: "no key",
    });
    expect(answer({ status: 401, contentType: JSON_TYPE, body: '{"error":"no key"}' })).toMatchObject({
      message: "no key",
    });
    expect(answer({ status: 500, contentType: JSON_TYPE, body: "[broken" })).toMatchObject({
      message: "[broken",
    });
    const status = Buffer.from([0x08, 3, 0x12, 3, ...Buffer.from("bad")]);
    expect(answer({ status: 400, contentType: PROTOBUF, body: status })).toMatchObject({ message: "bad" });
    expect(answer({ status: 400, contentType: PROTOBUF, body: Buffer.from([0xff]) })).toMatchObject({
      message: "",
    });
    expect(answer({ status: 502, body: " <html><body>Bad Gateway" })).toMatchObject({
      message: "a page of HTML",
    });
    expect(answer({ status: 302, location: "https://login.example" })).toMatchObject({
      message: "redirected to https://login.example",
    });
  });

  test.each([
    [999, 999],
    [1000, 1000],
    [1001, 1003],
  ])("comes with at most 1000 characters of a message: of %i, %i stay", (length, kept) => {
    expect((answer({ status: 400, body: "x".repeat(length) }) as { message: string }).message).toHaveLength(
      kept,
    );
  });

  test.each([
    [404, true],
    [501, true],
    [401, false],
    [405, true],
    [410, false],
  ])("%i: the signal itself is unknown there: %s", (status, absent) => {
    expect(answer({ status })).toMatchObject({ kind: "misconfigured", absent });
  });
});

describe("Retry-After", () => {
  test.each([
    ["0", 0],
    ["7", 7_000],
    [" 120 ", 120_000],
    ["3600", 3_600_000],
    ["3601", 3_600_000],
    ["Sun, 22 Nov 2026 12:00:30 GMT", 30_000],
    ["Sun, 22 Nov 2026 11:00:00 GMT", 0],
    ["Mon, 22 Nov 2027 12:00:00 GMT", 3_600_000],
  ])("%s is %i ms", (retryAfter, afterMs) => {
    for (const status of [429, 503]) {
      expect(answer({ status, retryAfter })).toMatchObject({ kind: "retry", afterMs });
    }
  });

  test.each(["", "soon", "-1", "1.5", "1e3", "2026-11-22"])(
    "'%s' is as if it were not there",
    (retryAfter) => {
      expect(answer({ status: 429, retryAfter })).toEqual({ kind: "retry", cause: "http 429", message: "" });
    },
  );
});

describe("a success", () => {
  test.each([
    ["an empty body", undefined, ""],
    ["an empty body called protobuf", PROTOBUF, ""],
    ["an empty object", JSON_TYPE, "{}"],
    ["an empty object in a charset", "application/json; charset=utf-8", "{}"],
    ["an empty object without a type", undefined, "{}"],
    ["a null partial success", JSON_TYPE, '{"partialSuccess":null}'],
    ["an empty partial success", JSON_TYPE, '{"partialSuccess":{}}'],
    ["nothing rejected", JSON_TYPE, '{"partialSuccess":{"rejectedSpans":"0"}}'],
    ["a friendly word", "text/plain", "ok"],
    ["JSON that is none", JSON_TYPE, "ok"],
    ["JSON null", JSON_TYPE, "null"],
  ])("with %s is a success", (_, contentType, body) => {
    expect(answer({ contentType, body })).toEqual({ kind: "accepted" });
  });

  test.each([
    [PROTOBUF, partialSuccess(3, "too old")],
    [JSON_TYPE, '{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}'],
    [JSON_TYPE, '{"partialSuccess":{"rejectedSpans":3,"errorMessage":"too old"}}'],
  ])("in %s that rejects some is partial", (contentType, body) => {
    expect(answer({ contentType, body })).toEqual({ kind: "partial", rejected: 3, message: "too old" });
  });

  test.each([
    [PROTOBUF, partialSuccess(0, "deprecated")],
    [JSON_TYPE, '{"partialSuccess":{"errorMessage":"deprecated"}}'],
  ])("in %s that only says something is a success with a warning", (contentType, body) => {
    expect(answer({ contentType, body })).toEqual({ kind: "accepted", warning: "deprecated" });
  });

  test("whose protobuf cannot be read is a success with a warning", () => {
    expect(answer({ contentType: PROTOBUF, body: Buffer.from([0x0a, 0x50, 1]) })).toMatchObject({
      kind: "accepted",
      warning: expect.stringContaining("could not be read"),
    });
  });

  test.each([
    ["text/html; charset=utf-8", "<p>Sign in"],
    [undefined, "<!DOCTYPE html><title>Sign in</title>"],
    ["application/json", "\n <html><body>Sign in"],
  ])("that is a page of HTML (%s) is none", (contentType, body) => {
    expect(answer({ contentType, body })).toMatchObject({
      kind: "misconfigured",
      cause: "http 200",
      absent: false,
    });
  });

  test("of metrics and logs tells their own rejections", () => {
    const body = partialSuccess(2, "no");
    for (const { decode } of [SPANS, METRICS, LOGS]) {
      expect(answerOfResponse(body, decode.protobuf)).toEqual({
        kind: "partial",
        rejected: 2,
        message: "no",
      });
    }
    for (const [decode, field] of [
      [SPANS.decode, "rejectedSpans"],
      [METRICS.decode, "rejectedDataPoints"],
      [LOGS.decode, "rejectedLogRecords"],
    ] as const) {
      const json = Buffer.from(JSON.stringify({ partialSuccess: { [field]: "2", errorMessage: "no" } }));
      expect(answerOfResponse(json, decode.json)).toEqual({ kind: "partial", rejected: 2, message: "no" });
    }
  });
});

describe("a gRPC status", () => {
  test.each([
    [1, "CANCELLED", "retry"],
    [2, "UNKNOWN", "server_error"],
    [3, "INVALID_ARGUMENT", "split"],
    [4, "DEADLINE_EXCEEDED", "retry"],
    [5, "NOT_FOUND", "misconfigured"],
    [6, "ALREADY_EXISTS", "misconfigured"],
    [7, "PERMISSION_DENIED", "misconfigured"],
    [8, "RESOURCE_EXHAUSTED", "retry"],
    [9, "FAILED_PRECONDITION", "misconfigured"],
    [10, "ABORTED", "retry"],
    [11, "OUT_OF_RANGE", "retry"],
    [12, "UNIMPLEMENTED", "misconfigured"],
    [13, "INTERNAL", "server_error"],
    [14, "UNAVAILABLE", "retry"],
    [15, "DATA_LOSS", "retry"],
    [16, "UNAUTHENTICATED", "misconfigured"],
    [99, "UNKNOWN", "server_error"],
  ])("%i (%s) is %s", (code, name, kind) => {
    expect(answerOfGrpc({ code, message: "why", details: undefined })).toMatchObject({
      kind,
      cause: `grpc ${name}`,
      message: "why",
      ...(kind === "misconfigured" && { absent: name === "UNIMPLEMENTED" }),
    });
  });

  test.each([
    [8, "grpc: received message larger than max (5000000 vs. 4194304)"],
    [8, "gRPC message exceeds maximum size 4194304: 5000000"],
    [8, "Received message larger than max (5000000 vs 4194304)"],
    [11, "Error, decoded message length too large: found 5000000 bytes, the limit is: 4194304 bytes"],
  ])("%i with '%s' is a batch too large", (code, message) => {
    expect(answerOfGrpc({ code, message, details: undefined })).toMatchObject({
      kind: "split",
      tooLarge: true,
    });
  });

  test("with RetryInfo is to be tried again when it says, whatever its message", () => {
    const message = "received message larger than max";
    const details = statusWithRetryInfo(8, message, 2, 500_000_000);
    expect(answerOfGrpc({ code: 8, message, details })).toEqual({
      kind: "retry",
      cause: "grpc RESOURCE_EXHAUSTED",
      message,
      afterMs: 2_500,
    });
    expect(
      answerOfGrpc({ code: 14, message: "", details: statusWithRetryInfo(14, "", 7_200) }),
    ).toMatchObject({
      afterMs: 3_600_000,
    });
  });

  test.each([
    Buffer.alloc(0),
    Buffer.from([0xff, 0xff]),
    Buffer.from([0x1a, 0x7f]),
    Buffer.from([0x1a, 2, 0x0a, 9]),
  ])("with details that are none (%#) is as if they were not there", (details) => {
    expect(answerOfGrpc({ code: 14, message: "", details })).toEqual({
      kind: "retry",
      cause: "grpc UNAVAILABLE",
      message: "",
    });
  });
});

describe("a failure without an answer", () => {
  test.each([
    "ECONNREFUSED",
    "ECONNRESET",
    "ENOTFOUND",
    "EAI_AGAIN",
    "EPIPE",
    "ETIMEDOUT",
    "EHOSTUNREACH",
    "TIMEOUT",
    "RESPONSE_TOO_LARGE",
    "GRPC_SETUP",
  ])("%s is to be tried again", (code) => {
    expect(answerOfNetwork(code, "why")).toEqual({ kind: "retry", cause: code, message: "why" });
  });

  test.each([
    "CERT_HAS_EXPIRED",
    "DEPTH_ZERO_SELF_SIGNED_CERT",
    "SELF_SIGNED_CERT_IN_CHAIN",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    "ERR_TLS_CERT_ALTNAME_INVALID",
    "ERR_SSL_WRONG_VERSION_NUMBER",
    "EPROTO",
    "HPE_INVALID_CONSTANT",
  ])("%s is a wrong configuration", (code) => {
    expect(answerOfNetwork(code, "why")).toMatchObject({ kind: "misconfigured", cause: code, absent: false });
  });
});
