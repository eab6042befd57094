import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { describe, expect, test } from "vitest";

import { runSpanId, spanIdOf, traceIdOf } from "../../src/otel/ids.ts";
import { estimateBytes } from "../../src/otel/spans.ts";
import type { FinishedSpan, Notice, RunFacts } from "../../src/run/op.ts";
import { map, mapper } from "./span-mapping.ts";
import { END, modelSpan, PARENT, RUN_ID, runFacts, runSpan, START, toolSpan } from "./span-samples.ts";

test.each<[FinishedSpan, string, number]>([
  [runSpan(), "invoke_agent researcher", 0],
  [modelSpan(), "chat gpt-4o", 2],
  [toolSpan(), "execute_tool search", 0],
])("name and kind of %#", (span, name, kind) => {
  expect(map(span)).toMatchObject({ name, kind, startTime: START, endTime: END, duration: [1, 900_000_000] });
});

test("success is left unset, on every kind of span", () => {
  for (const span of [runSpan(), modelSpan(), toolSpan()]) expect(map(span).status).toEqual({ code: 0 });
});

test("times are handed on and not copied", () => {
  const span = toolSpan();
  expect(map(span).startTime).toBe(span.start);
  expect(map(span).endTime).toBe(span.end);
});

test.each([
  [
    [1_700_000_000, 5],
    [1_700_000_000, 4],
  ],
  [
    [1_700_000_000, 0],
    [1_699_999_999, 999_999_999],
  ],
  [
    [0, 0],
    [0, 0],
  ],
] as const)("a span without length at %j begins a nanosecond earlier", (at, start) => {
  expect(map({ ...toolSpan(), start: at, end: at })).toMatchObject({
    startTime: start,
    endTime: at,
    duration: [0, at[0] + at[1] > 0 ? 1 : 0],
  });
});

describe("identity", () => {
  test("of a run without a parent", () => {
    const span = map(runSpan());
    expect(span.spanContext()).toEqual({
      traceId: traceIdOf(RUN_ID),
      spanId: runSpanId(RUN_ID, ""),
      traceFlags: 1,
    });
    expect(span.parentSpanContext).toBeUndefined();
  });

  test("of children: in the run's trace, under the run's span of their segment", () => {
    const segment = "1763812345123456789";
    const run = runFacts({ segment });
    const model = map(modelSpan({ run, iteration: 7, occurrence: 2 }));
    const tool = map(toolSpan({ run, callId: "call_9", occurrence: 1 }));
    expect(model.spanContext().spanId).toBe(
      spanIdOf({ runId: RUN_ID, segment, kind: "model", key: "7", occurrence: 2 }),
    );
    expect(tool.spanContext().spanId).toBe(
      spanIdOf({ runId: RUN_ID, segment, kind: "tool", key: "call_9", occurrence: 1 }),
    );
    for (const child of [model, tool]) {
      expect(child.spanContext().traceId).toBe(traceIdOf(RUN_ID));
      expect(child.parentSpanContext).toEqual({
        traceId: traceIdOf(RUN_ID),
        spanId: runSpanId(RUN_ID, segment),
        traceFlags: 1,
      });
    }
  });

  test("under a remote parent: its trace, its tracestate on every span, and only the run's parent is remote", () => {
    const run = runFacts({ parent: PARENT });
    const root = map(runSpan({ run, resumedFrom: "" }));
    const child = map(toolSpan({ run }));
    expect(root.spanContext()).toMatchObject({ traceId: PARENT.traceId, spanId: runSpanId(RUN_ID, "") });
    expect(root.parentSpanContext).toMatchObject({
      traceId: PARENT.traceId,
      spanId: PARENT.spanId,
      isRemote: true,
    });
    expect(child.parentSpanContext).toMatchObject({ traceId: PARENT.traceId, spanId: runSpanId(RUN_ID, "") });
    expect(child.parentSpanContext?.isRemote).toBeFalsy();
    expect(root.links[0]?.context.traceId).toBe(PARENT.traceId);
    for (const context of [root.spanContext(), child.spanContext(), root.links[0]?.context]) {
      expect(context?.traceState?.serialize()).toBe(PARENT.tracestate);
    }
  });

  test("of a later segment: the same trace, another span, and a link to the first", () => {
    const span = map(runSpan({ run: runFacts({ segment: "17" }), resumedFrom: "" }));
    expect(span.spanContext().spanId).toBe(runSpanId(RUN_ID, "17"));
    expect(span.links).toEqual([
      { context: { traceId: traceIdOf(RUN_ID), spanId: runSpanId(RUN_ID, ""), traceFlags: 1 } },
    ]);
    expect(span.attributes["behest.run.resumed"]).toBe(true);
  });

  test("is not confused by runs that share the place in the cache", () => {
    const shared = mapper();
    const other = "aaaaaaaa-2d3e-4f40-8a5b-6c7d8e9f0a1b";
    const runs: RunFacts[] = [
      runFacts(),
      runFacts({ segment: "17" }),
      runFacts({ segment: "17", parent: PARENT }),
      runFacts({ segment: "17" }),
      runFacts({ runId: other, segment: "17" }),
    ];
    for (const run of [...runs, ...runs]) {
      const context = shared(toolSpan({ run })).parentSpanContext;
      expect(context?.spanId).toBe(runSpanId(run.runId, run.segment));
      expect(context?.traceId).toBe(run.parent?.traceId ?? traceIdOf(run.runId));
    }
  });
});

describe("the same span", () => {
  test("gives the same bytes wherever it is mapped, its facts shared or copied", () => {
    const spans = [
      runSpan({ resumedFrom: "" }),
      modelSpan(),
      toolSpan({ run: runFacts({ parent: PARENT }) }),
    ];
    expect(bytes(structuredClone(spans)).equals(bytes(spans))).toBe(true);
  });
});

const NOTICES: readonly Notice[] = [
  { name: "behest.doom_loop.detected", time: START, description: "search three times" },
  { name: "behest.doom_loop.detected", time: END, description: undefined },
  { name: "behest.compaction.circuit_opened", time: END, consecutiveFailures: 3 },
];

describe("notices", () => {
  test("are events of the run span with their own time", () => {
    expect(map(runSpan({ notices: NOTICES })).events).toEqual([
      {
        name: "behest.doom_loop.detected",
        time: START,
        attributes: { "behest.run.doom_loop.description": "search three times" },
        droppedAttributesCount: 0,
      },
      { name: "behest.doom_loop.detected", time: END, attributes: {}, droppedAttributesCount: 0 },
      {
        name: "behest.compaction.circuit_opened",
        time: END,
        attributes: { "behest.compaction.consecutive_failures": 3 },
        droppedAttributesCount: 0,
      },
    ]);
  });

  test.each([
    [0, 0, 3],
    [2, 2, 1],
    [3, 3, 0],
    [4, 3, 0],
  ])("at a limit of %i: %i are kept, %i dropped", (events, kept, dropped) => {
    const span = map(runSpan({ notices: NOTICES }), { events });
    expect(span.events).toHaveLength(kept);
    expect(span.droppedEventsCount).toBe(dropped);
  });

  test("that the heart did not keep count as dropped", () => {
    expect(map(runSpan({ notices: [], noticesDropped: 4 })).droppedEventsCount).toBe(4);
    expect(map(runSpan({ notices: NOTICES, noticesDropped: 4 }), { events: 1 }).droppedEventsCount).toBe(6);
  });

  test.each([
    [0, 1],
    [1, 0],
  ])("have at most %i attributes", (eventAttributes, dropped) => {
    const [event] = map(runSpan({ notices: NOTICES }), { eventAttributes }).events;
    expect(Object.keys(event?.attributes ?? {})).toHaveLength(eventAttributes);
    expect(event?.droppedAttributesCount).toBe(dropped);
  });
});

test("the estimate of a span's size is near its size on the wire", () => {
  const spans = [
    runSpan({ notices: NOTICES }),
    modelSpan(),
    toolSpan(),
    toolSpan({ result: "東".repeat(5_000) }),
    modelSpan({ output: [{ type: "text", content: "word ".repeat(2_000) }] }),
  ];
  for (const span of spans) {
    expect(estimateRatio(span)).toBeGreaterThan(0.8);
    expect(estimateRatio(span)).toBeLessThan(1.5);
  }
});

function bytes(spans: readonly FinishedSpan[]): Buffer {
  return Buffer.from(ProtobufTraceSerializer.serializeRequest(spans.map((span) => map(span))) ?? []);
}

/** The estimate over what one more span adds to a request. */
function estimateRatio(span: FinishedSpan): number {
  return estimateBytes(map(span)) / (bytes([toolSpan(), span]).length - bytes([toolSpan()]).length);
}
