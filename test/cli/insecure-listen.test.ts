import { networkInterfaces } from "node:os";

import { expect, test } from "vitest";

import * as wire from "../bridge/wire-runs.ts";
import { until } from "../bridge/turns.ts";
import { backend, startLife } from "./bridge-life.ts";

/** An address at which other machines reach this one. */
const address = Object.values(networkInterfaces())
  .flatMap((all) => all ?? [])
  .find(({ internal, family }) => !internal && family === "IPv4")?.address;

const BODY = `${wire.linesOf(wire.standardRun(0)).join("\n")}\n`;

interface More {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** The port on which the program takes events. */
async function listening(from: string, { args = [], env = {} }: More = {}): Promise<string> {
  const started = startLife({
    args: ["run", "--from", from, "--reorder-window", "0", ...args],
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: backend.url, ...env },
  });
  await started.says("taking events from");
  const [, port = ""] = /taking events from http:\/\/[^/]+:(\d+)\//.exec(started.stderr) ?? [];
  return port;
}

function post(url: string, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
  const type = { "content-type": "application/x-ndjson" };
  return fetch(url, { method: "POST", headers: { ...type, ...headers }, body: BODY });
}

// A machine without a network has no such address.
test.skipIf(address === undefined).each([
  ["--insecure-listen", { args: ["--insecure-listen"] }, {}],
  ["a token", { env: { BEHEST_OTEL_HTTP_TOKEN: "s3cret" } }, { authorization: "Bearer s3cret" }],
])("with %s it is reached over an address that is not a loopback one", async (_, more, headers) => {
  const port = await listening("http://0.0.0.0:0/v1/events", more);
  const url = `http://${address}:${port}/v1/events`;
  // Only a token keeps anybody out.
  expect((await post(url)).status).toBe("authorization" in headers ? 401 : 202);
  expect((await post(url, headers)).status).toBe(202);
  await until(() => backend.taken.length === wire.standardSpans(), "the spans of the run");
});

test("on a loopback address nobody reaches it from elsewhere, and no flag is needed", async () => {
  const port = await listening("http://127.0.0.1:0/v1/events");
  expect((await post(`http://127.0.0.1:${port}/v1/events`)).status).toBe(202);
  const elsewhere = post(`http://${address ?? "[::1]"}:${port}/v1/events`);
  await expect(elsewhere).rejects.toThrow("fetch failed");
});
