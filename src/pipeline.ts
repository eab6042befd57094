import type { Rejected } from "./event/codes.ts";
import type { Decoded, Decoder } from "./event/decode.ts";
import type { Around, Delta } from "./event/event.ts";
import { redactionOf, redactText, type Redaction } from "./event/redact.ts";
import { fromMillis, secondsBetween, toMillis } from "./event/time.ts";
import type { Ledger } from "./metric/ledger.ts";
import type { Assembler } from "./run/assembler.ts";
import type { Op, OutputPart } from "./run/op.ts";
import { OthersTime } from "./others-time.ts";
import { ShardGate, type Shard } from "./shard.ts";

export interface PipelineParts {
  readonly decoder: Decoder;
  readonly heart: Assembler;
  readonly ledger: Ledger;
  /** Patterns to redact beside the built-in ones: those the decoder has. */
  readonly redact?: readonly RegExp[] | undefined;
  /** Which runs are this pipeline's; undefined for all. */
  readonly shard?: Shard | undefined;
  /** Told everything the heart says but the fate of events, which the ledger has counted. */
  readonly onOp: (op: TellingOp) => void;
}

/** Ops that someone beside the ledger carries out. */
export type TellingOp = Extract<Op, { op: "opened" | "span" | "notice" | "fault" }>;

/** What it takes to leave other shards what is theirs. */
interface Sharing {
  readonly gate: ShardGate;
  readonly time: OthersTime;
}

type SpanOp = Extract<Op, { op: "span" }>;

/**
 * One source's way through the bridge: decode, heart, counters. Synchronous; where the
 * bytes come from and where the spans go is the caller's.
 */
export class Pipeline {
  readonly heart: Assembler;
  readonly ledger: Ledger;
  readonly #decoder: Decoder;
  readonly #onOp: PipelineParts["onOp"];
  readonly #redaction: Redaction;
  /** Where the runs are shared. */
  readonly #sharing: Sharing | undefined;
  #ops: Op[] = [];
  #spareOps: Op[] = [];

  constructor(parts: PipelineParts) {
    this.heart = parts.heart;
    this.ledger = parts.ledger;
    this.#decoder = parts.decoder;
    this.#onOp = parts.onOp;
    this.#redaction = redactionOf(parts.redact);
    const { shard, decoder } = parts;
    this.#sharing = shard && { gate: new ShardGate(shard), time: new OthersTime(decoder) };
  }

  /**
   * An event as the JSON text `buffer[start, end)`. `delivery` has its source time and what stands
   * outside of it; without a time the newest timestamp so far is the source time (files and stdin). Gives back
   * what it was; undefined when it is another shard's.
   */
  line(
    buffer: Buffer,
    start: number,
    end: number,
    validUtf8: boolean,
    delivery?: { readonly nowMs: number | undefined; readonly outside: Around | undefined },
  ): Decoded | undefined {
    const nowMs = delivery?.nowMs;
    const delta = validUtf8 ? this.#decoder.delta(buffer, start, end, delivery?.outside) : undefined;
    if (delta !== undefined) return this.#takeDelta(delta, nowMs);
    const sharing = this.#sharing;
    const isPassed = sharing !== undefined && validUtf8 && this.#passOver(sharing, nowMs, buffer, start, end);
    if (isPassed) return undefined;
    return this.#take(this.#decoder.noDelta(buffer, start, end, validUtf8, delivery?.outside), nowMs);
  }

  /** An event as an object, from within the process. */
  value(value: unknown, around: Around | undefined, nowMs: number): Decoded | undefined {
    const delta = this.#decoder.deltaValue(value, around);
    if (delta !== undefined) return this.#takeDelta(delta, nowMs);
    return this.#take(this.#decoder.noDeltaValue(value, around), nowMs);
  }

  /** Input that did not even get to the decoder. Undefined when it is for another shard to say so. */
  reject(rejected: Rejected): Rejected | undefined {
    if (this.#sharing !== undefined && !this.#sharing.gate.isOurs(rejected)) return undefined;
    this.ledger.rejected(rejected.code);
    return rejected;
  }

  /** Source time has moved on by itself. */
  tick(nowMs: number): void {
    this.heart.tick(nowMs, this.#ops);
    this.#carryOut();
  }

  /** A reading is over: now all is heeded that other shards' events in it say of the time. */
  settle(): void {
    if (this.#sharing === undefined) return;
    const nowMs = this.#sharing.time.settle(this.heart.nowMs);
    if (nowMs > this.heart.nowMs) this.tick(nowMs);
  }

  /** The input has ended: what waits is used, and open runs end as drained. */
  drain(): void {
    this.settle();
    this.heart.drain(this.#ops);
    this.#carryOut();
  }

  #take(decoded: Decoded, nowMs: number | undefined): Decoded | undefined {
    const sharing = this.#sharing;
    if (sharing !== undefined && !sharing.gate.isOurs(decoded)) {
      // Somebody else's; here it only says how late it is.
      const isEvent = decoded.type !== "rejected" && decoded.type !== "unknown";
      if (nowMs !== undefined) this.tick(nowMs);
      else if (isEvent) this.tick(this.#reach(toMillis(decoded.time)));
      return undefined;
    }
    switch (decoded.type) {
      case "rejected":
        this.ledger.rejected(decoded.code);
        return decoded;
      case "unknown":
        this.ledger.unknownType();
        return decoded;
      default:
        this.heart.accept(decoded, nowMs ?? this.#reach(toMillis(decoded.time)), this.#ops);
        this.#carryOut();
        return decoded;
    }
  }

  #takeDelta(delta: Delta, nowMs: number | undefined): Delta | undefined {
    if (this.#sharing !== undefined && !this.#sharing.gate.isOurRun(delta.runId)) {
      // Somebody else's; here it only says how late it is.
      if (nowMs === undefined) this.#sharing.time.reach(toMillis(delta.time));
      else this.tick(nowMs);
      return undefined;
    }
    this.heart.acceptDelta(delta, nowMs ?? this.#reach(toMillis(delta.time)), this.#ops);
    this.#carryOut();
    return delta;
  }

  /** Heeds what a line of another shard says of the time; false for a line that has to be decoded. No deltas. */
  #passOver(
    { gate, time }: Sharing,
    nowMs: number | undefined,
    buffer: Buffer,
    start: number,
    end: number,
  ): boolean {
    if (!gate.isOthers(buffer, start, end)) return false;
    if (nowMs !== undefined) {
      this.tick(nowMs);
    } else {
      const ms = gate.timeMs();
      if (ms === undefined || ms <= this.heart.nowMs || time.add(ms, buffer, start, end)) return true;
      this.settle();
      time.add(ms, buffer, start, end);
    }
    return true;
  }

  /**
   * Source time where only events say it, once one of this time was read. It never goes back: an older recording
   * read after a newer one is no silence.
   */
  #reach(ms: number): number {
    const nowMs = Math.max(this.heart.nowMs, ms);
    return this.#sharing === undefined ? nowMs : this.#sharing.time.settle(nowMs);
  }

  #carryOut(): void {
    const ops = this.#ops;
    if (ops.length === 0) return;
    // Whoever is told may bring the next event at once.
    this.#ops = this.#spareOps;
    this.#spareOps = [];
    for (const op of ops) {
      this.ledger.apply(op);
      if (op.op === "span") this.#onOp(this.#redacted(op));
      else if (op.op === "opened" || op.op === "notice" || op.op === "fault") this.#onOp(op);
    }
    // Emptied one by one it keeps its room, which every event would have to make anew.
    while (ops.pop() !== undefined);
    this.#spareOps = ops;
  }

  /**
   * What a model said came in pieces, and a secret may have been cut in two by them: so it is redacted
   * where it is whole, before anything but the heart has seen it.
   */
  #redacted(op: SpanOp): SpanOp {
    const { span } = op;
    if (span.kind !== "model" || span.output === undefined) return op;
    const redact = (part: OutputPart): OutputPart =>
      part.type === "text" ? { ...part, content: redactText(part.content, this.#redaction) } : part;
    return { op: "span", span: { ...span, output: span.output.map(redact) } };
  }
}

/** Reads off what only the heart knows, for the gauges. */
export function readHeart(heart: Assembler, ledger: Ledger): void {
  const oldest = heart.oldestStart();
  const age = oldest === undefined ? 0 : secondsBetween(oldest, fromMillis(heart.nowMs));
  ledger.setGauge("eventsWaiting", heart.waitingEvents);
  ledger.setGauge("oldestActiveAge", Math.max(0, age));
}
