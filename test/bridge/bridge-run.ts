import { runBridge, type BridgeConfig, type BridgeEnd, type BridgeIo } from "../../src/bridge.ts";
import type { DecoderOptions } from "../../src/event/decode.ts";
import { systemClock } from "../../src/otel/clock.ts";
import { HEART_DEFAULTS, type HeartOptions } from "../../src/run/limits.ts";
import { fileSource } from "../../src/source/file.ts";
import type { Source } from "../../src/source/source.ts";
import { configOf, listeningLog } from "../otel/export-setup.ts";

export interface BridgeRunOptions extends Partial<BridgeIo> {
  /** Paths of files, or sources that are open or need no opening. */
  readonly from: readonly (string | Source)[];
  readonly env: Readonly<Record<string, string>>;
  readonly heart?: Partial<HeartOptions>;
  readonly decoder?: DecoderOptions;
  readonly flushTimeoutMs?: number;
  readonly commitIntervalMs?: number;
}

export interface BridgeRun extends BridgeEnd {
  /** Lines of the log, `LEVEL message`. */
  readonly logged: readonly string[];
}

/** Runs the bridge as the program does, but for what the test says otherwise. */
export async function runOver(options: BridgeRunOptions): Promise<BridgeRun> {
  const { from, env, heart, decoder, flushTimeoutMs = 10_000, commitIntervalMs = 1_000, ...io } = options;
  const sources = from.map((one) => (typeof one === "string" ? fileSource(one) : one));
  for (const source of sources) await source.open();
  const logged: string[] = [];
  const config: BridgeConfig = {
    sources,
    decoder: decoder ?? {},
    heart: { ...HEART_DEFAULTS, ...heart },
    exports: configOf(env),
    flushTimeoutMs,
    commitIntervalMs,
  };
  try {
    const end = await runBridge(config, {
      clock: systemClock,
      random: () => 0.5,
      log: listeningLog(logged),
      deadLetter: undefined,
      write: () => Promise.reject(new Error("nothing goes to the console in this test")),
      signal: new AbortController().signal,
      ...io,
    });
    return { ...end, logged };
  } finally {
    await Promise.all(sources.map((source) => source.close()));
  }
}

/** Where everything goes, over one protocol. */
export function envFor(
  url: string,
  protocol: "http/protobuf" | "http/json" | "grpc" = "http/protobuf",
): Record<string, string> {
  return { OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_EXPORTER_OTLP_PROTOCOL: protocol };
}
