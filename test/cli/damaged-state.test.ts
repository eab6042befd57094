import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, onTestFailed, test } from "vitest";

import * as wire from "../bridge/wire-runs.ts";
import { lastPoints, total } from "../bridge/served-metrics.ts";
import { until } from "../bridge/turns.ts";
import { FRAME_HEAD_BYTES, sealFrame } from "../../src/state/frame.ts";
import { backend, startLife } from "./bridge-life.ts";
import { run, temporary, type Ended, type Started } from "./program.ts";

const env = () => ({ OTEL_EXPORTER_OTLP_ENDPOINT: backend.url, OTEL_METRIC_EXPORT_INTERVAL: "50" });
const input = (n: number) => `${wire.linesOf(wire.standardRun(n)).join("\n")}\n`;
const EVENTS = wire.linesOf(wire.standardRun(0)).length;

async function readStdin(stateDir: string, n: number): Promise<Ended> {
  return run({ args: ["run", "--state-dir", stateDir], env: env(), input: input(n) });
}

/** A state with one run in it, and the file that it is in. */
async function filled(): Promise<{ readonly stateDir: string; readonly file: string }> {
  const stateDir = join(temporary(), "state");
  expect(await readStdin(stateDir, 0)).toMatchObject({ status: 0 });
  return { stateDir, file: stateFileIn(stateDir) };
}

function stateFileIn(stateDir: string, source = "stdin"): string {
  const folder = readdirSync(stateDir).find((name) => name.startsWith(source))!;
  const name = readdirSync(join(stateDir, folder)).find((each) => each.endsWith(".state"))!;
  return join(stateDir, folder, name);
}

/** In the middle, where a kill leaves no damage. */
function damage(file: string): void {
  const bytes = readFileSync(file);
  bytes.fill(0, FRAME_HEAD_BYTES, 2 * FRAME_HEAD_BYTES);
  writeFileSync(file, bytes);
}

/** Its header says another version, and is whole. */
function makeNewer(file: string): void {
  const bytes = readFileSync(file);
  const length = bytes.readUInt32LE(4);
  const at = bytes.indexOf('"version":1', 0, "latin1") + '"version":'.length;
  bytes.write("2", at, "latin1");
  sealFrame(bytes, 0, { length, seed: 0 });
  writeFileSync(file, bytes);
}

const RESET = "`behest-otel state reset` moves it aside, and counting begins anew";

describe.each([
  { what: "that is damaged", spoil: damage, said: "is damaged: " },
  {
    what: "of a newer version",
    spoil: makeNewer,
    said: "is of version 2, and this behest-otel reads version 1: run the one that wrote it",
  },
])("a state $what", ({ spoil, said }) => {
  test("is refused with status 2 and the way out, nothing is taken, and it stays as it is", async () => {
    const { stateDir, file } = await filled();
    spoil(file);
    const [bytes, names] = [readFileSync(file), readdirSync(join(file, ".."))];
    const requests = backend.requests.length;
    const { status, stderr } = await readStdin(stateDir, 1);
    expect([status, stderr]).toEqual([2, expect.stringContaining(said)]);
    expect(stderr).toContain(RESET);
    expect(stderr).toContain(join(file, ".."));
    expect(readFileSync(file).equals(bytes)).toBe(true);
    expect(readdirSync(join(file, ".."))).toEqual(names);
    expect(backend.requests).toHaveLength(requests);

    const reset = await run({ args: ["state", "reset", "--state-dir", stateDir] });
    expect(reset).toMatchObject({ status: 0 });
    expect(await readStdin(stateDir, 1)).toMatchObject({ status: 0 });
    expect(total(lastPoints(backend.requests), "behest.bridge.events.used")).toBe(EVENTS);
  });

  test("is found by a second process, and the first one, which runs on it, goes on", async () => {
    const stateDir = join(temporary(), "state");
    const life = begin("--state-dir", stateDir);
    await life.says("taking events from");
    life.child.stdin.write(input(0));
    await usedIs(EVENTS);
    spoil(stateFileIn(stateDir));
    expect(await readStdin(stateDir, 1)).toMatchObject({ status: 2, stderr: expect.stringContaining(said) });
    life.child.stdin.end(input(1));
    expect(await life.ended).toMatchObject({ status: 0 });
    expect(total(lastPoints(backend.requests), "behest.bridge.events.used")).toBe(2 * EVENTS);
    expect(backend.taken).toHaveLength(2 * wire.standardSpans());
  });

  test("is found by a process that reads something else as well: who runs on that goes on", async () => {
    const { stateDir, file } = await filled();
    spoil(file);
    const http = ["--from", "http://127.0.0.1:0/v1/events", "--state-dir", stateDir];
    const life = begin(...http);
    await life.says("taking events from");
    const [, url = ""] = /taking events from (\S+);/.exec(life.stderr) ?? [];
    const both = await run({ args: ["run", ...http, "--from", "-"], env: env(), input: input(1) });
    expect(both).toMatchObject({ status: 2, stderr: expect.stringContaining(said) });
    const headers = { "content-type": "application/x-ndjson" };
    expect((await fetch(url, { method: "POST", headers, body: input(1) })).status).toBe(202);
    life.child.kill("SIGTERM");
    expect(await life.ended).toMatchObject({ status: 0 });
  });
});

test("a place of the state that is a file, and one with a state of something else, is refused and left alone", async () => {
  const file = temporary("state", "precious");
  expect(await readStdin(file, 0)).toMatchObject({
    status: 2,
    stderr: expect.stringContaining(`${file} is a file; expected a directory`),
  });
  expect(readFileSync(file, "utf8")).toBe("precious");

  const { stateDir, file: own } = await filled();
  writeFileSync(own, "precious");
  mkdirSync(join(stateDir, "other"));
  const { status, stderr } = await readStdin(stateDir, 1);
  expect([status, stderr]).toEqual([2, expect.stringContaining(RESET)]);
  expect(readFileSync(own, "utf8")).toBe("precious");
});

function begin(...args: string[]): Started {
  const life = startLife({
    args: ["run", "--commit-interval", "20ms", "--reorder-window", "0", ...args],
    env: env(),
  });
  onTestFailed(() => console.error(life.stderr));
  return life;
}

async function usedIs(count: number): Promise<void> {
  const isThere = () =>
    backend.requests.some(({ signal }) => signal === "metrics") &&
    total(lastPoints(backend.requests), "behest.bridge.events.used") === count;
  await until(isThere, `${count} events to be committed`);
}
