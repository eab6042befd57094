import type { AgentEvent } from "../src/event/schema.ts";

/** Deltas of each model call, with which nine of ten events are deltas. */
export const MANY_DELTAS = 78;

/**
 * The standard run of the benchmarks: three model calls with 60 deltas each, three tools, so seven
 * spans and 206 events; timestamps a millisecond apart, in the runtime's own order.
 */
export function standardRun(runId: string, startMs: number, deltas = 60): AgentEvent[] {
  const events: AgentEvent[] = [];
  let at = startMs * 1000;
  const next = () => {
    at += 1000 + (events.length % 7);
    const whole = Math.floor(at / 1000);
    return `${new Date(whole).toISOString().slice(0, -1)}${String(at % 1000).padStart(3, "0")}Z`;
  };
  const about = () => ({ run_id: runId, timestamp: next() });
  const named = { provider: "openai", model: "gpt-4o" };
  const session = "0198a3b2-0000-7000-8000-000000000001";
  events.push({ RunStarted: { run_id: runId, session_id: session, ...named, timestamp: next() } });
  for (let iteration = 1; iteration <= 3; iteration++) {
    events.push({ ContextBuilt: { run_id: runId, message_count: iteration * 2, timestamp: next() } });
    events.push({ ModelStarted: { run_id: runId, ...named, iteration, timestamp: next() } });
    for (let delta = 0; delta < deltas; delta++) {
      events.push({ TextDelta: { run_id: runId, delta: `word${delta} `, timestamp: next() } });
    }
    const call = {
      id: `call_${iteration}`,
      name: "search",
      arguments: { query: "weather in Bern", limit: 3 },
    };
    events.push({ ToolCallCompleted: { run_id: runId, call, timestamp: next() } });
    const usage = { input_tokens: 1200 + iteration, output_tokens: 80, total_tokens: 1280 + iteration };
    events.push({ UsageRecorded: { run_id: runId, usage, timestamp: next() } });
    const message = (n: number) => `0198a3b2-0000-7000-8000-00000000${n}${iteration}00`;
    events.push({ AssistantMessageCommitted: { ...about(), message_id: message(1) } });
    const tool = { run_id: runId, call_id: `call_${iteration}`, tool_name: "search" };
    events.push({ ToolExecutionStarted: { ...tool, timestamp: next() } });
    const result = { Success: { output: { ok: true, rows: 3 } } };
    events.push({ ToolExecutionFinished: { ...tool, result, duration_ms: 1, timestamp: next() } });
    events.push({ ToolMessageCommitted: { ...about(), message_id: message(2) } });
  }
  events.push({ RunCompleted: { run_id: runId, finish_reason: "stop", iterations: 3, timestamp: next() } });
  return events;
}

/** A run id from a number: the same number, the same id. */
export function runIdOf(n: number): string {
  const hex = n.toString(16).padStart(8, "0");
  const mixed = Math.imul(n + 1, 0x9e3779b1) >>> 0;
  return `${hex}-${mixed.toString(16).padStart(8, "0").slice(0, 4)}-4000-8000-${hex}${mixed.toString(16).padStart(8, "0").slice(4)}`;
}
