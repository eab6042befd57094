import { createTraceState, SpanKind, SpanStatusCode, TraceFlags } from "@opentelemetry/api";
import type { Attributes, AttributeValue, HrTime, SpanContext } from "@opentelemetry/api";
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { resourceFromAttributes } from "@opentelemetry/resources";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { describe, expect, test } from "vitest";

import { createSpanEncoder } from "../../src/otel/span-protobuf.ts";
import { createSpanMapper } from "../../src/otel/spans.ts";
import { DEFAULT_SPAN_LIMITS } from "../../src/otel/limits.ts";
import { writeText } from "../../src/event/write-text.ts";
import { randomOf, seedFromEnvironment, trialMs, type Random } from "../run/random.ts";
import { modelSpan } from "./span-samples.ts";

const seed = seedFromEnvironment();

const resource = resourceFromAttributes({ "service.name": "behest", "host.cpus": 2 });
const scope = { name: "behest-otel", version: "0.1.0", schemaUrl: "https://example.test/schema" };
const map = createSpanMapper({ semconv: "released", limits: DEFAULT_SPAN_LIMITS, resource, scope });
const SPAN = map(modelSpan());

const encode = createSpanEncoder();

function expectStandard(spans: ReadableSpan[]): void {
  const [ours, standard] = [encode(spans), ProtobufTraceSerializer.serializeRequest(spans)];
  expect(Buffer.compare(Buffer.from(ours!), Buffer.from(standard!))).toBe(0);
}

const withValue = (value: unknown) => ({ ...SPAN, attributes: { key: value } });

describe("a request has the bytes of the standard serializer", () => {
  test("without a span", () => {
    expectStandard([]);
  });

  // Where a length needs one more byte.
  test.each([0, 1, 63, 64, 65, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129])(
    "with a text of %i characters",
    (length) => {
      expectStandard([withValue("x".repeat(length))]);
      expectStandard([withValue("ä".repeat(length))]);
      expectStandard([withValue(`${"x".repeat(length)}\ud800`)]);
      expectStandard([withValue(["x".repeat(length)])]);
      expectStandard([{ ...SPAN, name: "x".repeat(length) }]);
      expectStandard([{ ...SPAN, status: { code: SpanStatusCode.ERROR, message: "x".repeat(length) } }]);
    },
  );

  test.each([16_000, 16_383, 16_384, 65_535, 65_536, 2_097_151, 2_097_152, 5_000_000])(
    "with a text of %i characters, which takes more room than is kept",
    (length) => {
      expectStandard([withValue("x".repeat(length)), SPAN]);
      expectStandard([withValue("東".repeat(length)), SPAN]);
      expectStandard([SPAN]);
    },
  );

  test.each([
    0,
    -0,
    1,
    127,
    128,
    2 ** 31 - 1,
    2 ** 31,
    2 ** 32,
    2 ** 53 - 1,
    2 ** 53,
    2 ** 63 - 1_024,
    2 ** 63,
    -1,
    -128,
    -(2 ** 53),
    -(2 ** 63),
    -(2 ** 64),
    0.1,
    -0.1,
    5e-324,
    Number.NaN,
    Number.POSITIVE_INFINITY,
  ])("with the number %d", (value) => {
    expectStandard([withValue(value)]);
    expectStandard([withValue([value, value])]);
  });

  test.each([
    ["nothing", undefined],
    ["null", null],
    ["nothing in a list", ["a", undefined]],
    ["bytes", new Uint8Array([1, 2])],
    ["an object", { a: { b: 1 } }],
    ["an empty list", []],
    ["lists in a list", [["a"], [1]]],
  ])("with %s in an attribute", (_, value) => {
    expectStandard([SPAN, withValue(value), SPAN]);
  });

  test.each<[string, HrTime]>([
    ["1970", [0, 0]],
    ["the last nanosecond of a second", [1_763_812_345, 999_999_999]],
    ["2038", [2 ** 31, 1]],
    ["2106", [2 ** 32, 1]],
    ["2554", [18_446_744_073, 709_551_615]],
  ])("with a time of %s", (_, time) => {
    expectStandard([{ ...SPAN, startTime: time, endTime: time }]);
  });

  test("of several resources and scopes", () => {
    const other = { ...SPAN, resource: resourceFromAttributes({ "service.name": "other" }) };
    expectStandard([SPAN, other, SPAN, { ...SPAN, instrumentationScope: { name: "other" } }]);
    const odd = { name: "odd", attributes: { a: 1 }, droppedAttributesCount: 2 };
    expectStandard([{ ...SPAN, instrumentationScope: odd }]);
    expectStandard([{ ...SPAN, instrumentationScope: { name: "" } }]);
  });

  test("with links and events that have attributes, and counts of those that have not", () => {
    const context = SPAN.spanContext();
    const links = [{ context }, { context: { ...context, isRemote: true }, droppedAttributesCount: 300 }];
    expectStandard([{ ...SPAN, links }]);
    expectStandard([{ ...SPAN, links: [{ context, attributes: { a: 1 } }] }]);
    const events = [
      { name: "a", time: SPAN.endTime },
      { name: "b", time: SPAN.endTime, attributes: { c: 1 } },
    ];
    expectStandard([{ ...SPAN, events }]);
  });

  test.each<[string, Partial<Record<keyof ReadableSpan, unknown>>]>([
    ["no kind", { kind: undefined }],
    ["no counts", { droppedAttributesCount: undefined, droppedEventsCount: undefined }],
    ["no status", { status: {} }],
    ["a number for a name", { name: 7 }],
    ["attributes of a prototype", { attributes: Object.create({ inherited: 1 }, {}) }],
    ["a time that is too late", { endTime: [18_446_744_073, 709_551_616] }],
  ])("with %s", (_, fields) => {
    expectStandard([SPAN, { ...SPAN, ...fields } as ReadableSpan]);
  });

  test(
    `of spans with all that ours may have, and more of it (SEED=${seed})`,
    { timeout: 30_000 + 2 * trialMs() },
    () => {
      const random = randomOf(seed);
      const until = Date.now() + trialMs(0.2);
      for (let trial = 0; trial < 200 || Date.now() < until; trial += 1) {
        expectStandard(Array.from({ length: random.between(1, 20) }, () => anySpan(random)));
      }
    },
  );
});

test("after a span that cannot be written the next request is whole", () => {
  const broken = {
    ...SPAN,
    spanContext: () => {
      throw new Error("no context");
    },
  };
  expect(() => encode([SPAN, broken])).toThrow("no context");
  expectStandard([SPAN]);
});

test.each(["", "plain", "x".repeat(64), "x".repeat(65), "ä", `${"x".repeat(63)}ä`, "\ud800", "😀"])(
  "a text is written as UTF-8: %j",
  (text) => {
    const buffer = Buffer.alloc(300);
    const written = writeText(buffer, text);
    expect(buffer.subarray(0, written)).toEqual(Buffer.from(text, "utf8"));
  },
);

function anySpan(random: Random): ReadableSpan {
  const context = anyContext(random);
  return {
    ...SPAN,
    name: anyText(random),
    kind: random.pick([SpanKind.INTERNAL, SpanKind.CLIENT, SpanKind.CONSUMER]),
    spanContext: () => context,
    parentSpanContext: random.pick([undefined, context, anyContext(random)]) as SpanContext,
    startTime: anyTime(random),
    endTime: anyTime(random),
    status: random.pick([
      { code: SpanStatusCode.UNSET },
      { code: SpanStatusCode.ERROR, message: anyText(random) },
      { code: SpanStatusCode.OK, message: "" },
    ]),
    attributes: anyAttributes(random),
    links: random.chance(0.2) ? [{ context: anyContext(random) }] : [],
    events: random.chance(0.2)
      ? [{ name: anyText(random), time: anyTime(random), attributes: anyAttributes(random) }]
      : [],
    droppedAttributesCount: random.pick([0, 1, 200]),
    droppedEventsCount: random.pick([0, 70_000]),
    droppedLinksCount: random.pick([0, 2 ** 31]),
  };
}

function anyContext(random: Random): SpanContext {
  const hex = (digits: number) =>
    Array.from({ length: digits }, () => random.below(16).toString(16)).join("");
  return {
    traceId: hex(32),
    spanId: hex(16),
    traceFlags: random.pick([TraceFlags.NONE, TraceFlags.SAMPLED, 0x1ff]),
    ...(random.chance(0.3) && { isRemote: random.chance(0.5) }),
    ...(random.chance(0.3) && { traceState: createTraceState(random.pick(["a=1,b=2", ""])) }),
  };
}

function anyAttributes(random: Random): Attributes {
  return Object.fromEntries(
    Array.from({ length: random.below(12) }, (): [string, AttributeValue] => [
      anyText(random),
      random.pick<AttributeValue>([
        anyText(random),
        random.chance(0.5),
        random.below(2 ** 31) - 2 ** 30,
        random.below(2 ** 31) / 7,
        [anyText(random), anyText(random)],
        [1, 2.5],
      ]),
    ]),
  );
}

function anyText(random: Random): string {
  const part = random.pick(["x", "gen_ai.", "ä", "東", "😀", "\ud800", "\u0000", "\u007f\u0080"]);
  return part.repeat(random.pick([0, 1, 2, 10, 42, 63, 64, 127, 128, 5_500]));
}

function anyTime(random: Random): HrTime {
  return [random.pick([0, 1_763_812_345, 2 ** 32 + 5, 18_446_744_072]), random.below(1e9)];
}
