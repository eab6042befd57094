import { describe, expect, test } from "vitest";

import { serveInTest } from "./served-in-test.ts";
import { event, events, NDJSON, postOf, statuses, type Served } from "./served.ts";

const LINE = event();
const CLOSE = { ...NDJSON, connection: "close" };
const CHUNKED = { ...NDJSON, "content-length": "", "transfer-encoding": "chunked" };

describe("a connection", () => {
  test("is used again and again", async () => {
    const one = await serveInTest();
    const raw = await one.connect();
    for (let n = 1; n <= 20; n += 1) {
      raw.send(postOf(event(n), NDJSON));
      await raw.answers(n);
    }
    expect(statuses(raw.text)).toEqual(Array.from({ length: 20 }, () => 202));
    expect(await one.texts()).toEqual(events(20, 1));
  });

  test("takes requests in a row without waiting for the answers, which come in their order", async () => {
    const one = await serveInTest();
    const raw = await one.connect();
    const requests = [
      postOf(event(1)),
      "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
      postOf(""),
      postOf(`${event(2)}\n`.repeat(3)),
      postOf(event(3), { "content-type": "text/plain" }),
      "POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc",
      postOf(event(4), CLOSE),
    ];
    raw.send(requests.join(""));
    expect(statuses(await raw.ended)).toEqual([202, 200, 400, 202, 415, 404, 202]);
    expect((await one.texts()).toSorted()).toEqual([1, 2, 2, 2, 4].map(event));
  });

  test("takes a thousand of them in a row", async () => {
    const one = await serveInTest();
    const text = await one.exchange(
      events(1_000)
        .map((line) => postOf(line))
        .join(""),
      postOf(LINE, CLOSE),
    );
    expect(statuses(text)).toEqual(Array.from({ length: 1_001 }, () => 202));
    expect(await one.waiting()).toHaveLength(1_001);
  });

  test("that its sender closed on his side after a whole request is answered", async () => {
    const one = await serveInTest();
    const raw = await one.connect();
    raw.socket.end(postOf(LINE, NDJSON) + postOf(event(1), NDJSON));
    expect(statuses(await raw.ended)).toEqual([202, 202]);
    expect(await one.texts()).toEqual([LINE, event(1)]);
  });

  test("may carry a request byte by byte", async () => {
    const one = await serveInTest();
    const raw = await one.connect();
    raw.socket.setNoDelay(true);
    for (const byte of Buffer.from(postOf(LINE, { ...NDJSON, connection: "close" }))) {
      raw.send(Buffer.from([byte]));
      if (byte % 8 === 0) await new Promise(setImmediate);
    }
    expect(statuses(await raw.ended)).toEqual([202]);
    expect(await one.texts()).toEqual([LINE]);
  });

  test("may carry a body in chunks, cut anywhere", async () => {
    const one = await serveInTest();
    const body = `${event(1)}\n${event(2)}\n${event(3)}`;
    const chunks = [1, 10, 100, 101, 102, 5].map((length, index, all) => {
      const from = all.slice(0, index).reduce((sum, part) => sum + part, 0);
      const part = body.slice(from, index === all.length - 1 ? undefined : from + length);
      return part === "" ? "" : `${part.length.toString(16)};ext=1\r\n${part}\r\n`;
    });
    const text = await one.exchange(
      postOf("", { ...CHUNKED, connection: "close" }),
      ...chunks,
      "0\r\ntrailer: x\r\n\r\n",
    );
    expect(statuses(text)).toEqual([202]);
    expect(await one.texts()).toEqual([1, 2, 3].map(event));
  });

  test("of HTTP/1.0 is answered and closed", async () => {
    const one = await serveInTest();
    const request = `POST /v1/events HTTP/1.0\r\ncontent-length: ${LINE.length}\r\nexpect: 100-continue\r\n\r\n${LINE}`;
    expect(statuses(await one.exchange(request))).toEqual([202]);
  });

  test("may name the whole URL, as to a proxy", async () => {
    const one = await serveInTest();
    const request = postOf(LINE, CLOSE).replace("/v1/events", "http://somewhere:80/v1/events");
    expect(statuses(await one.exchange(request))).toEqual([202]);
  });
});

describe("a sender that waits to be told to go on", () => {
  test("is told, and sends", async () => {
    const one = await serveInTest();
    const raw = await one.connect();
    raw.send(postOf("", { ...NDJSON, "content-length": String(LINE.length), expect: "100-continue" }));
    await raw.says("HTTP/1.1 100 Continue\r\n\r\n");
    raw.send(LINE);
    await raw.says("202 Accepted");
    expect(await one.texts()).toEqual([LINE]);
  });

  test.each([
    ["of a type that is not read", { "content-type": "image/png" }, 415],
    ["in an encoding that is not read", { "content-encoding": "compress" }, 415],
    ["from a page in a browser", { origin: "null" }, 403],
  ])("is told not to, and the connection is closed: a body %s", async (_, headers, status) => {
    const one = await serveInTest();
    const text = await one.exchange(
      postOf("", { "content-length": "10", expect: "100-continue", ...headers }),
    );
    expect(statuses(text)).toEqual([status]);
    expect(text).toMatch(/^connection: close\r$/im);
  });

  test("for something else is told that nobody knows it", async () => {
    const one = await serveInTest();
    const request = postOf(LINE, { ...CLOSE, expect: "200-maybe" });
    expect(statuses(await one.exchange(request))).toEqual([417]);
    expect(await one.waiting()).toEqual([]);
  });
});

describe("of a body that is cut nothing is taken", () => {
  test.each([
    ["by the end of the connection", (raw: Sender) => raw.socket.destroy()],
    ["by a reset", (raw: Sender) => raw.socket.resetAndDestroy()],
  ])("%s, though all that came are whole events", async (_, cut) => {
    const one = await serveInTest();
    const lines = events(5).join("\n");
    for (const head of [postOf("", { ...NDJSON, "content-length": "9999" }), postOf("", CHUNKED)]) {
      const raw = await one.connect();
      const part = `${lines}\n`;
      raw.send(
        head.includes("chunked") ? `${head}${part.length.toString(16)}\r\n${part}\r\n` : `${head}${part}`,
      );
      // Whoever comes later is answered, so what was sent before has been read.
      expect((await one.ask("/healthz")).status).toBe(200);
      cut(raw);
      await raw.ended;
    }
    expect((await one.post(event(9))).status).toBe(202);
    expect(await one.texts()).toEqual([event(9)]);
  });

  test("by a sender that closes on its side, and who is told", async () => {
    const one = await serveInTest();
    const raw = await one.connect();
    raw.socket.end(postOf(`${LINE}\n`, { ...NDJSON, "content-length": "9999" }));
    expect(statuses(await raw.ended)).toEqual([400]);
    expect(await one.waiting()).toEqual([]);
  });

  test("by a chunk that is none, and whose sender is told", async () => {
    const one = await serveInTest();
    const text = await one.exchange(postOf("", CHUNKED), `65\r\n${LINE}\r\n`, "zz\r\n");
    expect(statuses(text)).toEqual([400]);
    expect(await one.waiting()).toEqual([]);
  });
});

type Sender = Awaited<ReturnType<Served["connect"]>>;

describe("what is no HTTP", () => {
  test.each([
    ["noise", "\x16\x03\x01 this is noise\r\n\r\n", [400]],
    ["a length that is none", postOf(LINE, { "content-length": "-1" }), [400]],
    ["two lengths", postOf(LINE).replace("\r\n\r\n", "\r\ncontent-length: 5\r\n\r\n"), [400]],
    ["a length and chunks", postOf(LINE, { "transfer-encoding": "chunked" }), [400]],
    ["no host", postOf(LINE).replace("host: x\r\n", ""), [400]],
    ["a header without a name", postOf(LINE, { ": x": "y" }), [400]],
    ["another version", postOf(LINE).replace("HTTP/1.1", "HTTP/9.9"), [400]],
    ["noise behind a request that is being answered", `${postOf(LINE)}\0\0\0\0`, []],
  ])("is answered and ends the connection: %s", async (_, sent, expected) => {
    const one = await serveInTest();
    const text = await one.exchange(sent);
    expect(statuses(text)).toEqual(expected);
    // The next one is served.
    expect((await one.post(event(1))).status).toBe(202);
  });

  test("never is answered in the place of a request that was taken", async () => {
    const one = await serveInTest();
    const raw = await one.connect();
    // The second request is broken while the first one, already taken in, has no answer yet.
    raw.send(`${postOf(LINE)}${postOf(LINE)}nonsense\r\n\r\n`);
    const seen = statuses(await raw.ended);
    expect(seen.filter((status) => status !== 202)).toEqual([]);
    expect((await one.waiting()).length).toBeGreaterThanOrEqual(seen.length);
  });
});
