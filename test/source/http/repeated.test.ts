import { describe, expect, test } from "vitest";

import type { HttpLimits } from "../../../src/source/http/limits.ts";
import { manualClock } from "../../otel/clocks.ts";
import { serveInTest } from "./served-in-test.ts";
import { event, NDJSON, postOf, statuses, type Served, type ServeOptions } from "./served.ts";

const start = (limits: Partial<HttpLimits> = {}, options: ServeOptions = {}) =>
  serveInTest({ ...options, limits });

const withKey = (key: string) => ({ ...NDJSON, "idempotency-key": key });
const [A, B] = [event(1), event(2)];

describe("a request with an Idempotency-Key", () => {
  test("that is sent again is taken once and answered the same, whatever its body", async () => {
    const one = await start();
    const first = await one.post(`${A}\n{"broken`, withKey("k"));
    expect(first).toMatchObject({ status: 202, json: { accepted: 1, rejected: [{ line: 2 }] } });
    for (const body of [`${A}\n{"broken`, B, "["]) {
      const again = await one.post(body, withKey("k"));
      expect([again.status, again.json]).toEqual([202, first.json]);
    }
    expect(await one.texts()).toEqual([A, '{"broken']);
    expect((await one.post(A, withKey("K"))).status).toBe(202);
    expect((await one.post(A)).status).toBe(202);
    expect(await one.texts()).toEqual([A, A]);
  });

  test("is answered before its body is sent, to whoever waits for that", async () => {
    const one = await start();
    await one.post(A, withKey("k"));
    const head = postOf("", { ...withKey("k"), "content-length": "1000", expect: "100-continue" });
    const text = await one.exchange(head);
    expect(statuses(text)).toEqual([202]);
    expect(text).toMatch(/^connection: close\r$/im);
  });

  test("whose first sending is under way is to be sent again later, and then has its answer", async () => {
    const one = await start();
    const slow = await one.connect();
    const length = String(A.length + 1 + B.length);
    slow.send(postOf("", { ...withKey("k"), "content-length": length, expect: "100-continue" }));
    await slow.says("100 Continue");
    let second = await one.post(A, withKey("k"));
    expect([second.status, second.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(second.json["error"]).toContain("Idempotency-Key");
    slow.send(`${A}\n${B}`);
    await slow.says("202 Accepted");
    second = await one.post(A, withKey("k"));
    expect([second.status, second.json]).toEqual([202, { accepted: 2, rejected: [] }]);
    expect(await one.texts()).toEqual([A, B]);
  });

  test("of which nothing was taken is as good as never sent", async () => {
    const one = await start({ maxWaitingBytes: 1 });
    expect((await one.post("", withKey("a"))).status).toBe(400);
    expect((await one.post(A, withKey("a"))).status).toBe(202);
    expect((await one.post(B, withKey("b"))).status).toBe(429);
    expect(await one.texts()).toEqual([A]);
    expect((await one.post(B, withKey("b"))).status).toBe(202);
    expect(await one.texts()).toEqual([B]);
  });

  test("whose sender went away is as good as never sent", async () => {
    const one = await start();
    const gone = await one.connect();
    const length = String(A.length);
    gone.send(postOf("", { ...withKey("k"), "content-length": length, expect: "100-continue" }));
    await gone.says("100 Continue");
    gone.send(A.slice(1));
    gone.socket.destroy();
    let answer = await one.post(A, withKey("k"));
    while (answer.status === 503) answer = await one.post(A, withKey("k"));
    expect(answer.status).toBe(202);
    expect(await one.texts()).toEqual([A]);
  });

  test.each([
    [{ "idempotency-key": "x".repeat(255) }, 202],
    [{ "idempotency-key": "x".repeat(256) }, 400],
    [{ "Idempotency-Key": "a", "idempotency-key": "b" }, 400],
  ])("is refused when its key is none: %j", async (headers, status) => {
    const one = await start();
    expect(statuses(await one.exchange(postOf(A, { ...headers, connection: "close" })))).toEqual([status]);
  });
});

/** Whether a request with this key is taken, and not answered as one of a single event was before. */
async function isTaken(one: Served, key: string): Promise<boolean> {
  const { json } = await one.post(`${A}\n${B}`, withKey(key));
  return json["accepted"] === 2;
}

describe("answers are remembered", () => {
  test.each([
    [1, [true, true, false]],
    [2, [true, false, false]],
    [3, [false, false, false]],
  ])("%i at most, the newest ones", async (maxKeys, expected) => {
    const one = await start({ maxKeys });
    for (const key of ["a", "b", "c"]) await one.post(A, withKey(key));
    const again = [];
    // The newest first: what is taken again is remembered again.
    for (const key of ["c", "b", "a"]) again.unshift(await isTaken(one, key));
    expect(again).toEqual(expected);
  });

  test.each([-1, 0, 1])(
    "up to the limit of their bytes: two of them, and %i bytes beside it",
    async (more) => {
      const bytes = 2 * ("a".length + JSON.stringify({ accepted: 1, rejected: [] }).length);
      const one = await start({ maxKeyBytes: 2 * bytes + more });
      for (const key of ["a", "b"]) await one.post(A, withKey(key));
      expect([await isTaken(one, "b"), await isTaken(one, "a")]).toEqual([false, more < 0]);
    },
  );

  test.each([
    [999, false],
    [1_000, true],
    [1_001, true],
  ])("for 1,000 ms: after %i ms it is taken again: %s", async (afterMs, expected) => {
    const clock = manualClock();
    const one = await start({ rememberKeyMs: 1_000 }, { clock });
    await one.post(A, withKey("k"));
    await clock.advance(afterMs);
    expect(await isTaken(one, "k")).toBe(expected);
  });
});
