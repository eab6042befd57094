import { stat } from "node:fs/promises";

import type { Config } from "../config/options.ts";
import { readEnvironment, type ExportConfig } from "../otel/environment.ts";
import { recording } from "../source/open.ts";
import { parseRecordingSpec, type RecordingSpec } from "../source/spec.ts";
import { deliver } from "./deliver.ts";
import type { ExitStatus, Io } from "./io.ts";
import { progressLine } from "./progress.ts";

/** `replay`: recordings as one input. Metrics only when asked for, since a live bridge has counted them. */
export async function replay(
  config: Config<"replay">,
  operands: readonly string[],
  io: Io,
): Promise<ExitStatus> {
  const specs = operands.map(parseRecordingSpec).filter((spec) => spec !== undefined);
  const source = recording(specs, io);
  const { config: exports } = readEnvironment(io.env);
  const { stderr } = io;
  const progress = stderr.isTTY
    ? progressLine({ totalBytes: await sizeOf(specs), nowMs: Date.now, write: (text) => stderr.write(text) })
    : undefined;
  return deliver(
    { config, inputs: [{ source }], exports: config.metrics ? exports : withoutMetrics(exports), progress },
    io,
  );
}

/** Bytes of all inputs together; undefined when one of them cannot tell. */
async function sizeOf(specs: readonly RecordingSpec[]): Promise<number | undefined> {
  let bytes = 0;
  for (const spec of specs) {
    const stats = spec.kind === "file" ? await stat(spec.path).catch(() => undefined) : undefined;
    if (stats?.isFile() !== true) return undefined;
    bytes += stats.size;
  }
  return bytes;
}

function withoutMetrics(exports: ExportConfig): ExportConfig {
  return { ...exports, metrics: { exporter: "none" } };
}
