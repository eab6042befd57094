import { secondsBetween } from "../event/time.ts";
import type { FinishedSpan, ModelSpan, Op, Outcome, RunSpan, ToolSpan, Usage } from "../run/op.ts";

/** What became of the events, as told by whoever decoded them and ran the heart. */
export interface EventTotals {
  readonly received: number;
  readonly used: number;
  /** By reason. */
  readonly dropped: Readonly<Record<string, number>>;
  /** By code. */
  readonly rejected: Readonly<Record<string, number>>;
}

export interface ModelTotals {
  readonly provider: string;
  readonly model: string;
  readonly calls: number;
  readonly input: number;
  readonly output: number;
  readonly cacheRead: number;
  readonly cacheWrite: number;
}

/** Totals over every run that was handed out; segments of a resumed run count one by one. */
export interface Summary {
  readonly runs: Readonly<Record<Outcome, number>>;
  readonly resumed: number;
  /** Failed runs by class of error, at most 50 classes and `_OTHER`. */
  readonly failures: ReadonlyMap<string, number>;
  /** In the order they were first seen, at most 200 and one named `_other`. */
  readonly models: readonly ModelTotals[];
  readonly slowestRun: RunSpan | undefined;
  readonly slowestCall: ModelSpan | undefined;
  readonly slowestTool: ToolSpan | undefined;
}

const MAX_FAILURES = 50;
const MAX_MODELS = 200;

/** Adds up the spans and the late usage among ops. */
export class Totals {
  readonly #runs: Record<Outcome, number> = { completed: 0, failed: 0, cancelled: 0, incomplete: 0 };
  readonly #failures = new Map<string, number>();
  readonly #models = new Map<string, ModelTotals>();
  readonly #slowest: { run?: RunSpan; model?: ModelSpan; tool?: ToolSpan } = {};
  #resumed = 0;

  accept(op: Op): void {
    if (op.op === "late_usage") this.#addTokens(op, op.usage, 0);
    if (op.op === "span") this.#addSpan(op.span);
  }

  summary(): Summary {
    return {
      runs: { ...this.#runs },
      resumed: this.#resumed,
      failures: new Map(this.#failures),
      models: [...this.#models.values()],
      slowestRun: this.#slowest.run,
      slowestCall: this.#slowest.model,
      slowestTool: this.#slowest.tool,
    };
  }

  #addSpan(span: FinishedSpan): void {
    switch (span.kind) {
      case "run":
        this.#runs[span.ending.outcome] += 1;
        if (span.resumedFrom !== undefined) this.#resumed += 1;
        if (span.ending.outcome === "failed") this.#addFailure(span.ending.failure.errorType);
        this.#slowest.run = slower(this.#slowest.run, span);
        return;
      case "model":
        this.#addTokens(span, span.usage, 1);
        this.#slowest.model = slower(this.#slowest.model, span);
        return;
      case "tool":
        this.#slowest.tool = slower(this.#slowest.tool, span);
        return;
    }
  }

  #addFailure(errorType: string): void {
    const known = this.#failures.has(errorType) || this.#failures.size < MAX_FAILURES;
    const name = known ? errorType : "_OTHER";
    this.#failures.set(name, (this.#failures.get(name) ?? 0) + 1);
  }

  #addTokens(of: { provider: string; model: string }, usage: Usage | undefined, calls: number): void {
    const name = JSON.stringify([of.provider, of.model]);
    const known = this.#models.has(name) || this.#models.size < MAX_MODELS;
    const { provider, model } = known ? of : { provider: "_other", model: "_other" };
    const key = known ? name : "_other";
    const before = this.#models.get(key);
    this.#models.set(key, {
      provider,
      model,
      calls: (before?.calls ?? 0) + calls,
      input: (before?.input ?? 0) + (usage?.input ?? 0),
      output: (before?.output ?? 0) + (usage?.output ?? 0),
      cacheRead: (before?.cacheRead ?? 0) + (usage?.cacheRead ?? 0),
      cacheWrite: (before?.cacheWrite ?? 0) + (usage?.cacheWrite ?? 0),
    });
  }
}

/** The longer one; of two equally long, the one seen first. */
function slower<Span extends FinishedSpan>(known: Span | undefined, span: Span): Span {
  if (known === undefined) return span;
  return secondsBetween(span.start, span.end) > secondsBetween(known.start, known.end) ? span : known;
}
