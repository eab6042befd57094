import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

import { afterEach, describe, expect, test } from "vitest";

import type { Answer } from "../../src/otel/answer.ts";
import type { Sender } from "../../src/otel/courier.ts";
import type { Endpoint, Tls } from "../../src/otel/endpoint.ts";
import { createGrpcSender } from "../../src/otel/grpc-sender.ts";
import { createHttpSender } from "../../src/otel/http-sender.ts";
import { SPANS } from "../../src/otel/serializers.ts";
import { pem, servedTls, startGrpcBackend, startHttpBackend } from "./otlp-server.ts";

const NO_TLS: Tls = { ca: undefined, key: undefined, cert: undefined };
const BODY = new Uint8Array(0);

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

function closing<T extends { readonly close: () => unknown }>(one: T): T {
  closers.push(one.close);
  return one;
}

function endpoint(url: string, over: Partial<Endpoint> = {}): Endpoint {
  return {
    protocol: "http/protobuf",
    url,
    headers: {},
    compression: "none",
    timeoutMs: 10_000,
    tls: NO_TLS,
    ...over,
  };
}

function httpSender(url: string, over: Partial<Endpoint> = {}): Sender {
  return closing(
    createHttpSender({
      endpoint: endpoint(url, over),
      decode: SPANS.decode,
      userAgent: "test/1",
      now: Date.now,
    }),
  );
}

function grpcSender(url: string, over: Partial<Endpoint> = {}): Sender {
  return closing(
    createGrpcSender({
      endpoint: endpoint(url, { protocol: "grpc", ...over }),
      signal: "traces",
      decode: SPANS.decode.protobuf,
      userAgent: "test/1",
    }),
  );
}

/** A server that does as it likes with its connections. */
async function rawServer(connected: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    connected(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`;
}

describe("over HTTP", () => {
  test("the request says what it is, and headers cannot change that", async () => {
    const backend = closing(await startHttpBackend());
    const headers = { authorization: "Bearer x", "content-type": "text/plain", "user-agent": "other" };
    const sender = httpSender(`${backend.url}/v1/traces`, { headers, compression: "gzip" });
    expect(await sender.send(await sender.prepare(BODY), 10_000)).toEqual({ kind: "accepted" });
    expect(backend.requests[0]?.headers).toMatchObject({
      authorization: "Bearer x",
      "content-type": "application/x-protobuf",
      "content-encoding": "gzip",
      "user-agent": "test/1",
    });
  });

  test("one connection serves many requests", async () => {
    let connections = 0;
    const server = createHttpServer((request, response) => request.resume().on("end", () => response.end()));
    server.on("connection", () => (connections += 1));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    closers.push(() => server.close());
    const sender = httpSender(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`);
    for (let turn = 0; turn < 5; turn += 1) expect((await sender.send(BODY, 10_000)).kind).toBe("accepted");
    expect(connections).toBe(1);
  });

  test("a kept connection that was closed meanwhile is no failure", async () => {
    // Answers the first request of each connection, and closes it when the second one comes.
    const url = await rawServer((socket) => {
      let requests = 0;
      socket.on("data", (chunk) => {
        if (!chunk.toString("latin1").startsWith("POST")) return;
        requests += 1;
        if (requests === 1) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        else socket.resetAndDestroy();
      });
    });
    const sender = httpSender(url);
    for (let turn = 0; turn < 4; turn += 1) {
      expect(await sender.send(BODY, 10_000)).toEqual({ kind: "accepted" });
      await new Promise((resolve) => setImmediate(resolve));
    }
  });

  test.each<[string, (socket: Socket) => void]>([
    ["never answers", () => {}],
    ["sends half a header", (socket) => socket.write("HTTP/1.1 200 OK\r\nContent-")],
    ["drips its answer", (socket) => drip(socket, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")],
  ])("a server that %s is given up at the deadline", async (_, connected) => {
    const sender = httpSender(await rawServer(connected));
    const startedAt = performance.now();
    expect(await sender.send(BODY, 80)).toMatchObject({ kind: "retry", cause: "TIMEOUT" });
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(75);
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });

  test.each([
    [4 * 1024 * 1024 - 1, { kind: "accepted" }],
    [4 * 1024 * 1024, { kind: "accepted" }],
    [4 * 1024 * 1024 + 1, { kind: "retry", cause: "RESPONSE_TOO_LARGE" }],
  ])("an answer of %i bytes", async (bytes, answer) => {
    const body = Buffer.alloc(bytes, "x");
    const backend = closing(await startHttpBackend(() => ({ act: "answer", status: 200, body })));
    expect(await httpSender(`${backend.url}/v1/traces`).send(BODY, 10_000)).toMatchObject(answer);
  });

  test.each<[string, (socket: Socket) => void, Partial<Answer>]>([
    ["hangs up", (socket) => socket.resetAndDestroy(), { kind: "retry" }],
    [
      "speaks something else",
      (socket) => socket.end("220 mail.example ESMTP\r\n"),
      { kind: "misconfigured" },
    ],
  ])("a server that %s", async (_, connected, answer) => {
    const url = await rawServer((socket) => socket.once("data", () => connected(socket)));
    expect(await httpSender(url).send(BODY, 10_000)).toMatchObject(answer);
  });

  test("a port where nobody listens is to be tried again", async () => {
    const backend = await startHttpBackend();
    await backend.close();
    expect(await httpSender(`${backend.url}/v1/traces`).send(BODY, 10_000)).toMatchObject({
      kind: "retry",
      cause: "ECONNREFUSED",
    });
  });

  test("an answer that is cut off proves nothing", async () => {
    const backend = closing(await startHttpBackend(() => ({ act: "cut" })));
    expect(await httpSender(`${backend.url}/v1/traces`).send(BODY, 10_000)).toMatchObject({ kind: "retry" });
    expect(backend.requests).toHaveLength(1);
  });

  test("a redirect is not followed", async () => {
    const backend = closing(
      await startHttpBackend(() => ({
        act: "answer",
        status: 307,
        headers: { location: "https://elsewhere/" },
      })),
    );
    expect(await httpSender(`${backend.url}/v1/traces`).send(BODY, 10_000)).toMatchObject({
      kind: "misconfigured",
      message: "redirected to https://elsewhere/",
    });
  });
});

/** A byte every few milliseconds: never idle, never done. */
function drip(socket: Socket, head: string): void {
  socket.write(head);
  const timer = setInterval(() => socket.write("x"), 5);
  socket.on("close", () => clearInterval(timer));
}

describe("with TLS", () => {
  const CA_ONLY: Tls = { ...NO_TLS, ca: pem("ca") };
  const CLIENT: Tls = { ca: pem("ca"), key: pem("client-key"), cert: pem("client") };

  test("over HTTP the server is known by the given authority", async () => {
    const backend = closing(await startHttpBackend(undefined, 0, servedTls()));
    const url = `${backend.url}/v1/traces`;
    expect(await httpSender(url, { tls: CA_ONLY }).send(BODY, 10_000)).toEqual({ kind: "accepted" });
    expect(await httpSender(url).send(BODY, 10_000)).toMatchObject({ kind: "misconfigured" });
  });

  test("over HTTP the client shows its certificate", async () => {
    const backend = closing(await startHttpBackend(undefined, 0, servedTls(true)));
    const url = `${backend.url}/v1/traces`;
    expect(await httpSender(url, { tls: CLIENT }).send(BODY, 10_000)).toEqual({ kind: "accepted" });
    expect((await httpSender(url, { tls: CA_ONLY }).send(BODY, 10_000)).kind).not.toBe("accepted");
  });

  test("over gRPC both are so too", async () => {
    const backend = closing(await startGrpcBackend(undefined, servedTls(true)));
    const url = backend.url.replace("127.0.0.1", "localhost");
    expect(await grpcSender(url, { tls: CLIENT }).send(BODY, 10_000)).toEqual({ kind: "accepted" });
    expect((await grpcSender(url, { tls: CA_ONLY }).send(BODY, 2_000)).kind).not.toBe("accepted");
    expect((await grpcSender(url).send(BODY, 2_000)).kind).not.toBe("accepted");
  });
});

describe("over gRPC", () => {
  test("headers go as metadata, binary ones decoded", async () => {
    const backend = closing(await startGrpcBackend());
    const headers = { authorization: "Bearer x", "trace-bin": Buffer.from([1, 2, 3]).toString("base64") };
    expect(await grpcSender(backend.url, { headers }).send(BODY, 10_000)).toEqual({ kind: "accepted" });
    expect(backend.requests[0]?.headers).toMatchObject({
      authorization: "Bearer x",
      "trace-bin": Buffer.from([1, 2, 3]),
    });
    expect(backend.requests[0]?.headers["user-agent"]).toMatch(/^test\/1 /);
  });

  test("a service that the server does not have is absent there", async () => {
    const grpc = await import("@grpc/grpc-js");
    const server = new grpc.Server();
    const port = await new Promise<number>((resolve) =>
      server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (_, bound) => resolve(bound)),
    );
    closers.push(() => server.forceShutdown());
    expect(await grpcSender(`http://127.0.0.1:${port}`).send(BODY, 10_000)).toMatchObject({
      kind: "misconfigured",
      cause: "grpc UNIMPLEMENTED",
      absent: true,
    });
  });

  test("a port where nobody listens, or something else does, takes nothing", async () => {
    const http = closing(await startHttpBackend());
    expect((await grpcSender(http.url).send(BODY, 1_000)).kind).not.toBe("accepted");
    const gone = await startHttpBackend();
    await gone.close();
    expect(await grpcSender(gone.url).send(BODY, 10_000)).toMatchObject({
      kind: "retry",
      cause: "grpc UNAVAILABLE",
    });
  });

  test("a connection that misses deadline after deadline is replaced", async () => {
    const backend = closing(await startGrpcBackend());
    let connections = 0;
    const url = await rawServer((socket) => {
      connections += 1;
      // The first connection is taken and never spoken on, as by a proxy whose backend has gone.
      if (connections > 1) socket.pipe(connect(Number(new URL(backend.url).port), "127.0.0.1")).pipe(socket);
    });
    const sender = grpcSender(new URL(url).origin);
    for (let turn = 0; turn < 3; turn += 1) {
      expect(await sender.send(BODY, 50)).toMatchObject({ kind: "retry", cause: "grpc DEADLINE_EXCEEDED" });
    }
    expect(connections).toBe(1);
    expect(await sender.send(BODY, 10_000)).toEqual({ kind: "accepted" });
    expect(connections).toBe(2);
  });
});
