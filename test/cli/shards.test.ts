import { readFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { linesOf, recording } from "../bridge/recordings.ts";
import { inspectState } from "../../src/state/inspect.ts";
import { startHttpBackend, type OtlpServer } from "../otel/otlp-server.ts";
import { run, start, temporary } from "./program.ts";

let backend: OtlpServer;
beforeAll(async () => {
  backend = await startHttpBackend();
});
afterAll(() => backend.close());

const [one, other] = [recording("0.5.9", "parallel-tools"), recording("0.5.9", "plain-answer")];

describe("the number of shards", () => {
  const env = () => ({ OTEL_EXPORTER_OTLP_ENDPOINT: backend.url });
  const input = readFileSync(one.path);
  const args = (stateDir: string, shard?: string) =>
    ["run", "--state-dir", stateDir].concat(shard === undefined ? [] : ["--shard", shard]);

  test.each([
    ["of its own state", "0/2", "0/3", "found the state of 2 shards"],
    ["of a state without shards", undefined, "0/2", "found that of 1 process for all runs"],
    ["of a state without shards, as another shard", undefined, "5/6", "found that of 1 process for all runs"],
    ["of a first shard, without shards", "0/2", undefined, "found the state of 2 shards"],
    ["of a second shard, without shards", "1/2", undefined, "found the state of 2 shards"],
    ["of a first shard, when there are more", "0/2", "2/3", "found the state of 2 shards"],
    ["of a second shard, when there are less", "1/3", "0/2", "found the state of 3 shards"],
  ])("is refused when it is not that %s, until that is reset", async (_, before, after, found) => {
    const stateDir = join(temporary(), "state");
    expect(await run({ args: args(stateDir, before), env: env(), input })).toMatchObject({ status: 0 });
    const refused = await run({ args: args(stateDir, after), env: env(), input });
    expect([refused.status, refused.stderr]).toEqual([2, expect.stringContaining(found)]);
    expect(refused.stderr).toContain(stateDir);
    expect(await run({ args: args(stateDir, before), env: env(), input })).toMatchObject({ status: 0 });
    expect(await run({ args: ["state", "reset", "--state-dir", stateDir] })).toMatchObject({ status: 0 });
    expect(await run({ args: args(stateDir, after), env: env(), input })).toMatchObject({ status: 0 });
  });

  test("is refused for a file that is read on from its state as well", async () => {
    const [stateDir, file] = [join(temporary(), "state"), temporary("events.ndjson", input)];
    const call = (shard?: string) => ({ args: [...args(stateDir, shard), "--from", file], env: env() });
    for (const shard of ["0/2", "1/2"]) expect(await run(call(shard))).toMatchObject({ status: 0 });
    const { status, stderr } = await run(call());
    expect([status, stderr]).toEqual([2, expect.stringContaining("found the state of 2 shards")]);
  });

  test("that is 1 is no number of shards", async () => {
    const stateDir = join(temporary(), "state");
    expect(await run({ args: args(stateDir), env: env(), input })).toMatchObject({ status: 0 });
    expect(await run({ args: args(stateDir, "0/1"), env: env(), input })).toMatchObject({ status: 0 });
    expect(await inspectState(stateDir)).toHaveLength(1);
  });

  test("is refused without a word to the process that runs, which goes on", async () => {
    const [stateDir, report] = [join(temporary(), "state"), join(temporary(), "report.json")];
    const more = ["--commit-interval", "20ms", "--report", report];
    const running = start({ args: [...args(stateDir), ...more], env: env() });
    try {
      running.child.stdin.write(input);
      await committed(stateDir);
      expect(await run({ args: args(stateDir, "1/2"), env: env() })).toMatchObject({ status: 2 });
      running.child.stdin.end(readFileSync(other.path));
      expect(await running.ended).toMatchObject({ status: 0 });
    } finally {
      running.child.kill("SIGKILL");
    }
    const { events } = JSON.parse(readFileSync(report, "utf8")) as { events: { used: number } };
    expect(events.used).toBe(linesOf(one.path).length + linesOf(other.path).length);
  });
});

/** Resolves when something is committed, and the state says how many processes it is for. */
async function committed(stateDir: string): Promise<void> {
  for (;;) {
    const [summary] = await inspectState(stateDir).catch(() => []);
    if ((summary?.records ?? 0) > 0) return;
  }
}
