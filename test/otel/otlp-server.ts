import { readFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type RequestListener, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";

import * as grpc from "@grpc/grpc-js";

import { decodeRequest } from "./otlp-proto.ts";

export type ServedSignal = "traces" | "metrics" | "logs";

/** A request as a backend reads it. */
export interface Served {
  readonly signal: ServedSignal;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Decompressed. */
  readonly body: Buffer;
  readonly spans: readonly ServedSpan[];
  /** The whole request in the form of OTLP/JSON. */
  readonly json: Record<string, unknown>;
}

/** Everything that stands on a span, in one form for every protocol; defaults are there, not left out. */
export interface ServedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly traceState: string;
  readonly name: string;
  readonly kind: number;
  readonly start: string;
  readonly end: string;
  readonly attributes: readonly (readonly [string, unknown])[];
  readonly dropped: readonly [attributes: number, events: number, links: number];
  readonly events: readonly unknown[];
  readonly links: readonly unknown[];
  readonly status: { readonly code: number; readonly message: string };
  readonly flags: number;
  readonly resource: readonly (readonly [string, unknown])[];
  readonly scope: { readonly name: string; readonly version: string };
}

/** What an HTTP backend does with a request; the default is to take it. */
export type HttpAct =
  | { readonly act: "take" }
  | {
      readonly act: "answer";
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string | Buffer;
    }
  /** Says 200 and half a body, then cuts the connection. */
  | { readonly act: "cut" }
  /** Cuts the connection without a word. */
  | { readonly act: "hang up" }
  /** Sends the body a byte at a time, for ever. */
  | { readonly act: "drip" };

/** TLS with the certificates beside this file, which hold until 2120; `requestCert` asks clients for one of theirs. */
export interface ServedTls {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
  readonly requestCert: boolean;
  readonly rejectUnauthorized: boolean;
}

export function pem(name: "ca" | "server" | "server-key" | "client" | "client-key"): Buffer {
  return readFileSync(new URL(`tls/${name}.pem`, import.meta.url));
}

export function servedTls(requestCert = false): ServedTls {
  return {
    cert: pem("server"),
    key: pem("server-key"),
    ca: pem("ca"),
    requestCert,
    rejectUnauthorized: requestCert,
  };
}

export const take: HttpAct = { act: "take" };

export interface OtlpServer {
  readonly url: string;
  readonly requests: readonly Served[];
  /** Spans of the requests that were taken, in the order they came. */
  readonly taken: readonly ServedSpan[];
  readonly close: () => Promise<void>;
}

/** An OTLP/HTTP backend on a loopback port; `act` decides about the n-th request, counted from 0. */
export async function startHttpBackend(
  act: (request: Served, index: number) => HttpAct | Promise<HttpAct> = () => take,
  port = 0,
  tls?: ServedTls,
): Promise<OtlpServer> {
  const requests: Served[] = [];
  const taken: ServedSpan[] = [];
  const answer = async (served: Served, index: number, response: ServerResponse) => {
    const what = await act(served, index);
    if (what.act === "take") taken.push(...served.spans);
    perform(what, response);
  };
  const listener: RequestListener = (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const raw = Buffer.concat(chunks);
      const body = request.headers["content-encoding"] === "gzip" ? gunzipSync(raw) : raw;
      const served = serve(request.url ?? "", request.headers, body);
      requests.push(served);
      void answer(served, requests.length - 1, response);
    });
    request.on("error", () => {});
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    url: `${tls === undefined ? "http" : "https"}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    taken,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function perform(what: HttpAct, response: ServerResponse): void {
  switch (what.act) {
    case "take":
      response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
      return;
    case "answer":
      response.writeHead(what.status, what.headers).end(what.body);
      return;
    case "cut":
      response.writeHead(200, { "content-type": "application/x-protobuf", "content-length": "100" });
      response.write(Buffer.alloc(10), () => response.destroy());
      return;
    case "hang up":
      response.destroy();
      return;
    case "drip": {
      response.writeHead(200, { "content-type": "application/x-protobuf" });
      const timer = setInterval(() => response.write("x"), 10);
      response.on("close", () => clearInterval(timer));
    }
  }
}

function serve(path: string, headers: IncomingHttpHeaders, body: Buffer): Served {
  const signal =
    (["traces", "metrics", "logs"] as const).find((one) => path.endsWith(`/v1/${one}`)) ?? "traces";
  const json =
    headers["content-type"] === "application/json"
      ? (JSON.parse(body.toString()) as Record<string, unknown>)
      : decodeRequest(signal, body);
  return { signal, path, headers, body, json, spans: signal === "traces" ? readSpans(json) : [] };
}

/** What a gRPC backend does with a request. */
export type GrpcAct =
  | { readonly act: "take" }
  | { readonly act: "partial"; readonly body: Buffer }
  | { readonly act: "fail"; readonly code: number; readonly message: string; readonly details?: Buffer }
  | { readonly act: "hang" };

function statusOf(code: number): grpc.status {
  const name = grpc.status[code] as keyof typeof grpc.status | undefined;
  return name === undefined ? grpc.status.UNKNOWN : grpc.status[name];
}

function same(bytes: Buffer): Buffer {
  return bytes;
}

/** An OTLP/gRPC backend on a loopback port. */
export async function startGrpcBackend(
  act: (request: Served, index: number) => GrpcAct | Promise<GrpcAct> = () => ({ act: "take" }),
  tls?: ServedTls,
): Promise<OtlpServer> {
  const requests: Served[] = [];
  const taken: ServedSpan[] = [];
  const server = new grpc.Server();
  const answer = async (served: Served, index: number, respond: grpc.sendUnaryData<Buffer>) => {
    const what = await act(served, index);
    switch (what.act) {
      case "take":
        taken.push(...served.spans);
        respond(null, Buffer.alloc(0));
        return;
      case "partial":
        respond(null, what.body);
        return;
      case "fail": {
        const metadata = new grpc.Metadata();
        if (what.details !== undefined) metadata.set("grpc-status-details-bin", what.details);
        respond({ code: statusOf(what.code), details: what.message, metadata });
        return;
      }
      case "hang":
    }
  };
  for (const [signal, service] of [
    ["traces", "trace.v1.TraceService"],
    ["metrics", "metrics.v1.MetricsService"],
    ["logs", "logs.v1.LogsService"],
  ] as const) {
    const path = `/opentelemetry.proto.collector.${service}/Export`;
    const Export: grpc.handleUnaryCall<Buffer, Buffer> = (call, respond) => {
      const json = decodeRequest(signal, call.request);
      const spans = signal === "traces" ? readSpans(json) : [];
      const served: Served = {
        signal,
        path,
        headers: call.metadata.getMap() as IncomingHttpHeaders,
        body: call.request,
        spans,
        json,
      };
      requests.push(served);
      void answer(served, requests.length - 1, respond);
    };
    server.addService(
      {
        Export: {
          path,
          requestStream: false,
          responseStream: false,
          requestSerialize: same,
          requestDeserialize: same,
          responseSerialize: same,
          responseDeserialize: same,
        },
      },
      { Export },
    );
  }
  const port = await new Promise<number>((resolve, reject) => {
    const credentials =
      tls === undefined
        ? grpc.ServerCredentials.createInsecure()
        : grpc.ServerCredentials.createSsl(
            tls.ca,
            [{ private_key: tls.key, cert_chain: tls.cert }],
            tls.requestCert,
          );
    server.bindAsync("127.0.0.1:0", credentials, (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    url: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    requests,
    taken,
    close: async () => server.forceShutdown(),
  };
}

type Json = Record<string, unknown>;

function readSpans(request: Json): ServedSpan[] {
  const spans: ServedSpan[] = [];
  for (const outer of list(request["resourceSpans"])) {
    for (const inner of list(outer["scopeSpans"])) {
      const scope = inner["scope"] as Json;
      for (const span of list(inner["spans"])) {
        spans.push({
          ...spanOf(span),
          resource: attributesOf((outer["resource"] as Json)["attributes"]),
          scope: { name: String(scope["name"]), version: String(scope["version"]) },
        });
      }
    }
  }
  return spans;
}

function spanOf(span: Json): Omit<ServedSpan, "resource" | "scope"> {
  const { code = 0, message = "" } = (span["status"] ?? {}) as { code?: number; message?: string };
  return {
    traceId: String(span["traceId"]),
    spanId: String(span["spanId"]),
    parentSpanId: text(span["parentSpanId"]),
    traceState: text(span["traceState"]),
    name: String(span["name"]),
    kind: Number(span["kind"] ?? 0),
    start: String(span["startTimeUnixNano"]),
    end: String(span["endTimeUnixNano"]),
    attributes: attributesOf(span["attributes"]),
    dropped: [
      Number(span["droppedAttributesCount"] ?? 0),
      Number(span["droppedEventsCount"] ?? 0),
      Number(span["droppedLinksCount"] ?? 0),
    ],
    events: list(span["events"]).map((event) => ({
      name: event["name"],
      time: String(event["timeUnixNano"]),
      attributes: attributesOf(event["attributes"]),
      dropped: Number(event["droppedAttributesCount"] ?? 0),
    })),
    links: list(span["links"]).map((link) => ({
      traceId: link["traceId"],
      spanId: link["spanId"],
      traceState: link["traceState"] ?? "",
      attributes: attributesOf(link["attributes"]),
      dropped: Number(link["droppedAttributesCount"] ?? 0),
      flags: Number(link["flags"] ?? 0),
    })),
    status: { code, message },
    flags: Number(span["flags"] ?? 0),
  };
}

function attributesOf(attributes: unknown): [string, unknown][] {
  return list(attributes).map(({ key, value }) => [String(key), valueOf(value as Json)]);
}

function valueOf(value: Json): unknown {
  if ("intValue" in value) return Number(value["intValue"]);
  if ("arrayValue" in value) return list((value["arrayValue"] as Json)["values"]).map(valueOf);
  return value["stringValue"] ?? value["boolValue"] ?? value["doubleValue"];
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function list(value: unknown): Json[] {
  return (value ?? []) as Json[];
}
