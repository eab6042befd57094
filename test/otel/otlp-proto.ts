/*
 * Reads OTLP requests off the wire by the field numbers of opentelemetry-proto v1, into the form of
 * OTLP/JSON. A field that the schema does not have, or has with another wire type, is an error: a test
 * server that skips what it does not know proves nothing.
 */

type FieldType =
  | "string"
  | "bytes"
  | "hex"
  | "bool"
  | "int"
  | "int64"
  | "fixed64"
  | "sfixed64"
  | "fixed32"
  | "double";
type Field = readonly [name: string, type: FieldType | (() => Schema), repeated?: "repeated"];
type Schema = Readonly<Record<number, Field>>;

const anyValue: Schema = {
  1: ["stringValue", "string"],
  2: ["boolValue", "bool"],
  3: ["intValue", "int64"],
  4: ["doubleValue", "double"],
  5: ["arrayValue", () => arrayValue],
  6: ["kvlistValue", () => keyValueList],
  7: ["bytesValue", "bytes"],
};
const arrayValue: Schema = { 1: ["values", () => anyValue, "repeated"] };
const keyValueList: Schema = { 1: ["values", () => keyValue, "repeated"] };
const keyValue: Schema = { 1: ["key", "string"], 2: ["value", () => anyValue] };
const resource: Schema = {
  1: ["attributes", () => keyValue, "repeated"],
  2: ["droppedAttributesCount", "int"],
};
const scope: Schema = {
  1: ["name", "string"],
  2: ["version", "string"],
  3: ["attributes", () => keyValue, "repeated"],
  4: ["droppedAttributesCount", "int"],
};

const event: Schema = {
  1: ["timeUnixNano", "fixed64"],
  2: ["name", "string"],
  3: ["attributes", () => keyValue, "repeated"],
  4: ["droppedAttributesCount", "int"],
};
const link: Schema = {
  1: ["traceId", "hex"],
  2: ["spanId", "hex"],
  3: ["traceState", "string"],
  4: ["attributes", () => keyValue, "repeated"],
  5: ["droppedAttributesCount", "int"],
  6: ["flags", "fixed32"],
};
const status: Schema = { 2: ["message", "string"], 3: ["code", "int"] };
const span: Schema = {
  1: ["traceId", "hex"],
  2: ["spanId", "hex"],
  3: ["traceState", "string"],
  4: ["parentSpanId", "hex"],
  5: ["name", "string"],
  6: ["kind", "int"],
  7: ["startTimeUnixNano", "fixed64"],
  8: ["endTimeUnixNano", "fixed64"],
  9: ["attributes", () => keyValue, "repeated"],
  10: ["droppedAttributesCount", "int"],
  11: ["events", () => event, "repeated"],
  12: ["droppedEventsCount", "int"],
  13: ["links", () => link, "repeated"],
  14: ["droppedLinksCount", "int"],
  15: ["status", () => status],
  16: ["flags", "fixed32"],
};

const numberPoint: Schema = {
  2: ["startTimeUnixNano", "fixed64"],
  3: ["timeUnixNano", "fixed64"],
  4: ["asDouble", "double"],
  6: ["asInt", "sfixed64"],
  7: ["attributes", () => keyValue, "repeated"],
  8: ["flags", "int"],
};
const histogramPoint: Schema = {
  2: ["startTimeUnixNano", "fixed64"],
  3: ["timeUnixNano", "fixed64"],
  4: ["count", "fixed64"],
  5: ["sum", "double"],
  6: ["bucketCounts", "fixed64", "repeated"],
  7: ["explicitBounds", "double", "repeated"],
  9: ["attributes", () => keyValue, "repeated"],
  10: ["flags", "int"],
  11: ["min", "double"],
  12: ["max", "double"],
};
const gauge: Schema = { 1: ["dataPoints", () => numberPoint, "repeated"] };
const sum: Schema = {
  1: ["dataPoints", () => numberPoint, "repeated"],
  2: ["aggregationTemporality", "int"],
  3: ["isMonotonic", "bool"],
};
const histogram: Schema = {
  1: ["dataPoints", () => histogramPoint, "repeated"],
  2: ["aggregationTemporality", "int"],
};
const metric: Schema = {
  1: ["name", "string"],
  2: ["description", "string"],
  3: ["unit", "string"],
  5: ["gauge", () => gauge],
  7: ["sum", () => sum],
  9: ["histogram", () => histogram],
};

const logRecord: Schema = {
  1: ["timeUnixNano", "fixed64"],
  2: ["severityNumber", "int"],
  3: ["severityText", "string"],
  5: ["body", () => anyValue],
  6: ["attributes", () => keyValue, "repeated"],
  7: ["droppedAttributesCount", "int"],
  8: ["flags", "fixed32"],
  9: ["traceId", "hex"],
  10: ["spanId", "hex"],
  11: ["observedTimeUnixNano", "fixed64"],
  12: ["eventName", "string"],
};

/** Request > resource > scope > record: the same three steps for every signal. */
function request(names: readonly [outer: string, inner: string, records: string], record: Schema): Schema {
  const inner: Schema = {
    1: ["scope", () => scope],
    2: [names[2], () => record, "repeated"],
    3: ["schemaUrl", "string"],
  };
  const outer: Schema = {
    1: ["resource", () => resource],
    2: [names[1], () => inner, "repeated"],
    3: ["schemaUrl", "string"],
  };
  return { 1: [names[0], () => outer, "repeated"] };
}

const REQUESTS = {
  traces: request(["resourceSpans", "scopeSpans", "spans"], span),
  metrics: request(["resourceMetrics", "scopeMetrics", "metrics"], metric),
  logs: request(["resourceLogs", "scopeLogs", "logRecords"], logRecord),
};

/** A request in the form of OTLP/JSON, 64-bit numbers as decimal text. */
export function decodeRequest(signal: keyof typeof REQUESTS, bytes: Buffer): Record<string, unknown> {
  return decode(bytes, REQUESTS[signal]);
}

function decode(bytes: Buffer, schema: Schema): Record<string, unknown> {
  const message: Record<string, unknown> = {};
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      if (at >= bytes.length) throw new Error("a number is cut off");
      const byte = bytes[at++]!;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw new Error("a field is cut off");
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const field = schema[tag >> 3];
    if (field === undefined) throw new Error(`field ${tag >> 3} is not in opentelemetry-proto`);
    const [name, type, repeated] = field;
    const wire = tag & 7;
    const isPacked = repeated !== undefined && wire === 2 && (type === "fixed64" || type === "double");
    const expected = wireTypeOf(type);
    if (wire !== expected && !isPacked) throw new Error(`${name} has wire type ${wire} and not ${expected}`);
    if (isPacked) {
      const packed = take(Number(varint()));
      const values = [];
      for (let i = 0; i < packed.length; i += 8) {
        values.push(type === "double" ? packed.readDoubleLE(i) : String(packed.readBigUInt64LE(i)));
      }
      message[name] = values;
      continue;
    }
    const value = read(type, varint, take);
    if (repeated === undefined) {
      if (name in message) throw new Error(`${name} is there twice`);
      message[name] = value;
    } else {
      ((message[name] ??= []) as unknown[]).push(value);
    }
  }
  return message;
}

function read(type: Field[1], varint: () => bigint, take: (length: number) => Buffer): unknown {
  if (typeof type === "function") return decode(take(Number(varint())), type());
  switch (type) {
    case "string":
      return new TextDecoder("utf-8", { fatal: true }).decode(take(Number(varint())));
    case "hex":
      return take(Number(varint())).toString("hex");
    case "bytes":
      return take(Number(varint())).toString("base64");
    case "bool":
      return varint() !== 0n;
    case "int":
      return Number(varint());
    case "int64":
      return String(BigInt.asIntN(64, varint()));
    case "fixed64":
      return String(take(8).readBigUInt64LE());
    case "sfixed64":
      return String(take(8).readBigInt64LE());
    case "fixed32":
      return take(4).readUInt32LE();
    case "double":
      return take(8).readDoubleLE();
  }
}

function wireTypeOf(type: Field[1]): number {
  if (typeof type === "function") return 2;
  switch (type) {
    case "string":
    case "bytes":
    case "hex":
      return 2;
    case "bool":
    case "int":
    case "int64":
      return 0;
    case "fixed64":
    case "sfixed64":
    case "double":
      return 1;
    case "fixed32":
      return 5;
  }
}

/** `Export…ServiceResponse` with a partial success: the same fields for every signal. */
export function partialSuccess(rejected: number, message: string): Buffer {
  const inner = Buffer.concat([Buffer.from([0x08, rejected]), lengthDelimited(2, Buffer.from(message))]);
  return lengthDelimited(1, inner);
}

/** `google.rpc.Status` with a `RetryInfo`, as in the trailer `grpc-status-details-bin`. */
export function statusWithRetryInfo(code: number, message: string, seconds: number, nanos = 0): Buffer {
  const duration = Buffer.concat([
    Buffer.from([0x08]),
    varintOf(seconds),
    Buffer.from([0x10]),
    varintOf(nanos),
  ]);
  const info = lengthDelimited(1, duration);
  const any = Buffer.concat([
    lengthDelimited(1, Buffer.from("type.googleapis.com/google.rpc.RetryInfo")),
    lengthDelimited(2, info),
  ]);
  return Buffer.concat([
    Buffer.from([0x08, code]),
    lengthDelimited(2, Buffer.from(message)),
    lengthDelimited(3, any),
  ]);
}

function lengthDelimited(field: number, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([(field << 3) | 2]), varintOf(bytes.length), bytes]);
}

function varintOf(value: number): Buffer {
  const bytes = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
}
