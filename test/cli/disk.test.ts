import { execFileSync } from "node:child_process";
import { chmodSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, onTestFailed, test } from "vitest";

import * as wire from "../bridge/wire-runs.ts";
import { lastPoints, pointsOf, total } from "../bridge/served-metrics.ts";
import { until } from "../bridge/turns.ts";
import { startHttpBackend, take, type HttpAct, type OtlpServer } from "../otel/otlp-server.ts";
import { start, temporary, type Call, type Started } from "./program.ts";

/** A limit on the length of files stands for a full disk, which not everybody may mount: see test/state/disk.test.ts. */
const FULL = "1000:";
/** What makes the rights of a directory hold for the superuser too. */
const BOUND = process.getuid?.() === 0 ? ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] : [];

let backend: OtlpServer;
let act: HttpAct;
let started: Started | undefined;
beforeEach(async () => {
  act = take;
  backend = await startHttpBackend(() => act);
});
afterEach(async () => {
  started?.child.kill("SIGKILL");
  started = undefined;
  await backend.close();
});

function begin(args: readonly string[], before: readonly string[] = []): Started {
  const [first = process.execPath, ...rest] = before;
  const node: Call["node"] = before.length === 0 ? [first] : [first, ...rest, process.execPath];
  started = start({
    args: ["run", "--commit-interval", "20ms", "--reorder-window", "0", ...args],
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: backend.url, OTEL_METRIC_EXPORT_INTERVAL: "50" },
    node,
  });
  const life = started;
  onTestFailed(() => console.error(life.stderr));
  return life;
}

/** As if its disk were full, or had room again. */
function setFull({ child }: Started, full: boolean): void {
  execFileSync("prlimit", ["--pid", String(child.pid), `--fsize=${full ? FULL : "unlimited:"}`]);
}

async function post(url: string, run: number): Promise<Response> {
  const headers = { "content-type": "application/x-ndjson" };
  const body = wire.linesOf(wire.standardRun(run)).join("\n");
  return fetch(url, { method: "POST", headers, body });
}

const EVENTS = wire.linesOf(wire.standardRun(0)).length;

/** How many events were committed, as the backend was told last: while no state can be written only gauges come. */
function committed(): number {
  const told = backend.requests.map((request) => total(pointsOf(request), "behest.bridge.events.used"));
  return told.findLast((used) => used > 0) ?? 0;
}

const count = (text: string, part: string) => text.split(part).length - 1;

// Limits on files and rights for the superuser are those of Linux.
describe.skipIf(process.platform !== "linux")("a state directory", () => {
  test("on a full disk is told of: senders get 503, nothing is acknowledged, and all goes on when there is room", async () => {
    const stateDir = join(temporary(), "state");
    const life = begin(["--from", "http://127.0.0.1:0", "--health", "127.0.0.1:0", "--state-dir", stateDir]);
    await life.says("taking events from");
    const [, url = ""] = /taking events from (\S+);/.exec(life.stderr) ?? [];
    const [, health = ""] = /answering to health checks on (http:\/\/[^/]+)/.exec(life.stderr) ?? [];
    const ready = async () => fetch(`${health}/readyz`);
    expect((await post(url, 0)).status).toBe(202);
    await until(() => committed() === EVENTS, "the first run to be committed");
    expect((await ready()).status).toBe(200);

    // The second run is in the journal, and the backend is away until the disk is full.
    act = { act: "answer", status: 503, headers: { "retry-after": "0" } };
    expect((await post(url, 1)).status).toBe(202);
    setFull(life, true);
    act = take;
    const refused = await post(url, 2);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "5"]);
    await life.says("ERROR the state cannot be written, nothing is acknowledged");
    const answer = await ready();
    expect([answer.status, await answer.json()]).toEqual([
      503,
      expect.objectContaining({ sources: [expect.objectContaining({ written: false })] }),
    ]);
    expect(life.stderr).toContain("make room on the disk");
    const readings = backend.requests.length;
    await until(() => backend.requests.length > readings + 5, "metrics go on");
    expect(committed()).toBe(EVENTS);

    setFull(life, false);
    await life.says("the state is written again");
    await until(() => committed() === 2 * EVENTS, "the second run to be committed");
    expect((await post(url, 2)).status).toBe(202);
    await until(() => committed() === 3 * EVENTS, "the third run to be committed");
    expect((await ready()).status).toBe(200);
    life.child.kill("SIGTERM");
    expect(await life.ended).toMatchObject({ status: 0 });
    expect(total(lastPoints(backend.requests), "behest.bridge.events.received")).toBe(3 * EVENTS);
    expect(backend.taken).toHaveLength(3 * wire.standardSpans());
    // Each once, however often it was tried.
    expect(count(life.stderr, " ERROR ")).toBe(1);
    expect(count(life.stderr, "refused until they can be written")).toBe(1);
  });

  test("on a full disk holds up who writes to standard input, until there is room", async () => {
    const stateDir = join(temporary(), "state");
    const life = begin(["--state-dir", stateDir]);
    await life.says("taking events from");
    setFull(life, true);
    life.child.stdin.end(`${wire.linesOf(wire.standardRun(0)).join("\n")}\n`);
    await life.says("nothing more is read until it can");
    expect(committed()).toBe(0);
    setFull(life, false);
    expect(await life.ended).toMatchObject({ status: 0 });
    expect(committed()).toBe(EVENTS);
    expect(backend.taken).toHaveLength(wire.standardSpans());
  });

  test("on a full disk from the start takes in nothing, and a stop says with status 1 that not all was delivered", async () => {
    const stateDir = join(temporary(), "state");
    const life = begin(["--state-dir", stateDir, "--flush-timeout", "200ms"], ["prlimit", `--fsize=${FULL}`]);
    life.child.stdin.end(`${wire.linesOf(wire.standardRun(0)).join("\n")}\n`);
    await life.says("nothing more is read until it can");
    life.child.kill("SIGTERM");
    const { status, stderr } = await life.ended;
    expect([status, stderr]).toEqual([1, expect.stringContaining("make room on the disk")]);
    const lost = `: ${EVENTS} lines that were read could not be written to the journal before the stop, and are lost`;
    expect(stderr).toContain(lost);
    expect([committed(), backend.taken]).toEqual([0, []]);
  });

  test("that may not be written to is refused at the start, with status 2 and nothing taken", async () => {
    const stateDir = temporary();
    chmodSync(stateDir, 0o500);
    const life = begin(["--state-dir", stateDir], BOUND);
    life.child.stdin.end(`${wire.linesOf(wire.standardRun(0)).join("\n")}\n`);
    const { status, stderr } = await life.ended;
    const wayOut = "it has to be a directory on a local disk that this user may write to";
    expect([status, stderr]).toEqual([2, expect.stringContaining(wayOut)]);
    expect(stderr).toContain(stateDir);
    expect([readdirSync(stateDir), backend.requests]).toEqual([[], []]);
  });
});
