import { randomFillSync } from "node:crypto";

/**
 * An OpenTelemetry IdGenerator for a host's own SDK: spans that come from a sink get the ids of
 * docs/identity.md, all others random ones.
 *
 * `startSpan` asks for both ids synchronously, so the next ids are set for the length of one call.
 */
export interface BehestIdGenerator {
  generateTraceId(): string;
  generateSpanId(): string;
}

interface NextIds {
  readonly traceId: string;
  readonly spanId: string;
}

/** What is left to be asked for of the ids of the span that is being started. */
let next: { traceId: string | undefined; spanId: string | undefined } | undefined;

export const behestIdGenerator: BehestIdGenerator = {
  generateTraceId: () => {
    const id = next?.traceId;
    if (next !== undefined) next.traceId = undefined;
    return id ?? randomHex(16);
  },
  generateSpanId: () => {
    const id = next?.spanId;
    // Asked again: the host starts a span of its own while ours starts (a sampler, a processor).
    if (id === undefined) next = undefined;
    else if (next !== undefined) next.spanId = undefined;
    return id ?? randomHex(8);
  },
};

/** Runs `start`, in which exactly one span is started, with these ids. */
export function withIds<T>(ids: NextIds, start: () => T): T {
  next = { ...ids };
  try {
    return start();
  } finally {
    // With tracing suppressed nobody asked; the next span of the host must not get these.
    next = undefined;
  }
}

function randomHex(bytes: number): string {
  const id = randomFillSync(Buffer.alloc(bytes));
  // All zeros is the one id that is not valid.
  if (id.every((byte) => byte === 0)) id[bytes - 1] = 1;
  return id.toString("hex");
}
