import type * as Grpc from "@grpc/grpc-js";
import type { CallOptions, Client, ClientOptions, Metadata, ServiceError } from "@grpc/grpc-js";

import {
  answerOfGrpc,
  answerOfNetwork,
  answerOfResponse,
  type Answer,
  type DecodeResponse,
} from "./answer.ts";
import type { Sender } from "./courier.ts";
import type { Endpoint, Signal } from "./endpoint.ts";

const METHODS: Readonly<Record<Signal, string>> = {
  traces: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
  metrics: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
  logs: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
};

/** So many deadlines missed in a row mean a connection that is dead and does not know it. */
const MAX_MISSED_DEADLINES = 3;

/** Sends OTLP over gRPC: unary calls with the bytes as they are. The gRPC package is loaded here and nowhere else. */
export function createGrpcSender(options: {
  readonly endpoint: Endpoint;
  readonly signal: Signal;
  readonly decode: DecodeResponse;
  readonly userAgent: string;
}): Sender {
  const { endpoint, signal, decode } = options;
  let connection: Promise<Connection> | undefined;
  let missedDeadlines = 0;
  const close = () => {
    void connection?.then(
      ({ client }) => client.close(),
      () => {},
    );
    connection = undefined;
  };
  return {
    target: endpoint.url,
    prepare: async (bytes) => bytes,
    send: async (body, withinMs) => {
      let channel;
      try {
        channel = await (connection ??= connect(options));
      } catch (error) {
        connection = undefined;
        return answerOfNetwork("GRPC_SETUP", String(error));
      }
      const { grpc, client, metadata } = channel;
      const outcome = await call(client, METHODS[signal], body, metadata, {
        deadline: Number.isFinite(withinMs) ? Date.now() + withinMs : Infinity,
      });
      missedDeadlines =
        outcome.kind === "failure" && outcome.error.code === grpc.status.DEADLINE_EXCEEDED
          ? missedDeadlines + 1
          : 0;
      if (missedDeadlines >= MAX_MISSED_DEADLINES) {
        missedDeadlines = 0;
        close();
      }
      return answerOf(outcome, decode);
    },
    close,
  };
}

/** An open channel, with the package that made it. */
interface Connection {
  readonly grpc: typeof Grpc;
  readonly client: Client;
  readonly metadata: Metadata;
}

type Outcome =
  | { readonly kind: "response"; readonly body: Uint8Array }
  | { readonly kind: "failure"; readonly error: ServiceError };

function answerOf(outcome: Outcome, decode: DecodeResponse): Answer {
  if (outcome.kind === "response") return answerOfResponse(outcome.body, decode);
  const { code, details, message, metadata } = outcome.error;
  const [status] = metadata?.get("grpc-status-details-bin") ?? [];
  return answerOfGrpc({
    code,
    message: details || message,
    details: status instanceof Uint8Array ? status : undefined,
  });
}

async function connect({
  endpoint,
  userAgent,
}: {
  readonly endpoint: Endpoint;
  readonly userAgent: string;
}): Promise<Connection> {
  const grpc = await import("@grpc/grpc-js");
  const { ca, key, cert } = endpoint.tls;
  const isPlain = !endpoint.url.startsWith("https://");
  const credentials = isPlain
    ? grpc.credentials.createInsecure()
    : grpc.credentials.createSsl(ca ?? null, key ?? null, cert ?? null);
  const channel: ClientOptions = {
    "grpc.primary_user_agent": userAgent,
    // Trying again is the courier's business; the channel should not still be waiting when it does.
    "grpc.initial_reconnect_backoff_ms": 250,
    "grpc.max_reconnect_backoff_ms": 5_000,
    ...(endpoint.compression === "gzip" && {
      "grpc.default_compression_algorithm": grpc.compressionAlgorithms.gzip,
    }),
  };
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(endpoint.headers)) {
    metadata.set(name, name.endsWith("-bin") ? Buffer.from(value, "base64") : value);
  }
  return {
    grpc,
    client: new grpc.Client(endpoint.url.replace(/^https?:\/\//, ""), credentials, channel),
    metadata,
  };
}

/** The bytes are OTLP already. */
function same(bytes: Buffer): Buffer {
  return bytes;
}

function call(
  client: Client,
  method: string,
  body: Uint8Array,
  metadata: Metadata,
  options: CallOptions,
): Promise<Outcome> {
  return new Promise((resolve) => {
    client.makeUnaryRequest<Buffer, Buffer>(
      method,
      same,
      same,
      Buffer.from(body.buffer, body.byteOffset, body.byteLength),
      metadata,
      options,
      (error, response) => {
        if (error !== null) resolve({ kind: "failure", error });
        else resolve({ kind: "response", body: response ?? new Uint8Array() });
      },
    );
  });
}
