import { expect, test } from "vitest";

import type { HttpLimits } from "../../../src/source/http/limits.ts";
import type { RequestRefusal } from "../../../src/source/source.ts";
import { serveInTest } from "./served-in-test.ts";
import { event, NDJSON, postOf, statuses, type Served } from "./served.ts";

const start = (limits: Partial<HttpLimits> = {}, token?: string) =>
  serveInTest({ limits, protection: { token } });

const refused = ({ source }: Served) => Object.fromEntries(source.refused ?? []);

test("a source that has refused nothing has counted nothing, health checks included", async () => {
  const one = await start();
  await one.post(event());
  await one.ask("/readyz");
  one.stop();
  await one.next();
  expect((await one.ask("/readyz")).status).toBe(503);
  expect(refused(one)).toEqual({});
});

const REQUESTS: readonly [what: string, request: string, status: number, reason: RequestRefusal][] = [
  ["a body that is too long", postOf("x".repeat(1_001)), 413, "too_large"],
  ["headers that are too long", postOf("", { "x-long": "x".repeat(17_000) }), 431, "too_large"],
  ["another type", postOf("x", { "content-type": "text/plain" }), 415, "content_type"],
  ["a malformed type", postOf("x", { "content-type": "nothing" }), 415, "content_type"],
  ["another coding", postOf("x", { "content-encoding": "rot13" }), 415, "content_type"],
  ["a body without an event", postOf("", NDJSON), 400, "malformed"],
  ["another transfer coding", postOf("", { "transfer-encoding": "gzip, chunked" }), 400, "malformed"],
  ["no HTTP", "NOTHING\r\n\r\n", 400, "malformed"],
  ["another path", "GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n", 404, "not_found"],
  ["another method", "GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n", 405, "not_found"],
  ["a page in a browser", postOf(event(), { origin: "http://page" }), 403, "unauthorized"],
  ["headers that do not end", "POST /v1/events HTTP/1.1\r\nhost: x\r\n", 408, "timeout"],
];

test.each(REQUESTS)("%s is counted once, by what it was answered", async (_, request, status, reason) => {
  const hurried = { headersTimeoutMs: 300, requestTimeoutMs: 600, checkMs: 20 };
  const one = await start({ maxBodyBytes: 1_000, ...hurried });
  const raw = await one.connect();
  raw.send(request);
  await raw.says("HTTP/1.1");
  raw.socket.end();
  await raw.ended;
  expect(statuses(raw.text)).toEqual([status]);
  expect(refused(one)).toEqual({ [reason]: 1 });
});

test("a missing token and a wrong one are counted", async () => {
  const one = await start({}, "t0ken");
  expect((await one.post(event())).status).toBe(401);
  expect((await one.post(event(), { ...NDJSON, authorization: "Bearer other" })).status).toBe(401);
  expect((await one.post(event(), { ...NDJSON, authorization: "Bearer t0ken" })).status).toBe(202);
  expect(refused(one)).toEqual({ unauthorized: 2 });
});

test("bodies there is no room for are counted each time they are sent", async () => {
  const one = await start({ maxWaitingBytes: 1 });
  const answers = [];
  for (let n = 0; n < 4; n += 1) answers.push((await one.post(event(n))).status);
  expect(answers).toEqual([202, 429, 429, 429]);
  expect(refused(one)).toEqual({ full: 3 });
});

test("what is sent while the source stops is counted", async () => {
  const one = await start();
  one.stop();
  await one.next();
  expect((await one.post(event())).status).toBe(503);
  expect(refused(one)).toEqual({ unavailable: 1 });
});

test("connections that are too many are counted", async () => {
  const one = await start({ maxConnections: 1 });
  const raw = await one.connect();
  raw.send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
  await raw.says("200 OK");
  for (let n = 0; n < 3; n += 1) expect(await one.exchange(postOf(event()))).toBe("");
  expect(refused(one)).toEqual({ connections: 3 });
});

test("a request is refused once, also when the rest of its body never comes", async () => {
  const one = await start({ maxBodyBytes: 1_000, headersTimeoutMs: 200, requestTimeoutMs: 300, checkMs: 20 });
  await one.exchange(postOf("x".repeat(2_000), { "content-length": "100000" }));
  expect(refused(one)).toEqual({ too_large: 1 });
});
