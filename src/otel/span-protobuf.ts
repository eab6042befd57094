import type { Attributes, Link, SpanContext } from "@opentelemetry/api";
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import type { ReadableSpan, TimedEvent } from "@opentelemetry/sdk-trace";

import { ProtobufWriter } from "./protobuf-writer.ts";

/**
 * Writes an ExportTraceServiceRequest (opentelemetry-proto, `trace_service.proto`) of spans as they are made here:
 * byte for byte what the standard serializer writes, in a third of its time, because it goes over them once. What
 * spans made here never have is left to that one: several resources, a value of another kind, a field that is missing.
 */
export function createSpanEncoder(): (spans: ReadableSpan[]) => Uint8Array | undefined {
  const writer = new ProtobufWriter();
  return (spans) => {
    try {
      if (areAlike(spans) && writeRequest(writer, spans)) return writer.message();
    } catch {
      // The standard serializer says what is wrong with it, if anything is.
    } finally {
      writer.clear();
    }
    return ProtobufTraceSerializer.serializeRequest(spans);
  };
}

/** Tags of the fields of a request, a resource's spans, and a scope's. */
const RESOURCE_SPANS = (1 << 3) | 2;
const RESOURCE = (1 << 3) | 2;
const SCOPE_SPANS = (2 << 3) | 2;
const SCOPE = (1 << 3) | 2;
const SPAN = (2 << 3) | 2;
const SCHEMA_URL = (3 << 3) | 2;

const SCOPE_NAME = (1 << 3) | 2;
const SCOPE_VERSION = (2 << 3) | 2;

const RESOURCE_ATTRIBUTE = (1 << 3) | 2;
const RESOURCE_DROPPED = (2 << 3) | 0;

const TRACE_ID = (1 << 3) | 2;
const SPAN_ID = (2 << 3) | 2;
const TRACE_STATE = (3 << 3) | 2;
const PARENT_SPAN_ID = (4 << 3) | 2;
const NAME = (5 << 3) | 2;
const KIND = (6 << 3) | 0;
const START_TIME = (7 << 3) | 1;
const END_TIME = (8 << 3) | 1;
const ATTRIBUTE = (9 << 3) | 2;
const DROPPED_ATTRIBUTES = (10 << 3) | 0;
const EVENT = (11 << 3) | 2;
const DROPPED_EVENTS = (12 << 3) | 0;
const LINK = (13 << 3) | 2;
const DROPPED_LINKS = (14 << 3) | 0;
const STATUS = (15 << 3) | 2;
const FLAGS = (16 << 3) | 5;

const EVENT_TIME = (1 << 3) | 1;
const EVENT_NAME = (2 << 3) | 2;
const EVENT_ATTRIBUTE = (3 << 3) | 2;
const EVENT_DROPPED = (4 << 3) | 0;

const LINK_DROPPED = (5 << 3) | 0;
const LINK_FLAGS = (6 << 3) | 5;

const STATUS_MESSAGE = (2 << 3) | 2;
const STATUS_CODE = (3 << 3) | 0;

const KEY = (1 << 3) | 2;
const VALUE = (2 << 3) | 2;
const STRING_VALUE = (1 << 3) | 2;
const BOOL_VALUE = (2 << 3) | 0;
const INT_VALUE = (3 << 3) | 0;
const DOUBLE_VALUE = (4 << 3) | 1;
const ARRAY_VALUE = (5 << 3) | 2;
const ITEM = (1 << 3) | 2;

const MAX_INT = 2 ** 63;

/** Of `SpanFlags`: whether the parent is remote is known; it is. */
const HAS_IS_REMOTE = 0x100;
const IS_REMOTE = 0x200;

/** All of one resource, and one scope without attributes. */
function areAlike(spans: readonly ReadableSpan[]): boolean {
  const [first] = spans;
  if (first === undefined) return false;
  const { resource, instrumentationScope: scope } = first;
  if ("attributes" in scope || "droppedAttributesCount" in scope) return false;
  return spans.every((span) => span.resource === resource && span.instrumentationScope === scope);
}

/** False when it met a value that it does not know how to write. */
function writeRequest(writer: ProtobufWriter, spans: readonly ReadableSpan[]): boolean {
  const [{ resource, instrumentationScope: scope }] = spans as [ReadableSpan];
  const resourceSpans = writer.begin(RESOURCE_SPANS, 4);
  const resourceStart = writer.begin(RESOURCE, 2);
  if (!writeAttributes(writer, RESOURCE_ATTRIBUTE, resource.attributes)) return false;
  writer.integer(RESOURCE_DROPPED, 0);
  writer.end(resourceStart, 2);
  const scopeSpans = writer.begin(SCOPE_SPANS, 4);
  const scopeStart = writer.begin(SCOPE, 1);
  writer.text(SCOPE_NAME, scope.name);
  if (scope.version) writer.text(SCOPE_VERSION, scope.version);
  writer.end(scopeStart, 1);
  for (const span of spans) if (!writeSpan(writer, span)) return false;
  if (scope.schemaUrl) writer.text(SCHEMA_URL, scope.schemaUrl);
  writer.end(scopeSpans, 4);
  if (resource.schemaUrl) writer.text(SCHEMA_URL, resource.schemaUrl);
  writer.end(resourceSpans, 4);
  return true;
}

function writeSpan(writer: ProtobufWriter, span: ReadableSpan): boolean {
  const { startTime, endTime, parentSpanContext: parent, status } = span;
  const context = span.spanContext();
  const start = writer.begin(SPAN, 2);
  writeContext(writer, context);
  if (parent?.spanId) writer.hex(PARENT_SPAN_ID, parent.spanId);
  writer.text(NAME, span.name);
  writer.integer(KIND, span.kind + 1);
  writer.time(START_TIME, startTime[0], startTime[1]);
  writer.time(END_TIME, endTime[0], endTime[1]);
  if (!writeAttributes(writer, ATTRIBUTE, span.attributes)) return false;
  writer.integer(DROPPED_ATTRIBUTES, span.droppedAttributesCount);
  for (const event of span.events) if (!writeEvent(writer, event)) return false;
  writer.integer(DROPPED_EVENTS, span.droppedEventsCount);
  for (const link of span.links) if (!writeLink(writer, link)) return false;
  writer.integer(DROPPED_LINKS, span.droppedLinksCount);
  const statusStart = writer.begin(STATUS, 1);
  if (status.message) writer.text(STATUS_MESSAGE, status.message);
  writer.integer(STATUS_CODE, status.code);
  writer.end(statusStart, 1);
  writer.fixed32(FLAGS, flagsOf(context, parent));
  writer.end(start, 2);
  return true;
}

/** The first fields of a span and of a link. */
function writeContext(writer: ProtobufWriter, { traceId, spanId, traceState }: SpanContext): void {
  writer.hex(TRACE_ID, traceId);
  writer.hex(SPAN_ID, spanId);
  const state = traceState?.serialize();
  if (state) writer.text(TRACE_STATE, state);
}

function writeEvent(writer: ProtobufWriter, event: TimedEvent): boolean {
  const start = writer.begin(EVENT, 1);
  writer.time(EVENT_TIME, event.time[0], event.time[1]);
  writer.text(EVENT_NAME, event.name);
  if (!writeAttributes(writer, EVENT_ATTRIBUTE, event.attributes ?? {})) return false;
  writer.integer(EVENT_DROPPED, event.droppedAttributesCount ?? 0);
  writer.end(start, 1);
  return true;
}

function writeLink(writer: ProtobufWriter, { context, attributes, droppedAttributesCount }: Link): boolean {
  if (attributes !== undefined) return false;
  const start = writer.begin(LINK, 1);
  writeContext(writer, context);
  writer.integer(LINK_DROPPED, droppedAttributesCount ?? 0);
  writer.fixed32(LINK_FLAGS, flagsOf(context, context));
  writer.end(start, 1);
  return true;
}

function flagsOf({ traceFlags }: SpanContext, from: SpanContext | undefined): number {
  return (traceFlags & 0xff) | HAS_IS_REMOTE | (from?.isRemote === true ? IS_REMOTE : 0);
}

function writeAttributes(writer: ProtobufWriter, tag: number, attributes: Attributes): boolean {
  for (const name in attributes) {
    if (!Object.hasOwn(attributes, name)) continue;
    const start = writer.begin(tag, 1);
    writer.text(KEY, name);
    if (!writeValue(writer, VALUE, attributes[name])) return false;
    writer.end(start, 1);
  }
  return true;
}

function writeValue(writer: ProtobufWriter, tag: number, value: unknown): boolean {
  const start = writer.begin(tag, 1);
  switch (typeof value) {
    case "string":
      writer.text(STRING_VALUE, value);
      break;
    case "boolean":
      writer.integer(BOOL_VALUE, value ? 1 : 0);
      break;
    case "number":
      if (Number.isInteger(value) && value >= -MAX_INT && value < MAX_INT) writer.integer(INT_VALUE, value);
      else writer.double(DOUBLE_VALUE, value);
      break;
    default: {
      if (!Array.isArray(value)) return false;
      const array = writer.begin(ARRAY_VALUE, 1);
      for (const item of value) if (!writeValue(writer, ITEM, item)) return false;
      writer.end(array, 1);
    }
  }
  writer.end(start, 1);
  return true;
}
