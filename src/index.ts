/** The library: what a host needs to turn the events of its agent runs into traces and metrics. */
export { createSink, type SinkOptions } from "./sink.ts";
export type { CoreOptions, EmitOptions, Sink, SinkStats } from "./sink-core.ts";
export type { Report } from "./report.ts";
export type { Provider } from "./run/provider.ts";
export { startTelemetry, type Telemetry, type TelemetryOptions } from "./telemetry.ts";
export { behestIdGenerator, type BehestIdGenerator } from "./otel/id-generator.ts";
export { parseEvent, type ParsedEvent } from "./parse-event.ts";
export { spanIdOf, traceIdOf, traceparentOf, type SpanTarget } from "./identity.ts";
export type * from "./event/schema.ts";
