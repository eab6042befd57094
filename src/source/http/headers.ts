import type { IncomingMessage } from "node:http";
import { isUtf8 } from "node:buffer";

import type { Around } from "../../event/event.ts";
import { parseTraceparent } from "../../event/traceparent.ts";
import type { Refusal } from "./answer.ts";
import { ENCODINGS, encodingOf, type Encoding } from "./inflate.ts";

/** What the headers of a request say of its body. */
export interface BodyHeaders {
  readonly type: "ndjson" | "json" | undefined;
  readonly encoding: Encoding | "identity";
  /** Bytes as sent; undefined when they are not counted beforehand. */
  readonly length: number | undefined;
  readonly outside: Around | undefined;
  /** Names the request, so that it is taken once however often it is sent. */
  readonly key: string | undefined;
}

const TYPES: Readonly<Record<string, "ndjson" | "json" | undefined>> = {
  "application/x-ndjson": "ndjson",
  "application/ndjson": "ndjson",
  "application/x-jsonlines": "ndjson",
  "application/jsonlines": "ndjson",
  "application/jsonl": "ndjson",
  "application/x-jsonl": "ndjson",
  "application/json": "json",
};

/** UTF-16 units of a name, as the decoder takes them from beside an event. */
const MAX_NAME_LENGTH = 1_024;

/** Characters of a header in an answer. */
const MAX_TOLD_LENGTH = 100;

/** Characters of an `Idempotency-Key`. */
const MAX_KEY_LENGTH = 255;

/** Reads the headers of a request that has events, or says why it is not taken. */
export function bodyHeaders({ headers, headersDistinct }: IncomingMessage): BodyHeaders | Refusal {
  const { "content-type": contentType, "content-length": length, "transfer-encoding": transfer } = headers;
  if (transfer !== undefined && transfer.toLowerCase() !== "chunked") {
    return { status: 501, message: "a transfer encoding other than chunked is not read" };
  }
  const encoding = encodingOf(headers["content-encoding"]);
  if (encoding === undefined) {
    const message = `the content encoding is not read; expected one of ${ENCODINGS.join(", ")}, or none`;
    return { status: 415, message, headers: { "accept-encoding": ENCODINGS.join(", ") } };
  }
  const type = contentType === undefined ? undefined : typeOf(contentType);
  if (type === "other") {
    // curl speaks of a form where its user says nothing, who would not know what is meant.
    const found = JSON.stringify(contentType?.slice(0, MAX_TOLD_LENGTH));
    const message = `the content type ${found} is not read; expected application/x-ndjson or application/json, in UTF-8`;
    return { status: 415, message, headers: { "accept-post": "application/x-ndjson, application/json" } };
  }
  const outside = outsideOf(headers, headersDistinct["behest-agent"]);
  if (outside !== undefined && "status" in outside) return outside;
  const [key, ...otherKeys] = headersDistinct["idempotency-key"] ?? [];
  if (otherKeys.length > 0 || (key !== undefined && (key === "" || key.length > MAX_KEY_LENGTH))) {
    const message = `Idempotency-Key: expected it once, with 1 to ${MAX_KEY_LENGTH} characters`;
    return { status: 400, message };
  }
  return { type, encoding, length: length === undefined ? undefined : Number(length), outside, key };
}

function typeOf(header: string): "ndjson" | "json" | "other" {
  const [essence = "", ...parameters] = header.toLowerCase().split(";");
  const charset = parameters.map((one) => one.trim()).find((one) => one.startsWith("charset="));
  if (charset !== undefined && !/^charset="?(?:utf-8|utf8|us-ascii)"?$/.test(charset)) return "other";
  return TYPES[essence.trim()] ?? "other";
}

function outsideOf(
  headers: IncomingMessage["headers"],
  agents: readonly string[] = [],
): Around | Refusal | undefined {
  // As beside an event: a malformed one is ignored, and the trace begins anew (W3C Trace Context, 3.2.3).
  const [traceparent, tracestate] = [headers["traceparent"], headers["tracestate"]];
  const parent =
    typeof traceparent === "string" ? parseTraceparent(traceparent, tracestate?.toString()) : undefined;
  const agent = agentOf(agents);
  if (typeof agent === "object") return agent;
  if (parent === undefined && agent === "") return undefined;
  return { ...(agent !== "" && { agent }), ...(parent !== undefined && { parent }) };
}

/** The name of the agent; empty when there is none. */
function agentOf(agents: readonly string[]): string | Refusal {
  const [given = "", ...others] = agents;
  if (others.length > 0) return { status: 400, message: "Behest-Agent: expected it once" };
  // Node.js reads headers as Latin-1, whatever they were written in.
  const bytes = Buffer.from(given.trim(), "latin1");
  const name = isUtf8(bytes) ? bytes.toString("utf8") : bytes.toString("latin1");
  if (name.length <= MAX_NAME_LENGTH) return name;
  const message = `Behest-Agent: expected at most ${MAX_NAME_LENGTH} characters, found ${name.length}`;
  return { status: 400, message };
}
