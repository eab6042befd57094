import type { ClientRequest, IncomingMessage, RequestOptions } from "node:http";
import { promisify } from "node:util";

import { answerOfHttp, answerOfNetwork, type Answer, type Decoders, type HttpReply } from "./answer.ts";
import type { Sender } from "./courier.ts";
import { withoutPassword, type Endpoint } from "./endpoint.ts";

/** A response larger than this is no OTLP response. */
const MAX_RESPONSE_BYTES = 4 * 1024 * 1024;

/** Sends OTLP over HTTP/1.1 on connections that are kept open. */
export function createHttpSender(options: {
  readonly endpoint: Endpoint;
  readonly decode: Decoders;
  readonly userAgent: string;
  readonly now: () => number;
}): Sender {
  const { endpoint, decode, userAgent, now } = options;
  const url = new URL(endpoint.url);
  const { ca, key, cert } = endpoint.tls;
  const isSecure = url.protocol === "https:";
  // An import of node:http touches all it exports, and with that loads a WebSocket client that nobody uses.
  const { Agent, request: post } = process.getBuiltinModule(isSecure ? "node:https" : "node:http");
  const agent = new Agent({
    keepAlive: true,
    ...(ca && { ca }),
    ...(key && { key }),
    ...(cert && { cert }),
  });
  const request: RequestOptions = {
    method: "POST",
    agent,
    headers: {
      ...endpoint.headers,
      "user-agent": userAgent,
      "content-type": endpoint.protocol === "http/json" ? "application/json" : "application/x-protobuf",
      ...(endpoint.compression === "gzip" && { "content-encoding": "gzip" }),
    },
  };
  return {
    target: withoutPassword(endpoint.url),
    prepare: async (bytes) => (endpoint.compression === "gzip" ? compress(bytes) : bytes),
    send: async (body, withinMs) => {
      const outcome = await exchange(() => post(url, request), body, withinMs);
      return outcome.kind === "reply" ? answerOfHttp(outcome.reply, decode, now()) : answerOfOutcome(outcome);
    },
    close: () => agent.destroy(),
  };
}

async function compress(bytes: Uint8Array): Promise<Uint8Array> {
  const { gzip } = await import("node:zlib");
  return promisify(gzip)(bytes);
}

type Outcome =
  | { readonly kind: "reply"; readonly reply: HttpReply }
  | { readonly kind: "broken"; readonly code: string; readonly message: string; readonly wasStale: boolean };

function answerOfOutcome({ code, message }: Extract<Outcome, { kind: "broken" }>): Answer {
  return answerOfNetwork(code, message);
}

/** One request. A kept connection that the other side had closed in the meantime is tried once more on a new one. */
async function exchange(start: () => ClientRequest, body: Uint8Array, withinMs: number): Promise<Outcome> {
  const deadline = AbortSignal.timeout(Math.max(1, Math.ceil(Math.min(withinMs, MAX_TIMER_MS))));
  const outcome = await exchangeOnce(start(), body, deadline);
  return outcome.kind === "broken" && outcome.wasStale ? exchangeOnce(start(), body, deadline) : outcome;
}

const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * The deadline is for all of it, connecting and the last byte of the answer included; a server that
 * drips bytes does not move it.
 */
function exchangeOnce(request: ClientRequest, body: Uint8Array, deadline: AbortSignal): Promise<Outcome> {
  return new Promise((resolve) => {
    const end = (outcome: Outcome) => {
      deadline.removeEventListener("abort", late);
      resolve(outcome);
    };
    const fail = (error: Error & { code?: string }) => {
      const code = error.code ?? error.name;
      const wasStale =
        request.reusedSocket && (code === "ECONNRESET" || code === "EPIPE") && !deadline.aborted;
      end({ kind: "broken", code, message: error.message, wasStale });
    };
    const late = () => {
      end({
        kind: "broken",
        code: "TIMEOUT",
        message: "no whole answer within the timeout",
        wasStale: false,
      });
      request.destroy();
    };
    request.on("error", fail);
    request.on("response", (response) => {
      readBody(response).then(
        (bytes) => end({ kind: "reply", reply: replyOf(response, bytes) }),
        (error: unknown) => {
          request.destroy();
          // The request was read when its answer began, so this connection was not stale.
          const { message, code = "RESPONSE_CUT" } = error as Error & { code?: string };
          end({ kind: "broken", code, message, wasStale: false });
        },
      );
    });
    deadline.addEventListener("abort", late);
    if (deadline.aborted) late();
    else request.end(body);
  });
}

async function readBody(response: IncomingMessage): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_RESPONSE_BYTES) {
      throw Object.assign(new Error(`the response is larger than ${MAX_RESPONSE_BYTES} bytes`), {
        code: "RESPONSE_TOO_LARGE",
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function replyOf({ statusCode = 0, headers }: IncomingMessage, body: Uint8Array): HttpReply {
  return {
    status: statusCode,
    contentType: headers["content-type"]?.toLowerCase(),
    location: headers.location,
    retryAfter: headers["retry-after"],
    body,
  };
}
