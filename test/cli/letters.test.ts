import { linkSync, mkdirSync, openSync, closeSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { DEFAULT_MAX_LINE_BYTES } from "../../src/event/lines.ts";
import { lastPoints, valuesBy } from "../bridge/served-metrics.ts";
import { until } from "../bridge/turns.ts";
import { startHttpBackend, take, type OtlpServer } from "../otel/otlp-server.ts";
import { BIN, RECORDINGS, run, start, temporary, type Call } from "./program.ts";

const EVENTS = readFileSync(join(RECORDINGS, "plain-answer.ndjson"), "utf8");
const LINES = EVENTS.split("\n").slice(0, -1);
const [STARTED = ""] = LINES;
const NDJSON = { "content-type": "application/x-ndjson" };

let backend: OtlpServer;
let seen: number;
beforeEach(async () => {
  seen = 0;
  backend = await startHttpBackend(() => take);
});
afterEach(() => backend.close());

const call = (args: readonly string[], more: Omit<Call, "args"> = {}): Call => ({
  ...more,
  args,
  env: { OTEL_EXPORTER_OTLP_ENDPOINT: backend.url },
});

/** The spans that have come since it was asked the last time. */
const spans = () => {
  const come = backend.taken.slice(seen).toSorted((a, b) => (a.spanId < b.spanId ? -1 : 1));
  seen = backend.taken.length;
  return come;
};

describe("a run whose RunStarted is damaged", () => {
  const torn = STARTED.slice(0, -1);

  /** What the program keeps of it, with the letter mended by an edit of one line. */
  async function mended(): Promise<string> {
    const dead = join(temporary(), "dead.ndjson");
    const { status } = await run(
      call(["run", "--dead-letter", dead], { input: [torn, ...LINES.slice(1)].join("\n") }),
    );
    expect(status).toBe(0);
    const letters = readFileSync(dead, "utf8");
    expect(letters.split("\n")).toHaveLength(2);
    const after = JSON.stringify(torn).slice(1, -1);
    expect(letters).toContain(`"payload":"${after}"`);
    writeFileSync(dead, letters.replace(`"payload":"${after}"`, `"payload":"${after}}"`));
    return dead;
  }

  test("is in its trace and its metrics when the mended letter is read back", async () => {
    const dead = await mended();
    const without = spans();
    const { status, stderr } = await run(call(["run", "--from", dead]));
    expect(status).toBe(0);
    expect(stderr).toContain("all delivered events=1 used=1 dropped=0 rejected=0 runs=1 spans=1");
    const [added, ...more] = spans();
    expect([added?.name, added?.traceId, more]).toEqual(["invoke_agent", without[0]?.traceId, []]);
    expect(valuesBy(lastPoints(backend.requests), "behest.run.ended", ["behest.run.outcome"])).toMatchObject({
      incomplete: 1,
    });
  });

  test("is whole when it is replayed behind the mended letter, from files and from standard input", async () => {
    const dead = await mended();
    const before = spans();
    await run(call(["replay", join(RECORDINGS, "plain-answer.ndjson")]));
    const whole = spans();
    // What was sent without the start stays in the trace.
    expect(new Set([...before, ...whole].map(({ traceId }) => traceId)).size).toBe(1);
    const runs = [...before, ...whole].filter(({ name }) => name === "invoke_agent");
    expect(new Set(runs.map(({ spanId }) => spanId)).size).toBe(2);
    const rest = temporary("rest.ndjson", `${LINES.slice(1).join("\n")}\n`);
    for (const args of [
      ["replay", dead, rest],
      ["replay", "-", rest],
    ]) {
      const input = args.includes("-") ? readFileSync(dead) : "";
      expect(await run(call(args, { input }))).toMatchObject({ status: 0 });
      expect(spans()).toEqual(whole);
    }
    const input = readFileSync(dead, "utf8") + readFileSync(rest, "utf8");
    expect(await run(call(["run"], { input }))).toMatchObject({ status: 0 });
    expect(spans()).toEqual(whole);
  });

  test("is shown whole by view", async () => {
    const dead = await mended();
    const rest = temporary("rest.ndjson", LINES.slice(1).join("\n"));
    const [pieced, whole] = await Promise.all([
      run({ args: ["view", dead, rest] }),
      run({ args: ["view", join(RECORDINGS, "plain-answer.ndjson")] }),
    ]);
    expect(pieced).toEqual(whole);
  });
});

test("letters of spans are refused with what to do instead, and letters of events beside them are used", async () => {
  const span = '{"kind":"span","code":"BEHEST_EXPORT_REFUSED","payload":"{}"}';
  const letters = LINES.map((payload) => JSON.stringify({ kind: "event", payload }));
  const dead = temporary("dead.ndjson", [span, ...letters, span].join("\n"));
  const again = join(temporary(), "again.ndjson");
  const { status, stderr } = await run(call(["run", "--from", dead, "--dead-letter", again]));
  expect(status).toBe(0);
  expect(stderr).toContain(
    `events=${LINES.length + 2} used=${LINES.length} dropped=0 rejected=2 runs=1 spans=2`,
  );
  expect(stderr.match(/WARN .*Replay the events of those runs/g)).toHaveLength(1);
  expect(readFileSync(again, "utf8")).toBe("");
});

describe.each([-1, 0, 1])("a letter of an event that is %d bytes from the limit", (extra) => {
  /** The longest way in which text that is JSON is escaped: every character of it a quote. */
  const event = (text: string) =>
    STARTED.replace(
      /"RunStarted":.*"timestamp"/,
      (started) => `"TextDelta":{${/"run_id":"[^"]*"/.exec(started)?.[0]},"delta":"${text}","timestamp"`,
    );
  const room = DEFAULT_MAX_LINE_BYTES + extra - event("").length;
  const long = event(`${'\\"'.repeat(Math.floor(room / 2))}${"x".repeat(room % 2)}`);
  const letters = LINES.toSpliced(1, 0, long).map((payload) => JSON.stringify({ kind: "event", payload }));
  const file = letters.map((line) => `${line}\n`).join("");
  const used = LINES.length + (extra > 0 ? 0 : 1);
  const counted = `events=${LINES.length + 1} used=${used} dropped=0 rejected=${extra > 0 ? 1 : 0}`;

  test("has that length", () => {
    expect(Buffer.byteLength(long)).toBe(DEFAULT_MAX_LINE_BYTES + extra);
    expect(Buffer.byteLength(letters[1]!)).toBeGreaterThan(1.9 * DEFAULT_MAX_LINE_BYTES);
  });

  test.each([
    ["a file", () => call(["run", "--from", temporary("dead.ndjson", file)])],
    ["standard input", () => call(["run"], { input: file })],
    ["standard input with a journal", () => call(["run", "--state-dir", temporary()], { input: file })],
  ])("is taken by the length of the event, from %s", async (_, program) => {
    const { status, stderr } = await run(program());
    expect(status).toBe(0);
    expect(stderr).toContain(counted);
  });

  test.each([
    ["", () => []],
    [" with a journal", () => ["--state-dir", temporary()]],
  ])("is taken by the length of the event, over HTTP%s", async (_, more) => {
    const started = start(call(["run", "--from", "http://127.0.0.1:0/", "--reorder-window", "0", ...more()]));
    await started.says("taking events from");
    const [, url = ""] = /from (http:\/\/[^;]+);/.exec(started.stderr) ?? [];
    const answer = await fetch(url, { method: "POST", body: file, headers: NDJSON });
    const { accepted, rejected } = (await answer.json()) as {
      accepted: number;
      rejected: { code: string }[];
    };
    expect([answer.status, accepted, rejected.map(({ code }) => code)]).toEqual([
      202,
      used,
      extra > 0 ? ["BEHEST_LINE_TOO_LONG"] : [],
    ]);
    await until(() => backend.taken.length === 2, "the spans of the run");
    started.child.kill("SIGTERM");
    expect((await started.ended).stderr).toContain(counted);
  });
});

describe("a file of dead letters that would feed itself is refused", () => {
  const says = (dead: string, name: string) =>
    `--dead-letter: ${dead} is the file that events are read from (${name}), and what is refused again would be ` +
    "read again for ever; expected another file\n";
  const dead = () => temporary("dead.ndjson", "{\n");

  async function refused(args: readonly string[], message: string): Promise<void> {
    const { status, stderr } = await run({ args });
    expect([status, stderr]).toEqual([
      2,
      `behest-otel ${args[0]}: ${message}Try: behest-otel ${args[0]} --help\n`,
    ]);
  }

  test("under its own name, by run and by replay", async () => {
    const path = dead();
    const other = join(RECORDINGS, "plain-answer.ndjson");
    await refused(["run", "--from", other, "--from", path, "--dead-letter", path], says(path, path));
    await refused(["replay", other, path, "--dead-letter", path], says(path, path));
  });

  test.skipIf(process.platform === "win32")("under another name, and through links of any kind", async () => {
    const path = dead();
    const folder = temporary();
    const [soft, hard, round] = [
      join(folder, "soft"),
      join(folder, "hard"),
      join(dirname(path), ".", "x", "..", "dead.ndjson"),
    ];
    symlinkSync(path, soft);
    linkSync(path, hard);
    mkdirSync(join(dirname(path), "x"));
    for (const name of [soft, hard, round]) {
      await refused(["run", "--from", path, "--dead-letter", name], says(name, path));
      await refused(["run", "--from", name, "--dead-letter", path], says(path, name));
    }
  });

  test.skipIf(process.platform === "win32")("before there is such a file, also through links", async () => {
    const [folder, link] = [temporary(), join(temporary(), "link")];
    symlinkSync(folder, link);
    symlinkSync(join(folder, "later.ndjson"), join(folder, "soft"));
    const path = join(folder, "later.ndjson");
    for (const name of [path, join(link, "later.ndjson"), join(folder, "soft"), join(link, "soft")]) {
      await refused(["run", "--follow", "--from", path, "--dead-letter", name], says(name, path));
    }
  });

  test.skipIf(process.platform === "win32")("as standard input", () => {
    const path = dead();
    const descriptor = openSync(path, "r");
    const { status, stderr } = spawnSync(process.execPath, [BIN, "run", "--dead-letter", path], {
      stdio: [descriptor, "pipe", "pipe"],
      encoding: "utf8",
    });
    closeSync(descriptor);
    expect([status, stderr]).toEqual([
      2,
      `behest-otel run: ${says(path, "standard input")}Try: behest-otel run --help\n`,
    ]);
  });

  test("but not another file in the same folder, nor a device", async () => {
    const path = dead();
    const other = join(dirname(path), "other.ndjson");
    expect(await run(call(["run", "--from", path, "--dead-letter", other]))).toMatchObject({ status: 0 });
    if (process.platform === "win32") return;
    expect(await run(call(["run", "--from", "/dev/null", "--dead-letter", "/dev/null"]))).toMatchObject({
      status: 0,
    });
  });
});
