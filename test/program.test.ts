import { execFile } from "node:child_process";
import { readFileSync, renameSync, writeFileSync, appendFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

import { afterEach, describe, expect, test } from "vitest";

import type { Report } from "../src/report.ts";
import { BIN, ROOT, run, start, temporary, type Call } from "./cli/program.ts";
import { startHttpBackend, take, type HttpAct, type OtlpServer, type Served } from "./otel/otlp-server.ts";
import { secretGarbage, secretRun } from "./bridge/secret-run.ts";
import { until } from "./bridge/turns.ts";
import * as wire from "./bridge/wire-runs.ts";

let backend: OtlpServer;
afterEach(() => backend.close());

/** The backend decides about requests of spans, and takes everything else. */
async function startBackend(
  act: (request: Served) => HttpAct | Promise<HttpAct> = () => take,
): Promise<void> {
  backend = await startHttpBackend((request) => (request.signal === "traces" ? act(request) : take));
}

function call(args: readonly string[], more: Omit<Call, "args"> = {}): Call {
  return { ...more, args, env: { OTEL_EXPORTER_OTLP_ENDPOINT: backend.url, ...more.env } };
}

const SHAPE = { modelCalls: 1, deltas: 4 };
const runLines = (n: number) => `${wire.linesOf(wire.standardRun(n, SHAPE)).join("\n")}\n`;
const reportIn = (path: string) => JSON.parse(readFileSync(path, "utf8")) as Report;
const distinct = () => new Set(backend.taken.map(({ spanId }) => spanId)).size;

describe("asked to stop in the middle", () => {
  test("it flushes all that was taken to a slow backend, ends with 0, and the report is the truth", async () => {
    let requests = 0;
    const came = Promise.withResolvers<void>();
    await startBackend(async () => {
      if (++requests === 3) came.resolve();
      await new Promise((resolve) => setTimeout(resolve, 30));
      return take;
    });
    const report = join(temporary(), "report.json");
    const env = { OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "64" };
    const started = start(call(["run", "--report", report], { env }));
    const all = Array.from({ length: 3_000 }, (_, n) => runLines(n));
    started.child.stdin.write(all.join(""));
    await came.promise;
    started.child.kill("SIGTERM");
    const { status } = await started.ended;
    expect(status).toBe(0);

    const { events, runs, spans } = reportIn(report);
    expect(events.received).toBe(events.used);
    expect(events.used).toBeGreaterThan(0);
    expect(events.used).toBeLessThan(3_000 * 14);
    expect(spans).toEqual({ exported: distinct(), failed: 0 });
    expect(backend.taken.length).toBe(distinct());
    // Every run that was begun is whole: its own span is there, and nothing without it.
    const traces = Map.groupBy(backend.taken, ({ traceId }) => traceId);
    expect(traces.size).toBe(runs.completed + runs.incomplete);
    expect(runs.incomplete).toBeLessThanOrEqual(1);
    for (const trace of traces.values()) {
      expect(trace.filter(({ name }) => name === "invoke_agent")).toHaveLength(1);
    }
    const used = backend.taken.map(
      ({ attributes }) => Object.fromEntries(attributes)["behest.run.events"] ?? 0,
    );
    expect(used.reduce((sum: number, count) => sum + Number(count), 0)).toBe(events.used);
  });

  test("with a backend that is down it gives up after the flush timeout, ends with 1, and the report counts", async () => {
    await startBackend(() => ({ act: "answer", status: 503 }));
    const directory = temporary();
    const [report, dead] = [join(directory, "report.json"), join(directory, "dead.ndjson")];
    const started = start(call(["run", "--flush-timeout", "1s", "--report", report, "--dead-letter", dead]));
    started.child.stdin.write([1, 2, 3].map(runLines).join(""));
    await started.says("cannot be delivered now");
    const begun = Date.now();
    started.child.kill("SIGTERM");
    const { status, stderr } = await started.ended;
    expect(status).toBe(1);
    expect(Date.now() - begun).toBeGreaterThan(800);
    expect(Date.now() - begun).toBeLessThan(8_000);
    expect(stderr).toContain("ERROR not everything was delivered");
    expect(stderr).not.toContain("    at ");
    expect(reportIn(report)).toEqual({
      events: { received: 42, used: 42, dropped: {}, rejected: {} },
      runs: { completed: 3, failed: 0, cancelled: 0, incomplete: 0 },
      spans: { exported: 0, failed: 9 },
    });
    expect(readFileSync(dead, "utf8").split("\n").slice(0, -1)).toHaveLength(9);
  });

  test("a second signal does not wait for a backend that is down", async () => {
    await startBackend(() => ({ act: "answer", status: 503 }));
    const started = start(call(["run", "--flush-timeout", "1h"]));
    started.child.stdin.write(runLines(1));
    await started.says("cannot be delivered now");
    started.child.kill("SIGTERM");
    await started.says("stopping");
    const begun = Date.now();
    started.child.kill("SIGTERM");
    expect(await started.ended).toMatchObject({ status: 1 });
    expect(Date.now() - begun).toBeLessThan(3_000);
  });
});

test("a run that hangs while stdin is quiet expires, and is on its way while the program runs on", async () => {
  await startBackend();
  const report = join(temporary(), "report.json");
  const started = start(call(["run", "--run-idle-timeout", "500ms", "--report", report]));
  const hung = wire.teller(1);
  started.child.stdin.write(`${wire.linesOf([wire.started(hung), wire.model(hung)]).join("\n")}\n`);
  await until(() => backend.taken.length === 2, "the spans of the hung run");
  const run1 = backend.taken.find(({ name }) => name === "invoke_agent")!;
  expect(run1.status.code).toBe(2);
  expect(Object.fromEntries(run1.attributes)).toMatchObject({
    "error.type": "run_expired",
    "behest.run.incomplete_reason": "expired",
  });
  expect(started.child.exitCode).toBeNull();
  started.child.stdin.end(runLines(2));
  expect(await started.ended).toMatchObject({ status: 0 });
  expect(reportIn(report).runs).toEqual({ completed: 1, failed: 0, cancelled: 0, incomplete: 1 });
});

test("several sources, a followed file that is rotated among them, end to end", async () => {
  await startBackend();
  const directory = temporary();
  const [log, other, report] = ["log.ndjson", "other.ndjson", "report.json"].map((name) =>
    join(directory, name),
  ) as [string, string, string];
  writeFileSync(log, runLines(1));
  writeFileSync(other, runLines(2));
  const started = start(
    call(["run", "--follow", "--from", log, "--from", other, "--from", "-", "--report", report]),
  );
  started.child.stdin.write(runLines(3));
  await until(() => distinct() === 9, "what was there");
  appendFileSync(log, runLines(4).slice(0, 500));
  renameSync(log, `${log}.1`);
  appendFileSync(`${log}.1`, runLines(4).slice(500));
  writeFileSync(log, runLines(5));
  await until(() => distinct() === 15, "what came through the rotation");
  started.child.kill("SIGTERM");
  expect(await started.ended).toMatchObject({ status: 0 });
  expect(reportIn(report)).toMatchObject({
    events: { received: 70, used: 70, dropped: {}, rejected: {} },
    runs: { completed: 5 },
    spans: { exported: 15, failed: 0 },
  });
});

describe("stdout that is closed early", () => {
  test("view | head -1 says one line and nothing else", async () => {
    await startBackend();
    const many = temporary("many.ndjson", Array.from({ length: 5_000 }, (_, n) => runLines(n)).join(""));
    const { stdout, stderr } = await promisify(execFile)("sh", [
      "-c",
      `"${process.execPath}" "${BIN}" view "${many}" | head -1`,
    ]);
    expect(stdout.split("\n")).toHaveLength(2);
    expect(stderr).toBe("");
  });

  test("the console exporter's spans that nobody read are not delivered, which the exit status says", async () => {
    await startBackend();
    const report = join(temporary(), "report.json");
    const env = { OTEL_TRACES_EXPORTER: "console", OTEL_METRICS_EXPORTER: "none" };
    const started = start(call(["run", "--report", report], { env }));
    started.child.stdout.destroy();
    started.child.stdin.end(Array.from({ length: 2_000 }, (_, n) => runLines(n)).join(""));
    const { status, stderr } = await started.ended;
    expect(stderr).not.toContain("    at ");
    expect(status).toBe(1);
    expect(reportIn(report).spans).toEqual({ exported: 0, failed: 6_000 });
  });
});

test("nothing that models and tools said is on stdout, on stderr or in the report", async () => {
  await startBackend();
  const { events, content, secrets } = secretRun();
  const garbage = secretGarbage();
  const input = `${[...wire.linesOf(events), ...garbage.lines].join("\n")}\n`;
  const report = join(temporary(), "report.json");
  const env = {
    OTEL_TRACES_EXPORTER: "console",
    OTEL_METRICS_EXPORTER: "console",
    OTEL_LOGS_EXPORTER: "console",
    OTEL_LOG_LEVEL: "debug",
  };
  const ended = await run(call(["run", "--log-level", "debug", "--report", report], { env, input }));
  expect(ended.status).toBe(0);
  const viewed = await run(call(["view", "-"], { input }));
  const json = await run(call(["view", "--json", "-"], { input }));
  const text =
    [ended, viewed, json].map(({ stdout, stderr }) => stdout + stderr).join("\n") +
    readFileSync(report, "utf8");
  expect(text).toContain("BEHEST_DECODE_JSON");
  expect([...content, ...secrets, ...garbage.words].filter((word) => text.includes(word))).toEqual([]);
});

describe("a host that uses the library", () => {
  /** Runs a script beside the built library. */
  async function host(script: string, env: Readonly<Record<string, string>> = {}) {
    const begun = Date.now();
    const { stdout, stderr, code } = await promisify(execFile)(
      process.execPath,
      ["--input-type=module", "-e", script],
      {
        cwd: ROOT,
        env: { PATH: process.env["PATH"], OTEL_EXPORTER_OTLP_ENDPOINT: backend.url, ...env },
        timeout: 20_000,
      },
    ).then(
      (ended) => ({ ...ended, code: 0 }),
      (error: { stdout: string; stderr: string; code: unknown }) => error,
    );
    return { stdout, stderr, code, tookMs: Date.now() - begun };
  }

  const events = JSON.stringify(wire.standardRun(1, SHAPE));
  const emit = `for (const event of ${events}) sink.emit(event);`;
  const otlp = `import { createOtlpSink } from "${join(ROOT, "dist/lib/otlp.js")}"; const sink = createOtlpSink({ flushTimeoutMs: 700 });`;
  const sdk = `import { createSink, startTelemetry } from "${join(ROOT, "dist/lib/index.js")}";
    const telemetry = await startTelemetry({ flushTimeoutMs: 700 }); const sink = createSink();`;

  test("delivers before it ends, as long as it closes its sink", async () => {
    await startBackend();
    const { stdout, code } = await host(
      `${otlp} ${emit} await sink.close(); console.log(JSON.stringify(sink.stats.spans));`,
    );
    expect([code, stdout]).toEqual([0, '{"exported":3,"failed":0}\n']);
    expect(distinct()).toBe(3);
  });

  test("and forgets to close it has delivered every run that ended, when the backend answers", async () => {
    await startBackend();
    expect(await host(`${otlp} ${emit}`)).toMatchObject({ code: 0 });
    expect(distinct()).toBe(3);
  });

  test("and forgets to close it is not kept by a backend that is down", async () => {
    await startBackend(() => ({ act: "answer", status: 503 }));
    for (const library of [otlp, sdk]) {
      const { code, tookMs } = await host(`${library} ${emit}`);
      expect(code).toBe(0);
      expect(tookMs).toBeLessThan(10_000);
    }
  });

  test("and closes it over a backend that is down is kept until the flush timeout, and is told", async () => {
    await startBackend(() => ({ act: "answer", status: 503 }));
    const first = await host(
      `${otlp} ${emit} await sink.close(); console.log(JSON.stringify(sink.stats.spans));`,
    );
    expect([first.code, first.stdout]).toEqual([0, '{"exported":0,"failed":3}\n']);
    const second = await host(
      `${sdk} ${emit} await sink.close(); await telemetry.shutdown().catch((error) => console.log(error.message));`,
    );
    expect([second.code, second.stdout]).toEqual([
      0,
      "3 spans were not delivered and 0 were dropped because too many waited\n",
    ]);
  });
});
