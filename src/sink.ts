import { metrics, trace, type MeterProvider, type TracerProvider } from "@opentelemetry/api";

import { captureOf } from "./config/capture.ts";
import { openInstruments } from "./otel/instruments.ts";
import { DEFAULT_SPAN_LIMITS } from "./otel/limits.ts";
import { semconvMode } from "./otel/semconv.ts";
import { TracerSpans } from "./otel/tracer-spans.ts";
import { disabledSink, openSinkCore, type CoreOptions, type Sink, type Way } from "./sink-core.ts";
import { VERSION } from "./version.ts";

export interface SinkOptions extends CoreOptions {
  /** The host's; default the global one. */
  readonly tracerProvider?: TracerProvider;
  /** The host's; default the global one. */
  readonly meterProvider?: MeterProvider;
}

const SCOPE = { name: "behest-otel", version: VERSION };

/**
 * A sink on a host's own OpenTelemetry SDK: its processors, samplers, views and exporters apply
 * (docs/library.md). Needs nothing but `@opentelemetry/api`.
 *
 * With `behestIdGenerator` installed in that SDK the ids are those of docs/identity.md. Where no SDK is
 * registered the sink counts, and nothing leaves the process.
 */
export function createSink(given: SinkOptions = {}): Sink {
  if (process.env["OTEL_SDK_DISABLED"]?.toLowerCase() === "true") return disabledSink();
  const options = withEnvironment(given, process.env);
  const mode = options.semconv;
  const meterProvider = given.meterProvider ?? metrics.getMeterProvider();
  const tracerProvider = given.tracerProvider ?? trace.getTracerProvider();
  const limits = DEFAULT_SPAN_LIMITS;
  const spans = new TracerSpans({
    tracer: tracerProvider.getTracer(SCOPE.name, SCOPE.version),
    rules: { semconv: mode, value: limits.value },
    limits,
  });
  let handedOver = 0;

  return openSinkCore(options, (read): Way => {
    const instruments = openInstruments({ meterProvider, scope: SCOPE, mode, read });
    return {
      onRecord: instruments.onRecord,
      sampled: (run) => spans.sampled(run),
      spans: () => ({ exported: handedOver, failed: 0 }),
      onOp: (op) => {
        if (op.op === "opened") spans.opened(op.span);
        if (op.op === "span" && spans.put(op.span)) handedOver += 1;
      },
      close: async () => {
        // Counters are read when the host collects; one last time while they are still there.
        await flush(meterProvider);
        instruments.close();
      },
    };
  });
}

/** Fills in what the standard variables say, where the caller did not. */
export function withEnvironment<T extends CoreOptions>(
  options: T,
  env: Readonly<Record<string, string | undefined>>,
): T & Required<Pick<CoreOptions, "semconv" | "content">> {
  const capture = captureOf(env["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] ?? "");
  return {
    ...options,
    semconv: options.semconv ?? semconvMode(env["OTEL_SEMCONV_STABILITY_OPT_IN"]),
    content: options.content ?? capture ?? "off",
  };
}

/** SDK providers can flush; the API's own type does not say so. */
async function flush(provider: MeterProvider & { forceFlush?: () => Promise<void> }): Promise<void> {
  try {
    await provider.forceFlush?.();
  } catch {
    // The host's exporter tells its own errors; the end of a sink must not add one.
  }
}
