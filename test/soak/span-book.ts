import { createHash } from "node:crypto";

import type { ServedSpan } from "../otel/otlp-server.ts";
import type { Outline } from "./truth.ts";

const MOST_FAULTS = 20;

interface Page {
  readonly outlines: ReadonlyMap<string, Outline>;
  /** Of what was taken: a hash of all of it, by its id. */
  readonly taken: Map<string, string>;
  /** When something of it came last, by the clock of this process. */
  cameMs: number;
}

/** Which spans have to come and have come. A run that is over is forgotten, so that hours of them take no room. */
export class SpanBook {
  /** What was seen that may never be; the first of them. */
  readonly faults: string[] = [];
  taken = 0;
  /** Spans that came again. */
  twins = 0;
  /** By trace id. */
  readonly #pages = new Map<string, Page>();

  expect(outlines: readonly Outline[]): void {
    const [first] = outlines;
    if (first === undefined) return;
    const page = {
      outlines: new Map(outlines.map((each) => [each.spanId, each])),
      taken: new Map<string, string>(),
      cameMs: 0,
    };
    if (page.outlines.size < outlines.length || this.#pages.has(first.traceId)) throw new Error("ids repeat");
    this.#pages.set(first.traceId, page);
  }

  take(span: ServedSpan): void {
    const page = this.#pages.get(span.traceId);
    const expected = page?.outlines.get(span.spanId);
    if (page === undefined || expected === undefined) {
      this.#fault(`nobody expects ${JSON.stringify(span)}`);
      return;
    }
    page.cameMs = performance.now();
    const hash = createHash("sha256").update(JSON.stringify(span)).digest("base64").slice(0, 12);
    const before = page.taken.get(span.spanId);
    if (before !== undefined) {
      this.twins += 1;
      if (before !== hash) this.#fault(`came twice and differs: ${JSON.stringify(span)}`);
      return;
    }
    page.taken.set(span.spanId, hash);
    this.taken += 1;
    const wrong = differences(span, expected);
    if (wrong.length === 0) return;
    this.#fault(`${wrong.join(", ")}: ${JSON.stringify(expected)} and ${JSON.stringify(span)}`);
  }

  /** Forgets runs that are whole, and of which nothing came again for so long. */
  forget(quietMs: number): void {
    const beforeMs = performance.now() - quietMs;
    for (const [id, { outlines, taken, cameMs }] of this.#pages) {
      if (cameMs < beforeMs && taken.size === outlines.size) this.#pages.delete(id);
    }
  }

  /** Some of what has not come. */
  someMissing(): readonly Outline[] {
    const pages = [...this.#pages.values()];
    const missing = pages.flatMap(({ outlines, taken }) =>
      [...outlines.values()].filter(({ spanId }) => !taken.has(spanId)),
    );
    return missing.slice(0, MOST_FAULTS);
  }

  #fault(fault: string): void {
    if (this.faults.length < MOST_FAULTS) this.faults.push(fault);
  }
}

function differences(span: ServedSpan, expected: Outline): string[] {
  const outcome = new Map(span.attributes).get("behest.run.outcome");
  const found: Readonly<Record<string, unknown>> = { ...span, outcome };
  return Object.entries(expected).flatMap(([key, value]) => (found[key] === value ? [] : [key]));
}
