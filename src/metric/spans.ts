import { secondsBetween } from "../event/time.ts";
import { OUTCOMES, type Ending, type FinishedSpan, type ModelSpan, type OpenedSpan } from "../run/op.ts";
import type { RunFacts, RunSpan, ToolSpan, Usage } from "../run/op.ts";
import { tallyOf } from "./book.ts";
import type { Register } from "./register.ts";
import { RUN_EXPIRED } from "./words.ts";

/** Counts a run that began; model calls and tools are counted when they are over. */
export function countOpened(register: Register, span: OpenedSpan): void {
  if (span.kind !== "run") return;
  const agent = register.agentOf(span.run.agent);
  register.count("runsActive", [agent]);
  if (span.resumedFrom === undefined) return;
  for (const outcome of OUTCOMES) register.count("runsEnded", [outcome, agent, "true"], 0);
}

/** Counts what a finished span says. */
export function countSpan(register: Register, span: FinishedSpan): void {
  switch (span.kind) {
    case "run":
      return countRun(register, span);
    case "model":
      return countModel(register, span);
    case "tool":
      return countTool(register, span);
  }
}

/** Counts the tokens of a model call. What was not observed is not 0. */
export function countUsage(
  register: Register,
  run: RunFacts,
  [provider, model]: readonly [string, string],
  usage: Usage,
): void {
  const agent = register.agentOf(run.agent);
  const { input, output, cacheRead, cacheWrite } = usage;
  register.count("tokens", ["input", provider, model, agent], input);
  register.count("tokens", ["output", provider, model, agent], output);
  if (cacheRead !== undefined) register.count("tokens", ["cache_read", provider, model, agent], cacheRead);
  if (cacheWrite !== undefined) register.count("tokens", ["cache_write", provider, model, agent], cacheWrite);
  register.record("inputTokens", [provider, model], input);
  register.record("outputTokens", [provider, model], output);
}

function countRun(register: Register, span: RunSpan): void {
  const agent = register.agentOf(span.run.agent);
  const { outcome } = span.ending;
  leave(register, agent);
  register.count("runsEnded", [outcome, agent, span.resumedFrom === undefined ? "" : "true"]);
  const errorType = register.errorTypeOf(failureOf(span.ending));
  if (errorType !== "") register.count("runFailures", [errorType, agent]);
  // How long a run took that was not seen from its start to its end, and what it did, nobody knows.
  if (outcome === "incomplete" || span.startMissing) return;
  register.record("agentDuration", [agent, errorType], secondsBetween(span.start, span.end));
  register.record("inferenceCalls", [agent], span.modelCalls);
  register.record("toolCalls", [agent], span.toolCalls);
}

/** One run less is active; one whose agent became known on the way was opened without a name. */
function leave({ book }: Register, agent: string): void {
  const active = tallyOf(book, "runsActive", [agent]);
  const from = active.value > 0 ? active : tallyOf(book, "runsActive", [""]);
  if (from.value > 0) from.value -= 1;
}

function countModel(register: Register, span: ModelSpan): void {
  const labels = register.modelOf(span);
  if (span.usage !== undefined) countUsage(register, span.run, labels, span.usage);
  if (isDurationKnown(span)) {
    const errorType = register.errorTypeOf(span.failure?.errorType);
    register.record("modelDuration", [...labels, errorType], secondsBetween(span.start, span.end));
  }
  if (span.timeToFirstChunk !== undefined) register.record("firstChunk", labels, span.timeToFirstChunk);
}

function countTool(register: Register, span: ToolSpan): void {
  if (!isDurationKnown(span)) return;
  const agent = register.agentOf(span.run.agent);
  const errorType = register.errorTypeOf(span.failure?.errorType);
  const labels = [register.toolOf(span.toolName), agent, errorType, span.inferred ? "true" : ""];
  register.record("toolDuration", labels, secondsBetween(span.start, span.end));
}

/** What was open when its run ended without a word has no end that was seen. */
function isDurationKnown(span: ModelSpan | ToolSpan): boolean {
  return !span.incomplete || span.failure !== undefined;
}

function failureOf(ending: Ending): string | undefined {
  switch (ending.outcome) {
    case "failed":
      return ending.failure.errorType;
    case "incomplete":
      return ending.reason === "expired" ? RUN_EXPIRED : undefined;
    case "completed":
    case "cancelled":
      return undefined;
  }
}
