import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

import type { Refused } from "./refused.ts";

interface Exchange {
  /** Of its connection, from 1. */
  readonly count: number;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly awaitsContinue: boolean;
}

/** The latest request of every connection: what an error on the connection is about, and how many there were. */
export class Exchanges {
  readonly #maxRequests: number;
  readonly #refused: Refused;
  readonly #latest = new WeakMap<Duplex, Exchange>();

  constructor(maxRequests: number, refused: Refused) {
    this.#maxRequests = maxRequests;
    this.#refused = refused;
  }

  /** False for a request that is too many on its connection, which is about to be closed: it stays unanswered. */
  begin(request: IncomingMessage, response: ServerResponse, awaitsContinue: boolean): boolean {
    const count = (this.#latest.get(request.socket)?.count ?? 0) + 1;
    if (count > this.#maxRequests) return false;
    // What Node.js itself has for this says that the connection closes, and does not close it.
    if (count === this.#maxRequests) response.shouldKeepAlive = false;
    this.#latest.set(request.socket, { count, request, response, awaitsContinue });
    return true;
  }

  /** Whether the sender of this request waits to be told to go on (RFC 9110, section 10.1.1). */
  awaitsContinue(request: IncomingMessage): boolean {
    const exchange = this.#latest.get(request.socket);
    return exchange?.request === request && exchange.awaitsContinue;
  }

  /**
   * Answers what could not be read as a request, or not in time, and closes the connection. Silent where that
   * would be taken for the answer to another request, which may have been taken.
   */
  fail(socket: Duplex, error: NodeJS.ErrnoException): void {
    const { code = "" } = error;
    // Anything else is the end of the connection, or a TLS handshake that came to nothing.
    const isAboutHttp = code === LATE || code.startsWith("HPE_");
    if (!isAboutHttp || !socket.writable || !this.#isNext(socket)) {
      socket.destroy();
      return;
    }
    const { status, reason, message } = ANSWERS[code] ?? NO_REQUEST;
    this.#refused.answered(status);
    const body = JSON.stringify({ error: message });
    socket.end(
      `HTTP/1.1 ${status} ${reason}\r\ncontent-type: application/json; charset=utf-8\r\ncache-control: no-store\r\n` +
        `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
      () => socket.destroy(),
    );
  }

  /** Whether what is written now is the answer to what went wrong. */
  #isNext(socket: Duplex): boolean {
    const latest = this.#latest.get(socket);
    if (latest === undefined) return true;
    const { request, response } = latest;
    // The request after it, or its own body; and an answer has its socket when those before it have been sent.
    return request.complete
      ? response.writableFinished
      : !response.headersSent && (response.socket as Duplex | null) === socket;
  }
}

const LATE = "ERR_HTTP_REQUEST_TIMEOUT";

interface Answer {
  readonly status: 400 | 408 | 413 | 431;
  readonly reason: string;
  readonly message: string;
}

const NO_REQUEST: Answer = { status: 400, reason: "Bad Request", message: "this is no HTTP/1.1 request" };

const ANSWERS: Readonly<Record<string, Answer | undefined>> = {
  [LATE]: { status: 408, reason: "Request Timeout", message: "the request did not come in time" },
  HPE_HEADER_OVERFLOW: {
    status: 431,
    reason: "Request Header Fields Too Large",
    message: "the headers have more than 16 KiB",
  },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: {
    status: 413,
    reason: "Content Too Large",
    message: "the extensions of a chunk have more than 16 KiB",
  },
};
