/**
 * Replay of a file in which nine of ten events are deltas, against reading the same file and calling
 * JSON.parse on every line. Goal: at least as many events per second.
 *
 *   node bench/replay.ts [runs]
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { runBridge } from "../src/bridge.ts";
import { LineSplitter } from "../src/event/lines.ts";
import { systemClock } from "../src/clock.ts";
import { readEnvironment } from "../src/otel/environment.ts";
import { HEART_DEFAULTS } from "../src/run/limits.ts";
import { fileSource } from "../src/source/file.ts";
import { compare, tell } from "./measure.ts";
import { MANY_DELTAS, runIdOf, standardRun } from "./standard-run.ts";

const runs = Number(process.argv[2] ?? 2_000);
const directory = mkdtempSync(join(tmpdir(), "behest-otel-bench-"));
const file = join(directory, "events.ndjson");

const lines: string[] = [];
// Many runs side by side, as a broker or a log would have them.
for (let first = 0; first < runs; first += 50) {
  const side = Array.from({ length: 50 }, (_, n) =>
    standardRun(runIdOf(first + n), 1_800_000_000_000 + first * 10, MANY_DELTAS),
  );
  for (const [at] of side[0]?.entries() ?? []) for (const run of side) lines.push(JSON.stringify(run[at]));
}
writeFileSync(file, `${lines.join("\n")}\n`);
const events = lines.length;
const deltas = lines.filter((line) => line.startsWith('{"TextDelta"')).length;

// A backend that takes everything at once, in a process of its own: the bridge's own work is what is measured.
const server = fork(new URL("sink-server.ts", import.meta.url), ["0"]);
const [port] = (await once(server, "message")) as [number];
const { config } = readEnvironment({
  OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
  OTEL_METRICS_EXPORTER: "none",
});
const quiet = { error: console.error, warn: () => {}, info: () => {}, debug: () => {} };

const result = await compare(5, parseAll, replay);
server.disconnect();
rmSync(directory, { recursive: true });
const rate = (seconds: number) => `${Math.round(events / seconds / 1000)}k events/s`;
console.log(`${events} events, ${((deltas / events) * 100).toFixed(0)} % deltas`);
console.log(`JSON.parse of every line: ${rate(result.baseline)}; replay, delivered: ${rate(result.ours)}`);
tell(
  "replay",
  `${(1 / result.ratio).toFixed(2)} times the events per second of JSON.parse`,
  "at least 1",
  result.ratio <= 1,
);

function parseAll(): number {
  const before = performance.now();
  let parsed = 0;
  const splitter = new LineSplitter({
    onLine: (buffer, start, end) => {
      if (JSON.parse(buffer.toString("utf8", start, end))) parsed += 1;
    },
    onTooLong: () => {},
  });
  splitter.push(readFileSync(file));
  splitter.end();
  if (parsed !== events) throw new Error(`parsed ${parsed} of ${events}`);
  return (performance.now() - before) / 1000;
}

async function replay(): Promise<number> {
  const before = performance.now();
  const source = fileSource(file);
  await source.open();
  const { report } = await runBridge(
    {
      inputs: [{ source }],
      decoder: {},
      heart: HEART_DEFAULTS,
      exports: config,
      flushTimeoutMs: 60_000,
      commitIntervalMs: 1_000,
    },
    {
      clock: systemClock,
      random: Math.random,
      log: quiet,
      deadLetter: undefined,
      write: () => Promise.resolve(),
      signal: new AbortController().signal,
    },
  );
  await source.close();
  if (report.spans.exported !== runs * 7) {
    throw new Error(`exported ${report.spans.exported} of ${runs * 7} spans`);
  }
  return (performance.now() - before) / 1000;
}
