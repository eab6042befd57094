import { ROOT_CONTEXT, trace, TraceFlags, type Context } from "@opentelemetry/api";

import { Decoder, type DecoderOptions } from "./event/decode.ts";
import { EVENT_TYPES, type Around, type EventType } from "./event/event.ts";
import type { AgentEvent, Envelope } from "./event/schema.ts";
import { parseTraceparent } from "./event/traceparent.ts";
import { foldUuid, NIL_UUID } from "./event/uuid.ts";
import { Ledger, type OnRecord } from "./metric/ledger.ts";
import type { Snapshot } from "./metric/snapshot.ts";
import { targetSpanId, type TraceparentTarget } from "./otel/ids.ts";
import type { SemconvMode } from "./metric/table.ts";
import { traceOf } from "./otel/spans.ts";
import { Pipeline, readHeart, type TellingOp } from "./pipeline.ts";
import { reportOf, type Report } from "./report.ts";
import { Assembler } from "./run/assembler.ts";
import { HEART_DEFAULTS, type HeartOptions } from "./run/limits.ts";
import type { RunFacts } from "./run/op.ts";
import type { Provider } from "./run/provider.ts";

/** What every sink can be told; all of it optional. Durations are milliseconds. */
export interface CoreOptions {
  /** Name of the agent, for events that do not say it. */
  readonly agentName?: string;
  /** What provider ids of the application stand for. */
  readonly providers?: Readonly<Record<string, Provider>>;
  /** "span" puts texts, arguments and results on the spans, redacted and cut. Default "off". */
  readonly content?: "off" | "span";
  /** Whether messages of failures are kept: redacted, at most 1 KiB. Default "on". */
  readonly errorMessages?: "on" | "off";
  /** Patterns to redact beside the built-in ones. */
  readonly redact?: readonly RegExp[];
  /** Default 10 minutes. */
  readonly runIdleTimeoutMs?: number;
  /** Default 1 hour. */
  readonly toolIdleTimeoutMs?: number;
  /** Default 24 hours. */
  readonly rememberMs?: number;
  /** Default 100,000. */
  readonly maxOpenRuns?: number;
  /** How long an event waits for others that belong before it. Default 0: the host emits in order. */
  readonly reorderWindowMs?: number;
  readonly semconv?: SemconvMode;
  /** Told of bugs of ours, and of what the host's own span processors throw; default: nobody. */
  readonly onFault?: (message: string) => void;
}

/** What stands around an event, from the caller. */
export interface EmitOptions {
  readonly agent?: string;
  /** W3C trace context that the run hangs under; the one on RunStarted counts. */
  readonly traceparent?: string;
  readonly tracestate?: string;
}

/** A place where events go in. Nothing it does blocks or throws. */
export interface Sink {
  /** Takes an event of the runtime, bare or in its envelope. What is no event is rejected and counted. */
  emit(event: AgentEvent | Envelope, around?: EmitOptions): void;
  /**
   * A context whose active span is the run's, or that of one of its tool calls or model calls,
   * before that span exists: spans that a host starts in it nest there. On a host's own SDK that holds
   * with `behestIdGenerator` installed; the ids are those of docs/identity.md.
   */
  contextOf(runId: string, target?: TraceparentTarget): Context;
  /** What became of all events so far. */
  readonly stats: SinkStats;
  /** Ends what is open as drained and hands everything on. Idempotent; later events are dropped. */
  close(): Promise<void>;
}

export interface SinkStats extends Report {
  readonly openRuns: number;
}

/** Where a sink's spans and metrics go. */
export interface Way {
  readonly onOp: (op: TellingOp) => void;
  readonly onRecord?: OnRecord;
  /** The decision of the sampler for a run, as far as it can be known before its first span. */
  readonly sampled: (run: RunFacts) => boolean;
  readonly spans: () => Report["spans"];
  readonly close: () => Promise<void>;
}

/** How often time passes for a sink by itself, so that silent runs expire. */
const TICK_MS = 1_000;

/**
 * The part that all sinks share: decoding, the heart, the counters, and the end. `openWay` is given
 * how to read the counters.
 */
export function openSinkCore(options: CoreOptions, openWay: (read: () => Snapshot) => Way): Sink {
  const semconv = options.semconv ?? "released";
  const { tell, guarded } = guardsOf(options.onFault);
  const read = () => {
    readHeart(heart, ledger);
    return ledger.snapshot(semconv);
  };
  const way = openWay(read);
  const { onRecord } = way;
  const ledger = new Ledger({
    source: "sink",
    agent: options.agentName,
    onRecord: onRecord && ((fact, labels, value) => guarded(() => onRecord(fact, labels, value))),
  });
  const heart = new Assembler(heartOptions(options));
  const onOp = (op: TellingOp) => {
    if (op.op === "fault") tell(op.message);
    guarded(() => way.onOp(op));
  };
  const decoder = new Decoder(decoderOptions(options));
  const pipeline = new Pipeline({ decoder, heart, ledger, redact: options.redact, onOp });
  // The host may end while runs are open; a timer of ours must not keep it.
  const timer = setInterval(() => pipeline.tick(Date.now()), TICK_MS).unref();
  let closing: Promise<void> | undefined;

  return {
    emit(event, around) {
      try {
        const type = closing && typeOf(event);
        if (type !== undefined) {
          ledger.apply({ op: "dropped", type, reason: "closed" });
          return;
        }
        pipeline.value(event, aroundOf(around), Date.now());
      } catch {
        // Only the event itself can throw, in a getter of its own: it is no event.
        ledger.rejected("BEHEST_DECODE_SCHEMA");
      }
    },
    contextOf(runId, target) {
      const id = typeof runId === "string" ? foldUuid(runId) : undefined;
      if (id === undefined || id === NIL_UUID) return ROOT_CONTEXT;
      const run = heart.factsOf(id) ?? newRun(id);
      return contextUnder(run, target ?? {}, way.sampled(run));
    },
    get stats() {
      return { ...reportOf(read()), spans: way.spans(), openRuns: heart.openRuns };
    },
    close() {
      if (closing !== undefined) return closing;
      const ended = Promise.withResolvers<void>();
      // Before the drain, in which the host's own code may ask for this again, or emit.
      closing = ended.promise;
      clearInterval(timer);
      pipeline.drain();
      ended.resolve(way.close());
      return closing;
    },
  };
}

/** What the host's processors, samplers and listeners throw must neither reach it again nor miscount. */
function guardsOf(onFault: CoreOptions["onFault"]) {
  const tell = (message: string) => {
    try {
      onFault?.(message);
    } catch {
      // Whoever cannot even listen is not told.
    }
  };
  const guarded = (act: () => void) => {
    try {
      act();
    } catch (error) {
      tell(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
  };
  return { tell, guarded };
}

/** What `OTEL_SDK_DISABLED=true` asks for: nothing is done, and nothing said. */
export function disabledSink(): Sink {
  const stats: SinkStats = { ...reportOf([]), openRuns: 0 };
  return { emit: () => {}, contextOf: () => ROOT_CONTEXT, stats, close: () => Promise.resolve() };
}

function contextUnder(run: RunFacts, target: TraceparentTarget, sampled: boolean): Context {
  const { traceId, context } = traceOf(run);
  const spanId = targetSpanId(run.runId, run.segment, target);
  const traceFlags = sampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
  return trace.setSpanContext(ROOT_CONTEXT, { ...context, traceId, spanId, traceFlags });
}

function newRun(runId: string): RunFacts {
  return { runId, segment: "", agent: undefined, sessionId: undefined, parent: undefined };
}

function typeOf(event: unknown): EventType | undefined {
  if (typeof event !== "object" || event === null) return undefined;
  const inner = "event" in event ? event.event : event;
  return EVENT_TYPES.find((type) => Object.hasOwn(inner as object, type));
}

function aroundOf(options: EmitOptions | undefined): Around | undefined {
  if (options === undefined) return undefined;
  const { agent, traceparent, tracestate } = options;
  const parent = traceparent === undefined ? undefined : parseTraceparent(traceparent, tracestate);
  return { ...(agent !== undefined && { agent }), ...(parent && { parent }) };
}

function decoderOptions({ content, errorMessages, redact }: CoreOptions): DecoderOptions {
  return {
    content: content ?? "off",
    ...(errorMessages && { errorMessages }),
    ...(redact && { redact }),
  };
}

function heartOptions(options: CoreOptions): HeartOptions {
  const { providers, agentName } = options;
  return {
    ...HEART_DEFAULTS,
    agentName,
    runIdleMs: options.runIdleTimeoutMs ?? HEART_DEFAULTS.runIdleMs,
    toolIdleMs: options.toolIdleTimeoutMs ?? HEART_DEFAULTS.toolIdleMs,
    rememberMs: options.rememberMs ?? HEART_DEFAULTS.rememberMs,
    maxOpenRuns: options.maxOpenRuns ?? HEART_DEFAULTS.maxOpenRuns,
    reorderWindowMs: options.reorderWindowMs ?? 0,
    providers: new Map(Object.entries(providers ?? {})),
  };
}
