import { describe, expect, test } from "vitest";

import type { SemconvMode } from "../../src/metric/table.ts";
import { attributes, map } from "./span-mapping.ts";
import { modelSpan, RUN_ID, runFacts, runSpan, SESSION_ID, toolSpan } from "./span-samples.ts";

describe("a run", () => {
  test("that completed has everything about it, in this order", () => {
    expect(attributes(runSpan())).toEqual([
      ["gen_ai.operation.name", "invoke_agent"],
      ["gen_ai.conversation.id", SESSION_ID],
      ["gen_ai.agent.name", "researcher"],
      ["behest.run.id", RUN_ID],
      ["behest.run.outcome", "completed"],
      ["gen_ai.provider.name", "openai"],
      ["behest.run.model", "gpt-4o"],
      ["behest.run.finish_reason", "stop"],
      ["behest.run.iterations", 2],
      ["behest.run.usage.input_tokens", 300],
      ["behest.run.usage.output_tokens", 60],
      ["behest.run.usage.cache_read_input_tokens", 30],
      ["behest.run.usage.cache_write_input_tokens", 7],
      ["behest.run.model_calls", 2],
      ["behest.run.tool_calls", 1],
      ["behest.run.tool_failures", 0],
      ["behest.run.events", 140],
    ]);
  });

  test("of which little is known says no more than that", () => {
    const span = runSpan({
      run: runFacts({ agent: undefined, sessionId: undefined }),
      ending: { outcome: "incomplete", reason: "expired" },
      failure: { errorType: "run_expired", message: undefined },
      startMissing: true,
      corrected: true,
      resumedFrom: "",
      provider: undefined,
      model: undefined,
      finishReason: undefined,
      iterations: undefined,
      usage: undefined,
      modelCalls: 0,
      toolCalls: 0,
      eventsMissing: 3,
      events: 1,
    });
    expect(attributes(span)).toEqual([
      ["gen_ai.operation.name", "invoke_agent"],
      ["behest.run.id", RUN_ID],
      ["error.type", "run_expired"],
      ["behest.run.outcome", "incomplete"],
      ["behest.run.incomplete_reason", "expired"],
      ["behest.run.model_calls", 0],
      ["behest.run.tool_calls", 0],
      ["behest.run.tool_failures", 0],
      ["behest.run.events", 1],
      ["behest.run.events_missing", 3],
      ["behest.run.resumed", true],
      ["behest.run.start_missing", true],
      ["behest.clock.corrected", true],
    ]);
    expect(map(span).name).toBe("invoke_agent");
    expect(map(span).status).toEqual({ code: 2 });
  });

  test("never carries what backends count as a model call's", () => {
    const names = attributes(runSpan()).map(([name]) => name);
    expect(
      names.filter((name) => name === "gen_ai.request.model" || name.startsWith("gen_ai.usage.")),
    ).toEqual([]);
  });
});

describe("a model call", () => {
  test("that streamed has everything about it, in this order", () => {
    expect(attributes(modelSpan())).toEqual([
      ["gen_ai.operation.name", "chat"],
      ["gen_ai.conversation.id", SESSION_ID],
      ["gen_ai.agent.name", "researcher"],
      ["behest.run.id", RUN_ID],
      ["gen_ai.provider.name", "openai"],
      ["gen_ai.request.model", "gpt-4o"],
      ["gen_ai.request.stream", true],
      ["gen_ai.usage.input_tokens", 100],
      ["gen_ai.usage.output_tokens", 20],
      ["gen_ai.usage.cache_read.input_tokens", 10],
      ["gen_ai.usage.cache_creation.input_tokens", 5],
      ["gen_ai.response.finish_reasons", ["tool_call"]],
      ["gen_ai.response.time_to_first_chunk", 0.25],
      ["behest.run.iteration", 1],
      ["behest.context.message_count", 4],
      ["behest.response.chunks", 60],
      ["behest.message.id", "9a1e7b1e-1111-4222-8333-444455556667"],
    ]);
  });

  test("that failed before anything came says no more than that", () => {
    const span = modelSpan({
      stream: false,
      chunks: 0,
      timeToFirstChunk: undefined,
      usage: undefined,
      finishReason: undefined,
      contextMessages: undefined,
      messageId: undefined,
      incomplete: true,
      corrected: true,
      failure: { errorType: "provider_timeout", message: "timed out" },
    });
    expect(attributes(span).slice(4)).toEqual([
      ["error.type", "provider_timeout"],
      ["gen_ai.provider.name", "openai"],
      ["gen_ai.request.model", "gpt-4o"],
      ["behest.run.iteration", 1],
      ["behest.response.chunks", 0],
      ["behest.span.incomplete", true],
      ["behest.clock.corrected", true],
    ]);
    expect(map(span).status).toEqual({ code: 2, message: "timed out" });
  });

  test.each<[SemconvMode, readonly string[]]>([
    ["released", ["gen_ai.usage.cache_creation.input_tokens"]],
    ["latest", ["gen_ai.usage.cache_write.input_tokens"]],
    ["dup", ["gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_write.input_tokens"]],
  ])("with %s names counts written cache as %j", (semconv, expected) => {
    const names = attributes(modelSpan(), {}, semconv).map(([name]) => name);
    expect(names.filter((name) => /cache_(creation|write)/.test(name))).toEqual(expected);
  });

  test("states cache tokens where they were observed, zero too, and nowhere else", () => {
    const usage = { input: 1, output: 2, cacheRead: 0, cacheWrite: undefined };
    expect(attributes(modelSpan({ usage })).filter(([name]) => name.includes("cache"))).toEqual([
      ["gen_ai.usage.cache_read.input_tokens", 0],
    ]);
  });

  test("with captured content has its output as one message in JSON", () => {
    const output = [
      { type: "text", content: 'He said "no"\n' },
      { type: "tool_call", id: "call_1", name: "search", arguments: '{"q": "Paris"}' },
      { type: "tool_call", id: "call_2", name: "broken", arguments: '{"q": ' },
    ] as const;
    const messages = (mode: SemconvMode) =>
      JSON.parse(
        String(map(modelSpan({ output }), {}, mode).attributes["gen_ai.output.messages"]),
      ) as unknown;
    const parts = [
      { type: "text", content: 'He said "no"\n' },
      { type: "tool_call", id: "call_1", name: "search", arguments: { q: "Paris" } },
      { type: "tool_call", id: "call_2", name: "broken", arguments: '{"q": ' },
    ];
    expect(messages("released")).toEqual([{ role: "assistant", parts, finish_reason: "tool_call" }]);
    expect(messages("latest")).toEqual([{ role: "assistant", parts }]);
  });
});

describe("a tool execution", () => {
  test("has everything about it, in this order", () => {
    const span = toolSpan({
      failure: { errorType: "tool_failed", message: "no such city" },
      messageId: "m",
      inferred: true,
      incomplete: true,
      corrected: true,
      arguments: '{"q":1}',
      result: '"ok"',
    });
    expect(attributes(span)).toEqual([
      ["gen_ai.operation.name", "execute_tool"],
      ["gen_ai.conversation.id", SESSION_ID],
      ["gen_ai.agent.name", "researcher"],
      ["behest.run.id", RUN_ID],
      ["error.type", "tool_failed"],
      ["gen_ai.tool.name", "search"],
      ["gen_ai.tool.call.id", "call_1"],
      ["gen_ai.tool.type", "function"],
      ["behest.run.iteration", 1],
      ["behest.message.id", "m"],
      ["behest.span.inferred", true],
      ["behest.span.incomplete", true],
      ["behest.clock.corrected", true],
      ["gen_ai.tool.call.arguments", '{"q":1}'],
      ["gen_ai.tool.call.result", '"ok"'],
    ]);
  });

  test("that went well states nothing that is not so", () => {
    expect(attributes(toolSpan({ iteration: undefined })).slice(4)).toEqual([
      ["gen_ai.tool.name", "search"],
      ["gen_ai.tool.call.id", "call_1"],
      ["gen_ai.tool.type", "function"],
    ]);
  });
});
