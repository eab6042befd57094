import { describe, expect, test } from "vitest";

import { serveInTest } from "./served-in-test.ts";
import { event, events, JSON_TYPE, NDJSON, postOf, statuses, type Served } from "./served.ts";

const [A, B, C] = [event(1), event(2), event(3)];

describe("a body", () => {
  const mangled = `{"RunCancelled" :\t{"timestamp":"2026-06-21T00:00:00Z","run_id":"6F1F6D0E-3C51-4A7E-9B57-0D4CF3A1B2C3","x":1.0e+2}}`;
  test.each([
    ["of lines", NDJSON, `${A}\n${B}\n`, [A, B], ["1", "2"]],
    ["of lines whose last one has no end", NDJSON, `${A}\r\n${B}`, [A, B], ["1", "2"]],
    [
      "of lines with blank ones and a byte order mark",
      NDJSON,
      `\ufeff\n${A}\n \t\r\n\n${B}\n\n`,
      [A, B],
      ["2", "5"],
    ],
    [
      "of lines by another name",
      { "content-type": "application/jsonl; charset=UTF-8" },
      `${A}\n${B}`,
      [A, B],
      ["1", "2"],
    ],
    ["of one line", NDJSON, A, [A], ["1"]],
    ["without a type that is lines", {}, `${A}\n${B}`, [A, B], ["1", "2"]],
    ["without a type that is an array", {}, ` [${A},${B}]`, [A, B], ["1", "2"]],
    ["of JSON that is one event", JSON_TYPE, ` \n${mangled}\r\n`, [mangled], ["1"]],
    [
      "of JSON that is one event over several lines",
      JSON_TYPE,
      A.replace(",", ",\n"),
      [A.replace(",", ",\n")],
      ["1"],
    ],
    [
      "of JSON that is an array",
      JSON_TYPE,
      `\ufeff[ ${A} ,\n${mangled}\t,${C}]\n`,
      [A, mangled, C],
      ["1", "2", "3"],
    ],
    ["of JSON that is an array of one", JSON_TYPE, `[${A}]`, [A], ["1"]],
  ])("%s is taken, each event in the bytes that were sent", async (_, headers, body, payloads, lines) => {
    const { post, waiting } = bound(await serveInTest());
    // A body of bytes has no type of its own.
    const { status, json } = await post(Buffer.from(body), headers);
    expect([status, json]).toEqual([202, { accepted: payloads.length, rejected: [] }]);
    const deliveries = await waiting();
    expect(deliveries.map(({ payload }) => payload.toString())).toEqual(payloads);
    expect(deliveries.map(({ id }) => id)).toEqual(lines.map((line) => `req-1/${line}`));
  });

  test("tells its sender what is rejected, which does not hold up the rest and is handed on as well", async () => {
    const { post, texts } = bound(await serveInTest());
    const { status, json } = await post(`${A}\n{"broken\n\n[]\n${B}\n{"Brandnew":{}}\n`);
    expect([status, json]).toEqual([
      202,
      {
        accepted: 3,
        rejected: [
          { line: 2, code: "BEHEST_DECODE_JSON", message: expect.stringContaining("not JSON") },
          { line: 4, code: "BEHEST_DECODE_SCHEMA", message: "expected a JSON object, found an array" },
        ],
      },
    ]);
    expect(await texts()).toEqual([A, '{"broken', "[]", B, '{"Brandnew":{}}']);
  });

  test("of JSON tells it by the place in the array, also where an element is broken within", async () => {
    const { post, texts } = bound(await serveInTest());
    const { status, json } = await post(`[${A},{"a":1],17,"x",${B}]`, JSON_TYPE);
    expect([status, json]).toMatchObject([
      202,
      { accepted: 2, rejected: [{ line: 2, code: "BEHEST_DECODE_JSON" }, { line: 3 }, { line: 4 }] },
    ]);
    expect(await texts()).toEqual([A, '{"a":1]', "17", '"x"', B]);
  });

  test("with bytes that are no UTF-8 has only those lines rejected", async () => {
    const { post } = bound(await serveInTest());
    const { json } = await post(
      Buffer.concat([Buffer.from(`${A}\n`), Buffer.from([0xff, 0x0a]), Buffer.from(B)]),
    );
    expect(json).toMatchObject({ accepted: 2, rejected: [{ line: 2, code: "BEHEST_DECODE_UTF8" }] });
  });

  test.each([
    ["an empty one", NDJSON, "", "the body has no event"],
    ["an empty one without a type", {}, "", "the body has no event"],
    ["a blank one", NDJSON, "\n \r\n\t\n", "the body has no event"],
    ["an empty one of JSON", JSON_TYPE, "", "neither an event nor a JSON array"],
    ["JSON that is a number", JSON_TYPE, "17", "neither an event nor a JSON array"],
    ["JSON that ends too early", JSON_TYPE, A.slice(0, -1), "the JSON ends too early"],
    ["JSON that ends within a string", JSON_TYPE, A.slice(0, 30), "the JSON ends too early"],
    ["an array that ends too early", JSON_TYPE, `[${A},${B}`, "the JSON array ends too early"],
    ["an array that ends after a comma", JSON_TYPE, `[${A},`, "the JSON array ends too early"],
    [
      "an array that ends within an element",
      JSON_TYPE,
      `[${A},${B.slice(0, 40)}`,
      "the JSON array ends too early",
    ],
    [
      "an array with a comma too many",
      JSON_TYPE,
      `[${A},]`,
      "expected an element of the JSON array at byte 104",
    ],
    ["an array without a comma", JSON_TYPE, `[${A} ${B}]`, "expected a comma"],
    ["more behind an array", JSON_TYPE, `[${A}]${B}`, "more behind the JSON array, at byte 104"],
    ["lines under the name of JSON", JSON_TYPE, `${A}\n${B}`, "lines as application/x-ndjson"],
  ])("that cannot be read is refused whole: %s", async (_, headers, body, says) => {
    const { post, waiting } = bound(await serveInTest());
    const { status, json } = await post(Buffer.from(body), headers);
    expect([status, json]).toEqual([400, { error: expect.stringContaining(says) }]);
    expect(await waiting()).toEqual([]);
  });

  test("that is an empty array is taken, and has nothing", async () => {
    const { post, waiting } = bound(await serveInTest());
    expect(await post("[ ]", JSON_TYPE)).toMatchObject({ status: 202, json: { accepted: 0, rejected: [] } });
    expect(await waiting()).toEqual([]);
  });

  const LONG = `text/plain; x=${"y".repeat(100)}`;
  test.each([
    ["text/plain", '"text/plain" is not read'],
    ["application/x-www-form-urlencoded", '"application/x-www-form-urlencoded" is not read'],
    ["multipart/form-data; boundary=x", '"multipart/form-data; boundary=x" is not read'],
    ["application/json; charset=utf-16", '"application/json; charset=utf-16" is not read'],
    [LONG, `"${LONG.slice(0, 100)}" is not read`],
    ["nonsense", "is malformed"],
  ])("of type %s is answered with 415 and what was found", async (type, said) => {
    const { post } = bound(await serveInTest());
    const answer = await post(A, { "content-type": type });
    expect([answer.status, answer.json["error"]]).toEqual([
      415,
      expect.stringContaining(`the content type ${said}`),
    ]);
  });

  test("of a type in capitals is taken", async () => {
    const { post } = bound(await serveInTest());
    const answer = await post(A, { "content-type": 'APPLICATION/JSON ; Charset="UTF-8"' });
    expect(answer.status).toBe(202);
  });
});

describe("headers", () => {
  const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

  test.each([
    ["none", {}, undefined],
    ["the agent", { "behest-agent": " planner " }, { agent: "planner" }],
    [
      "an agent in UTF-8",
      { "behest-agent": Buffer.from("plänner").toString("latin1") },
      { agent: "plänner" },
    ],
    ["an empty agent", { "behest-agent": "" }, undefined],
    [
      "the remote parent",
      { traceparent: parent, tracestate: "a=1" },
      { parent: { traceId: parent.slice(3, 35), spanId: "b7ad6b7169203331", flags: 1, tracestate: "a=1" } },
    ],
    ["a malformed parent", { traceparent: "00-x-y-01", tracestate: "a=1" }, undefined],
    [
      "a malformed parent beside an agent of the longest name",
      { traceparent: parent.replace("00-", "ff-"), "behest-agent": "x".repeat(1_024) },
      { agent: "x".repeat(1_024) },
    ],
  ])("say of every event of a body: %s", async (_, headers, outside) => {
    const { post, waiting } = bound(await serveInTest());
    expect((await post(`${A}\n${B}`, { ...NDJSON, ...headers })).status).toBe(202);
    expect((await waiting()).map((one) => one.outside)).toEqual([outside, outside]);
  });

  test("with a name that is too long, or two, are refused", async () => {
    const one = await serveInTest();
    const long = await one.post(A, { ...NDJSON, "behest-agent": "x".repeat(1_025) });
    expect([long.status, long.json]).toEqual([
      400,
      { error: "Behest-Agent: expected at most 1024 characters, found 1025" },
    ]);
    const two = postOf(A, { "Behest-Agent": "a", "behest-agent": "b", connection: "close" });
    expect(statuses(await one.exchange(two))).toEqual([400]);
    expect(await one.waiting()).toEqual([]);
  });

  test("from a page in a browser are refused, and nothing invites one", async () => {
    const one = await serveInTest();
    for (const origin of ["null", "https://page.example", one.url]) {
      const answer = await one.post(A, { ...NDJSON, origin });
      expect(answer.status).toBe(403);
      expect([...answer.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
    }
    const preflight = await one.ask(one.url, {
      method: "OPTIONS",
      headers: { origin: "https://page.example" },
    });
    expect([preflight.status, preflight.headers.get("allow")]).toEqual([405, "POST"]);
    expect([...preflight.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
    expect(await one.waiting()).toEqual([]);
  });

  test("with a transfer encoding that is not read are refused", async () => {
    const one = await serveInTest();
    const request = postOf("", {
      "content-length": "",
      "transfer-encoding": "gzip, chunked",
      connection: "close",
    });
    expect(statuses(await one.exchange(request, "0\r\n\r\n"))).toEqual([501]);
  });
});

describe("paths and methods", () => {
  test.each([
    ["GET", "/v1/events", 405, "POST"],
    ["HEAD", "/v1/events", 405, "POST"],
    ["PUT", "/v1/events", 405, "POST"],
    ["DELETE", "/v1/events?x=1", 405, "POST"],
    ["PROPFIND", "/v1/events", 405, "POST"],
    ["POST", "/healthz", 405, "GET, HEAD"],
    ["POST", "/readyz", 405, "GET, HEAD"],
    ["GET", "/healthz", 200, null],
    ["HEAD", "/readyz", 200, null],
    ["GET", "/readyz?from=probe", 200, null],
    ["POST", "/v1/events?from=test", 202, null],
    ["POST", "/v1/events/", 404, null],
    ["POST", "/V1/events", 404, null],
    ["POST", "/", 404, null],
    ["GET", "/metrics", 404, null],
    ["POST", "/%", 400, null],
  ])("%s %s is answered with %i", async (method, path, status, allow) => {
    const one = await serveInTest();
    const hasBody = method === "POST" || method === "PUT";
    const answer = await one.ask(path, { method, ...(hasBody && { body: A, headers: NDJSON }) });
    expect([answer.status, answer.headers.get("allow")]).toEqual([status, allow]);
    if (status >= 400 && method !== "HEAD") expect(answer.json).toEqual({ error: expect.any(String) });
    expect(await one.waiting()).toHaveLength(status === 202 ? 1 : 0);
  });

  test("take another path than the usual one when told so, and then only that", async () => {
    const one = await serveInTest({ url: "http://127.0.0.1:0/in/agent-events" });
    expect(one.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/in\/agent-events$/);
    expect((await one.post(A)).status).toBe(202);
    expect((await one.ask("/v1/events", { method: "POST", body: A, headers: NDJSON })).status).toBe(404);
  });
});

describe("a token", () => {
  const token = "s3cret/token~with+all-of.it=";
  const basic = 'Bearer realm="behest-otel"';
  test.each([
    ["the right one", `Bearer ${token}`, 202, null],
    ["the right one, the scheme in small letters", `bearer  ${token} `, 202, null],
    ["none", undefined, 401, basic],
    ["another scheme", `Basic ${Buffer.from(`x:${token}`).toString("base64")}`, 401, basic],
    ["a wrong one", "Bearer wrong", 401, `${basic}, error="invalid_token"`],
    ["the beginning of it", `Bearer ${token.slice(0, -1)}`, 401, `${basic}, error="invalid_token"`],
    ["more than it", `Bearer ${token}x`, 401, `${basic}, error="invalid_token"`],
    ["it, in other letters", `Bearer ${token.toUpperCase()}`, 401, `${basic}, error="invalid_token"`],
    ["it and another", `Bearer ${token} ${token}`, 401, basic],
    ["nothing behind the scheme", "Bearer ", 401, basic],
  ])("is asked for: %s", async (_, authorization, status, challenge) => {
    const one = await serveInTest({ protection: { token } });
    const answer = await one.post(A, { ...NDJSON, ...(authorization !== undefined && { authorization }) });
    expect([answer.status, answer.headers.get("www-authenticate")]).toEqual([status, challenge]);
    expect(JSON.stringify(answer.json)).not.toContain(token);
    expect(await one.waiting()).toHaveLength(status === 202 ? 1 : 0);
  });

  test("is not asked for where health is checked", async () => {
    const one = await serveInTest({ protection: { token } });
    expect([(await one.ask("/healthz")).status, (await one.ask("/readyz")).status]).toEqual([200, 200]);
  });

  test("that is wrong is told before the body is sent, to whoever waits for that", async () => {
    const one = await serveInTest({ protection: { token } });
    const head = postOf("", { "content-length": "1000", expect: "100-continue", authorization: "Bearer no" });
    const text = await one.exchange(head);
    expect(statuses(text)).toEqual([401]);
    expect(text).toMatch(/^connection: close\r$/im);
  });
});

test("what many senders post at once is taken, each body whole and in order", async () => {
  const one = await serveInTest();
  const bodies = Array.from({ length: 50 }, (_, n) => events(20, n * 20));
  const answers = await Promise.all(bodies.map((lines) => one.post(lines.join("\n"))));
  expect(answers.every(({ status, json }) => status === 202 && json["accepted"] === 20)).toBe(true);
  const texts = await one.texts();
  expect(texts.toSorted()).toEqual(bodies.flat().toSorted());
  for (const lines of bodies) {
    const at = texts.indexOf(lines[0] ?? "");
    expect(texts.slice(at, at + 20)).toEqual(lines);
  }
});

function bound(one: Served) {
  return { post: one.post.bind(one), waiting: one.waiting.bind(one), texts: one.texts.bind(one) };
}
