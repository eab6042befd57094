import { Decoder } from "../../src/event/decode.ts";
import type { Event } from "../../src/event/event.ts";
import { isAfter, nanosText } from "../../src/event/time.ts";
import type { FinishedSpan } from "../../src/run/op.ts";
import { spanIdOf, type TrueSpan } from "../bridge/raw-truth.ts";
import { referenceOf, type Silences } from "../run/reference.ts";

/** What has to be seen of a span. */
export interface Outline extends TrueSpan {
  /** Of a run: `behest.run.outcome`. */
  readonly outcome: string | undefined;
}

type Counts = Record<string, number>;

/** The counters that events alone decide, in the form of `countedIn` (test/e2e/crash.ts). */
export class Truth {
  received = 0;
  readonly used: Counts = {};
  readonly dropped: Counts = {};
  readonly rejected: Counts = {};
  readonly runs: Counts = {};
  failures = 0;
  expired = 0;
  readonly tokens: Counts = {};
  measured = 0;
  gaps = 0;
  exported = 0;
  runsBegun = 0;
  readonly #decoder = new Decoder();

  /** Counts a whole run, in its order and without duplicates, and says what spans it has to give. */
  run(lines: readonly string[], agent: string | undefined, silences: Silences): readonly Outline[] {
    const events = lines.map((line) => this.#event(line));
    // Numbers and times may not contradict each other, or what is used first would be a matter of opinion.
    if (events.some(({ time }, index) => index > 0 && !isAfter(time, events[index - 1]!.time))) {
      throw new Error("two events of a run of a soak have one time, or one is told too early");
    }
    const { spans, used, late } = referenceOf(events, silences);
    if (used !== events.length || late > 0) throw new Error("a run of a soak has nothing that is too late");
    this.runsBegun += 1;
    this.received += events.length;
    for (const { type } of events) add(this.used, type);
    for (const span of spans) this.#count(span);
    return spans.map((span) => outlineOf(span, agent));
  }

  /** An event that is sent again. */
  duplicate(): void {
    this.received += 1;
    add(this.dropped, "duplicate");
  }

  /** One of a type that nobody knows. */
  unknown(): void {
    this.received += 1;
    add(this.dropped, "unknown_type");
  }

  /** A line that is no JSON. */
  broken(): void {
    this.received += 1;
    add(this.rejected, "BEHEST_DECODE_JSON");
  }

  counts(): Record<string, unknown> {
    const { received, used, dropped, rejected, runs, failures, expired, tokens, measured, gaps, exported } =
      this;
    const counted = {
      received,
      used,
      dropped,
      rejected,
      runs,
      failures,
      expired,
      tokens,
      measured,
      gaps,
      exported,
    };
    return { ...counted, lateUsage: 0, refused: {}, active: 0 };
  }

  #event(line: string): Event {
    const bytes = Buffer.from(line);
    const event = this.#decoder.line(bytes, 0, bytes.length, true);
    if (event.type === "rejected" || event.type === "unknown") throw new Error(`no event: ${line}`);
    return event;
  }

  #count(span: FinishedSpan): void {
    this.exported += 1;
    if (span.kind === "model") this.#countModel(span);
    if (span.kind !== "run") return;
    const { ending, startMissing } = span;
    add(this.runs, ending.outcome);
    if (ending.outcome === "incomplete") this.expired += 1;
    else if (!startMissing) this.measured += 1;
    if (ending.outcome === "incomplete" || ending.outcome === "failed") this.failures += 1;
  }

  #countModel({ provider, model, stream, chunks, usage }: Extract<FinishedSpan, { kind: "model" }>): void {
    if (stream) this.gaps += chunks - 1;
    const { input = 0, output = 0, cacheRead = 0, cacheWrite = 0 } = usage ?? {};
    const byType = { input, output, cache_read: cacheRead, cache_write: cacheWrite };
    for (const [type, count] of Object.entries(byType)) {
      if (count > 0) add(this.tokens, `${provider} ${model} ${type}`, count);
    }
  }
}

function outlineOf(span: FinishedSpan, agent: string | undefined): Outline {
  const { runId, segment } = span.run;
  const runSpanId = spanIdOf(runId, segment, "run", "", 0);
  const [start, end] = [nanosText(span.start), nanosText(span.end)];
  const common = {
    traceId: runId.replaceAll("-", ""),
    // What has no length begins a nanosecond earlier (docs/decisions/007-no-span-without-length.md).
    start: start === end ? String(BigInt(start) - 1n) : start,
    end,
  };
  switch (span.kind) {
    case "run": {
      const name = agent === undefined ? "invoke_agent" : `invoke_agent ${agent}`;
      const { outcome } = span.ending;
      return { ...common, spanId: runSpanId, parentSpanId: "", name, outcome };
    }
    case "model": {
      const spanId = spanIdOf(runId, segment, "model", String(span.iteration), span.occurrence);
      return { ...common, spanId, parentSpanId: runSpanId, name: `chat ${span.model}`, outcome: undefined };
    }
    case "tool": {
      const spanId = spanIdOf(runId, segment, "tool", span.callId, span.occurrence);
      return {
        ...common,
        spanId,
        parentSpanId: runSpanId,
        name: `execute_tool ${span.toolName}`,
        outcome: undefined,
      };
    }
  }
}

function add(counts: Counts, key: string, count = 1): void {
  counts[key] = (counts[key] ?? 0) + count;
}
