/**
 * How long `--help` takes against `node -e 0`, and how much longer `run` takes until it takes events.
 * Goals: at most twice; at most 150 ms more. Needs a build (`npm run build`).
 *
 *   node bench/startup.ts
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

import { median, tell } from "./measure.ts";

const program = fileURLToPath(new URL("../dist/bin.js", import.meta.url));
const node = process.execPath;
const ROUNDS = 21;

const empty: number[] = [];
const help: number[] = [];
const taking: number[] = [];
for (let round = -2; round < ROUNDS; round++) {
  const times = [timed(["-e", "0"]), timed([program, "--help"]), await untilTaking()] as const;
  if (round < 0) continue;
  empty.push(times[0]);
  help.push(times[1]);
  taking.push(times[2]);
}
const base = median(empty);
const ratio = median(help) / base;
const more = median(taking) - base;
console.log(
  `node -e 0: ${base.toFixed(0)} ms; --help: ${median(help).toFixed(0)} ms; run until it takes events: ${median(taking).toFixed(0)} ms`,
);
tell("--help", `${ratio.toFixed(2)} times node -e 0`, "at most 2", ratio <= 2);
tell("run until it takes events", `${more.toFixed(0)} ms more than node -e 0`, "at most 150 ms", more <= 150);

function timed(args: readonly string[]): number {
  const began = performance.now();
  spawnSync(node, args, { stdio: "ignore" });
  return performance.now() - began;
}

/** Until the line on stderr that says where events are taken from. */
async function untilTaking(): Promise<number> {
  const began = performance.now();
  const env = { ...process.env, OTEL_TRACES_EXPORTER: "none", OTEL_METRICS_EXPORTER: "none" };
  const child = spawn(node, [program, "run"], { env, stdio: ["pipe", "ignore", "pipe"] });
  await once(child.stderr, "data");
  const took = performance.now() - began;
  child.stdin.end();
  await once(child, "exit");
  return took;
}
