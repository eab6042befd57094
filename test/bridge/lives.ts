import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";

import { Decoder } from "../../src/event/decode.ts";
import { Ledger } from "../../src/metric/ledger.ts";
import type { LedgerData } from "../../src/metric/saved.ts";
import type { Snapshot } from "../../src/metric/snapshot.ts";
import { createResource } from "../../src/otel/resource.ts";
import { createSpanMapper } from "../../src/otel/spans.ts";
import { DEFAULT_SPAN_LIMITS } from "../../src/otel/limits.ts";
import { Pipeline } from "../../src/pipeline.ts";
import { Assembler } from "../../src/run/assembler.ts";
import { HEART_DEFAULTS, type HeartOptions } from "../../src/run/limits.ts";
import type { SavedHeart } from "../../src/run/saved.ts";
import { SCOPE } from "../otel/export-setup.ts";
import { nanosOf } from "./raw-truth.ts";

/** What processes that follow each other on one input hand out, together. */
export interface Lives {
  /** Each span as a request of its own, in hex. */
  readonly spans: readonly string[];
  readonly snapshot: Snapshot;
}

interface Saved {
  readonly heart: SavedHeart;
  readonly ledger: LedgerData;
}

const mapSpan = createSpanMapper({
  semconv: "released",
  limits: DEFAULT_SPAN_LIMITS,
  resource: createResource({ "service.name": "behest" }),
  scope: SCOPE,
});

/**
 * Reads `lines` in a process that ends before each line of `cuts`, its state written as JSON; the next
 * one begins with that state and with the lines from `redeliveredFrom(cut)` on again.
 */
export function livesOf(
  lines: readonly string[],
  options: Partial<HeartOptions> = {},
  cuts: readonly number[] = [],
  redeliveredFrom: (cut: number) => number = (cut) => cut,
): Lives {
  const spans: string[] = [];
  const deliveries = deliveriesOf(lines);
  let life = begin(options, spans);
  let from = 0;
  for (const cut of cuts) {
    read(life, deliveries.slice(from, cut));
    const { heart, ledger } = life;
    const saved = JSON.parse(JSON.stringify({ heart: heart.save(), ledger: ledger.save() })) as Saved;
    life = begin(options, spans, saved);
    from = redeliveredFrom(cut);
  }
  read(life, deliveries.slice(from));
  life.drain();
  return { spans, snapshot: life.ledger.snapshot("released") };
}

/** The first line that may be waiting in the reorder window when the line at `cut` comes. */
export function waitingFrom(lines: readonly string[], cut: number, windowMs: number): number {
  const arrivals = deliveriesOf(lines.slice(0, cut)).map(({ arrivalMs }) => arrivalMs);
  const first = arrivals.findIndex((arrival) => arrival + windowMs + 1 >= arrivals.at(-1)!);
  return first < 0 ? cut : first;
}

/** The time of the event in a line, in nanoseconds since 1970. */
export function timeOf(line: string): bigint {
  const value = JSON.parse(line) as { event?: object };
  const [payload] = Object.values(value.event ?? value) as [{ timestamp: string }];
  return nanosOf(payload.timestamp);
}

/** A line, and when it was appended: each delivery of it has that time again. */
interface Delivery {
  readonly line: string;
  readonly arrivalMs: number;
}

function deliveriesOf(lines: readonly string[]): Delivery[] {
  let newest = 0;
  return lines.map((line) => {
    newest = Math.max(newest, Number(timeOf(line) / 1_000_000n));
    return { line, arrivalMs: newest };
  });
}

function begin(options: Partial<HeartOptions>, spans: string[], saved?: Saved): Pipeline {
  const all: HeartOptions = { ...HEART_DEFAULTS, ...options };
  return new Pipeline({
    decoder: new Decoder(),
    heart: saved === undefined ? new Assembler(all) : Assembler.restore(saved.heart, all),
    ledger: saved === undefined ? new Ledger() : Ledger.restore(saved.ledger),
    onOp: (op) => {
      if (op.op !== "span") return;
      const bytes = ProtobufTraceSerializer.serializeRequest([mapSpan(op.span)]);
      spans.push(Buffer.from(bytes ?? []).toString("hex"));
    },
  });
}

function read(pipeline: Pipeline, deliveries: readonly Delivery[]): void {
  for (const { line, arrivalMs } of deliveries) {
    const bytes = Buffer.from(line);
    pipeline.line(bytes, 0, bytes.length, true, { nowMs: arrivalMs, outside: undefined });
  }
}
