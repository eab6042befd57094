import { randomUUID } from "node:crypto";

import { fromMillis } from "./event/time.ts";
import {
  CHILDREN_SHARE,
  hostClock,
  hostEnvironment,
  hostLog,
  hostWrite,
  HOST_FLUSH_TIMEOUT_MS,
  kept,
  MAX_WAITING_BYTES,
} from "./host.ts";
import type { Log } from "./log.ts";
import { addSnapshots } from "./metric/combine.ts";
import { Outlet } from "./otel/outlet.ts";
import { reportOf } from "./report.ts";
import { disabledSink, openSinkCore, type CoreOptions, type Sink, type Way } from "./sink-core.ts";
import { withEnvironment } from "./sink.ts";

export interface OtlpSinkOptions extends CoreOptions {
  /** Bytes of finished spans that may wait for the backend; default 64 MiB, then the newest are dropped. */
  readonly maxWaitingBytes?: number;
  /** How long `close` tries to deliver what waits. Default 10 s. */
  readonly flushTimeoutMs?: number;
  /** Default: warnings and errors as lines on stderr. */
  readonly log?: Log;
}

/**
 * A sink that exports over OTLP by itself, configured by the standard `OTEL_*` variables, for hosts
 * that want no SDK or no loss: it waits and retries as the program does, and takes half the CPU of
 * spans made one by one (bench/). Throws a RangeError that names every variable that is wrong.
 */
export function createOtlpSink(given: OtlpSinkOptions = {}): Sink {
  const config = hostEnvironment(process.env);
  if (config.disabled) return disabledSink();
  const {
    maxWaitingBytes = MAX_WAITING_BYTES,
    flushTimeoutMs = HOST_FLUSH_TIMEOUT_MS,
    log = hostLog(),
  } = given;
  const outlet = new Outlet(config, {
    clock: hostClock,
    random: Math.random,
    log,
    write: hostWrite,
  });
  const spans = outlet.spans();
  const metrics = outlet.metrics({ instanceId: randomUUID(), start: fromMillis(hostClock.now()) });
  const options = { ...withEnvironment(given, process.env), semconv: config.semconv };

  return openSinkCore(options, (read): Way => {
    const snapshot = () => addSnapshots([read(), spans.ledger.snapshot(config.semconv)]);
    const exportMetrics = () => metrics.put(snapshot(), fromMillis(hostClock.now()));
    const timer = setInterval(() => void exportMetrics(), config.metricReading.intervalMs).unref();
    const finish = async () => {
      const endsAtMs = hostClock.now() + flushTimeoutMs;
      await outlet.finish(flushTimeoutMs);
      const last = exportMetrics();
      await outlet.finish(Math.max(0, endsAtMs - hostClock.now()));
      await last;
    };
    return {
      sampled: (run) => outlet.sampled(run),
      spans: () => reportOf(spans.ledger.snapshot(config.semconv)).spans,
      onOp: (op) => {
        // A run's own span is what the others hang under: room is kept for it.
        const most =
          op.op === "span" && op.span.kind !== "run" ? maxWaitingBytes * CHILDREN_SHARE : maxWaitingBytes;
        if (op.op !== "span" || spans.waitingBytes < most) void outlet.put(op, spans);
        else if (outlet.sampled(op.span.run)) spans.ledger.spanFailed("queue_full", 1);
      },
      close: async () => {
        clearInterval(timer);
        await kept(finish());
        outlet.close();
      },
    };
  });
}
