import { readFileSync } from "node:fs";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { truthOf, type Truth } from "../bridge/raw-truth.ts";
import { linesOf, recordingsOf } from "../bridge/recordings.ts";
import { lastPoints, pointsOf, total, valuesBy } from "../bridge/served-metrics.ts";
import { until } from "../bridge/turns.ts";
import { inspectState } from "../../src/state/inspect.ts";
import { startHttpBackend, take, type OtlpServer, type ServedSpan } from "../otel/otlp-server.ts";
import { randomOf, seedFromEnvironment } from "../run/random.ts";
import { run, start, temporary, type Started } from "./program.ts";

/** How often the program is killed. */
const KILLS = 12;
/** How often every recording is sent, each time as other runs. */
const COPIES = 3;

const seed = seedFromEnvironment();
const random = randomOf(seed);

/** The lines of each recording, several times with other run ids. */
const runs = Array.from({ length: COPIES }, (_, copy) =>
  recordingsOf("")
    .filter(({ version }) => version === "0.5.9")
    .map(({ path }) => linesOf(path).map((line) => otherRun(line, copy))),
).flat();

function otherRun(line: string, copy: number): string {
  return line.replace(/"run_id":"([0-9a-f])/g, (_, digit: string) => {
    return `"run_id":"${((Number.parseInt(digit, 16) + copy) % 16).toString(16)}`;
  });
}

let backend: OtlpServer;
/** Called with every request that comes; true when it kills the program, which then gets no answer. */
let onRequest: () => boolean;
let started: Started | undefined;
beforeEach(async () => {
  onRequest = () => false;
  backend = await startHttpBackend(() => (onRequest() ? { act: "hang up" } : take));
});
afterEach(async () => {
  started?.child.kill("SIGKILL");
  started = undefined;
  await backend.close();
});

/** A life of the program. Everything is done often, so that a kill finds it in the middle of something. */
async function begin(
  stateDir: string,
  from: string,
): Promise<{ readonly life: Started; readonly url: string }> {
  const life = start({
    args: [
      "run",
      "--from",
      from,
      "--state-dir",
      stateDir,
      "--commit-interval",
      "20ms",
      "--reorder-window",
      "100ms",
    ],
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: backend.url,
      OTEL_METRIC_EXPORT_INTERVAL: "50",
      OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "4",
    },
  });
  started = life;
  await life.says("taking events from");
  const [, url = ""] = /taking events from (\S+);/.exec(life.stderr) ?? [];
  return { life, url };
}

async function kill({ child, ended }: Started): Promise<void> {
  child.kill("SIGKILL");
  await ended;
}

const usedUp = () => {
  const has = backend.requests.some(({ signal }) => signal === "metrics");
  return has ? total(lastPoints(backend.requests), "behest.bridge.events.used") : 0;
};

/** What came in the end is the truth, over all lives. */
function expectTruth(truth: Truth): void {
  expect(Object.fromEntries(spanTexts(backend.taken))).toEqual(
    Object.fromEntries(
      truth.spans.map(({ spanId, traceId, parentSpanId, name, start: begun, end }) => [
        spanId,
        { traceId, parentSpanId, name, start: begun, end },
      ]),
    ),
  );
  const points = lastPoints(backend.requests);
  expect(valuesBy(points, "behest.bridge.events.used", ["type"])).toEqual(truth.byType);
  expect(valuesBy(points, "behest.bridge.events.rejected", ["code"])).toEqual({});
  expect(valuesBy(points, "behest.run.ended", ["behest.run.outcome"])).toEqual(
    Object.fromEntries(Object.entries(truth.runs).filter(([, ended]) => ended > 0)),
  );
  expect(total(points, "behest.bridge.spans.exported")).toBe(truth.spans.length);
  expect(total(points, "behest.bridge.events.received")).toBe(
    truth.events + total(points, "behest.bridge.events.dropped"),
  );
  expect(total(points, "behest.bridge.events.waiting")).toBe(0);
  const metrics = backend.requests.filter(({ signal }) => signal === "metrics");
  // Before its first commit a state has not begun, and nothing is counted.
  const counting = metrics.filter((request) => total(pointsOf(request), "behest.bridge.events.used") > 0);
  const instances = counting.flatMap(({ json }) => instanceIn(json));
  expect(new Set(instances).size).toBe(1);
  const used = metrics.map((request) => total(pointsOf(request), "behest.bridge.events.used"));
  expect(used).toEqual(used.toSorted((a, b) => a - b));
}

function instanceIn(json: Readonly<Record<string, unknown>>): string[] {
  return JSON.stringify(json).match(/service\.instance\.id[^}]*/g) ?? [];
}

/** By id; that a span comes twice is no harm when it is the same to the byte. */
function spanTexts(spans: readonly ServedSpan[]): Map<string, Partial<ServedSpan>> {
  const texts = new Map<string, string>();
  for (const span of spans) {
    const text = JSON.stringify(span);
    expect(texts.get(span.spanId) ?? text).toBe(text);
    texts.set(span.spanId, text);
  }
  const told = spans.map(({ spanId, traceId, parentSpanId, name, start: begun, end }) => {
    return [spanId, { traceId, parentSpanId, name, start: begun, end }] as const;
  });
  return new Map(told);
}

describe(`a program that is killed again and again (SEED=${seed})`, () => {
  test("has delivered in the end all that was answered with 202, once in every counter", async () => {
    const stateDir = join(temporary(), "state");
    // What is still open when the program is asked to stop stays open in its state.
    const bodies = random.shuffled(runs.filter((lines) => truthOf(lines).runs.incomplete === 0));
    const truth = truthOf(bodies.flat());
    let [posted, repeated] = [0, 0];
    for (let n = 0; n < KILLS; n += 1) {
      const { life, url } = await begin(stateDir, "http://127.0.0.1:0/v1/events");
      const most = posted + random.between(1, Math.ceil(bodies.length / KILLS));
      const how = random.pick(["while it sends", "when it has answered", "while it is asked"]);
      const requests = random.between(1, 12);
      let seen = 0;
      const sending = new Promise<void>((resolve) => {
        onRequest = () => {
          seen += 1;
          if (how !== "while it sends" || seen < requests) return false;
          life.child.kill("SIGKILL");
          resolve();
          return true;
        };
      });
      for (; posted < Math.min(most, bodies.length); posted += 1) {
        const answer = await post(url, bodies[posted] ?? []);
        // Who got no answer sends it again.
        if (answer === undefined) {
          repeated += 1;
          break;
        }
        expect(answer.status).toBe(202);
      }
      if (how === "while it is asked" && posted < bodies.length) {
        const asked = post(url, bodies[posted] ?? []);
        await kill(life);
        if ((await asked) === undefined) repeated += 1;
        else posted += 1;
      }
      if (how === "while it sends") await sending;
      await kill(life);
      onRequest = () => false;
    }
    const { life, url } = await begin(stateDir, "http://127.0.0.1:0/v1/events");
    for (; posted < bodies.length; posted += 1) {
      expect((await post(url, bodies[posted] ?? []))?.status).toBe(202);
    }
    await until(() => usedUp() === truth.events, `${truth.events} events to be used`);
    life.child.kill("SIGTERM");
    expect(await life.ended).toMatchObject({ status: 0 });
    expectTruth(truth);
    const dropped = total(lastPoints(backend.requests), "behest.bridge.events.dropped");
    if (repeated === 0) expect(dropped).toBe(0);
  });

  test("has delivered in the end all that it had read from standard input, once in every counter", async () => {
    const stateDir = join(temporary(), "state");
    const lines = random.shuffled(runs).flat();
    const truth = truthOf(lines);
    let fed = 0;
    const feed = (life: Started, count: number) => {
      const some = lines.slice(fed, fed + count);
      fed += some.length;
      life.child.stdin.write(some.map((line) => `${line}\n`).join(""));
    };
    for (let n = 0; n < KILLS; n += 1) {
      const { life } = await begin(stateDir, "-");
      for (let part = random.between(1, 3); part > 0; part -= 1) {
        feed(life, random.between(1, Math.ceil(lines.length / KILLS / 3)));
        await appended(stateDir, fed);
      }
      await kill(life);
    }
    const { life } = await begin(stateDir, "-");
    feed(life, lines.length);
    life.child.stdin.end();
    expect(await life.ended).toMatchObject({ status: 0 });
    expectTruth(truth);
    expect(total(lastPoints(backend.requests), "behest.bridge.events.dropped")).toBe(0);
  });
});

async function post(url: string, lines: readonly string[]): Promise<Response | undefined> {
  const headers = { "content-type": "application/x-ndjson" };
  return fetch(url, { method: "POST", body: lines.join("\n"), headers }).catch(() => undefined);
}

/** Resolves when so many events are in the journal: what a kill leaves. */
async function appended(stateDir: string, count: number): Promise<void> {
  for (;;) {
    const [summary] = await inspectState(stateDir).catch(() => []);
    if ((summary?.journal?.appended ?? 0) >= count) return;
  }
}

describe("run --state-dir", () => {
  test("counts a line that is too long once, and keeps its beginning", async () => {
    const [stateDir, dead] = [join(temporary(), "state"), join(temporary(), "dead.ndjson")];
    const input = `${"x".repeat(1_100_000)}\n${runs[0]?.join("\n")}\n`;
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: backend.url };
    const args = ["run", "--state-dir", stateDir, "--dead-letter", dead];
    expect(await run({ args, env, input })).toMatchObject({ status: 0 });
    const letter = JSON.parse(readFileSync(dead, "utf8")) as Record<string, unknown>;
    expect(letter).toMatchObject({ code: "BEHEST_LINE_TOO_LONG", source: "stdin", bytes: 1_100_000 });
    expect(letter["payload"]).toHaveLength(65_536);
    const rejected = valuesBy(lastPoints(backend.requests), "behest.bridge.events.rejected", ["code"]);
    expect(rejected).toEqual({ BEHEST_LINE_TOO_LONG: 1 });
  });
});

test("a shard that finds the state of another number of shards refuses to start, and says so", async () => {
  const stateDir = join(temporary(), "state");
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: backend.url };
  const args = (shard: string) => ["run", "--state-dir", stateDir, "--shard", shard];
  const input = `${runs[0]?.join("\n")}\n`;
  expect(await run({ args: args("0/2"), env, input })).toMatchObject({ status: 0 });
  const other = await run({ args: args("0/3"), env, input });
  expect([other.status, other.stderr]).toEqual([2, expect.stringContaining("found the state of 2")]);
  expect(await run({ args: args("0/2"), env, input })).toMatchObject({ status: 0 });
});

describe("state", () => {
  async function filled(): Promise<string> {
    const stateDir = join(temporary(), "state");
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: backend.url };
    const input = `${runs[0]?.join("\n")}\n`;
    expect(await run({ args: ["run", "--state-dir", stateDir], env, input })).toMatchObject({ status: 0 });
    return stateDir;
  }

  test("inspect says what there is of each source, to people and to machines", async () => {
    const stateDir = await filled();
    const count = runs[0]?.length ?? 0;
    const people = await run({ args: ["state", "inspect", "--state-dir", stateDir] });
    expect(people).toMatchObject({ status: 0, stderr: "" });
    const [headings, row] = people.stdout.split("\n");
    expect(headings).toMatch(/^SOURCE +RECORDS +COMMITTED +EVENTS IN JOURNAL +ON DISK +STARTS$/);
    expect(row).toMatch(new RegExp(`^stdin +\\d+ +20\\S+Z +${count}, 0 B kept +\\S+ KiB +1$`));

    const machines = await run({
      args: ["state", "inspect", "--json"],
      env: { BEHEST_OTEL_STATE_DIR: stateDir },
    });
    expect(JSON.parse(machines.stdout)).toMatchObject({
      name: "stdin",
      version: 1,
      epoch: 1,
      journal: { appended: count, bytes: 0 },
      problem: null,
    });
  });

  test("reset says what it moved where, and the next process counts anew", async () => {
    const stateDir = await filled();
    const [before] = await inspectState(stateDir);
    const reset = await run({ args: ["state", "reset", "--state-dir", stateDir] });
    const moved = new RegExp(
      `^${before?.folder}: its state was moved to ${before?.folder}\\.\\d+T\\d+Z\\.old\n$`,
    );
    expect([reset.status, reset.stdout]).toEqual([0, expect.stringMatching(moved)]);
    const [after] = await inspectState(stateDir);
    expect(after).toMatchObject({ name: "stdin", records: 0 });
  });

  test("of a directory without one says so", async () => {
    const stateDir = temporary();
    for (const [action, said] of [
      ["inspect", "there is no state"],
      ["reset", "there is no state to set aside"],
    ] as const) {
      const { status, stdout } = await run({ args: ["state", action, "--state-dir", stateDir] });
      expect([status, stdout]).toEqual([0, `${stateDir}: ${said}\n`]);
    }
  });
});
