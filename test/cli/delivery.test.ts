import { appendFileSync, existsSync, readFileSync, statSync } from "node:fs";
import { once } from "node:events";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startHttpBackend, take, type HttpAct, type OtlpServer } from "../otel/otlp-server.ts";
import { RECORDINGS, run, start, temporary, type Call } from "./program.ts";

const RECORDING = join(RECORDINGS, "plain-answer.ndjson");
const EVENTS = readFileSync(RECORDING, "utf8");
const LINES = EVENTS.split("\n").slice(0, -1);

let backend: OtlpServer;
let answer: HttpAct;
/** Resolved with the first request that has spans. */
let spansCome: PromiseWithResolvers<void>;
beforeEach(async () => {
  answer = take;
  spansCome = Promise.withResolvers();
  backend = await startHttpBackend(({ spans }) => {
    if (spans.length > 0) spansCome.resolve();
    return answer;
  });
});
afterEach(() => backend.close());

function call(args: readonly string[], more: Omit<Call, "args"> = {}): Call {
  return { ...more, args, env: { OTEL_EXPORTER_OTLP_ENDPOINT: backend.url, ...more.env } };
}

const names = () => backend.taken.map(({ name }) => name).toSorted();
const signals = () => [...new Set(backend.requests.map(({ signal }) => signal))].toSorted();

describe("run", () => {
  test("reads stdin to its end, delivers, and says where from and where to on stderr alone", async () => {
    const { status, stdout, stderr } = await run(call(["run"], { input: EVENTS }));
    expect([status, stdout]).toEqual([0, ""]);
    expect(names()).toEqual(["chat gpt-4o", "invoke_agent"]);
    expect(signals()).toEqual(["metrics", "traces"]);
    expect(stderr).toContain(
      `taking events from stdin; sending traces and metrics to ${backend.url} (http/protobuf)`,
    );
    expect(stderr).toContain("all delivered events=7 used=7 dropped=0 rejected=0 runs=1 spans=2");
    expect(stderr.split("\n")).toHaveLength(3);
  });

  test("without any input ends well", async () => {
    expect(await run(call(["run"]))).toMatchObject({ status: 0, stdout: "" });
  });

  test("takes the last line although it has no end", async () => {
    expect(await run(call(["run"], { input: EVENTS.trimEnd() }))).toMatchObject({ status: 0 });
    expect(names()).toEqual(["chat gpt-4o", "invoke_agent"]);
  });

  test("takes its options from the command line, the environment and a file together", async () => {
    const file = temporary("c.yaml", "agent-name: from-file\nlog-format: json\n");
    const env = { BEHEST_OTEL_AGENT_NAME: "support" };
    const { stderr } = await run(call(["run", "--config", file, "--log-level=warn"], { input: EVENTS, env }));
    expect(stderr).toBe("");
    expect(names()).toEqual(["chat gpt-4o", "invoke_agent support"]);
  });

  test("reports what became of everything, and keeps what was rejected", async () => {
    const directory = temporary();
    const [report, dead] = [join(directory, "report.json"), join(directory, "dead.ndjson")];
    const input = `{"broken\n${EVENTS}\n\n${LINES[0]}\n`;
    const { status } = await run(call(["run", "--report", report, "--dead-letter", dead], { input }));
    expect(status).toBe(0);
    expect(JSON.parse(readFileSync(report, "utf8"))).toEqual({
      events: { received: 9, used: 7, dropped: { duplicate: 1 }, rejected: { BEHEST_DECODE_JSON: 1 } },
      runs: { completed: 1, failed: 0, cancelled: 0, incomplete: 0 },
      spans: { exported: 2, failed: 0 },
    });
    expect(JSON.parse(readFileSync(dead, "utf8"))).toMatchObject({
      kind: "event",
      code: "BEHEST_DECODE_JSON",
      source: "stdin",
      payload: '{"broken',
      bytes: 8,
    });
    expect(statSync(dead).mode & 0o077).toBe(0);
  });

  test("ends with 1 when a span was refused, which then is in the report and in the dead letters", async () => {
    answer = { act: "answer", status: 400, body: "no" };
    const directory = temporary();
    const [report, dead] = [join(directory, "report.json"), join(directory, "dead.ndjson")];
    const { status, stderr } = await run(
      call(["run", "--report", report, "--dead-letter", dead], { input: EVENTS }),
    );
    expect(status).toBe(1);
    expect(stderr).toContain("ERROR not everything was delivered events=");
    expect(JSON.parse(readFileSync(report, "utf8"))).toMatchObject({ spans: { exported: 0, failed: 2 } });
    const kinds = readFileSync(dead, "utf8")
      .split("\n")
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { kind: string }).kind);
    expect(kinds).toEqual(["span", "span"]);
  });

  test("with a backend that is down gives up after the flush timeout, with 1", async () => {
    await backend.close();
    const { status, stderr } = await run(call(["run", "--flush-timeout", "50ms"], { input: EVENTS }));
    expect(status).toBe(1);
    expect(stderr).toContain("ECONNREFUSED");
    expect(stderr).not.toContain("    at ");
  });

  test("sends nothing over the network, and data to stdout, with the console exporter", async () => {
    const env = { OTEL_TRACES_EXPORTER: "console", OTEL_METRICS_EXPORTER: "none" };
    const { status, stdout, stderr } = await run(call(["run"], { input: EVENTS, env }));
    expect([status, backend.requests.length]).toEqual([0, 0]);
    expect(JSON.parse(stdout)).toHaveProperty("resourceSpans");
    expect(stderr).toContain("sending traces to standard output");
  });

  test("whose data nobody reads any more ends with 1, and without a stack", async () => {
    const started = start(call(["run"], { env: { OTEL_TRACES_EXPORTER: "console" } }));
    started.child.stdout.destroy();
    started.child.stdin.end(EVENTS);
    const { status, stderr } = await started.ended;
    expect(status).toBe(1);
    expect(stderr).toContain("not everything was delivered");
    expect(stderr).not.toContain("    at ");
  });

  test("reads several sources side by side", async () => {
    const other = temporary("other.ndjson", EVENTS.replaceAll("2e48bf6d", "2e48bf6e"));
    const { status } = await run(call(["run", "--from", "-", "--from", other], { input: EVENTS }));
    expect(status).toBe(0);
    expect(names()).toEqual(["chat gpt-4o", "chat gpt-4o", "invoke_agent", "invoke_agent"]);
  });

  test("follows a file until it is asked to stop, and delivers what it has", async () => {
    const file = temporary("events.ndjson", LINES.slice(0, 3).join("\n"));
    const started = start(call(["run", "--from", file, "--follow"]));
    await started.says("taking events from");
    appendFileSync(file, `\n${LINES.slice(3).join("\n")}\n`);
    await spansCome.promise;
    started.child.kill("SIGTERM");
    const { status, stderr } = await started.ended;
    expect(status).toBe(0);
    expect(stderr).toContain(
      "stopping: delivering what is left, for at most 1m; once more stops at once signal=SIGTERM",
    );
    expect(names()).toEqual(["chat gpt-4o", "invoke_agent"]);
  });

  test.each(["SIGTERM", "SIGINT"] as const)(
    "asked to stop by %s ends open runs as drained",
    async (signal) => {
      const started = start(call(["run"]));
      // When the spans of the second run have come, the events of the first, which stays open, have been used.
      const open = LINES.slice(0, 3).join("\n").replaceAll("2e48bf6d", "2e48bf6e");
      started.child.stdin.write(`${open}\n${EVENTS}`);
      await spansCome.promise;
      started.child.kill(signal);
      expect(await started.ended).toMatchObject({ status: 0 });
      const drained = backend.taken.find(
        ({ name, traceId }) => name === "invoke_agent" && traceId.startsWith("2e48bf6e"),
      );
      expect(Object.fromEntries(drained?.attributes ?? [])).toMatchObject({
        "behest.run.outcome": "incomplete",
        "behest.run.incomplete_reason": "drained",
      });
    },
  );

  test("asked a second time does not wait for a backend that does not answer", async () => {
    answer = { act: "drip" };
    const started = start(call(["run"]));
    started.child.stdin.end(EVENTS);
    await started.says("taking events from");
    started.child.kill("SIGINT");
    await started.says("stopping");
    started.child.kill("SIGINT");
    const { status, stderr } = await started.ended;
    expect(status).toBe(1);
    expect(stderr).toContain("stopped at once; what was not delivered yet is lost");
  });
});

describe("replay", () => {
  test("sends traces only, unless metrics are asked for", async () => {
    expect(await run(call(["replay", RECORDING]))).toMatchObject({ status: 0, stdout: "" });
    expect(signals()).toEqual(["traces"]);
    expect(await run(call(["replay", "--metrics", RECORDING]))).toMatchObject({ status: 0 });
    expect(signals()).toEqual(["metrics", "traces"]);
  });

  test("twice sends the same spans", async () => {
    await run(call(["replay", RECORDING]));
    const first = [...backend.taken];
    await run(call(["replay", RECORDING]));
    const identity = ({ traceId, spanId, start: begin, end }: (typeof first)[number]) => [
      traceId,
      spanId,
      begin,
      end,
    ];
    expect(backend.taken.slice(first.length).map(identity)).toEqual(first.map(identity));
  });

  test("reads several files as one stream, a run across two of them included", async () => {
    const [a, b] = [
      temporary("a.ndjson", LINES.slice(0, 4).join("\n")),
      temporary("b.ndjson", LINES.slice(4).join("\n")),
    ];
    expect(await run(call(["replay", a, b]))).toMatchObject({ status: 0 });
    expect(names()).toEqual(["chat gpt-4o", "invoke_agent"]);
  });

  test("reads stdin as -", async () => {
    expect(await run(call(["replay", "-"], { input: EVENTS }))).toMatchObject({ status: 0 });
    expect(names()).toEqual(["chat gpt-4o", "invoke_agent"]);
  });
});

describe("view", () => {
  test("shows trees on stdout and sends nothing", async () => {
    const { status, stdout, stderr } = await run(call(["view", RECORDING]));
    expect([status, stderr, backend.requests.length]).toEqual([0, "", 0]);
    expect(stdout).toContain("└─ ✓ chat gpt-4o");
    expect(stdout).not.toContain("\u001b");
  });

  test("is coloured when asked, and one JSON object per run when asked", async () => {
    expect((await run(call(["view", "--color=always", RECORDING]))).stdout).toContain("\u001b[");
    const { stdout } = await run(call(["view", "--json", RECORDING]));
    expect(JSON.parse(stdout)).toMatchObject({ name: "invoke_agent", outcome: "completed" });
  });

  test("fills no more columns than it is given", async () => {
    const { stdout } = await run(call(["view", "--width=60", RECORDING]));
    expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(60);
  });

  test("asked to stop shows what has come so far, and the summary", async () => {
    const whole = readFileSync(join(RECORDINGS, "parallel-tools.ndjson"), "utf8").split("\n");
    const ended = readFileSync(join(RECORDINGS, "plain-answer.ndjson"), "utf8");
    const started = start({ args: ["view", "-"] });
    started.child.stdin.write(whole.slice(0, 40).join("\n") + "\n" + ended);
    // The second run is printed when its end has been read, and with it the first run's beginning.
    while (!started.stdout.includes("completed")) await once(started.child.stdout, "data");
    started.child.kill("SIGINT");
    const { status, stdout } = await started.ended;
    expect(status).toBe(0);
    expect(stdout).toContain("incomplete: input ended · 2 model calls");
    expect(stdout).toContain("runs     2 · 1 completed · 1 incomplete");
  });

  test("with a reader that has gone ends quietly", async () => {
    const many = temporary(
      "many.ndjson",
      Array.from({ length: 20_000 }, (_, index) => renumbered(index)).join(""),
    );
    const started = start(call(["view", many]));
    await once(started.child.stdout, "data");
    started.child.stdout.destroy();
    expect(await started.ended).toMatchObject({ status: 0, stderr: "" });
  });
});

/** The recorded run with a run id of its own. */
function renumbered(index: number): string {
  return EVENTS.replaceAll("2e48bf6d", (0x10000000 + index).toString(16));
}

test.runIf(existsSync("/dev/full"))("a report that cannot be written is told, with 1", async () => {
  const { status, stderr } = await run(call(["run", "--report", "/dev/full"], { input: EVENTS }));
  expect(status).toBe(1);
  expect(stderr).toContain("behest-otel run: --report: /dev/full has no space left on its disk\n");
});
