/**
 * Two processes that share the runs of one file, side by side (`--shard 0/2` and `1/2`), against one process
 * that has them all: from the start of the processes to the end of the last, everything delivered over OTLP.
 * Goal: at least 1.7 times as fast on two cores. What the machine gives two processes at once is another
 * matter, so beside it stand two processes that each have a file with just one half of the runs, faster than which no
 * shards can be; and how long the slower of the shards takes alone. Needs a build (`npm run build`).
 *
 *   node bench/shards.ts [runs]
 */
import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { Report } from "../src/report.ts";
import { tell } from "./measure.ts";
import { runIdOf, standardRun } from "./standard-run.ts";

const program = fileURLToPath(new URL("../dist/bin.js", import.meta.url));
const runs = Number(process.argv[2] ?? 16_000);
/** Runs that are under way at the same time, as a broker or a log would have them. */
const SIDE_BY_SIDE = 50;
const ROUNDS = 5;

const directory = mkdtempSync(join(tmpdir(), "behest-otel-bench-"));
/** All the runs, and each half of them. */
const file = join(directory, "events.ndjson");
const halves = [join(directory, "half-0.ndjson"), join(directory, "half-1.ndjson")];
const events = record(file, () => true);
halves.forEach((half, index) => record(half, (run) => run % 2 === index));

// A backend of its own that takes everything at once; it has to share the two cores with whoever is measured.
const server = fork(new URL("sink-server.ts", import.meta.url), ["0"]);
const [port] = (await once(server, "message")) as [number];

/** What one process works off. */
interface Part {
  readonly from: string;
  readonly shard?: string;
}
const SHARDS: readonly Part[] = ["0/2", "1/2"].map((shard) => ({ from: file, shard }));

const times = { one: [] as number[], two: [] as number[], apart: [] as number[], alone: [] as number[] };
for (let round = -1; round < ROUNDS; round++) {
  const turn = {
    one: await workOff([{ from: file }]),
    two: await workOff(SHARDS),
    apart: await workOff(halves.map((from) => ({ from }))),
    alone: await slowerAlone(SHARDS),
  };
  if (round < 0) continue;
  for (const key of ["one", "two", "apart", "alone"] as const) times[key].push(turn[key]);
}
server.disconnect();
rmSync(directory, { recursive: true });
// The fastest turn of each: whatever else the machine does makes two processes slower than one.
const [one, two] = [Math.min(...times.one), Math.min(...times.two)];
const [apart, alone] = [Math.min(...times.apart), Math.min(...times.alone)];
const rate = (seconds: number) => `${Math.round(events / seconds / 1000)}k events/s`;
console.log(`${events} events; one process: ${rate(one)}; two shards: ${rate(two)}`);
console.log(`a file for each of two processes: ${(one / apart).toFixed(2)} times as fast as one`);
console.log(
  `one shard after the other: the slower takes ${(one / alone).toFixed(2)} times less than one process`,
);
const faster = one / two;
tell("two shards on two cores", `${faster.toFixed(2)} times as fast as one`, "at least 1.7", faster >= 1.7);

/** Writes a recording of the runs that are chosen; the number of its events. */
function record(path: string, isIn: (run: number) => boolean): number {
  const output = openSync(path, "w");
  let written = 0;
  for (let first = 0; first < runs; first += SIDE_BY_SIDE) {
    const numbers = Array.from({ length: Math.min(SIDE_BY_SIDE, runs - first) }, (_, n) => first + n);
    const side = numbers.filter(isIn).map((run) => standardRun(runIdOf(run), 1_800_000_000_000 + first * 10));
    const longest = Math.max(...side.map(({ length }) => length));
    const lines: string[] = [];
    for (let at = 0; at < longest; at++) {
      for (const run of side) if (run[at]) lines.push(JSON.stringify(run[at]));
    }
    writeSync(output, `${lines.join("\n")}\n`);
    written += lines.length;
  }
  closeSync(output);
  return written;
}

/** Seconds until a process for each has delivered its part. */
async function workOff(parts: readonly Part[]): Promise<number> {
  const began = performance.now();
  const reports = await Promise.all(parts.map(runPart));
  const seconds = (performance.now() - began) / 1000;
  expectAll(reports);
  return seconds;
}

/** Seconds of the one that takes longest, one after the other. */
async function slowerAlone(parts: readonly Part[]): Promise<number> {
  const reports: Report[] = [];
  let longest = 0;
  for (const [index, part] of parts.entries()) {
    const began = performance.now();
    reports.push(await runPart(part, index));
    longest = Math.max(longest, (performance.now() - began) / 1000);
  }
  expectAll(reports);
  return longest;
}

function expectAll(reports: readonly Report[]): void {
  const used = reports.reduce((sum, report) => sum + report.events.used, 0);
  const exported = reports.reduce((sum, report) => sum + report.spans.exported, 0);
  if (used !== events || exported !== runs * 7) {
    throw new Error(`used ${used} of ${events} events, exported ${exported} of ${runs * 7} spans`);
  }
}

async function runPart({ from, shard }: Part, index: number): Promise<Report> {
  const report = join(directory, `report-${index}.json`);
  const args = [program, "run", "--from", from, "--report", report, "--log-level", "error"];
  if (shard !== undefined) args.push("--shard", shard);
  const env = { ...process.env, OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` };
  const child = spawn(process.execPath, args, { env, stdio: ["ignore", "ignore", "inherit"] });
  const [status] = (await once(child, "exit")) as [number | null];
  if (status !== 0) throw new Error(`the process with ${shard ?? "all runs"} ended with status ${status}`);
  return JSON.parse(readFileSync(report, "utf8")) as Report;
}
