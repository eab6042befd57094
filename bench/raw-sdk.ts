import { ROOT_CONTEXT, SpanKind, trace } from "@opentelemetry/api";
import type { Attributes, Context, Meter, Span, Tracer } from "@opentelemetry/api";

import type { AgentEvent } from "../src/event/schema.ts";

/**
 * The same telemetry for a standard run, written by hand on the raw SDK as an application would: a
 * span started and ended per run, model call and tool, and every metric of the bridge recorded where
 * it happens. The baseline of `in-process.ts`.
 */
export class RawSdk {
  readonly #tracer: Tracer;
  readonly #tokens;
  readonly #operation;
  readonly #firstChunk;
  readonly #perChunk;
  readonly #agentDuration;
  readonly #inferenceCalls;
  readonly #toolCalls;
  readonly #toolDuration;
  readonly #ended;
  readonly #tokenCounter;
  readonly #active;
  readonly #received;
  readonly #used;
  #runs = new Map<string, RawRun>();

  constructor(tracer: Tracer, meter: Meter) {
    this.#tracer = tracer;
    const seconds = {
      unit: "s",
      advice: {
        explicitBucketBoundaries: [
          0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
        ],
      },
    };
    const calls = { advice: { explicitBucketBoundaries: [1, 2, 4, 8, 16, 32, 64, 128] } };
    this.#tokens = meter.createHistogram("gen_ai.client.token.usage", {
      unit: "{token}",
      advice: {
        explicitBucketBoundaries: [
          1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
        ],
      },
    });
    this.#operation = meter.createHistogram("gen_ai.client.operation.duration", seconds);
    this.#firstChunk = meter.createHistogram("gen_ai.client.operation.time_to_first_chunk", seconds);
    this.#perChunk = meter.createHistogram("gen_ai.client.operation.time_per_output_chunk", seconds);
    this.#agentDuration = meter.createHistogram("gen_ai.invoke_agent.duration", seconds);
    this.#inferenceCalls = meter.createHistogram("gen_ai.invoke_agent.inference_calls", calls);
    this.#toolCalls = meter.createHistogram("gen_ai.invoke_agent.tool_calls", calls);
    this.#toolDuration = meter.createHistogram("gen_ai.execute_tool.duration", seconds);
    this.#ended = meter.createCounter("behest.run.ended");
    this.#tokenCounter = meter.createCounter("behest.token.usage");
    this.#active = meter.createUpDownCounter("behest.run.active");
    this.#received = meter.createCounter("behest.bridge.events.received");
    this.#used = meter.createCounter("behest.bridge.events.used");
  }

  emit(event: AgentEvent): void {
    const [type, body] = Object.entries(event)[0] as unknown as [string, Body];
    const { run_id: id, timestamp } = body;
    const now = new Date(timestamp);
    this.#received.add(1, { type });
    this.#used.add(1, { type });
    if (type === "RunStarted") return this.#start(id, body, now);
    const run = this.#runs.get(id);
    if (run === undefined) return;
    switch (type) {
      case "ModelStarted":
        return this.#startModel(run, body, now);
      case "TextDelta":
        return this.#chunk(run, now);
      case "UsageRecorded":
        return this.#usage(run, body.usage, now);
      case "ToolExecutionStarted":
        return this.#startTool(run, body, now);
      case "ToolExecutionFinished":
        return this.#finishTool(run, now);
      case "RunCompleted":
        return this.#end(id, run, now);
    }
  }

  #start(id: string, body: Body, now: Date): void {
    const { session_id: session = "", model = "" } = body;
    const span = this.#tracer.startSpan(
      "invoke_agent",
      { kind: SpanKind.INTERNAL, startTime: now },
      ROOT_CONTEXT,
    );
    const common = { "gen_ai.conversation.id": session, "behest.run.id": id };
    span.setAttributes({
      "gen_ai.operation.name": "invoke_agent",
      ...common,
      "gen_ai.provider.name": "openai",
      "behest.run.model": model,
    });
    this.#active.add(1);
    this.#runs.set(id, {
      span,
      context: trace.setSpan(ROOT_CONTEXT, span),
      common,
      startMs: now.getTime(),
      calls: 0,
      tools: 0,
      input: 0,
      output: 0,
    });
  }

  #startModel(run: RawRun, body: Body, now: Date): void {
    const { model = "", iteration = 0 } = body;
    const span = this.#tracer.startSpan(
      `chat ${model}`,
      { kind: SpanKind.CLIENT, startTime: now },
      run.context,
    );
    span.setAttributes({
      "gen_ai.operation.name": "chat",
      ...run.common,
      "gen_ai.provider.name": "openai",
      "gen_ai.request.model": model,
      "behest.run.iteration": iteration,
    });
    run.calls += 1;
    run.model = {
      span,
      startMs: now.getTime(),
      chunks: 0,
      attributes: {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": model,
      },
    };
  }

  #chunk(run: RawRun, now: Date): void {
    const { model } = run;
    if (model === undefined) return;
    const at = now.getTime();
    if (model.chunks === 0) {
      model.firstMs = at;
    } else {
      this.#perChunk.record((at - (model.lastMs ?? at)) / 1000, model.attributes);
    }
    model.lastMs = at;
    model.chunks += 1;
  }

  #usage(run: RawRun, usage: Body["usage"], now: Date): void {
    const { model } = run;
    if (model === undefined) return;
    const { input_tokens: input = 0, output_tokens: output = 0 } = usage ?? {};
    run.input += input;
    run.output += output;
    const first = ((model.firstMs ?? 0) - model.startMs) / 1000;
    model.span.setAttributes({
      "gen_ai.request.stream": true,
      "gen_ai.usage.input_tokens": input,
      "gen_ai.usage.output_tokens": output,
      "gen_ai.response.finish_reasons": ["tool_call"],
      "gen_ai.response.time_to_first_chunk": first,
      "behest.response.chunks": model.chunks,
    });
    model.span.end(now);
    this.#tokens.record(input, { ...model.attributes, "gen_ai.token.type": "input" });
    this.#tokens.record(output, { ...model.attributes, "gen_ai.token.type": "output" });
    this.#tokenCounter.add(input, { ...model.attributes, "gen_ai.token.type": "input" });
    this.#tokenCounter.add(output, { ...model.attributes, "gen_ai.token.type": "output" });
    this.#firstChunk.record(first, model.attributes);
    this.#operation.record((now.getTime() - model.startMs) / 1000, model.attributes);
    delete run.model;
  }

  #startTool(run: RawRun, body: Body, now: Date): void {
    const { tool_name: name = "", call_id: call = "" } = body;
    const span = this.#tracer.startSpan(
      `execute_tool ${name}`,
      { kind: SpanKind.INTERNAL, startTime: now },
      run.context,
    );
    span.setAttributes({
      "gen_ai.operation.name": "execute_tool",
      ...run.common,
      "gen_ai.tool.name": name,
      "gen_ai.tool.call.id": call,
      "gen_ai.tool.type": "function",
      "behest.run.iteration": run.calls,
    });
    run.tools += 1;
    run.tool = { span, name, startMs: now.getTime() };
  }

  #finishTool(run: RawRun, now: Date): void {
    const { tool } = run;
    if (tool === undefined) return;
    tool.span.end(now);
    this.#toolDuration.record((now.getTime() - tool.startMs) / 1000, {
      "gen_ai.tool.name": tool.name,
      "gen_ai.tool.type": "function",
    });
    delete run.tool;
  }

  #end(id: string, run: RawRun, now: Date): void {
    run.span.setAttributes({
      "behest.run.outcome": "completed",
      "behest.run.finish_reason": "stop",
      "behest.run.iterations": run.calls,
      "behest.run.usage.input_tokens": run.input,
      "behest.run.usage.output_tokens": run.output,
      "behest.run.model_calls": run.calls,
      "behest.run.tool_calls": run.tools,
      "behest.run.tool_failures": 0,
    });
    run.span.end(now);
    this.#active.add(-1);
    this.#ended.add(1, { "behest.run.outcome": "completed" });
    this.#agentDuration.record((now.getTime() - run.startMs) / 1000);
    this.#inferenceCalls.record(run.calls);
    this.#toolCalls.record(run.tools);
    this.#runs.delete(id);
  }
}

/** The fields of an event that are looked at. */
interface Body {
  readonly run_id: string;
  readonly timestamp: string;
  readonly session_id?: string;
  readonly model?: string;
  readonly iteration?: number;
  readonly tool_name?: string;
  readonly call_id?: string;
  readonly usage?: { readonly input_tokens?: number; readonly output_tokens?: number };
}

interface RawRun {
  readonly span: Span;
  readonly context: Context;
  readonly common: Attributes;
  readonly startMs: number;
  calls: number;
  tools: number;
  input: number;
  output: number;
  model?: {
    readonly span: Span;
    readonly startMs: number;
    readonly attributes: Attributes;
    chunks: number;
    firstMs?: number;
    lastMs?: number;
  };
  tool?: { readonly span: Span; readonly name: string; readonly startMs: number };
}
