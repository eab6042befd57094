import type { RequestListener, Server, ServerResponse } from "node:http";

import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";

import type { Decoder } from "../../event/decode.ts";
import type { Log } from "../../log.ts";
import { answer, letGo, refuse, type Refusal } from "./answer.ts";
import type { Answered } from "./answered.ts";
import type { Deposit, Taken } from "./deposit.ts";
import type { Exchanges } from "./exchanges.ts";
import { bodyHeaders, type BodyHeaders } from "./headers.ts";
import { formOf } from "./cut.ts";
import type { HttpLimits } from "./limits.ts";
import { FULL, tooLarge } from "./gathered.ts";
import type { Pipelined } from "./pipelined.ts";
import { receive, type Received } from "./receive.ts";
import type { Refused } from "./refused.ts";
import type { Room } from "./room.ts";
import type { tokenCheck } from "./token.ts";
import type { Turns } from "./turns.ts";
import { HEALTH_PATHS } from "./url.ts";
import { verdictOn, type Verdict } from "./verdict.ts";

export interface RouteParts {
  readonly path: string;
  readonly limits: HttpLimits;
  readonly intake: Deposit;
  readonly answered: Answered;
  readonly log: Log;
  /** Says a thing seldom. */
  readonly warn: (message: string) => void;
  readonly decoder: Decoder;
  readonly receiving: Room;
  readonly inflating: Turns;
  /** Absent where no token is asked for. */
  readonly isAuthorized: ReturnType<typeof tokenCheck> | undefined;
  readonly exchanges: Exchanges;
  readonly pipelined: Pipelined;
  readonly refused: Refused;
  readonly serverFor: (handle: RequestListener) => Server;
}

/** What is answered where. No answer lets a page of a browser in: there are no CORS headers, and no way to get them. */
export function routesOf(parts: RouteParts): FastifyInstance {
  const { path, exchanges, serverFor, log, refused } = parts;
  const app: FastifyInstance = fastify({
    serverFactory: (handle) => serverFor(handle),
    clientErrorHandler: (error, socket) => exchanges.fail(socket, error),
    frameworkErrors: (_error, request, reply) =>
      void refuse({ request, reply, refused }, { status: 400, message: "the path of the URL is malformed" }),
  });
  // Bodies are read here, as they come: nothing is gathered before it is known to be wanted.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, _payload, done) => done(null));
  app.setNotFoundHandler((request, reply) => refuse({ request, reply, refused }, notFound(request, path)));
  app.setErrorHandler((error: Error & { readonly statusCode?: number }, request, reply) => {
    // Fastify reads the content type itself, and before we do.
    if (error.statusCode === 415) return refuse({ request, reply, refused }, MALFORMED_TYPE);
    log.error("A request over HTTP failed because of a bug in behest-otel", { error: error.stack });
    const message = "this is a bug, and nothing of the body was taken";
    return refuse({ request, reply, refused }, { status: 500, message });
  });

  const [healthPath, readyPath] = HEALTH_PATHS;
  app.get(healthPath, (_request, reply) => answer(reply, 200, { status: "ok" }));
  app.get(readyPath, (_request, reply) => {
    const state = stateOf(parts);
    return answer(reply, state === "ready" ? 200 : 503, { status: state });
  });
  app.route({
    method: "POST",
    url: path,
    onRequest: async (request, reply) => {
      const refusal = guard(parts, request, reply.raw);
      if (refusal !== undefined) return refuse({ request, reply, refused }, refusal);
    },
    handler: (request, reply) => take(parts, request, reply),
  });
  return app;
}

function stateOf({ intake, limits }: RouteParts): string {
  switch (intake.phase) {
    case "starting":
      return "starting";
    case "stopped":
      return "stopping";
    case "taking": {
      const { why, forMs } = intake.refusing() ?? { why: "ready", forMs: 0 };
      return forMs >= limits.fullMs ? why : "ready";
    }
  }
}

function notFound({ raw }: FastifyRequest, path: string): Refusal {
  const [asked = ""] = (raw.url ?? "").split("?");
  const methods = asked === path ? "POST" : "GET, HEAD";
  if (asked === path || (HEALTH_PATHS as readonly string[]).includes(asked)) {
    return { status: 405, message: `expected ${methods}`, headers: { allow: methods } };
  }
  return { status: 404, message: `there are POST ${path}, GET ${HEALTH_PATHS.join(" and GET ")}` };
}

/** What is looked at before anything else of a request. */
function guard(
  { intake, isAuthorized, pipelined }: RouteParts,
  { raw, headers }: FastifyRequest,
  response: ServerResponse,
): Refusal | undefined {
  if (intake.phase !== "taking") return intake.phase === "starting" ? STARTING : STOPPED;
  // Every browser says with a POST which page it is for, and a page can post to a loopback address without being
  // asked. Nothing else that has events to send says so.
  if (headers.origin !== undefined) return FROM_A_PAGE;
  const verdict = isAuthorized?.(headers.authorization) ?? "right";
  if (verdict === "right") return pipelined.begin(raw, response) ? undefined : TOO_MANY;
  const realm = 'Bearer realm="behest-otel"';
  return {
    status: 401,
    message: verdict === "wrong" ? "the token is not the right one" : "expected Authorization: Bearer TOKEN",
    headers: { "www-authenticate": verdict === "wrong" ? `${realm}, error="invalid_token"` : realm },
  };
}

const MALFORMED_TYPE: Refusal = { status: 415, message: "the content type is malformed" };

const FROM_A_PAGE: Refusal = { status: 403, message: "events are not taken from pages in a browser" };

const TOO_MANY: Refusal = {
  status: 429,
  message:
    "too many requests of this connection are not answered yet, and nothing of the body was taken; send it again later",
  headers: { "retry-after": "1" },
};

const STARTING = notNow("the bridge is starting");
const STOPPED = notNow("the bridge is stopping");
const UNWRITABLE = notNow("the journal cannot be written", 5);
const UNDER_WAY = notNow("a request with the same Idempotency-Key is still under way");

function notNow(why: string, afterSeconds = 1): Refusal {
  return {
    status: 503,
    message: `${why}, and nothing of the body was taken; send it again later`,
    headers: { "retry-after": String(afterSeconds) },
  };
}

/** The whole way of a request that may come in; of those with the same key, one at a time. */
async function take(
  parts: RouteParts,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply | undefined> {
  const headers = bodyHeaders(request.raw);
  const { answered, refused } = parts;
  if ("status" in headers) return refuse({ request, reply, refused }, headers);
  const { key } = headers;
  if (key === undefined) return takeBody(parts, { request, reply, headers });
  const before = answered.begin(key);
  if (before === "under way") return refuse({ request, reply, refused }, UNDER_WAY);
  if (before !== "new") {
    letGo(request, reply);
    return answer(reply, 202, before);
  }
  let verdict: Verdict | undefined;
  try {
    return await takeBody(parts, { request, reply, headers, onTaken: (given) => (verdict = given) });
  } finally {
    answered.end(key, verdict);
  }
}

interface Asked {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly headers: BodyHeaders;
  /** Told what is answered, when something was taken. */
  readonly onTaken?: (verdict: Verdict) => void;
}

async function takeBody(
  parts: RouteParts,
  { request, reply, headers, onTaken }: Asked,
): Promise<FastifyReply | undefined> {
  const { limits, intake, exchanges, receiving, inflating, refused, warn } = parts;
  const { maxBodyBytes } = limits;
  const { length = 0, encoding } = headers;
  if (length > maxBodyBytes) return refuse({ request, reply, refused }, tooLarge(maxBodyBytes));
  const refuseFull = () => {
    warn("events over HTTP are refused until there is room for them");
    return refuse({ request, reply, refused }, FULL);
  };
  if (!intake.hasRoomFor(length) || !receiving.fits(length)) return refuseFull();
  if (exchanges.awaitsContinue(request.raw)) reply.raw.writeContinue();
  const options = { encoding, maxBodyBytes, room: receiving, turns: inflating };
  return receive(request.raw, options, async (received) => {
    const end = await judge(parts, headers, received);
    if (end === "gone") {
      // Fastify must not try to answer.
      reply.hijack();
      return undefined;
    }
    if ("accepted" in end) {
      onTaken?.(end);
      return answer(reply, 202, end);
    }
    return end === FULL ? refuseFull() : refuse({ request, reply, refused }, end);
  });
}

/** Takes a body that was received, as the very last thing: whatever is answered but 202, nothing of it was taken. */
async function judge(
  { limits, decoder, intake }: RouteParts,
  { type, outside }: BodyHeaders,
  received: Received,
) {
  if (received.outcome === "gone") return "gone";
  if (received.outcome === "refused") return received.refusal;
  const { bytes } = received;
  // Not decoded in vain; and asked again at the end, since others come in meanwhile.
  if (!intake.hasRoomFor(bytes.length)) return FULL;
  const form = formOf(type, bytes);
  if (form === undefined) return NEITHER;
  const taken: Taken = { bytes, form, outside };
  const verdict = await verdictOn(taken, { decoder, ...limits });
  if ("status" in verdict || isEmpty(verdict)) return verdict;
  const put = await intake.put(taken);
  switch (put) {
    case "taken":
      return verdict;
    case "full":
      return FULL;
    case "stopped":
      return STOPPED;
    case "unwritable":
      return UNWRITABLE;
    default:
      return neverFits(put.neverFits);
  }
}

function neverFits(maxBytes: number): Refusal {
  const limit = maxBytes.toLocaleString("en-US");
  const message = `the body does not fit into the journal, which has ${limit} bytes; expected several smaller ones`;
  return { status: 413, message };
}

/** As an empty array is. */
function isEmpty({ accepted, rejected, rejected_not_listed: notListed = 0 }: Verdict): boolean {
  return accepted + rejected.length + notListed === 0;
}

const NEITHER: Refusal = {
  status: 400,
  message:
    "the body is neither an event nor a JSON array of events; lines of events are application/x-ndjson",
};
