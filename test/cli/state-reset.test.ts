import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import * as wire from "../bridge/wire-runs.ts";
import { pointsOf, total } from "../bridge/served-metrics.ts";
import { startHttpBackend, take, type OtlpServer, type Served } from "../otel/otlp-server.ts";
import { run, temporary } from "./program.ts";

let backend: OtlpServer;
beforeEach(async () => {
  backend = await startHttpBackend(() => take);
});
afterEach(() => backend.close());

const LINES = wire.linesOf(wire.standardRun(0));
const OTHER = wire.linesOf(wire.standardRun(1));

async function reads(stateDir: string, lines: readonly string[]): Promise<readonly Served[]> {
  const from = backend.requests.length;
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: backend.url };
  const input = `${lines.join("\n")}\n`;
  expect(await run({ args: ["run", "--state-dir", stateDir], env, input })).toMatchObject({ status: 0 });
  return backend.requests.slice(from);
}

/** What a process said of itself in its metrics. */
function toldBy(requests: readonly Served[]) {
  const metrics = requests.filter(({ signal }) => signal === "metrics");
  const points = pointsOf(metrics.at(-1)!);
  const used = points.filter(({ metric }) => metric === "behest.bridge.events.used");
  return {
    instances: [
      ...new Set(
        metrics.flatMap(({ json }) => /service\.instance\.id[^}]*/.exec(JSON.stringify(json)) ?? []),
      ),
    ],
    starts: [...new Set(used.map(({ start }) => start))],
    received: total(points, "behest.bridge.events.received"),
    used: total(points, "behest.bridge.events.used"),
    dropped: total(points, "behest.bridge.events.dropped"),
    runs: total(points, "behest.run.ended"),
  };
}

const spansOf = (requests: readonly Served[]) =>
  requests.flatMap(({ spans }) => spans.map((span) => ({ ...span, resource: undefined })));

test("after a reset counters begin at 0 under a new instance id, and what comes again has the same spans", async () => {
  const stateDir = join(temporary(), "state");
  const before = await reads(stateDir, LINES);
  const goingOn = toldBy(await reads(stateDir, [...LINES, ...OTHER]));
  const first = toldBy(before);
  expect(first).toMatchObject({ received: LINES.length, used: LINES.length, dropped: 0, runs: 1 });
  // Without a reset the next process goes on, and knows what comes again.
  expect(goingOn).toEqual({
    instances: first.instances,
    starts: first.starts,
    received: 2 * LINES.length + OTHER.length,
    used: LINES.length + OTHER.length,
    dropped: LINES.length,
    runs: 2,
  });

  expect(await run({ args: ["state", "reset", "--state-dir", stateDir] })).toMatchObject({ status: 0 });
  const after = await reads(stateDir, LINES);
  const anew = toldBy(after);
  expect(anew).toMatchObject({ received: LINES.length, used: LINES.length, dropped: 0, runs: 1 });
  expect([anew.instances.length, anew.starts.length]).toEqual([1, 1]);
  expect(anew.instances).not.toEqual(first.instances);
  expect(Number(anew.starts[0])).toBeGreaterThan(Number(first.starts[0]));
  expect(spansOf(before)).toHaveLength(wire.standardSpans());
  expect(spansOf(after)).toEqual(spansOf(before));
});
