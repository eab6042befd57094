import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { chainSource } from "../../src/source/chain.ts";
import { fileSource } from "../../src/source/file.ts";
import { followSource } from "../../src/source/follow.ts";
import { streamSource } from "../../src/source/stream.ts";
import { PassThrough } from "node:stream";
import { startHttpBackend, take, type HttpAct, type OtlpServer } from "../otel/otlp-server.ts";
import { envFor, runOver } from "./bridge-run.ts";
import { feed, linewise } from "./feed.ts";
import { lastPoints, valuesBy } from "./served-metrics.ts";
import { until } from "./turns.ts";
import * as wire from "./wire-runs.ts";

let backend: OtlpServer;
let directory: string;
let act: () => HttpAct | Promise<HttpAct>;
beforeEach(async () => {
  act = () => take;
  backend = await startHttpBackend(({ signal }) => (signal === "traces" ? act() : take));
  directory = mkdtempSync(join(tmpdir(), "behest-otel-"));
});
afterEach(async () => {
  await backend.close();
  rmSync(directory, { recursive: true });
});

const run = (n: number) => wire.linesOf(wire.standardRun(n, { modelCalls: 1, deltas: 3 }));
const SPANS = wire.standardSpans({ modelCalls: 1 });
const traces = () => new Set(backend.taken.map(({ traceId }) => traceId)).size;

test("several sources are read side by side, each a pipeline of its own, and counted together", async () => {
  const ten = Array.from({ length: 10 }, (_, n) => linewise(run(n), `source ${n}`));
  const { report } = await runOver({ from: ten, env: envFor(backend.url) });
  expect(report.runs).toEqual({ completed: 10, failed: 0, cancelled: 0, incomplete: 0 });
  expect([backend.taken.length, traces()]).toEqual([10 * SPANS, 10]);
  expect(valuesBy(lastPoints(backend.requests), "behest.run.ended", ["behest.run.outcome"])).toEqual({
    completed: 10,
  });
});

test("a source that breaks stops the others, and everything that was read is delivered before it is told", async () => {
  const [broken, quiet] = [feed("broken"), feed("quiet")];
  broken.push(...run(1));
  quiet.push(...run(2));
  const ending = runOver({ from: [broken, quiet], env: envFor(backend.url) });
  await Promise.all([broken.hungry(), quiet.hungry()]);
  const error = new Error("the disk is gone");
  broken.fail(error);
  const { failure, report } = await ending;
  expect(failure).toBe(error);
  expect([backend.taken.length, report.spans.exported]).toEqual([2 * SPANS, 2 * SPANS]);
});

test("what another source hands out while one breaks is delivered as well", async () => {
  const broken = feed("broken");
  const late = Promise.withResolvers<void>();
  let asked = 0;
  const slow = {
    ...linewise([], "slow"),
    // It was asked before the stop, and answers after it.
    next: async () => {
      asked += 1;
      if (asked > 1) return undefined;
      await late.promise;
      const bytes = Buffer.from(`${run(2).join("\n")}\n`);
      return { kind: "chunk", bytes, position: { file: "slow", offset: 0 } } as const;
    },
  };
  const ending = runOver({ from: [broken, slow], env: envFor(backend.url) });
  await broken.hungry();
  broken.fail(new Error("gone"));
  setImmediate(() => late.resolve());
  const { report } = await ending;
  expect(report.events.used).toBe(run(2).length);
  expect(report.runs.completed).toBe(1);
  expect([backend.taken.length, report.spans.exported]).toEqual([SPANS, SPANS]);
});

test("a pipe that trickles byte by byte is read as it comes", async () => {
  const pipe = new PassThrough();
  const source = streamSource("stdin", pipe);
  const ending = runOver({ from: [source], env: envFor(backend.url) });
  const bytes = Buffer.from(`${run(1).join("\n")}\n`);
  for (let at = 0; at < bytes.length; at += 7) {
    pipe.write(bytes.subarray(at, at + 7));
    if (at % 70 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  // The run is delivered while the pipe is still open.
  await until(() => backend.taken.length === SPANS, "the spans of the run came");
  pipe.end();
  expect((await ending).report.events.used).toBe(run(1).length);
});

test("an older recording read after a newer one is whole: source time does not go back, and nothing is silent", async () => {
  const older = wire.linesOf(wire.standardRun(1, { modelCalls: 1, deltas: 3 }));
  const newer = older.map((line) =>
    line.replaceAll(wire.runIdOf(1), wire.runIdOf(2)).replaceAll("2025-06-01T", "2025-06-03T"),
  );
  for (const heart of [{}, { reorderWindowMs: 2_000 }]) {
    const before = backend.taken.length;
    const { report } = await runOver({
      from: [linewise([...newer, ...older])],
      env: envFor(backend.url),
      heart,
    });
    expect(report.runs).toEqual({ completed: 2, failed: 0, cancelled: 0, incomplete: 0 });
    expect(backend.taken.length - before).toBe(2 * SPANS);
  }
});

test("the last line of a file is an event although it has no end, and the next file begins with its own", async () => {
  const [a, b] = [join(directory, "a.ndjson"), join(directory, "b.ndjson")];
  writeFileSync(a, run(1).slice(0, 5).join("\n"));
  writeFileSync(b, run(1).slice(5).join("\n"));
  const { report } = await runOver({
    from: [chainSource([fileSource(a), fileSource(b)])],
    env: envFor(backend.url),
  });
  expect(report.events).toEqual({ received: run(1).length, used: run(1).length, dropped: {}, rejected: {} });
  expect(report.runs.completed).toBe(1);
});

test("a followed file is read through rotation, truncation and a new beginning, every run whole", async () => {
  const path = join(directory, "events.ndjson");
  const { signal, stop } = stoppable();
  const source = followSource(path, { log: silent });
  const ending = runOver({ from: [source], env: envFor(backend.url), signal });

  writeFileSync(path, `${run(1).slice(0, 4).join("\n")}\n${run(1)[4]!.slice(0, 20)}`);
  appendFileSync(path, `${run(1)[4]!.slice(20)}\n${run(1).slice(5).join("\n")}\n`);
  await until(() => traces() === 1 && backend.taken.length === SPANS, "the first run");
  // Renamed in the middle of a run, written on for a while, and then begun anew.
  appendFileSync(path, `${run(2).slice(0, 5).join("\n")}\n`);
  renameSync(path, `${path}.1`);
  appendFileSync(`${path}.1`, `${run(2).slice(5, 7).join("\n")}\n`);
  writeFileSync(path, `${run(2).slice(7).join("\n")}\n`);
  await until(() => backend.taken.length === 2 * SPANS, "the second run, across the rotation");
  truncateSync(path);
  appendFileSync(path, `${run(3).join("\n")}\n`);
  await until(() => backend.taken.length === 3 * SPANS, "the third run, after the truncation");

  stop();
  const { report } = await ending;
  expect(report.runs).toEqual({ completed: 3, failed: 0, cancelled: 0, incomplete: 0 });
  expect(report.events).toMatchObject({ dropped: {}, rejected: {} });
});

test("half a line at a stop is no event: whoever reads on may see the whole of it", async () => {
  const source = feed();
  const { signal, stop } = stoppable();
  const ending = runOver({ from: [source], env: envFor(backend.url), signal });
  const [first, second] = run(1);
  // push() ends each with a line feed, so the half line is a chunk of its own without one.
  source.push(first!);
  await source.hungry();
  const half = { ...feed("half"), next: halfOf(second!) };
  const other = runOver({ from: [half], env: envFor(backend.url), signal });
  await until(() => half.next.given, "the half line was read");
  stop();
  expect((await ending).report.events).toMatchObject({ received: 1, used: 1 });
  expect((await other).report.events).toMatchObject({ received: 0, rejected: {} });
});

test("a slow backend holds up the source: not more is read than can wait", async () => {
  const gate = Promise.withResolvers<HttpAct>();
  act = () => gate.promise;
  const source = feed();
  const chunks = 400;
  for (let n = 0; n < chunks; n += 1) {
    source.push(...run(n), ...run(n + 10_000), ...run(n + 20_000), ...run(n + 30_000));
  }
  source.end();
  const ending = runOver({ from: [source], env: envFor(backend.url) });
  await until(() => source.handedOut > 300, "much was read");
  const before = source.handedOut;
  for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  // 8 batches of 512 spans may wait; each chunk makes 12.
  expect(source.handedOut).toBe(before);
  expect(before).toBeLessThan((8 * 512) / 12 + 2);
  gate.resolve(take);
  act = () => take;
  const { report } = await ending;
  expect(report.spans).toEqual({ exported: chunks * 4 * SPANS, failed: 0 });
  expect(backend.taken.length).toBe(chunks * 4 * SPANS);
});

const silent = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };

function stoppable(): { signal: AbortSignal; stop: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, stop: () => controller.abort() };
}

type Next = ReturnType<typeof feed>["next"];

/** Gives the first half of a line and then nothing until it is stopped. */
function halfOf(line: string): Next & { given: boolean } {
  const next: Next = async (signal) => {
    if (!self.given) {
      self.given = true;
      const bytes = Buffer.from(line.slice(0, line.length / 2));
      return { kind: "chunk", bytes, position: { file: "half", offset: 0 } };
    }
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    return undefined;
  };
  const self = Object.assign(next, { given: false });
  return self;
}
