import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as after } from "node:timers/promises";

import type { Report } from "../../src/report.ts";
import { linesOf, recordingsOf } from "../bridge/recordings.ts";
import { nanosOf } from "../bridge/raw-truth.ts";
import { start, temporary, type Ended, type Started } from "../cli/program.ts";

export interface BridgeOptions {
  /** OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly otlp: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** The built program, fed over HTTP as in docker-compose.yml. It reports metrics every second. */
export class LiveBridge {
  readonly #program: Started;
  readonly #url: string;
  readonly #report: string;

  static async start({ otlp, args = [], env = {} }: BridgeOptions): Promise<LiveBridge> {
    const report = temporary("report.json");
    const program = start({
      args: ["run", "--from", "http://127.0.0.1:0/v1/events", "--report", report, ...args],
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: otlp, OTEL_METRIC_EXPORT_INTERVAL: "1000", ...env },
    });
    process.once("exit", () => program.child.kill("SIGKILL"));
    await program.says("taking events from");
    const [, url = ""] = /taking events from ([^\s,;]+)/.exec(program.stderr) ?? [];
    return new LiveBridge(program, url, report);
  }

  private constructor(program: Started, url: string, report: string) {
    this.#program = program;
    this.#url = url;
    this.#report = report;
  }

  /** Hands events over; waits while there is no room for them, and fails when they are not taken. */
  async post(lines: readonly string[], agent?: string): Promise<void> {
    const headers = { "content-type": "application/x-ndjson", ...(agent && { "behest-agent": agent }) };
    for (;;) {
      const answer = await fetch(this.#url, { method: "POST", headers, body: `${lines.join("\n")}\n` });
      const said = await answer.text();
      if (answer.ok) return;
      if (answer.status !== 429) throw new Error(`${this.#url}: ${answer.status} ${said}`);
      await after(1_000 * Number(answer.headers.get("retry-after") ?? 1));
    }
  }

  /** Hands over each event at the time that stands in it, or as soon after it as it can be. */
  async tell(events: readonly TimedLine[]): Promise<void> {
    for (let told = 0; told < events.length;) {
      const due = events.findIndex(({ atMs }, index) => index >= told && atMs > Date.now());
      const until = due < 0 ? events.length : due;
      if (until > told) await this.post(events.slice(told, until).map(({ line }) => line));
      else await after(events[told]!.atMs - Date.now());
      told = until;
    }
  }

  /** Asks it to stop, as Docker would, and waits for its end. */
  async stop(): Promise<Ended & { readonly report: Report }> {
    this.#program.child.kill("SIGTERM");
    const ended = await this.#program.ended;
    const report = readFileSync(this.#report, "utf8");
    if (report === "") throw new Error(`no report\n${ended.stderr}`);
    return { ...ended, report: JSON.parse(report) as Report };
  }
}

/** An event with the time, in milliseconds since 1970, at which it is to be told. */
export interface TimedLine {
  readonly line: string;
  readonly atMs: number;
}

/** The runs of a recording of behest 0.5.9, each by itself. */
export function runsOf(scenario: string): readonly (readonly string[])[] {
  const one = recordingsOf("").find((found) => found.version === "0.5.9" && found.scenario === scenario);
  if (one === undefined) throw new Error(`there is no recording ${scenario}`);
  return [...Map.groupBy(linesOf(one.path), runIdOf).values()];
}

/** A run told again as another run of the same shape that begins at another time. */
export function retold(lines: readonly string[], copy: number, startMs: number): readonly TimedLine[] {
  const [first = ""] = lines;
  const shift = BigInt(startMs) * 1_000_000n - nanosOf(stampOf(first));
  const runId = runIdOf(first);
  const other = anotherId(runId, copy);
  return lines.map((line) => {
    const stamp = stampOf(line);
    const nanos = nanosOf(stamp) + shift;
    return {
      line: line.replaceAll(runId, other).replaceAll(stamp, stampAt(nanos)),
      atMs: Number(nanos / 1_000_000n),
    };
  });
}

export function traceIdOf(line: string): string {
  return runIdOf(line).replaceAll("-", "");
}

function runIdOf(line: string): string {
  return /"run_id":"([^"]+)"/.exec(line)![1]!;
}

function stampOf(line: string): string {
  return /"timestamp":"([^"]+)"/.exec(line)![1]!;
}

function stampAt(nanos: bigint): string {
  const second = new Date(Number(nanos / 1_000_000n)).toISOString().slice(0, 19);
  return `${second}.${String(nanos % 1_000_000_000n).padStart(9, "0")}Z`;
}

/** The same one for the same run and copy. */
function anotherId(runId: string, copy: number): string {
  const hex = createHash("sha256").update(`${runId} ${copy}`).digest("hex");
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `4${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join("-");
}
