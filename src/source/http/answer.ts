import type { FastifyReply, FastifyRequest } from "fastify";

import type { Refused } from "./refused.ts";

/** Why a request is not taken. */
export interface Refusal {
  readonly status: 400 | 401 | 403 | 404 | 405 | 413 | 415 | 429 | 500 | 501 | 503;
  /** For people: what, where, what was expected. Nothing of the body. */
  readonly message: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * Refuses a request and counts it, also in the middle of its body: the rest is read and forgotten, as long as the timeout of a
 * request allows, because whoever is cut off while sending does not get to see the answer.
 */
export function refuse(
  { request, reply, refused }: { request: FastifyRequest; reply: FastifyReply; refused: Refused },
  { status, message, headers }: Refusal,
): FastifyReply {
  refused.answered(status);
  letGo(request, reply);
  return answer(reply, status, { error: message }, headers);
}

/** Reads what may be left of a request and forgets it, before an answer that does not depend on it. */
export function letGo(request: FastifyRequest, reply: FastifyReply): void {
  // Nobody knows whether a client that was not told to go on sends its body all the same.
  if (request.headers.expect !== undefined && !request.raw.complete) reply.header("connection", "close");
  request.raw.resume();
}

/** Answers with JSON, which nobody may keep. */
export function answer(
  reply: FastifyReply,
  status: number,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): FastifyReply {
  return reply
    .code(status)
    .headers({ "cache-control": "no-store", ...headers })
    .send(body);
}
