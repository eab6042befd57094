import {
  JsonLogsSerializer,
  JsonMetricsSerializer,
  JsonTraceSerializer,
  ProtobufLogsSerializer,
  ProtobufMetricsSerializer,
  ProtobufTraceSerializer,
} from "@opentelemetry/otlp-transformer";
import type { ReadableLogRecord } from "@opentelemetry/sdk-logs";
import type { ResourceMetrics } from "@opentelemetry/sdk-metrics";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";

import type { Decoders, ExportResponse } from "./answer.ts";
import { createSpanEncoder } from "./span-protobuf.ts";

/** The two encodings of OTLP requests. */
export type Encoding = "protobuf" | "json";

/** How requests of one signal are written and their responses read: as the standard exporters do. */
export interface Serializer<T> {
  readonly encode: Readonly<Record<Encoding, (data: T) => Uint8Array>>;
  readonly decode: Decoders;
}

export const SPANS = serializer<ReadableSpan[]>(
  {
    serializeRequest: createSpanEncoder(),
    deserializeResponse: (body) => ProtobufTraceSerializer.deserializeResponse(body),
  },
  JsonTraceSerializer,
);
export const METRICS = serializer<ResourceMetrics>(ProtobufMetricsSerializer, JsonMetricsSerializer);
export const LOGS = serializer<ReadableLogRecord[]>(ProtobufLogsSerializer, JsonLogsSerializer);

interface StandardSerializer<T> {
  readonly serializeRequest: (data: T) => Uint8Array | undefined;
  readonly deserializeResponse: (body: Uint8Array) => unknown;
}

function serializer<T>(protobuf: StandardSerializer<T>, json: StandardSerializer<T>): Serializer<T> {
  return {
    encode: { protobuf: encode(protobuf), json: encode(json) },
    decode: { protobuf: decode(protobuf), json: decode(json) },
  };
}

function encode<T>({ serializeRequest }: StandardSerializer<T>): (data: T) => Uint8Array {
  return (data) => {
    const bytes = serializeRequest(data);
    if (bytes === undefined) throw new Error("the serializer gave no bytes");
    return bytes;
  };
}

function decode({ deserializeResponse }: StandardSerializer<never>): (body: Uint8Array) => ExportResponse {
  return (body) => deserializeResponse(body) as ExportResponse;
}
