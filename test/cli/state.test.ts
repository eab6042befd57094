import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { truthOf } from "../bridge/raw-truth.ts";
import { linesOf, recordingsOf } from "../bridge/recordings.ts";
import { lastPoints, total, valuesBy } from "../bridge/served-metrics.ts";
import { until } from "../bridge/turns.ts";
import { inspectState } from "../../src/state/inspect.ts";
import { take, type HttpAct } from "../otel/otlp-server.ts";
import { randomOf, seedFromEnvironment } from "../run/random.ts";
import { answerWith, backend, startLife } from "./bridge-life.ts";
import { run, temporary, type Started } from "./program.ts";
import { expectTruth, otherRun, usedUp } from "./truth.ts";

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

/** A life of the program. Everything is done often, so that a kill finds it in the middle of something. */
async function begin(
  stateDir: string,
  from: string,
): Promise<{ readonly life: Started; readonly url: string }> {
  const life = startLife({
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
  await life.says("taking events from");
  const [, url = ""] = /taking events from (\S+);/.exec(life.stderr) ?? [];
  return { life, url };
}

async function kill({ child, ended }: Started): Promise<void> {
  child.kill("SIGKILL");
  await ended;
}

const HOWS = [
  "while it sends",
  "when it has answered",
  "while it is asked",
  "when the journal has it",
] as const;

/** What becomes of the first requests of a life: they are answered with 503, or cut. */
const TROUBLES: readonly HttpAct[] = [{ act: "answer", status: 503 }, { act: "cut" }, { act: "hang up" }];
const TROUBLED = 3;
const troubles: string[] = [];

/** In the n-th life, what comes over the backend and passes. */
function troubleOf(n: number): () => HttpAct {
  const trouble = TROUBLES[n % TROUBLES.length]!;
  let left = TROUBLED;
  return () => {
    if (left === 0) return take;
    left -= 1;
    troubles.push(trouble.act);
    return trouble;
  };
}

describe(`a program that is killed again and again (SEED=${seed})`, () => {
  test("has delivered in the end all that was answered with 202, once in every counter", async () => {
    const stateDir = join(temporary(), "state");
    // What is still open when the program is asked to stop stays open in its state.
    const bodies = random.shuffled(runs.filter((lines) => truthOf(lines).runs.incomplete === 0));
    const truth = truthOf(bodies.flat());
    const hows = random.shuffled(Array.from({ length: KILLS }, (_, n) => HOWS[n % HOWS.length]!));
    let [posted, unanswered, kept] = [0, 0, 0];
    for (const [n, how] of hows.entries()) {
      const { life, url } = await begin(stateDir, "http://127.0.0.1:0/v1/events");
      const most = posted + random.between(1, Math.floor(bodies.length / KILLS));
      const requests = random.between(1, 12);
      const trouble = troubleOf(n);
      let seen = 0;
      const sending = new Promise<void>((resolve) => {
        answerWith(() => {
          seen += 1;
          if (how !== "while it sends" || seen < requests) return trouble();
          life.child.kill("SIGKILL");
          resolve();
          return { act: "hang up" };
        });
      });
      for (; posted < most; posted += 1) {
        const answer = await post(url, bodies[posted] ?? []);
        // Who got no answer sends it again.
        if (answer === undefined) {
          unanswered += bodies[posted]?.length ?? 0;
          break;
        }
        expect(answer.status).toBe(202);
      }
      if (how === "while it is asked") {
        const asked = post(url, bodies[posted] ?? []);
        await kill(life);
        if ((await asked) === undefined) unanswered += bodies[posted]?.length ?? 0;
        else posted += 1;
      }
      if (how === "when the journal has it") {
        const body = bodies[posted] ?? [];
        await postUnanswered(url, { stateDir, body });
        kept += body.length;
      }
      if (how === "while it sends") await sending;
      await kill(life);
    }
    answerWith(troubleOf(1));
    const { life, url } = await begin(stateDir, "http://127.0.0.1:0/v1/events");
    for (; posted < bodies.length; posted += 1) {
      expect((await post(url, bodies[posted] ?? []))?.status).toBe(202);
    }
    await until(() => usedUp(backend) === truth.events, `${truth.events} events to be used`);
    life.child.kill("SIGTERM");
    expect(await life.ended).toMatchObject({ status: 0 });
    expectTruth(backend, truth);
    const dropped = total(lastPoints(backend.requests), "behest.bridge.events.dropped");
    // What the journal had and was sent again; and what was sent again, whether the journal had it or not.
    expect(kept).toBeGreaterThan(0);
    expect(dropped).toBeGreaterThanOrEqual(kept);
    expect(dropped).toBeLessThanOrEqual(kept + unanswered);
    expect([...new Set(troubles)].toSorted()).toEqual(TROUBLES.map(({ act }) => act).toSorted());
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
    expectTruth(backend, truth);
    expect(total(lastPoints(backend.requests), "behest.bridge.events.dropped")).toBe(0);
  });
});

async function post(url: string, lines: readonly string[]): Promise<Response | undefined> {
  const headers = { "content-type": "application/x-ndjson" };
  return fetch(url, { method: "POST", body: lines.join("\n"), headers }).catch(() => undefined);
}

/**
 * Posts a body, and resolves when it is in the journal: the answer is on its way, or in the sender's socket, and the
 * sender never reads it.
 */
async function postUnanswered(
  url: string,
  { stateDir, body }: { readonly stateDir: string; readonly body: readonly string[] },
): Promise<void> {
  const [summary] = await inspectState(stateDir);
  const before = summary?.journal?.appended ?? 0;
  const { port, host, pathname } = new URL(url);
  const socket = connect(Number(port), "127.0.0.1").pause();
  await once(socket, "connect");
  const text = body.join("\n");
  const head = [`POST ${pathname} HTTP/1.1`, `host: ${host}`, "content-type: application/x-ndjson"];
  socket.write(`${head.join("\r\n")}\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
  await appended(stateDir, before + body.length);
  socket.destroy();
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
    expect(headings).toMatch(/^SOURCE +RECORDS +COMMITTED +EVENTS IN JOURNAL +READ UP TO +ON DISK +STARTS$/);
    expect(row).toMatch(new RegExp(`^stdin +\\d+ +20\\S+Z +${count}, 0 B kept +- +\\S+ KiB +1$`));

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
