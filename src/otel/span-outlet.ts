import { JsonTraceSerializer } from "@opentelemetry/otlp-transformer";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";

import { Ledger } from "../metric/ledger.ts";
import type { LedgerData } from "../metric/saved.ts";
import type { Failed } from "./courier.ts";
import type { Exports } from "./exports.ts";
import type { Pipe } from "./pipe.ts";
import { estimateBytes } from "./spans.ts";

export interface SpanOutletOptions {
  /** What had become of spans before. */
  readonly ledger?: LedgerData | undefined;
  /** A span that was given up, as OTLP/JSON. */
  readonly onRefused?: ((refused: RefusedSpan) => void) | undefined;
}

export interface RefusedSpan {
  readonly reason: string;
  readonly message: string;
  readonly json: Uint8Array;
}

/** The spans of one pipeline on their way out, and what became of them. */
export class SpanOutlet {
  /** What became of spans, and how long exports took. */
  readonly ledger: Ledger;
  readonly #pipe: Pipe<ReadableSpan>;
  readonly #onRefused: SpanOutletOptions["onRefused"];
  /** Spans put before a hold; what becomes of later ones is told when it ends. */
  #heldFrom = Infinity;
  #held: (() => void)[] = [];
  #failed = 0;
  #undelivered = 0;

  constructor(exports: Exports, { ledger, onRefused }: SpanOutletOptions) {
    this.ledger = new Ledger({}, ledger);
    this.#onRefused = onRefused;
    this.#pipe = exports.openSpans({
      onRequest: (seconds) => this.ledger.exportDuration(seconds),
      onExported: (count, first) => this.#tell(first, () => this.ledger.spanExported(count)),
      onFailed: (failed, first) => this.#tell(first, () => this.#giveUp(failed)),
    });
  }

  /** Finished spans that are not decided yet. */
  get waitingSpans(): number {
    return this.#pipe.counts.waiting;
  }

  /** What they take, estimated. */
  get waitingBytes(): number {
    return this.#pipe.waitingBytes;
  }

  /** Spans that were given up in the life of this process. */
  get failedSpans(): number {
    return this.#failed;
  }

  /** Those of them that a further try might have delivered. */
  get undeliveredSpans(): number {
    return this.#undelivered;
  }

  /** The promise, when there is one, resolves when there is room again. */
  push(span: ReadableSpan): Promise<void> | undefined {
    return this.#pipe.push(span, estimateBytes(span));
  }

  /**
   * From here on the ledger is told only of spans that were put before, until the function given back is
   * called: so that what is written down meanwhile says nothing of spans that will come again.
   */
  hold(): () => void {
    const { pushed } = this.#pipe.counts;
    this.#heldFrom = pushed;
    return () => {
      this.#heldFrom = Infinity;
      for (const tell of this.#held.splice(0)) tell();
    };
  }

  /** Resolves when everything put before is decided: delivered, or given up and counted. */
  async flushed(): Promise<void> {
    await this.#pipe.flushed();
  }

  #tell(first: number, tell: () => void): void {
    if (first < this.#heldFrom) tell();
    else this.#held.push(tell);
  }

  #giveUp({ reason, count, message, records }: Failed<ReadableSpan>): void {
    this.ledger.spanFailed(reason, count);
    this.#failed += count;
    if (reason === "undelivered") this.#undelivered += count;
    if (this.#onRefused === undefined) return;
    for (const span of records ?? []) {
      const json = jsonOf(span);
      if (json !== undefined) this.#onRefused({ reason, message, json });
    }
  }
}

/** Undefined for a span that no serializer takes: it was given up for just that. */
function jsonOf(span: ReadableSpan): Uint8Array | undefined {
  try {
    return JsonTraceSerializer.serializeRequest([span]);
  } catch {
    return undefined;
  }
}
