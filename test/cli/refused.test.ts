import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { lastPoints, total, valuesBy } from "../bridge/served-metrics.ts";
import { until } from "../bridge/turns.ts";
import { backend, startLife } from "./bridge-life.ts";
import { temporary, type Started } from "./program.ts";

/** The running bridge, and where it takes events. */
async function begin(...args: string[]): Promise<{ readonly life: Started; readonly url: string }> {
  const life = startLife({
    args: ["run", "--from", "http://127.0.0.1:0", "--commit-interval", "20ms", ...args],
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: backend.url, OTEL_METRIC_EXPORT_INTERVAL: "50" },
  });
  await life.says("taking events from");
  const [, url = ""] = /taking events from (\S+);/.exec(life.stderr) ?? [];
  return { life, url };
}

async function refuse(url: string, contentType: string): Promise<number> {
  const headers = { "content-type": contentType };
  return (await fetch(url, { method: "POST", headers, body: "no event" })).status;
}

const points = () =>
  backend.requests.some(({ signal }) => signal === "metrics") ? lastPoints(backend.requests) : [];
const refusals = () => valuesBy(points(), "behest.bridge.source.refused", ["reason"]);

test("refused requests are counted, also without a state, and each reason exists at 0", async () => {
  const { life, url } = await begin();
  expect(await refuse(url, "text/plain")).toBe(415);
  expect(await refuse(url, "application/json")).toBe(400);
  life.child.kill("SIGTERM");
  expect(await life.ended).toMatchObject({ status: 0 });
  expect(refusals()).toEqual({ content_type: 1, malformed: 1 });
  const series = points().filter(({ metric }) => metric === "behest.bridge.source.refused");
  expect(series).toHaveLength(9);
  expect(series.map(({ attributes }) => attributes["source"])).toEqual(Array(9).fill(url));
});

test("with a state they go on after a kill, and the state's size is that of its file", async () => {
  const stateDir = join(temporary(), "state");
  const { life, url } = await begin("--state-dir", stateDir);
  expect(await refuse(url, "text/plain")).toBe(415);
  await until(() => refusals()["content_type"] === 1, "the refusal is committed and told");
  life.child.kill("SIGKILL");
  await life.ended;

  const other = await begin("--state-dir", stateDir);
  expect(await refuse(other.url, "text/plain")).toBe(415);
  await until(() => refusals()["content_type"] === 2, "both are told");
  other.life.child.kill("SIGTERM");
  expect(await other.life.ended).toMatchObject({ status: 0 });
  const folder = join(stateDir, readdirSync(stateDir)[0] ?? "");
  const file = readdirSync(folder).find((name) => name.endsWith(".state")) ?? "";
  const told = total(points(), "behest.bridge.state.size");
  // What is told was looked at when a commit began.
  expect(told).toBeGreaterThan(500);
  expect(told).toBeLessThanOrEqual(statSync(join(folder, file)).size);
});
