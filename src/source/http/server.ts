import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";

import { BridgeError, systemReason } from "../../errors.ts";
import { Decoder } from "../../event/decode.ts";
import type { Log } from "../../log.ts";
import { Answered } from "./answered.ts";
import type { Deposit } from "./deposit.ts";
import { Exchanges } from "./exchanges.ts";
import { exposureFault, type Protection } from "./exposure.ts";
import type { HttpLimits } from "./limits.ts";
import { Pipelined } from "./pipelined.ts";
import type { Refused } from "./refused.ts";
import { Room } from "./room.ts";
import { routesOf } from "./routes.ts";
import { readToken, tokenCheck } from "./token.ts";
import { Turns } from "./turns.ts";
import { urlText, type HttpSpec } from "./url.ts";

export interface ServerOptions {
  readonly protection: Protection;
  readonly limits: HttpLimits;
  readonly intake: Deposit;
  readonly refused: Refused;
  readonly log: Log;
}

export interface Listening {
  /** The one that is really listened on. */
  readonly port: number;
  /** Cuts every connection. Never rejects. */
  readonly close: () => Promise<void>;
}

/** Between two lines about the same trouble. */
const WARN_EVERY_MS = 60_000;

/** Listens for events, which go to the intake. Rejects with `BEHEST_SOURCE_OPEN`. */
export async function listen(spec: HttpSpec, options: ServerOptions): Promise<Listening> {
  const { protection, limits, intake, refused } = options;
  const token = spec.tokenFile === undefined ? protection.token : await readToken(spec.tokenFile);
  const tls = spec.tls && {
    cert: await readPem(spec.tls.certFile),
    key: await readPem(spec.tls.keyFile),
  };
  const host = await addressOf(spec, options);
  const exchanges = new Exchanges(limits.maxRequestsPerConnection, refused);
  const warn = seldom(options.log, () => intake.nowMs());
  const sockets = new Set<Socket>();
  let server: Server | undefined;
  const app = routesOf({
    path: spec.path,
    limits,
    intake,
    refused,
    warn,
    log: options.log,
    decoder: new Decoder({ errorMessages: "off" }),
    answered: new Answered({
      maxKeys: limits.maxKeys,
      maxBytes: limits.maxKeyBytes,
      rememberMs: limits.rememberKeyMs,
      nowMs: () => intake.nowMs(),
    }),
    receiving: new Room(limits.maxReceivingBytes),
    inflating: new Turns(limits.maxInflating),
    isAuthorized: token === undefined ? undefined : tokenCheck(token),
    exchanges,
    pipelined: new Pipelined(limits.maxPipelined),
    serverFor: (handle) => (server = serverOf(spec, { tls, limits, handle, exchanges })),
  });
  await app.ready();
  if (server === undefined) throw new Error("the routes were made without a server");
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.on("drop", () => {
    refused.count("connections");
    warn("connections over HTTP are refused, because there are too many");
  });
  await bind(server, spec, host);
  // Who could not be taken in comes again; without anybody who listens to it, it would end the process.
  server.on("error", (error) => warn(`a connection could not be taken in: ${systemReason(error)}`));
  const bound = server;
  return {
    port: (bound.address() as AddressInfo).port,
    close: () => {
      const closed = new Promise<void>((resolve) => bound.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      return closed;
    },
  };
}

interface ServerParts {
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | undefined;
  readonly limits: HttpLimits;
  readonly handle: RequestListener;
  readonly exchanges: Exchanges;
}

function serverOf(spec: HttpSpec, { tls, limits, handle, exchanges }: ServerParts): Server {
  const times = {
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveMs,
    connectionsCheckingInterval: limits.checkMs,
  };
  let server: Server;
  try {
    server =
      tls === undefined
        ? createServer(times)
        : createTlsServer({ ...times, ...tls, handshakeTimeout: limits.headersTimeoutMs });
  } catch (error) {
    throw new BridgeError(
      "BEHEST_SOURCE_OPEN",
      `${urlText(spec, spec.port)} cannot use its certificate and key: ${systemReason(error)}`,
      { cause: error },
    );
  }
  server.timeout = limits.silenceMs;
  server.maxConnections = limits.maxConnections;
  // A sender may close its half as soon as it has sent, and still wants its answer.
  Object.assign(server, { httpAllowHalfOpen: true });
  const begin = (awaitsContinue: boolean): RequestListener => {
    return (request, response) => {
      if (exchanges.begin(request, response, awaitsContinue)) handle(request, response);
    };
  };
  server.on("request", begin(false)).on("checkContinue", begin(true));
  return server;
}

/** The address of a host, looked up before anything is listened on: a name may be that of another place. */
async function addressOf(spec: HttpSpec, { protection }: ServerOptions): Promise<string> {
  let address: string;
  try {
    ({ address } = await lookup(spec.host));
  } catch (error) {
    throw unopened(spec, error);
  }
  const fault = exposureFault(spec, protection, address);
  if (fault !== undefined) throw new BridgeError("BEHEST_SOURCE_OPEN", fault);
  return address;
}

async function bind(server: Server, spec: HttpSpec, host: string): Promise<void> {
  try {
    server.listen(spec.port, host);
    await once(server, "listening");
  } catch (error) {
    throw unopened(spec, error);
  }
}

async function readPem(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new BridgeError("BEHEST_SOURCE_OPEN", `${file} ${systemReason(error)}`, { cause: error });
  }
}

function unopened(spec: HttpSpec, error: unknown): BridgeError {
  const { code = "" } = error as NodeJS.ErrnoException;
  const reason = LISTEN_REASONS[code] ?? systemReason(error);
  return new BridgeError("BEHEST_SOURCE_OPEN", `${urlText(spec, spec.port)} ${reason}`, { cause: error });
}

const LISTEN_REASONS: Readonly<Record<string, string | undefined>> = {
  EADDRINUSE: "is in use",
  EADDRNOTAVAIL: "is no address of this machine",
  EACCES: "may not be listened on by this user",
  ENOTFOUND: "has a host that is not known",
};

/** Says the same thing once a minute at most. */
function seldom(log: Log, nowMs: () => number): (message: string) => void {
  const saidMs = new Map<string, number>();
  return (message) => {
    const now = nowMs();
    if (now - (saidMs.get(message) ?? Number.NEGATIVE_INFINITY) < WARN_EVERY_MS) return;
    saidMs.set(message, now);
    log.warn(message);
  };
}
