import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, onTestFinished, test } from "vitest";

import type { Delivery } from "../../../src/source/source.ts";
import { manualClock } from "../../otel/clocks.ts";
import { pem } from "../../otel/otlp-server.ts";
import { serveInTest } from "./served-in-test.ts";
import { event, events, JSON_TYPE, postOf, unopened, type Served } from "./served.ts";

const directory = mkdtempSync(join(tmpdir(), "behest-otel-"));
process.on("exit", () => rmSync(directory, { recursive: true }));

function file(name: string, content: string | Buffer): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

const LINE = event();

describe("reading", () => {
  test("hands out what was posted in order of its end, with that time and a name of its own", async () => {
    const clock = manualClock(1_000_000);
    const one = await serveInTest({ clock });
    const slow = await one.connect();
    slow.send(postOf("", { "content-length": String(LINE.length) }));
    await one.post(`${event(1)}\n\n${event(2)}`);
    await clock.advance(250);
    slow.send(LINE);
    await slow.answers(1);
    await clock.advance(250);
    await one.post(`[${event(3)}]`, JSON_TYPE);
    expect(
      (await one.waiting()).map(({ id, appendedMs, payload }) => [id, appendedMs, payload.toString()]),
    ).toEqual([
      ["req-1/1", 1_000_000, event(1)],
      ["req-1/3", 1_000_000, event(2)],
      ["req-2/1", 1_000_250, LINE],
      ["req-3/1", 1_000_500, event(3)],
    ]);
  });

  test("has times that never go back, whatever the clock does", async () => {
    let nowMs = 5_000;
    const one = await serveInTest({ clock: { now: () => nowMs, after: () => () => {} } });
    await one.post(event(1));
    nowMs = 3_000;
    await one.post(event(2));
    nowMs = 6_000.7;
    await one.post(event(3));
    expect((await one.waiting()).map(({ appendedMs }) => appendedMs)).toEqual([5_000, 5_000, 6_000]);
    nowMs = 1;
    await one.post(event(4));
    const [last] = await one.waiting();
    expect(last?.appendedMs).toBe(6_000);
  });

  test("says that it has caught up when nothing waits, and again at least once a second", async () => {
    const clock = manualClock(1_000_000);
    const one = await serveInTest({ clock });
    expect(await one.next()).toEqual({ kind: "caught_up", nowMs: 1_000_000 });
    const times: number[] = [];
    for (let n = 0; n < 4; n += 1) {
      const next = one.next();
      for (let said = false; !said;) {
        said = await Promise.race([next.then(() => true), clock.advance(100).then(() => false)]);
      }
      const reading = await next;
      if (reading?.kind === "caught_up" && reading.nowMs !== undefined) times.push(reading.nowMs);
    }
    expect(times).toHaveLength(4);
    for (const [index, time] of times.entries()) {
      expect(time - (times[index - 1] ?? 1_000_000)).toBeGreaterThan(0);
      expect(time - (times[index - 1] ?? 1_000_000)).toBeLessThanOrEqual(1_000);
    }
  });

  test("wakes at once for what comes, and then says again that it has caught up", async () => {
    const clock = manualClock();
    const one = await serveInTest({ clock });
    await one.next();
    const next = one.next();
    await one.post(LINE);
    expect(await next).toMatchObject({ kind: "deliveries", deliveries: [{ id: "req-1/1" }] });
    expect(await one.next()).toMatchObject({ kind: "caught_up" });
    // The timer of the wait before is gone.
    expect(clock.nextIn()).toBeUndefined();
  });

  test("hands out much in parts, between which senders have a turn", async () => {
    const one = await serveInTest();
    await one.post(events(2_500).join("\n"));
    const sizes: number[] = [];
    let turns = 0;
    const count = () => {
      turns += 1;
      timer = setImmediate(count);
    };
    let timer = setImmediate(count);
    const all: Delivery[] = [];
    for (let reading = await one.next(); reading?.kind === "deliveries"; reading = await one.next()) {
      sizes.push(reading.deliveries.length);
      all.push(...reading.deliveries);
    }
    clearImmediate(timer);
    expect(sizes).toEqual([1_000, 1_000, 500]);
    expect(turns).toBeGreaterThanOrEqual(2);
    expect(all.map(({ payload }) => payload.toString())).toEqual(events(2_500));
  });

  test("hands out many small bodies together", async () => {
    const one = await serveInTest();
    for (let n = 0; n < 30; n += 1) await one.post(event(n));
    const reading = await one.next();
    expect(reading).toMatchObject({ kind: "deliveries" });
    expect(reading?.kind === "deliveries" && reading.deliveries).toHaveLength(30);
  });
});

describe("asked to stop", () => {
  test("it takes nothing more, and hands out all that was answered with 202 before it ends", async () => {
    const one = await serveInTest();
    const slow = await one.connect();
    slow.send(postOf("", { "content-length": String(LINE.length) }));
    await one.post(events(1_500).join("\n"));
    one.stop();
    const first = await one.next();
    expect(first).toMatchObject({ kind: "deliveries" });
    const refused = await one.post(LINE);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
    // One that had begun before is refused as well, and whole.
    slow.send(LINE);
    await slow.answers(1);
    expect(slow.text).toContain("503 Service Unavailable");
    expect((await one.ask("/readyz")).json).toEqual({ status: "stopping" });
    expect((await one.ask("/healthz")).status).toBe(200);
    const rest = await one.waiting();
    expect(rest).toHaveLength(500);
    expect([await one.next(), await one.next()]).toEqual([undefined, undefined]);
  });

  test("while it waits, it ends", async () => {
    const clock = manualClock();
    const one = await serveInTest({ clock });
    await one.next();
    const next = one.next();
    one.stop();
    expect(await next).toBeUndefined();
    expect(clock.nextIn()).toBeUndefined();
  });

  test("by being closed, it cuts every connection, and may be closed again", async () => {
    const one = await serveInTest();
    const [idle, slow] = [await one.connect(), await one.connect()];
    slow.send(postOf("", { "content-length": "100" }));
    await one.next();
    const next = one.next();
    await one.source.close();
    expect(await next).toBeUndefined();
    expect([await idle.ended, await slow.ended]).toEqual(["", ""]);
    await one.source.close();
    expect(await one.next()).toBeUndefined();
    await expect(one.post(LINE)).rejects.toThrow("fetch failed");
  });

  test("before it is open, it needs no closing, and closing while it opens closes", async () => {
    const never = unopened();
    await never.source.close();
    expect(await never.next()).toBeUndefined();
    const opening = unopened();
    const opened = opening.source.open();
    await opening.source.close();
    await opened;
    expect(opening.port).toBe(0);
  });
});

describe("a place to listen on", () => {
  test("of port 0 is any free one, and the name says which", async () => {
    const one = await serveInTest();
    expect(one.url).toMatch(/^http:\/\/127\.0\.0\.1:[1-9]\d*\/v1\/events$/);
    expect([one.source.keepsOrder, one.source.timed]).toEqual([false, true]);
  });

  test("is taken before anything is taken there: senders are told to come again", async () => {
    const served = unopened();
    onTestFinished(() => served.close());
    await served.source.prepare?.();
    const { status, headers } = await served.post(event());
    expect([status, headers.get("retry-after")]).toEqual([503, "1"]);
    expect((await served.ask("/readyz")).json).toEqual({ status: "starting" });
    await served.source.open();
    expect((await served.post(event())).status).toBe(202);
    expect(await served.texts()).toEqual([event()]);
  });

  test("that is in use is told, before anything is opened", async () => {
    const one = await serveInTest();
    const other = unopened({ url: one.url });
    await expect(other.source.prepare?.()).rejects.toMatchObject({
      code: "BEHEST_SOURCE_OPEN",
      message: `${one.url} is in use`,
    });
  });

  test("of a host that is not known, or not this machine, is told", async () => {
    const insecure = { insecureListen: true };
    for (const host of ["host.invalid", "192.0.2.1"]) {
      const other = unopened({ url: `http://${host}:0`, protection: insecure });
      await expect(other.source.open()).rejects.toMatchObject({
        code: "BEHEST_SOURCE_OPEN",
        message: expect.stringContaining(`http://${host}:0/v1/events `),
      });
    }
  });

  test.each(["http://0.0.0.0:0", "http://[::]:0"])("beyond this machine needs a token: %s", async (url) => {
    const closed = unopened({ url });
    await expect(closed.source.open()).rejects.toMatchObject({
      code: "BEHEST_SOURCE_OPEN",
      message: expect.stringContaining("can be reached from other machines and has no token"),
    });
    for (const protection of [{ token: "t" }, { insecureListen: true }]) {
      const open = await serveInTest({ url, protection });
      expect(open.port).toBeGreaterThan(0);
    }
  });

  test("reads its token from a file, before the one of the environment", async () => {
    const one = await serveInTest({
      url: `http://127.0.0.1:0?token-file=${file("token", " from-file\n")}`,
      protection: { token: "from-environment" },
    });
    const statusOf = async (token: string) =>
      (await one.post(LINE, { authorization: `Bearer ${token}`, "content-type": "application/json" })).status;
    expect([await statusOf("from-file"), await statusOf("from-environment")]).toEqual([202, 401]);
  });

  test.each([
    ["an empty file", file("empty", "\n")],
    ["two lines", file("lines", "one\ntwo\n")],
    ["letters beyond ASCII", file("letters", "tökén")],
  ])("does not open with a token that is none: %s", async (_, path) => {
    const one = unopened({ url: `http://127.0.0.1:0?token-file=${path}` });
    await expect(one.source.open()).rejects.toMatchObject({
      code: "BEHEST_SOURCE_OPEN",
      message: `${path} has no token; expected one line of printable ASCII without spaces`,
    });
  });
});

describe("TLS", () => {
  const certificate = {
    cert: file("server.pem", pem("server")),
    key: file("server-key.pem", pem("server-key")),
  };

  test("is spoken with the certificate that the URL names", async () => {
    const one = await serveInTest({
      url: `https://127.0.0.1:0?cert=${certificate.cert}&key=${certificate.key}`,
    });
    expect(one.url).toMatch(/^https:/);
    expect(await tlsPost(one, LINE)).toBe(202);
    // Without TLS nobody gets anywhere.
    expect(await one.exchange(postOf(LINE))).toBe("");
    expect(await one.texts()).toEqual([LINE]);
  });

  test("with a key that does not belong to it, or is none, does not open", async () => {
    for (const key of [file("other.pem", pem("client-key")), file("none.pem", "no key")]) {
      const one = unopened({ url: `https://127.0.0.1:0?cert=${certificate.cert}&key=${key}` });
      await expect(one.source.open()).rejects.toMatchObject({
        code: "BEHEST_SOURCE_OPEN",
        message: expect.stringContaining("cannot use its certificate and key"),
      });
    }
  });

  test("that a sender begins and does not go on with is cut off", async () => {
    const one = await serveInTest({
      url: `https://127.0.0.1:0?cert=${certificate.cert}&key=${certificate.key}`,
      limits: { headersTimeoutMs: 50 },
    });
    expect(await one.exchange("\x16\x03\x01")).toBe("");
  });
});

test("a port of a source that was closed is free again", async () => {
  const one = await serveInTest();
  const { port } = one;
  await one.close();
  const other = createServer().listen(port, "127.0.0.1");
  await new Promise((resolve) => other.on("listening", resolve));
  expect((other.address() as AddressInfo).port).toBe(port);
  other.close();
});

function tlsPost(one: Served, body: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const options = {
      method: "POST",
      ca: pem("ca"),
      servername: "localhost",
      headers: JSON_TYPE,
      agent: false,
    };
    request(one.url, options, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    })
      .on("error", reject)
      .end(body);
  });
}
