import { writeFile } from "node:fs/promises";
import { runBridge, type BridgeEnd, type Input } from "../bridge.ts";
import type { Config } from "../config/options.ts";
import { openDeadLetter } from "../dead-letter.ts";
import { BridgeError, systemReason } from "../errors.ts";
import { systemClock } from "../clock.ts";
import { withoutPassword } from "../otel/endpoint.ts";
import type { Destination, ExportConfig } from "../otel/environment.ts";
import type { Report } from "../report.ts";
import { checkKeep, openKeep } from "../kept-state.ts";
import type { Shard } from "../shard.ts";
import type { Unopened } from "../source/open.ts";
import type { BridgeStatus } from "../status.ts";
import { openHealth, type Health } from "./health.ts";
import { writeOut, type ExitStatus, type Io } from "./io.ts";
import type { ProgressLine } from "./progress.ts";
import { decoderOptions, heartOptions } from "./wiring.ts";

export interface Deliverable {
  readonly config: Config<"run"> | Config<"replay">;
  readonly inputs: readonly Unopened[];
  readonly shard?: Shard | undefined;
  readonly exports: ExportConfig;
  readonly progress?: ProgressLine | undefined;
}

const UNSENT = { phase: "idle", forSeconds: 0, target: undefined } as const;
const STARTING: BridgeStatus["signals"] = { traces: UNSENT, metrics: UNSENT, logs: UNSENT };

/** What `run` and `replay` share: from sources to the backend, the report, and the exit status. */
export async function deliver(what: Deliverable, io: Io): Promise<ExitStatus> {
  const { config, inputs, shard, exports, progress } = what;
  const { log, signal, stdout } = io;
  const deadLetter =
    config.deadLetter === undefined ? undefined : await openDeadLetter(config.deadLetter, log);
  let end: BridgeEnd;
  let status: () => BridgeStatus = () => ({ signals: STARTING, sources: [] });
  let health: Health | undefined;
  try {
    if ("health" in config && config.health !== undefined) {
      health = await openHealth(config.health, () => status());
      log.info(`answering to health checks on http://${health.address}/healthz and /readyz`);
    }
    const opened = await openInputs(inputs, shard);
    const names = inputs.map(({ source }) => source.name).join(", ");
    log.info(`taking events from ${names}; sending ${destinationsText(exports)}`);
    end = await runBridge(
      {
        inputs: opened,
        shard,
        decoder: decoderOptions(config),
        heart: heartOptions(config),
        reorderWindowMs: config.reorderWindowMs,
        exports,
        flushTimeoutMs: config.flushTimeoutMs,
        commitIntervalMs: config.commitIntervalMs,
      },
      {
        clock: systemClock,
        random: Math.random,
        log,
        deadLetter,
        signal,
        write: (line) => writeOut(stdout, line),
        ...(progress && { onProgress: progress.show }),
        onStart: (read) => (status = read),
      },
    );
  } finally {
    progress?.erase();
    health?.close();
    await Promise.all(inputs.map(({ source }) => source.close()));
    await Promise.all(inputs.map(async ({ store }) => store?.close()));
    await deadLetter?.close();
  }
  return conclude(config.report, end, io);
}

/**
 * Nothing is taken over from a process that runs before everything is looked at that may be wrong. Then the states
 * first: whoever reads the same has stopped committing when the source is asked. Who would lose what it was sent
 * in a start that fails is opened last.
 */
async function openInputs(inputs: readonly Unopened[], shard: Shard | undefined): Promise<Input[]> {
  const shards = shard?.count ?? 1;
  for (const { source, store, relatives } of inputs) {
    await source.prepare?.();
    if (store !== undefined) await checkKeep(store, { shards, relatives });
  }
  const opened: Input[] = [];
  for (const { source, store } of inputs) {
    if (store === undefined) continue;
    const keep = await openKeep(store, { nowMs: systemClock.now(), shards });
    await source.open(keep.kept?.position);
    opened.push({ source, keep });
  }
  for (const { source, store } of inputs) {
    if (store !== undefined) continue;
    await source.open();
    opened.push({ source });
  }
  return opened;
}

/** Says how it went, and with which status the process ends. */
async function conclude(path: string | undefined, end: BridgeEnd, { log }: Io): Promise<ExitStatus> {
  const { report, delivered, comesAgain, failure } = end;
  const { events, spans } = report;
  const facts = {
    events: events.received,
    used: events.used,
    dropped: sum(events.dropped),
    rejected: sum(events.rejected),
    runs: sum(report.runs),
    spans: spans.exported,
  };
  if (delivered) log.info("all delivered", facts);
  else {
    const rest = comesAgain
      ? "; the rest was not acknowledged, and is delivered when this is started again"
      : "";
    log.error(`not everything was delivered${rest}`, { ...facts, failed: spans.failed });
  }
  if (path !== undefined) await writeReport(path, report);
  if (failure instanceof Error) throw failure;
  return delivered ? 0 : 1;
}

async function writeReport(path: string, report: Report): Promise<void> {
  try {
    await writeFile(path, `${JSON.stringify(report)}\n`);
  } catch (error) {
    throw new BridgeError("BEHEST_OUTPUT", `--report: ${path} ${systemReason(error)}`, { cause: error });
  }
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

/** `traces and metrics to http://localhost:4318`, as few words as tell the truth. */
function destinationsText({ traces, metrics, logs }: ExportConfig): string {
  const places = new Map<string, string[]>();
  for (const [signal, destination] of Object.entries({ traces, metrics, logs })) {
    const place = placeOf(destination);
    if (place !== undefined) places.set(place, [...(places.get(place) ?? []), signal]);
  }
  if (places.size === 0) return "nothing, because every OTEL_*_EXPORTER is none";
  return [...places].map(([place, signals]) => `${signals.join(" and ")} to ${place}`).join(", ");
}

function placeOf(destination: Destination): string | undefined {
  switch (destination.exporter) {
    case "none":
      return undefined;
    case "console":
      return "standard output";
    case "otlp": {
      const { protocol, url } = destination.endpoint;
      return `${withoutPassword(url).replace(/\/v1\/(traces|metrics|logs)$/, "")} (${protocol})`;
    }
  }
}
