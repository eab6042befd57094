/** An OpenTelemetry SDK of the host's, set up here. */
export interface Telemetry {
  /**
   * Delivers what waits, for at most `flushTimeoutMs`, and ends. Rejects when something could not
   * be delivered, with how much. Idempotent.
   */
  shutdown(): Promise<void>;
}

export interface TelemetryOptions {
  /** Bytes of finished spans that may wait for the backend; default 64 MiB, then the newest are dropped. */
  readonly maxWaitingBytes?: number;
  /** Default 10 s. */
  readonly flushTimeoutMs?: number;
}

/**
 * Sets `@opentelemetry/sdk-node` up from the `OTEL_*` variables, for hosts that have no SDK, and
 * registers it globally: call it before `createSink()`. Span ids are those of docs/identity.md, and spans
 * wait for a slow backend and are sent again, instead of being dropped.
 *
 * Needs the package `@opentelemetry/sdk-node` (3.x line) beside this one; rejects when it is missing,
 * and with a RangeError that names every variable that is wrong.
 */
export async function startTelemetry(options: TelemetryOptions = {}): Promise<Telemetry> {
  const { startNodeTelemetry } = await import("./otel/node-telemetry.ts");
  return startNodeTelemetry(options);
}
