import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { describe, expect, test } from "vitest";

import { until } from "../bridge/turns.ts";
import { backend, startLife } from "./bridge-life.ts";
import { RECORDINGS, ROOT, run, temporary, type Started } from "./program.ts";

const EVENTS = readFileSync(join(RECORDINGS, "plain-answer.ndjson"), "utf8");
const LINES = EVENTS.split("\n").slice(0, -1);
const NDJSON = { "content-type": "application/x-ndjson" };

let started: Started;

/** The running bridge, and where it says that it takes events. */
async function listening(args: readonly string[] = [], env: Record<string, string> = {}): Promise<string> {
  started = startLife({
    args: ["run", "--from", "http://127.0.0.1:0/v1/events", ...args],
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: backend.url, ...env },
  });
  await started.says("taking events from");
  const [, url = ""] =
    /taking events from (http:\/\/127\.0\.0\.1:\d+\/v1\/events);/.exec(started.stderr) ?? [];
  return url;
}

function post(url: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = NDJSON) {
  return fetch(url, { method: "POST", body, headers });
}

const names = () => backend.taken.map(({ name }) => name).toSorted();

describe("run --from http://", () => {
  test("delivers what is posted, while it runs and when it is asked to stop", async () => {
    const url = await listening(["--reorder-window", "0"]);
    const answer = await post(url, EVENTS);
    expect([answer.status, await answer.json()]).toEqual([202, { accepted: LINES.length, rejected: [] }]);
    await until(() => backend.taken.length === 2, "the spans of the run");
    expect(names()).toEqual(["chat gpt-4o", "invoke_agent"]);

    const other = LINES.map((line) => line.replaceAll("2e48bf6d", "2e48bf6e"));
    await post(url, gzipSync(`[${other.join(",")}]`), {
      "content-type": "application/json",
      "content-encoding": "gzip",
      "behest-agent": "planner",
    });
    started.child.kill("SIGTERM");
    const ended = await started.ended;
    expect(ended).toMatchObject({ status: 0, stdout: "" });
    expect(ended?.stderr).toContain(`all delivered events=${2 * LINES.length} used=${2 * LINES.length}`);
    expect(names()).toEqual(["chat gpt-4o", "chat gpt-4o", "invoke_agent", "invoke_agent planner"]);
  });

  test("waits for events that belong before others, though they are posted after them", async () => {
    const url = await listening();
    const later = await post(url, LINES.slice(3).join("\n"));
    const earlier = await post(url, LINES.slice(0, 3).join("\n"));
    expect([later.status, earlier.status]).toEqual([202, 202]);
    await until(() => backend.taken.length === 2, "the spans of the run");
    started.child.kill("SIGINT");
    expect(await started.ended).toMatchObject({ status: 0 });
    expect(names()).toEqual(["chat gpt-4o", "invoke_agent"]);
    const corrected = backend.taken.filter(({ attributes }) =>
      attributes.some(([key]) => /corrected|missing/.test(key)),
    );
    expect(corrected).toEqual([]);
  });

  test("hangs a run under the parent of its headers", async () => {
    const url = await listening(["--reorder-window", "0"]);
    const [traceId, spanId] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
    await post(url, EVENTS, { ...NDJSON, traceparent: `00-${traceId}-${spanId}-01` });
    await until(() => backend.taken.length === 2, "the spans of the run");
    expect(backend.taken.map((span) => span.traceId)).toEqual([traceId, traceId]);
    expect(backend.taken.find(({ name }) => name === "invoke_agent")?.parentSpanId).toBe(spanId);
  });

  test("counts and keeps what it rejects, as its sender was told", async () => {
    const directory = temporary();
    const [report, dead] = [join(directory, "report.json"), join(directory, "dead.ndjson")];
    const url = await listening(["--report", report, "--dead-letter", dead]);
    const answer = await post(url, `${EVENTS}\n{"broken\n${LINES[0]}\n`);
    expect(await answer.json()).toEqual({
      accepted: LINES.length + 1,
      rejected: [{ line: LINES.length + 2, code: "BEHEST_DECODE_JSON", message: expect.any(String) }],
    });
    // Of a body that is refused nothing is counted anywhere.
    expect((await post(url, "[", { "content-type": "application/json" })).status).toBe(400);
    started.child.kill("SIGTERM");
    expect(await started.ended).toMatchObject({ status: 0 });
    expect(JSON.parse(readFileSync(report, "utf8"))).toMatchObject({
      events: {
        received: LINES.length + 2,
        used: LINES.length,
        dropped: { duplicate: 1 },
        rejected: { BEHEST_DECODE_JSON: 1 },
      },
      runs: { completed: 1 },
    });
    expect(JSON.parse(readFileSync(dead, "utf8"))).toMatchObject({
      code: "BEHEST_DECODE_JSON",
      source: url,
      delivery_id: `req-1/${LINES.length + 2}`,
      payload: '{"broken',
    });
  });

  test("asks for the token of the environment, and never says it", async () => {
    const token = "s3cret-token";
    const url = await listening(["--log-level", "debug"], { BEHEST_OTEL_HTTP_TOKEN: token });
    expect((await post(url, EVENTS)).status).toBe(401);
    expect((await post(url, EVENTS, { ...NDJSON, authorization: `Bearer ${token}` })).status).toBe(202);
    started.child.kill("SIGTERM");
    const ended = await started.ended;
    expect(ended).toMatchObject({ status: 0 });
    expect(ended?.stderr).not.toContain(token);
    expect(ended?.stderr).not.toContain("no option has this variable");
  });

  test("on an address that is in use ends with 2, and takes nothing from anywhere", async () => {
    const url = await listening();
    const { status, stderr } = await run({ args: ["run", "--from", url, "--from", "-"], input: EVENTS });
    expect([status, stderr]).toEqual([2, `behest-otel run: ${url} is in use\n`]);
    expect(backend.taken).toEqual([]);
  });
});

test("nobody but who listens loads what listening needs", () => {
  const chunks = join(ROOT, "dist/chunks");
  const files = readdirSync(chunks).map((name) => ({ name, text: readFileSync(join(chunks, name), "utf8") }));
  const large = files.filter(({ text }) => text.includes("FST_ERR_")).map(({ name }) => name);
  expect(large).toHaveLength(1);
  const bin = { name: "bin.js", text: readFileSync(join(ROOT, "dist/bin.js"), "utf8") };
  const loading = [bin, ...files].filter(({ text }) =>
    [...text.matchAll(/^(?:import|export)\b[^"]*"\.[^"]*\/([^"/]+)";$/gm)].some(([, name = ""]) =>
      large.includes(name),
    ),
  );
  expect(loading.map(({ name }) => name)).toEqual([]);
});
