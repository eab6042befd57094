import type { Attributes } from "@opentelemetry/api";
import { describe, expect, test } from "vitest";

import type { FinishedSpan } from "../../src/run/op.ts";
import { attributes, map } from "./span-mapping.ts";
import { modelSpan, runFacts, runSpan, toolSpan } from "./span-samples.ts";

describe("limits", () => {
  test.each([
    [0, 0, 1],
    [1, 1, 0],
  ])("of %i links: %i kept, %i dropped", (links, kept, dropped) => {
    const span = map(runSpan({ resumedFrom: "" }), { links });
    expect(span.links).toHaveLength(kept);
    expect(span.droppedLinksCount).toBe(dropped);
  });

  test.each([0, 1, 16, 17, 18])("of %i attributes keep the first ones and count the rest", (max) => {
    const all = attributes(runSpan());
    const span = map(runSpan(), { attributes: max });
    expect(Object.entries(span.attributes)).toEqual(all.slice(0, max));
    expect(span.droppedAttributesCount).toBe(Math.max(0, all.length - max));
  });

  test("no span has so many attributes that a limit of 64 would matter", () => {
    const long = "x".repeat(100);
    const run = runFacts({ agent: long, sessionId: long });
    const failure = { errorType: long, message: long };
    const spans: FinishedSpan[] = [
      runSpan({
        run,
        failure,
        corrected: true,
        startMissing: true,
        resumedFrom: "",
        eventsMissing: 1,
        provider: long,
        model: long,
        finishReason: long,
        ending: { outcome: "incomplete", reason: "expired" },
      }),
      modelSpan({
        run,
        failure,
        corrected: true,
        incomplete: true,
        provider: long,
        model: long,
        messageId: long,
        output: [{ type: "text", content: long }],
      }),
      toolSpan({
        run,
        failure,
        corrected: true,
        incomplete: true,
        inferred: true,
        toolName: long,
        callId: long,
        messageId: long,
        arguments: long,
        result: long,
      }),
    ];
    for (const span of spans) {
      const count = attributes(span, { value: { unit: "characters", max: 10 } }, "dup").length;
      expect(count).toBeGreaterThan(20);
      expect(count).toBeLessThanOrEqual(64);
    }
  });

  test("a value that is cut has its whole length in bytes behind it", () => {
    const result = `${"x".repeat(16_383)}é`;
    expect(attributes(toolSpan({ result })).slice(-2)).toEqual([
      ["gen_ai.tool.call.result", "x".repeat(16_383)],
      ["behest.truncated.gen_ai.tool.call.result", 16_385],
    ]);
    expect(attributes(toolSpan({ result: "x".repeat(16_384) })).at(-1)).toEqual([
      "gen_ai.tool.call.result",
      "x".repeat(16_384),
    ]);
  });

  test("of the environment count characters and hold for every text, name and finish reason too", () => {
    const limits = { value: { unit: "characters", max: 4 } } as const;
    const span = map(modelSpan({ messageId: "ab😀😀😀" }), limits);
    expect(span.attributes).toMatchObject({
      "behest.message.id": "ab😀😀",
      "behest.truncated.behest.message.id": 14,
      "gen_ai.request.model": "gpt-",
      "gen_ai.response.finish_reasons": ["tool"],
      "gen_ai.usage.input_tokens": 100,
    } satisfies Attributes);
    expect(span.name).toBe("chat gpt-");
  });
});
