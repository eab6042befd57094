import { appendFileSync, copyFileSync, existsSync, renameSync, truncateSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

import { beforeEach, describe, expect, test } from "vitest";

import { truthOf } from "../bridge/raw-truth.ts";
import { linesOf, recordingsOf } from "../bridge/recordings.ts";
import { lastPoints, total } from "../bridge/served-metrics.ts";
import { until } from "../bridge/turns.ts";
import { take } from "../otel/otlp-server.ts";
import { randomOf, seedFromEnvironment } from "../run/random.ts";
import { answerWith, backend, startLife } from "./bridge-life.ts";
import { run, temporary, type Started } from "./program.ts";
import { expectTruth, otherRun, usedUp } from "./truth.ts";

/** How often the program is killed. */
const KILLS = 12;
const COPIES = 3;

const seed = seedFromEnvironment();
const random = randomOf(seed);

/** Whole runs, several times under other ids, one after another. */
const runs = Array.from({ length: COPIES }, (_, copy) =>
  recordingsOf("")
    .filter(({ version }) => version === "0.5.9")
    .map(({ path }) => linesOf(path).map((line) => otherRun(line, copy))),
)
  .flat()
  .filter((lines) => truthOf(lines).runs.incomplete === 0);

let path: string;
let stateDir: string;
beforeEach(() => {
  path = temporary("events.ndjson");
  stateDir = join(dirname(path), "state");
});

/** A life of the program on the file. Everything is done often, so that a kill finds it in the middle of something. */
async function begin(): Promise<Started> {
  const often = ["--commit-interval", "20ms", "--reorder-window", "100ms"];
  const life = startLife({
    args: ["run", "--from", path, "--follow", "--state-dir", stateDir, ...often],
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: backend.url,
      OTEL_METRIC_EXPORT_INTERVAL: "50",
      OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "4",
    },
  });
  await life.says("taking events from");
  return life;
}

async function kill({ child, ended }: Started): Promise<void> {
  child.kill("SIGKILL");
  await ended;
}

/** As logrotate does it, to ever higher numbers. */
function rotate(how: "rename" | "copy and truncate"): void {
  let last = 0;
  while (existsSync(`${path}.${last + 1}`)) last += 1;
  for (let count = last; count > 0; count -= 1) renameSync(`${path}.${count}`, `${path}.${count + 1}`);
  if (how === "rename") {
    renameSync(path, `${path}.1`);
    writeFileSync(path, "");
  } else {
    copyFileSync(path, `${path}.1`);
    truncateSync(path);
  }
}

describe(`a file that is followed with --state-dir (SEED=${seed})`, () => {
  test("and rotated while the program is killed again and again is delivered once, in every counter", async () => {
    const lines = random.shuffled(runs).flat();
    const truth = truthOf(lines);
    const most = Math.ceil(lines.length / KILLS / 3);
    let fed = 0;
    const write = () => {
      const some = lines.slice(fed, fed + random.between(1, most));
      fed += some.length;
      const text = some.map((line) => `${line}\n`).join("");
      const cut = random.below(text.length);
      appendFileSync(path, text.slice(0, cut));
      appendFileSync(path, text.slice(cut));
    };
    write();
    for (let n = 0; n < KILLS; n += 1) {
      const life = await begin();
      // Before anything is committed a file is known by its name alone.
      if (n === 0) await until(() => usedUp(backend) > 0, "a first event to be committed");
      const requests = random.between(1, 12);
      let seen = 0;
      const killed = new Promise<void>((resolve) => {
        answerWith(() => {
          seen += 1;
          if (seen < requests) return take;
          life.child.kill("SIGKILL");
          resolve();
          return { act: "hang up" };
        });
      });
      write();
      if (random.chance(0.5)) rotate("rename");
      write();
      if (random.chance(0.7)) await killed;
      await kill(life);
      answerWith(() => take);
      for (let acts = random.below(4); acts > 0; acts -= 1) {
        if (random.chance(0.5)) write();
        else rotate(random.pick(["rename", "copy and truncate"]));
      }
    }
    const life = await begin();
    appendFileSync(
      path,
      lines
        .slice(fed)
        .map((line) => `${line}\n`)
        .join(""),
    );
    await until(() => usedUp(backend) === truth.events, `${truth.events} events to be used`);
    life.child.kill("SIGTERM");
    expect(await life.ended).toMatchObject({ status: 0 });
    expectTruth(backend, truth);
    expect(total(lastPoints(backend.requests), "behest.bridge.events.dropped")).toBe(0);
  });
});

test("a run that falls silent in a followed file expires, though nothing more is written", async () => {
  appendFileSync(path, `${runs[0]?.[0]}\n`);
  const args = ["run", "--from", path, "--follow", "--state-dir", stateDir, "--run-idle-timeout", "100ms"];
  const started = startLife({ args, env: { OTEL_EXPORTER_OTLP_ENDPOINT: backend.url } });
  await until(() => backend.taken.length > 0, "the run to expire");
  started.child.kill("SIGTERM");
  expect(await started.ended).toMatchObject({ status: 0 });
  expect(backend.taken).toHaveLength(1);
});

describe("a file that is read to its end with --state-dir", () => {
  const [first = [], second = []] = runs;
  const half = Math.floor(first.length / 2);

  async function readOn(
    cwd?: string,
    from = path,
  ): Promise<{ readonly used: number; readonly stderr: string }> {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: backend.url };
    const args = ["run", "--from", from, "--state-dir", stateDir];
    const { status, stderr } = await run({ args, env, ...(cwd !== undefined && { cwd }) });
    expect(status).toBe(0);
    return { used: usedUp(backend), stderr };
  }

  test("is read on where it was by the next run, from whatever directory that is started", async () => {
    const write = (lines: readonly string[]) =>
      appendFileSync(path, lines.map((line) => `${line}\n`).join(""));
    write(first);
    expect(await readOn()).toMatchObject({ used: first.length });
    write(second);
    expect(await readOn(dirname(path), basename(path))).toMatchObject({ used: first.length + second.length });
    expectTruth(backend, truthOf([...first, ...second]));
  });

  test("ends its open runs, and what comes of them later makes a further segment", async () => {
    const write = (lines: readonly string[]) =>
      appendFileSync(path, lines.map((line) => `${line}\n`).join(""));
    write(first.slice(0, half));
    await readOn();
    write(first.slice(half));
    await readOn();
    const roots = backend.taken.filter(({ name }) => name.startsWith("invoke_agent"));
    expect(roots).toHaveLength(2);
    expect(new Set(roots.map(({ traceId }) => traceId)).size).toBe(1);
    expect(usedUp(backend)).toBe(first.length);
  });

  test("has its position shown by state inspect", async () => {
    const text = first.map((line) => `${line}\n`).join("");
    appendFileSync(path, `${text}{"half`);
    const { stderr } = await readOn();
    expect(stderr).toContain("WARN  The last line has no end yet, and is left to the next run");
    const bytes = Buffer.byteLength(text);
    const people = await run({ args: ["state", "inspect", "--state-dir", stateDir] });
    expect(people.stdout.split("\n")[1]).toMatch(
      new RegExp(`^${path} +\\d+ +20\\S+Z +- +byte ${bytes} +\\S+ KiB +1$`),
    );
    const machines = await run({ args: ["state", "inspect", "--json", "--state-dir", stateDir] });
    expect(JSON.parse(machines.stdout)).toMatchObject({ name: path, readUpTo: bytes, journal: null });
    expect(machines.stdout).not.toContain("sha256");
  });
});
