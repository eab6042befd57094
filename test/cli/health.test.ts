import { once } from "node:events";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { startHttpBackend, take, type HttpAct, type OtlpServer } from "../otel/otlp-server.ts";
import { run, start, type Started } from "./program.ts";

let backend: OtlpServer;
let answer: HttpAct;
let started: Started | undefined;

beforeEach(async () => {
  answer = take;
  backend = await startHttpBackend(() => answer);
});
afterEach(async () => {
  started?.child.kill("SIGKILL");
  started = undefined;
  await backend.close();
});

/** The running bridge, and where it answers to health checks. */
async function startBridge(): Promise<string> {
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: backend.url, OTEL_METRIC_EXPORT_INTERVAL: "50" };
  started = start({ args: ["run", "--health", "127.0.0.1:0", "--flush-timeout", "100ms"], env });
  await started.says("answering to health checks");
  const [, base = ""] = /(http:\/\/[^/]+)\/healthz/.exec(started.stderr) ?? [];
  return base;
}

describe("--health", () => {
  test("says that the bridge lives and is ready, and how delivery is going", async () => {
    const base = await startBridge();
    const [live, ready, other] = await Promise.all(
      ["healthz", "readyz", "metrics"].map((path) => fetch(`${base}/${path}`)),
    );
    expect([live?.status, ready?.status, other?.status]).toEqual([200, 200, 404]);
    expect(await live?.json()).toMatchObject({
      status: "ok",
      signals: { traces: { phase: "idle" } },
      sources: [{ source: "stdin", waitsFor: "source", reachable: true }],
    });
    started?.child.stdin.end();
    expect(await started?.ended).toMatchObject({ status: 0 });
  });

  test("is alive and not ready while the backend refuses how it is sent to", async () => {
    answer = { act: "answer", status: 401 };
    const base = await startBridge();
    await started?.says("are refused because of where or how they are sent");
    expect((await fetch(`${base}/healthz`)).status).toBe(200);
    const ready = await fetch(`${base}/readyz`);
    expect(ready.status).toBe(503);
    expect(await ready.json()).toMatchObject({
      status: "not ready",
      signals: { metrics: { phase: "misconfigured" } },
    });
  });

  test("on an address that is in use ends with 2, and takes nothing", async () => {
    const base = await startBridge();
    const input = "{}";
    const { status, stderr } = await run({ args: ["run", "--health", base.slice("http://".length)], input });
    expect(status).toBe(2);
    expect(stderr).toContain("is in use");
    await once(started!.child.stdin.end(), "finish");
  });
});
