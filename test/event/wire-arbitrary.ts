import fc, { type Arbitrary } from "fast-check";
import type { EventType } from "../../src/event/event.ts";

/** The wire form at random: what a producer may send, and what becomes of it when something goes wrong. */

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type JsonObject = { [name: string]: Json };

const digits = (length: number) =>
  fc.integer({ min: 0, max: 10 ** length - 1 }).map((n) => String(n).padStart(length, "0"));

export const timestamp: Arbitrary<string> = fc
  .tuple(
    fc.date({
      min: new Date("1970-01-02T00:00:00Z"),
      max: new Date("2554-01-01T00:00:00Z"),
      noInvalidDate: true,
    }),
    fc
      .integer({ min: 0, max: 9 })
      .chain((length) => (length === 0 ? fc.constant("") : digits(length).map((d) => `.${d}`))),
    fc.oneof(
      { weight: 8, arbitrary: fc.constant("Z") },
      fc.constantFrom("+00:00", "-00:00", "+05:30", "-12:00", "z"),
    ),
  )
  .map(([date, fraction, zone]) => date.toISOString().slice(0, 19) + fraction + zone);

/** What chrono writes. */
export const serdeTimestamp: Arbitrary<string> = fc
  .tuple(
    fc.date({
      min: new Date("2020-01-01T00:00:00Z"),
      max: new Date("2100-01-01T00:00:00Z"),
      noInvalidDate: true,
    }),
    fc
      .constantFrom(0, 3, 6, 9)
      .chain((length) => (length === 0 ? fc.constant("") : digits(length).map((d) => `.${d}`))),
  )
  .map(([date, fraction]) => `${date.toISOString().slice(0, 19)}${fraction}Z`);

export const uuid: Arbitrary<string> = fc.oneof(
  { weight: 8, arbitrary: fc.uuid() },
  fc.uuid().map((text) => text.toUpperCase()),
);

/** Any UTF-16, lone surrogates and control characters included. */
export const text: Arbitrary<string> = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 40 }),
  fc.string({
    unit: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)),
    maxLength: 12,
  }),
  fc.constantFrom("", '"', "\\", '\\"', "\u0000", "\ud800", "\udc00x", "日本語", "😀", "__proto__"),
);

const name: Arbitrary<string> = fc.oneof(
  { weight: 20, arbitrary: text },
  fc.constantFrom("x".repeat(1_023), "x".repeat(1_024), "é".repeat(1_024)),
);

const count: Arbitrary<number> = fc.oneof(fc.nat(), fc.constantFrom(0, 1, 2 ** 32, Number.MAX_SAFE_INTEGER));
const optionalCount = fc.option(count);
const json = fc.jsonValue({ maxDepth: 4, stringUnit: "grapheme" }) as Arbitrary<Json>;

const cache = {
  cache_creation_input_tokens: optionalCount,
  cache_read_input_tokens: optionalCount,
  cached_input_tokens: optionalCount,
};
const tool = { call_id: name, tool_name: name };

function payload(
  fields: { [name: string]: Arbitrary<Json> },
  optional: readonly string[] = [],
): Arbitrary<JsonObject> {
  const all = { run_id: uuid, ...fields, timestamp };
  const requiredKeys = Object.keys(all).filter((key) => !optional.includes(key));
  return fc.record(all, {
    requiredKeys: requiredKeys as (keyof typeof all)[],
    noNullPrototype: true,
  }) as Arbitrary<JsonObject>;
}

export const payloads: Record<EventType, Arbitrary<JsonObject>> = {
  RunStarted: payload({ session_id: uuid, provider: name, model: name }),
  ContextBuilt: payload({ message_count: count }),
  ModelStarted: payload({ provider: name, model: name, iteration: count }),
  TextDelta: payload({ delta: text }),
  ToolCallStarted: payload(tool),
  ToolCallDelta: payload({ call_id: name, delta: text }),
  ToolCallCompleted: payload({
    call: fc.record({ id: name, name, arguments: json }, { noNullPrototype: true }),
  }),
  ToolExecutionStarted: payload(tool),
  ToolExecutionFinished: payload({
    ...tool,
    result: fc.oneof(
      fc.record(
        { Success: fc.record({ output: json }, { noNullPrototype: true }) },
        { noNullPrototype: true },
      ),
      fc.record(
        { Failure: fc.record({ error: text }, { noNullPrototype: true }) },
        { noNullPrototype: true },
      ),
    ),
    duration_ms: count,
  }),
  AssistantMessageCommitted: payload({ message_id: uuid }),
  ToolMessageCommitted: payload({ message_id: uuid }),
  UsageRecorded: payload({
    usage: fc.record(
      { input_tokens: count, output_tokens: count, total_tokens: optionalCount, ...cache },
      { requiredKeys: ["input_tokens", "output_tokens"], noNullPrototype: true },
    ),
  }),
  CacheMetrics: payload(cache, Object.keys(cache)),
  RunCompleted: payload({
    finish_reason: fc.oneof(
      fc.constantFrom("stop", "tool_calls", "length", "content_filter", "error"),
      name,
      fc.record({ unknown: name }, { noNullPrototype: true }),
    ),
    iterations: count,
  }),
  RunFailed: payload({ error: text }),
  RunCancelled: payload({}),
  DoomLoopDetected: payload({ description: text }),
  CompactionCircuitOpened: payload({ consecutive_failures: count }),
};

export const agentEvent: Arbitrary<JsonObject> = fc
  .constantFrom(...(Object.keys(payloads) as EventType[]))
  .chain((type) => payloads[type].map((fields) => ({ [type]: fields })));

const beside = {
  agent: fc.option(name),
  traceparent: fc.option(
    fc.oneof(text, fc.constantFrom("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0-0-0")),
  ),
  tracestate: fc.option(fc.oneof(text, fc.constant("vendor=value"))),
};

/** Bare, with fields beside it, or in an envelope. */
export const eventLine: Arbitrary<JsonObject> = fc.oneof(
  agentEvent,
  fc
    .tuple(agentEvent, fc.record(beside, { requiredKeys: [], noNullPrototype: true }))
    .map(([event, fields]) => ({ ...event, ...fields })),
  fc
    .tuple(
      agentEvent,
      fc.record(
        {
          event_id: fc.option(fc.oneof(fc.uuid({ version: 7 }), name)),
          seq: fc.option(count),
          session_id: fc.option(uuid),
          emitted_at: fc.option(timestamp),
          ...beside,
        },
        { requiredKeys: [], noNullPrototype: true },
      ),
      fc.constantFrom("same", "folded", "other", "none"),
    )
    .map(([event, fields, runId]) => ({ ...envelopeRunId(event, runId), ...fields, event })),
);

function envelopeRunId(event: JsonObject, kind: string): JsonObject {
  const own = (Object.values(event)[0] as { run_id: string }).run_id;
  switch (kind) {
    case "same":
      return { run_id: own };
    case "folded":
      return { run_id: own.toUpperCase() };
    case "other":
      return { run_id: "ffffffff-ffff-4fff-8fff-ffffffffffff" };
    default:
      return {};
  }
}

/** Values that something went wrong with, one of which is put where a right one stood. */
export const ODD_VALUES: readonly Json[] = [
  null,
  true,
  false,
  0,
  -0,
  -1,
  1.5,
  1e15,
  2 ** 53,
  1e300,
  "",
  "1",
  "x".repeat(1_025),
  "00000000-0000-0000-0000-000000000000",
  "6f1f6d0e3c514a7e9b570d4cf3a1b2c3",
  "6f1f6d0e-3c51-4a7e-9b57-0d4cf3a1b2c",
  "6g1f6d0e-3c51-4a7e-9b57-0d4cf3a1b2c3",
  "2026-02-29T00:00:00Z",
  "2026-06-21T24:00:00Z",
  "1969-12-31T23:59:59Z",
  "2554-07-21T23:34:33.000000001Z",
  "2026-06-21 00:00:00Z",
  "2026-06-21T00:00:60.5Z",
  "\ud800",
  [],
  [[]],
  {},
  { unknown: "x" },
  { unknown: 5 },
  { Success: {} },
  { Failure: { error: 1 }, Success: { output: 1 } },
];

const ODD_NAMES = [
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "run_id",
  "event",
  "RunStarted",
  "Foo",
  "",
  "délta",
];

export type Mutation =
  | { readonly kind: "remove"; readonly at: number }
  | { readonly kind: "replace"; readonly at: number; readonly value: Json }
  | { readonly kind: "rename"; readonly at: number; readonly name: string }
  | { readonly kind: "add"; readonly at: number; readonly name: string; readonly value: Json };

export const mutation: Arbitrary<Mutation> = fc.oneof(
  fc.record({ kind: fc.constant("remove" as const), at: fc.nat(40) }),
  fc.record({ kind: fc.constant("replace" as const), at: fc.nat(40), value: fc.constantFrom(...ODD_VALUES) }),
  fc.record({ kind: fc.constant("rename" as const), at: fc.nat(40), name: fc.constantFrom(...ODD_NAMES) }),
  fc.record({
    kind: fc.constant("add" as const),
    at: fc.nat(40),
    name: fc.constantFrom(...ODD_NAMES),
    value: fc.constantFrom(...ODD_VALUES),
  }),
);

/** A copy of `object` in which one member, anywhere in it, is changed. Keys like `__proto__` become own members. */
export function mutate(object: JsonObject, change: Mutation): JsonObject {
  const copy = JSON.parse(JSON.stringify(object)) as JsonObject;
  const places = membersOf(copy);
  const place = places[change.at % places.length];
  if (place === undefined) return copy;
  const { owner, name: old } = place;
  switch (change.kind) {
    case "remove":
      delete owner[old];
      break;
    case "replace":
      put(owner, old, change.value);
      break;
    case "rename": {
      const value = owner[old] ?? null;
      delete owner[old];
      put(owner, change.name, value);
      break;
    }
    case "add":
      put(owner, change.name, change.value);
  }
  return copy;
}

function put(owner: JsonObject, key: string, value: Json): void {
  Object.defineProperty(owner, key, { value, enumerable: true, configurable: true, writable: true });
}

function membersOf(object: JsonObject): { owner: JsonObject; name: string }[] {
  return Object.keys(object).flatMap((key) => {
    const value = object[key];
    const inner =
      typeof value === "object" && value !== null && !Array.isArray(value) ? membersOf(value) : [];
    return [{ owner: object, name: key }, ...inner];
  });
}
