import { runBridge, type BridgeConfig, type BridgeEnd, type BridgeIo, type Input } from "../../src/bridge.ts";
import type { DecoderOptions } from "../../src/event/decode.ts";
import { systemClock } from "../../src/clock.ts";
import { HEART_DEFAULTS, type HeartOptions } from "../../src/run/limits.ts";
import { fileSource } from "../../src/source/file.ts";
import { openKeep } from "../../src/kept-state.ts";
import type { Shard } from "../../src/shard.ts";
import type { LogSource, Source } from "../../src/source/source.ts";
import type { StateStore } from "../../src/state/store.ts";
import { configOf, listeningLog } from "../otel/export-setup.ts";

export interface BridgeRunOptions extends Partial<BridgeIo> {
  /** Paths of files, sources that are open or need no opening, or logs with the state beside them. */
  readonly from: readonly (string | Source | Kept)[];
  readonly env: Readonly<Record<string, string>>;
  readonly heart?: Partial<HeartOptions>;
  readonly decoder?: DecoderOptions;
  readonly flushTimeoutMs?: number;
  readonly commitIntervalMs?: number;
  readonly shard?: Shard;
}

interface Kept {
  readonly source: LogSource;
  readonly store: StateStore;
}

export interface BridgeRun extends BridgeEnd {
  /** Lines of the log, `LEVEL message`. */
  readonly logged: readonly string[];
}

/** Runs the bridge as the program does, but for what the test says otherwise. */
export async function runOver(options: BridgeRunOptions): Promise<BridgeRun> {
  const {
    from,
    env,
    heart,
    decoder,
    shard,
    flushTimeoutMs = 10_000,
    commitIntervalMs = 1_000,
    ...io
  } = options;
  const inputs = await Promise.all(from.map((one) => openInput(one, shard?.count ?? 1)));
  const logged: string[] = [];
  const config: BridgeConfig = {
    inputs,
    shard,
    decoder: decoder ?? {},
    heart: { ...HEART_DEFAULTS, ...heart },
    reorderWindowMs: heart?.reorderWindowMs,
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
    await Promise.all(inputs.map(({ source }) => source.close()));
  }
}

async function openInput(one: string | Source | Kept, shards: number): Promise<Input> {
  if (typeof one === "object" && "store" in one) {
    const keep = await openKeep(one.store, { nowMs: Date.now(), shards });
    await one.source.open(keep.kept?.position);
    return { source: one.source, keep };
  }
  const source = typeof one === "string" ? fileSource(one) : one;
  await source.open();
  return { source };
}

/** Where everything goes, over one protocol. */
export function envFor(
  url: string,
  protocol: "http/protobuf" | "http/json" | "grpc" = "http/protobuf",
): Record<string, string> {
  return { OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_EXPORTER_OTLP_PROTOCOL: protocol };
}
