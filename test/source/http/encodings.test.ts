import { promisify } from "node:util";
import * as zlib from "node:zlib";

import { describe, expect, test } from "vitest";

import { serveInTest } from "./served-in-test.ts";
import { event, events, NDJSON, postOf, statuses } from "./served.ts";

const { constants } = zlib;

/** Encoders by the name of their coding. */
const ENCODERS: readonly (readonly [name: string, encode: (bytes: Buffer) => Buffer])[] = [
  ["gzip", (bytes) => zlib.gzipSync(bytes)],
  ["X-GZIP", (bytes) => zlib.gzipSync(bytes)],
  ["deflate", (bytes) => zlib.deflateSync(bytes)],
  // Without zlib's header, as some send it.
  ["deflate", (bytes) => zlib.deflateRawSync(bytes)],
  ["br", (bytes) => zlib.brotliCompressSync(bytes)],
  ["zstd", (bytes) => zlib.zstdCompressSync(bytes)],
];

const LINES = events(200);
const BODY = Buffer.from(LINES.join("\n"));

const start = (maxBodyBytes?: number) =>
  serveInTest(maxBodyBytes === undefined ? {} : { limits: { maxBodyBytes } });

const encoded = (encoding: string) => ({ ...NDJSON, "content-encoding": encoding });

describe.each(ENCODERS)("%s", (name, encode) => {
  test("is inflated, however it is cut on its way", async () => {
    const one = await start();
    const bytes = encode(BODY);
    expect((await one.post(Buffer.from(bytes), encoded(name))).json).toEqual({ accepted: 200, rejected: [] });
    const raw = await one.connect();
    raw.socket.setNoDelay(true);
    raw.send(postOf("", { ...encoded(name), "content-length": String(bytes.length), connection: "close" }));
    for (const byte of bytes) {
      raw.send(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    expect(statuses(await raw.ended)).toEqual([202]);
    expect(await one.texts()).toEqual([...LINES, ...LINES]);
  });

  test.each([-1, 0, 1])("has the limit of what it inflates to: %i bytes beside it", async (more) => {
    const one = await start(BODY.length - more);
    expect((await one.post(Buffer.from(encode(BODY)), encoded(name))).status).toBe(more > 0 ? 413 : 202);
  });

  test("that is a bomb ends as soon as the limit is passed, and its sender may go on", async () => {
    const one = await start(100_000);
    const bomb = encode(Buffer.alloc(40_000_000, event()));
    const raw = await one.connect();
    raw.send(postOf("", { ...encoded(name), "content-length": String(Math.min(bomb.length, 100_000)) }));
    raw.send(bomb.subarray(0, 100_000));
    await raw.answers(1);
    raw.send(postOf(event(), NDJSON));
    await raw.answers(2);
    expect(statuses(raw.text)).toEqual([413, 202]);
  });

  test("that is cut off is refused whole", async () => {
    const one = await start();
    const bytes = encode(BODY);
    for (const length of [1, bytes.length >> 1, bytes.length - 5, bytes.length - 1]) {
      const { status, json } = await one.post(Buffer.from(bytes.subarray(0, length)), encoded(name));
      expect([status, json["error"]]).toEqual([
        400,
        expect.stringMatching(/is not valid \w+, or is cut off/),
      ]);
    }
    expect(await one.waiting()).toEqual([]);
  });

  test("with something behind its end, or twice, does not lose that without a word", async () => {
    const one = await start();
    const bytes = encode(BODY);
    expect((await one.post(Buffer.concat([bytes, Buffer.from("more")]), encoded(name))).status).toBe(400);
    const twice = await one.post(Buffer.concat([bytes, Buffer.from("\n"), bytes]), encoded(name));
    expect(twice.status).toBe(400);
    expect(await one.waiting()).toEqual([]);
  });

  test("that is something else, or nothing, is refused", async () => {
    const one = await start();
    const { status, json } = await one.post(Buffer.from("\x07\x07 no such thing \xff"), encoded(name));
    expect([status, json["error"]]).toEqual([400, expect.stringContaining("is not valid")]);
    expect(await one.post("", encoded(name))).toMatchObject({
      status: 400,
      json: { error: expect.stringContaining("the body is empty") },
    });
  });
});

test("gzip in several members is one body", async () => {
  const one = await start();
  const members = [`${event(1)}\n`, `${event(2)}\n`, event(3)].map((part) => zlib.gzipSync(part));
  expect((await one.post(Buffer.concat(members), encoded("gzip"))).json).toEqual({
    accepted: 3,
    rejected: [],
  });
});

test("what does not shrink has the limit for the bytes as they are sent", async () => {
  const one = await start(1_000);
  // Empty members: more and more bytes that inflate to nothing.
  const nothing = Buffer.concat(Array.from({ length: 100 }, () => zlib.gzipSync("")));
  expect(nothing.length).toBeGreaterThan(1_000);
  const text = await one.exchange(
    postOf("", {
      ...encoded("gzip"),
      "content-length": "",
      "transfer-encoding": "chunked",
      connection: "close",
    }),
    `${nothing.length.toString(16)}\r\n`,
    nothing,
    "\r\n0\r\n\r\n",
  );
  expect(statuses(text)).toEqual([413]);
});

test("zstd with a window beyond 8 MiB is refused, since it would have to be held", async () => {
  const one = await start();
  const compress = promisify(zlib.zstdCompress);
  const windowOf = (log: number) => ({
    params: { [constants.ZSTD_c_windowLog]: log, [constants.ZSTD_c_contentSizeFlag]: 0 },
  });
  // Long enough that the encoder does not choose a smaller one.
  const long = Buffer.concat([Buffer.alloc(15_000_000, "\n"), BODY]);
  expect((await one.post(Buffer.from(await compress(long, windowOf(23))), encoded("zstd"))).status).toBe(202);
  expect((await one.post(Buffer.from(await compress(long, windowOf(24))), encoded("zstd"))).status).toBe(400);
});

test.each(["compress", "gzip, gzip", "br, gzip", "gzip,", "*", "exi"])(
  "an encoding that is not read is told with those that are: %s",
  async (encoding) => {
    const one = await start();
    const { status, headers } = await one.post(event(), encoded(encoding));
    expect([status, headers.get("accept-encoding")]).toEqual([415, "gzip, deflate, br, zstd"]);
    expect(await one.waiting()).toEqual([]);
  },
);

test.each(["identity", "Identity", ""])("no encoding may be said in words: %j", async (encoding) => {
  const one = await start();
  expect((await one.post(event(), encoded(encoding))).status).toBe(202);
});
