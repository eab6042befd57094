import * as fc from "fast-check";

import { DECODE_CODES, type DecodeCode } from "../../src/event/codes.ts";
import { EVENT_TYPES } from "../../src/event/event.ts";
import type { Ledger, LedgerOptions } from "../../src/metric/ledger.ts";
import { SPAN_FAILURES, type SpanFailure } from "../../src/metric/words.ts";
import { DROP_REASONS, type Ending, type Op } from "../../src/run/op.ts";
import { chunk, facts, failed, failure, model, opened, run, tool, used } from "./ops.ts";

/** Settable by `SEED=`; a failing property prints it. */
export const SEED = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);

/** Few enough names that caps and series limits are met. */
export const TIGHT: LedgerOptions = { source: "redis", maxNames: 2, maxSeries: 40 };

/** One thing that happens to a ledger. */
export type Happening = (ledger: Ledger) => void;

const name = fc.constantFrom("a", "b", "c", "_other");
const agent = fc.option(name, { nil: undefined });
// Quarters, so that sums are exact whatever the order of adding.
const seconds = fc.integer({ min: 0, max: 400 }).map((quarters) => quarters / 4);
const count = fc.integer({ min: 0, max: 5000 });
const errorType = fc.constantFrom("tool_failed", "cancelled", "made_up", "_OTHER");
const flag = fc.boolean();
const usage = fc.record({
  input: count,
  output: count,
  cacheRead: fc.option(count, { nil: undefined }),
  cacheWrite: fc.option(count, { nil: undefined }),
});

const ending: fc.Arbitrary<Ending> = fc.oneof(
  fc.constantFrom<Ending>({ outcome: "completed" }, { outcome: "cancelled" }),
  errorType.map(failed),
  fc
    .constantFrom("expired", "evicted", "drained", "faulted")
    .map((reason) => ({ outcome: "incomplete", reason }) as const),
);

const op: fc.Arbitrary<Op> = fc.oneof(
  fc.constantFrom(...EVENT_TYPES).map(used),
  fc.record({
    op: fc.constant("dropped"),
    type: fc.constantFrom(...EVENT_TYPES),
    reason: fc.constantFrom(...DROP_REASONS),
  }),
  fc.tuple(agent, fc.constantFrom(undefined, "")).map(([by, from]) => opened(by, from)),
  fc
    .tuple(ending, agent, seconds, flag, count, fc.constantFrom(undefined, ""))
    .map(([how, by, took, startMissing, calls, resumedFrom]) =>
      run(how, { agent: by, seconds: took, startMissing, modelCalls: calls, toolCalls: calls, resumedFrom }),
    ),
  fc
    .tuple(agent, seconds, name, name, flag, flag, fc.option(usage, { nil: undefined }))
    .map(([by, took, provider, which, incomplete, broke, spent]) =>
      model({
        agent: by,
        seconds: took,
        provider,
        model: which,
        incomplete,
        failure: broke ? failure("provider_timeout") : undefined,
        timeToFirstChunk: broke ? undefined : took / 2,
        usage: spent,
      }),
    ),
  fc
    .tuple(agent, seconds, name, flag, flag, fc.option(errorType, { nil: undefined }))
    .map(([by, took, toolName, inferred, incomplete, broke]) =>
      tool({
        agent: by,
        seconds: took,
        toolName,
        inferred,
        incomplete,
        failure: broke === undefined ? undefined : failure(broke),
      }),
    ),
  fc.tuple(seconds, name, name).map(([took, provider, which]) => chunk(took, provider, which)),
  fc.tuple(agent, name, name, usage).map(([by, provider, which, spent]): Op => ({
    op: "late_usage",
    run: facts(by),
    provider,
    model: which,
    usage: spent,
  })),
  agent.map((by): Op => ({
    op: "notice",
    run: facts(by),
    notice: { name: "behest.doom_loop.detected", description: undefined, time: [1, 0] },
  })),
);

export const happening: fc.Arbitrary<Happening> = fc.oneof(
  {
    weight: 8,
    arbitrary: op.map(
      (what): Happening =>
        (ledger) =>
          ledger.apply(what),
    ),
  },
  fc.constantFrom(...(Object.keys(DECODE_CODES) as DecodeCode[])).map(
    (code): Happening =>
      (ledger) =>
        ledger.rejected(code),
  ),
  fc.constant<Happening>((ledger) => ledger.unknownType()),
  count.map(
    (spans): Happening =>
      (ledger) =>
        ledger.spanExported(spans),
  ),
  fc.tuple(fc.constantFrom(...(Object.keys(SPAN_FAILURES) as SpanFailure[])), count).map(
    ([reason, spans]): Happening =>
      (ledger) =>
        ledger.spanFailed(reason, spans),
  ),
  seconds.map(
    (took): Happening =>
      (ledger) =>
        ledger.exportDuration(took),
  ),
);

export const happenings = fc.array(happening, { maxLength: 60, size: "max" });
