import { gzipSync } from "node:zlib";

import { describe, expect, test } from "vitest";

import { DEFAULT_MAX_LINE_BYTES } from "../../../src/event/lines.ts";
import { TAKEN_BYTES } from "../../../src/source/http/intake.ts";
import type { HttpLimits } from "../../../src/source/http/limits.ts";
import { manualClock } from "../../otel/clocks.ts";
import { serveInTest } from "./served-in-test.ts";
import { event, events, JSON_TYPE, NDJSON, postOf, statuses, type ServeOptions } from "./served.ts";

const start = (limits: Partial<HttpLimits>, options: ServeOptions = {}) =>
  serveInTest({ ...options, limits });

const LINE = event();
/** A body of just so many bytes, with one event. */
const bodyOf = (bytes: number) => LINE.padEnd(bytes, " ");
const CHUNKED = { ...NDJSON, "content-length": "", "transfer-encoding": "chunked", connection: "close" };

describe("the body", () => {
  const maxBodyBytes = 1_000;

  test.each([
    [maxBodyBytes - 1, 202],
    [maxBodyBytes, 202],
    [maxBodyBytes + 1, 413],
  ])("of %i bytes is answered with %i, also when it is sent in chunks", async (bytes, status) => {
    const one = await start({ maxBodyBytes });
    const answer = await one.post(bodyOf(bytes));
    expect(answer.status).toBe(status);
    const chunks = [10, bytes - 10].map((length, part) => {
      const body = bodyOf(bytes);
      return `${length.toString(16)}\r\n${part === 0 ? body.slice(0, 10) : body.slice(10)}\r\n`;
    });
    expect(statuses(await one.exchange(postOf("", CHUNKED), ...chunks, "0\r\n\r\n"))).toEqual([status]);
    expect(await one.waiting()).toHaveLength(status === 202 ? 2 : 0);
    if (status === 413) expect(answer.json["error"]).toContain("more than 1,000 bytes");
  });

  test("that says it is too long is refused before it is sent, to whoever waits for that", async () => {
    const one = await start({ maxBodyBytes });
    const head = (length: number) => postOf("", { "content-length": String(length), expect: "100-continue" });
    expect(statuses(await one.exchange(head(maxBodyBytes + 1)))).toEqual([413]);
    const raw = await one.connect();
    raw.send(head(maxBodyBytes));
    await raw.says("100 Continue");
    raw.send(bodyOf(maxBodyBytes));
    await raw.says("202 Accepted");
  });

  test("whose length is far over the limit leaves its sender the answer, and the connection", async () => {
    const one = await start({ maxBodyBytes });
    const raw = await one.connect();
    raw.send(postOf("x".repeat(3_000_000))).send(postOf(LINE, NDJSON));
    await raw.says("202 Accepted");
    expect(statuses(raw.text)).toEqual([413, 202]);
  });
});

describe("the events of a body", () => {
  test.each([
    [9, 202],
    [10, 202],
    [11, 413],
  ])("are %i, which is answered with %i", async (count, status) => {
    const one = await start({ maxEvents: 10 });
    expect((await one.post(events(count).join("\n\n"))).status).toBe(status);
    expect((await one.post(`[${events(count).join(",")}]`, JSON_TYPE)).status).toBe(status);
    expect(await one.waiting()).toHaveLength(status === 202 ? 2 * count : 0);
  });

  test.each([
    [DEFAULT_MAX_LINE_BYTES - 1, true],
    [DEFAULT_MAX_LINE_BYTES, true],
    [DEFAULT_MAX_LINE_BYTES + 1, false],
  ])("may be as long as the decoder takes them: %i bytes, taken %s", async (bytes, isTaken) => {
    const one = await start({});
    const { json } = await one.post(`${bodyOf(bytes)}\n${event(1)}`);
    const rejected = { line: 1, code: "BEHEST_LINE_TOO_LONG", message: expect.any(String) };
    expect(json).toEqual(isTaken ? { accepted: 2, rejected: [] } : { accepted: 1, rejected: [rejected] });
    expect(await one.waiting()).toHaveLength(2);
  });

  test("may all be rejected and none listed, and are handed on all the same", async () => {
    const one = await start({ maxListed: 0 });
    expect((await one.post("x\ny")).json).toEqual({ accepted: 0, rejected: [], rejected_not_listed: 2 });
    expect(await one.texts()).toEqual(["x", "y"]);
  });

  test.each([
    [2, undefined],
    [3, undefined],
    [4, 1],
    [50, 47],
  ])("are listed when %i of them are rejected, and beyond 3 only counted", async (count, notListed) => {
    const one = await start({ maxListed: 3 });
    const { json } = await one.post("x\n".repeat(count) + LINE);
    expect(json["accepted"]).toBe(1);
    expect((json["rejected"] as unknown[]).length).toBe(Math.min(count, 3));
    expect(json["rejected_not_listed"]).toBe(notListed);
  });
});

describe("room", () => {
  const bytes = 400;
  const room = 3 * (bytes + TAKEN_BYTES);

  test.each([
    [room - 1, [202, 202, 429]],
    [room, [202, 202, 202]],
    [room + 1, [202, 202, 202]],
  ])(
    "for %i bytes that wait is filled, and then nothing of a body is taken",
    async (maxWaitingBytes, expected) => {
      const one = await start({ maxWaitingBytes });
      const answers = [];
      for (let n = 0; n < 3; n += 1) answers.push(await one.post(bodyOf(bytes)));
      expect(answers.map(({ status }) => status)).toEqual(expected);
      for (const { status, headers, json } of answers) {
        expect(headers.get("retry-after")).toBe(status === 429 ? "1" : null);
        if (status === 429) expect(json["error"]).toContain("nothing of it was taken");
      }
      expect(await one.waiting()).toHaveLength(expected.filter((status) => status === 202).length);
      // What was handed out makes room again.
      expect((await one.post(bodyOf(bytes))).status).toBe(202);
    },
  );

  test("that is full is told before the body is sent, and once in the log", async () => {
    const one = await start({ maxWaitingBytes: 1 });
    expect((await one.post(LINE)).status).toBe(202);
    const head = postOf("", { "content-length": "10", expect: "100-continue" });
    expect(statuses(await one.exchange(head))).toEqual([429]);
    expect((await one.post(LINE)).status).toBe(429);
    expect(one.log.filter((line) => line.includes("refused until there is room"))).toHaveLength(1);
  });

  test("is always there for one body, however long", async () => {
    const one = await start({ maxWaitingBytes: 1, maxReceivingBytes: 1 });
    expect((await one.post(bodyOf(50))).status).toBe(202);
    expect((await one.post(LINE)).status).toBe(429);
    expect(await one.waiting()).toHaveLength(1);
  });

  test.each([
    [4_095, 429],
    [4_096, 202],
    [4_097, 202],
  ])("for bodies that are being received is shared by all: %i bytes beside another", async (more, status) => {
    const one = await start({ maxReceivingBytes: 8_000 + more });
    // Held as its bytes come, 8,000 of them, not as it says how many there will be.
    const slow = await one.connect();
    slow.send(postOf(bodyOf(8_000), { ...NDJSON, "content-length": "9000" }));
    const announced = postOf("", { "content-length": String(more + 1), expect: "100-continue" });
    for (let told = 0; told !== 429;) {
      const other = await one.connect();
      other.send(announced);
      await other.says("HTTP/1.1");
      [told = 0] = statuses(other.text);
      other.socket.destroy();
    }
    // The first piece of a body takes 4,096 bytes at least.
    expect((await one.post(LINE)).status).toBe(status);
    slow.socket.destroy();
    while ((await one.post(bodyOf(8_000 + more))).status === 429);
    expect(await one.waiting()).toHaveLength(status === 202 ? 2 : 1);
  });

  test("that has been full for long makes the source not ready, until something is taken again", async () => {
    const clock = manualClock();
    const one = await start({ maxWaitingBytes: 1, fullMs: 10_000 }, { clock });
    const ready = async () => {
      const { status, json } = await one.ask("/readyz");
      return [status, json["status"]];
    };
    await one.post(LINE);
    expect(await ready()).toEqual([200, "ready"]);
    await one.post(LINE);
    await clock.advance(9_999);
    expect(await ready()).toEqual([200, "ready"]);
    await clock.advance(1);
    expect(await ready()).toEqual([503, "full"]);
    expect((await one.ask("/healthz")).status).toBe(200);
    await one.waiting();
    expect(await ready()).toEqual([200, "ready"]);
    expect((await one.post(LINE)).status).toBe(202);
  });
});

describe("time", () => {
  const hurried = { headersTimeoutMs: 400, requestTimeoutMs: 800, keepAliveMs: 80, checkMs: 20 };

  test.each([
    ["a connection that says nothing", "", []],
    ["headers that do not end", "POST /v1/events HTTP/1.1\r\nhost: x\r\nx-a: ", [408]],
    ["a body that does not end", postOf(LINE, { ...NDJSON, "content-length": "5000" }), [408]],
    [
      "a body in chunks that does not end",
      `${postOf("", { ...CHUNKED, connection: "" })}3\r\nabc\r\n`,
      [408],
    ],
  ])("is limited: %s is cut off", async (_, sent, expected) => {
    const one = await start(hurried);
    const text = await one.exchange(sent);
    // Whether a silent connection is told why before it is closed is all the same.
    if (sent !== "") expect(statuses(text)).toEqual(expected);
    expect(await one.waiting()).toEqual([]);
  });

  test("is limited also for the rest of a body that was refused", async () => {
    const one = await start({ ...hurried, maxBodyBytes: 1_000 });
    const text = await one.exchange(postOf("x".repeat(2_000), { "content-length": "100000" }));
    // The end of the connection is no second answer.
    expect(statuses(text)).toEqual([413]);
  });

  test("is limited between two requests", async () => {
    const one = await start({ ...hurried, headersTimeoutMs: 10_000, requestTimeoutMs: 10_000 });
    const text = await one.exchange(postOf(LINE, NDJSON));
    expect(statuses(text)).toEqual([202]);
  });

  test("without a byte in either direction is limited", async () => {
    const one = await start({ silenceMs: 50 });
    await one.exchange(postOf(LINE, { "content-length": "5000" }));
    expect(await one.waiting()).toEqual([]);
  });
});

describe("connections", () => {
  test("beyond the limit are closed at once, and those there are go on; one that ends makes room", async () => {
    const one = await start({ maxConnections: 2 });
    const [a, b] = [await one.connect(), await one.connect()];
    a.send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    await a.says("200 OK");
    b.send("POST ");
    expect(await one.exchange(postOf(LINE))).toBe("");
    expect(one.log.filter((line) => line.includes("too many"))).toHaveLength(1);
    a.send(postOf(LINE, { ...NDJSON, connection: "close" }));
    await a.ended;
    expect(statuses(a.text)).toEqual([200, 202]);
    b.send(postOf(LINE).slice("POST ".length));
    await b.says("202 Accepted");
    expect((await one.post(LINE)).status).toBe(202);
  });

  test.each([1, 2, 3, 4])("take %i requests each, say so with the last one, and close", async (count) => {
    const one = await start({ maxRequestsPerConnection: count });
    const raw = await one.connect();
    for (let n = 1; n <= Math.min(count, 3); n += 1) {
      raw.send(postOf(LINE));
      await raw.answers(n);
    }
    expect(statuses(raw.text)).toEqual(Array.from({ length: Math.min(count, 3) }, () => 202));
    if (count > 3) return expect(raw.text).not.toContain("onnection: close");
    await raw.ended;
    expect(raw.text.match(/connection: close/gi)).toHaveLength(1);
    expect(await one.waiting()).toHaveLength(count);
  });

  test("take no request that comes behind the last one they take", async () => {
    const one = await start({ maxRequestsPerConnection: 2 });
    const text = await one.exchange(postOf(LINE).repeat(20));
    expect(statuses(text).length).toBeLessThanOrEqual(2);
    expect(await one.waiting()).toHaveLength(2);
  });

  test.each([1, 2, 3])(
    "of which two requests may be under way at once refuse the third of %i",
    async (count) => {
      const one = await start({ maxPipelined: 2 });
      const raw = await one.connect();
      // One write of bodies that take a while: all of them are there before the first is answered.
      const body = gzipSync(LINE);
      const head = postOf("", {
        ...NDJSON,
        "content-encoding": "gzip",
        "content-length": String(body.length),
      });
      raw.send(Buffer.concat(Array.from({ length: count }, () => [Buffer.from(head), body]).flat()));
      await raw.answers(count);
      expect(statuses(raw.text)).toEqual([202, 202, 429].slice(0, count));
      if (count > 2) expect(raw.text).toContain("retry-after: 1");
      expect(await one.waiting()).toHaveLength(Math.min(count, 2));
      raw.send(postOf(LINE));
      await raw.answers(count + 1);
      expect(statuses(raw.text).at(-1)).toBe(202);
    },
  );

  test("with headers of more than 16 KiB are told so", async () => {
    const one = await start({});
    expect(statuses(await one.exchange(postOf(LINE, { "x-long": "x".repeat(17_000) })))).toEqual([431]);
    expect(await one.waiting()).toEqual([]);
  });
});
