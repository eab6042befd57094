import type { CacheMetrics, UsageRecorded } from "../event/event.ts";
import { endCall, isOfEarlierCall } from "./call.ts";
import type { Op, RunFacts, Usage } from "./op.ts";
import {
  addUsage,
  normalise,
  providerOf,
  reportedCache,
  type CacheTokens,
  type ProviderMap,
} from "./provider.ts";
import type { ModelCall, RunRecord, Segment } from "./state.ts";
import type { Fate, Step } from "./step.ts";

const NO_PROVIDERS: ProviderMap = new Map();

export function recordUsage(step: Step, event: UsageRecorded): Fate {
  const { segment, record } = step;
  const call = segment.turn.model;
  if (call === undefined || isOfEarlierCall(step.segment, event, step.count)) {
    const usage = lateUsage(segment.facts, segment, record, event, step.ops);
    // A run that never showed a model call shows at least what it used.
    const shown = call !== undefined || segment.resumedFrom !== undefined;
    if (!shown) segment.usage = addUsage(segment.usage, usage);
    return "used";
  }
  let usage = normalise(event.usage, call.provider);
  call.lacksRead = usage.cacheRead === undefined;
  call.lacksWrite = usage.cacheWrite === undefined;
  if (call.earlyCache !== undefined) {
    usage = fillCache(call, usage, call.earlyCache);
    call.earlyCache = undefined;
  }
  call.usage = addUsage(call.usage, usage);
  if (step.moment.raised) call.corrected = true;
  endCall(step, "usage");
  return "used";
}

/** Usage whose model call is not there (any more): it counts, and changes no span. */
export function lateUsage(
  run: RunFacts,
  segment: Pick<Segment, "provider" | "model"> | undefined,
  record: RunRecord,
  event: UsageRecorded,
  ops: Op[],
): Usage {
  const model = segment?.model ?? record.closed?.model ?? "";
  const provider = segment?.provider ?? record.closed?.provider ?? providerOf("", model, NO_PROVIDERS);
  const usage = normalise(event.usage, provider);
  ops.push({ op: "late_usage", run, provider: provider.name, model, usage });
  return usage;
}

export function recordCache(step: Step, event: CacheMetrics): Fate {
  const call = step.segment.turn.model;
  if (call === undefined) return "used";
  if (isOfEarlierCall(step.segment, event, step.count)) return "late";
  const cache = reportedCache(event.cache);
  if (step.moment.raised) call.corrected = true;
  if (call.usage === undefined) call.earlyCache = firstOf(call.earlyCache, cache);
  else call.usage = fillCache(call, call.usage, cache);
  return "used";
}

/** Each number by the first that has it. */
function firstOf(a: CacheTokens | undefined, b: CacheTokens): CacheTokens {
  return { cacheRead: a?.cacheRead ?? b.cacheRead, cacheWrite: a?.cacheWrite ?? b.cacheWrite };
}

/** Puts in the cache numbers that the last usage left out, once. */
function fillCache(call: ModelCall, usage: Usage, cache: CacheTokens): Usage {
  const read = call.lacksRead ? cache.cacheRead : undefined;
  const write = call.lacksWrite ? cache.cacheWrite : undefined;
  if (read !== undefined) call.lacksRead = false;
  if (write !== undefined) call.lacksWrite = false;
  const added = call.provider.inputExcludesCache ? (read ?? 0) + (write ?? 0) : 0;
  return addUsage(usage, { input: added, output: 0, cacheRead: read, cacheWrite: write });
}
