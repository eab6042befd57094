import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";

import { systemClock, type Clock } from "../../../src/clock.ts";
import { DEFAULT_MAX_LINE_BYTES, HEAD_BYTES } from "../../../src/event/lines.ts";
import { httpInflow } from "../../../src/source/http/inflow.ts";
import { journaledInput } from "../../../src/source/journaled.ts";
import type { Delivery, LogSource } from "../../../src/source/source.ts";
import type { StateStore } from "../../../src/state/store.ts";
import { manualClock } from "../../otel/clocks.ts";
import { entrySize } from "../../state/journals.ts";
import { keptLog } from "../reader.ts";
import { event, NDJSON, postOf, Served, specOf, statuses } from "./served.ts";

const root = mkdtempSync(join(tmpdir(), "behest-otel-http-journal-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const lives: Life[] = [];
afterEach(async () => {
  for (const life of lives.splice(0)) await end(life);
});

function directory(): string {
  return join(root, String((count += 1)));
}

interface Life {
  readonly served: Served;
  readonly source: LogSource;
  readonly store: StateStore;
}

interface Options {
  readonly path?: string;
  readonly url?: string;
  readonly clock?: Clock;
  readonly maxBytes?: number;
  readonly groupMs?: number;
}

function unopened(options: Options = {}): Life {
  const { log, lines } = keptLog();
  const { path: stateDir = directory(), url = "http://127.0.0.1:0/v1/events" } = options;
  const { clock = systemClock, maxBytes = 10_000_000, groupMs = 0 } = options;
  const protection = { token: undefined, insecureListen: false };
  const inflow = httpInflow(specOf(url), { protection, clock, log, maxBytes });
  const { source, store } = journaledInput(inflow, {
    stateDir,
    stateName: "http",
    clock,
    log,
    maxBytes,
    groupMs,
  });
  const life = { served: new Served(source, lines), source, store };
  lives.push(life);
  return life;
}

/** One life of a process that listens with this state directory. */
async function begin(options: Options = {}): Promise<Life> {
  const life = unopened(options);
  const records = new Map<string, string>();
  for await (const [key, value] of await life.store.open()) records.set(key, value);
  await life.source.open(records.get("position"));
  return life;
}

async function end({ served, store }: Life): Promise<void> {
  await served.close();
  await store.close();
}

async function commit({ source, store }: Life, used: readonly Delivery[]): Promise<void> {
  const position = source.positionOf(used.at(-1)?.id ?? "", []);
  await store.commit({
    puts: new Map([["position", position]]),
    removes: [],
    used: used.map(({ id }) => id),
  });
}

const [A, B] = [event(1), event(2)];

function onDisk(path: string): string {
  const [folder = ""] = readdirSync(path);
  const journal = join(path, folder, "journal");
  return readdirSync(journal)
    .map((name) => readFileSync(join(journal, name), "latin1"))
    .join("");
}

test("202 comes when the events are on the disk, and not before", async () => {
  const [path, clock] = [directory(), manualClock()];
  const { served } = await begin({ path, clock, groupMs: 20 });
  expect((await served.post(A)).status).toBe(202);
  expect(onDisk(path)).toContain(A);

  const raw = await served.connect();
  raw.send(postOf(B, { ...NDJSON, connection: "close" }));
  // It shares the next write, which is 20 ms after the one before.
  for (let n = 0; n < 20; n += 1) expect((await served.ask("/healthz")).status).toBe(200);
  expect([raw.text, onDisk(path).includes(B)]).toEqual(["", false]);
  await clock.advance(20);
  expect(statuses(await raw.ended)).toEqual([202]);
  expect(onDisk(path)).toContain(B);
});

test("the next process hands out what was not committed, the same to the byte", async () => {
  const path = directory();
  const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const first = await begin({ path });
  expect(first.source).toMatchObject({ keepsOrder: false, timed: true });
  expect((await first.served.post(`${A}\n{"broken`, { ...NDJSON, traceparent: parent })).json).toMatchObject({
    accepted: 1,
    rejected: [{ line: 2, code: "BEHEST_DECODE_JSON" }],
  });
  const [one, two] = await first.served.waiting();
  expect(one?.outside?.parent?.spanId).toBe("b7ad6b7169203331");
  await commit(first, [one!]);
  await end(first);

  const second = await begin({ path });
  expect(await second.served.waiting()).toEqual([two]);
  await second.served.post(B);
  expect(await second.source.lag()).toBe(1);
  expect(await second.served.texts()).toEqual([B]);
});

test("a full journal is answered with 429, and takes in again after a commit", async () => {
  const body = Array.from({ length: 10 }, (_, n) => event(n)).join("\n");
  const bytes = 10 * entrySize(A);
  const life = await begin({ maxBytes: 3 * bytes + bytes / 2 });
  const { served } = life;
  const answers = [];
  for (let n = 0; n < 4; n += 1) answers.push(await served.post(body));
  expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 429]);
  expect(answers[3]?.headers.get("retry-after")).toBe("1");
  expect(answers[3]?.json["error"]).toContain("nothing of it was taken");

  const deliveries = await served.waiting();
  expect(deliveries).toHaveLength(30);
  // That it was read makes no room: it may have to be read again.
  expect((await served.post(body)).status).toBe(429);
  await commit(life, deliveries);
  expect((await served.post(body)).status).toBe(202);
  expect(await served.waiting()).toHaveLength(10);
});

test.each([
  [-1, 202],
  [0, 202],
  [1, 413],
])("a body that takes %i bytes beside all that the journal has is answered with %i", async (more, status) => {
  const maxBytes = entrySize("x".repeat(1_000));
  const { served } = await begin({ maxBytes });
  const answer = await served.post(A.padEnd(1_000 + more, " "));
  expect(answer.status).toBe(status);
  expect(answer.json["error"] ?? "").toContain(
    status === 413 ? "does not fit into the journal, which has 1,032 bytes" : "",
  );
  // More than all of it is not even read.
  const head = postOf("", { "content-length": String(maxBytes + 1), expect: "100-continue" });
  expect(statuses(await served.exchange(head))).toEqual([413]);
});

test("a journal that has been full for long makes the source not ready, until there is room again", async () => {
  const [clock, size] = [manualClock(), entrySize(A)];
  const life = await begin({ clock, maxBytes: 4 * size });
  const { served } = life;
  const ready = async () => (await served.ask("/readyz")).json["status"];
  for (const expected of [202, 202, 202, 202, 429]) expect((await served.post(A)).status).toBe(expected);
  await clock.advance(9_999);
  expect(await ready()).toBe("ready");
  await clock.advance(1);
  expect(await ready()).toBe("full");
  await commit(life, await served.waiting());
  // Nobody has to come and try for that.
  expect(await ready()).toBe("ready");
});

test("a journal that cannot be written is answered with 503, and goes on when it can be", async () => {
  const path = directory();
  const { served } = await begin({ path });
  const [folder = ""] = readdirSync(path);
  const journal = join(path, folder, "journal");
  renameSync(journal, `${journal}.away`);
  writeFileSync(journal, "");
  for (let n = 0; n < 2; n += 1) {
    const { status, headers } = await served.post(A);
    expect([status, headers.get("retry-after")]).toEqual([503, "5"]);
  }
  rmSync(journal);
  renameSync(`${journal}.away`, journal);
  expect((await served.post(B)).status).toBe(202);
  expect(await served.texts()).toEqual([B]);
  const said = served.log.filter((line) => /journal/.test(line));
  expect(said.map((line) => /refused until|can be written again/.exec(line)?.[0])).toEqual([
    "refused until",
    "can be written again",
  ]);
});

test("nothing is taken before the state is, and the source says so", async () => {
  const life = unopened();
  await life.source.prepare?.();
  await life.store.open();
  const { status, headers } = await life.served.post(A);
  expect([status, headers.get("retry-after")]).toEqual([503, "1"]);
  expect((await life.served.ask("/readyz")).json).toEqual({ status: "starting" });
  expect((await life.served.ask("/healthz")).status).toBe(200);
  await life.source.open();
  expect((await life.served.post(A)).status).toBe(202);
  expect((await life.served.ask("/readyz")).json).toEqual({ status: "ready" });
});

test("a process that finds its port in use leaves the state to who listens there", async () => {
  const path = directory();
  const first = await begin({ path });
  const second = unopened({ path, url: first.served.url });
  await expect(second.source.prepare?.()).rejects.toMatchObject({ code: "BEHEST_SOURCE_OPEN" });
  expect((await first.served.post(A)).status).toBe(202);
  await commit(first, await first.served.waiting());
});

test("a process that is replaced answers 503 and ends", async () => {
  const path = directory();
  const older = await begin({ path });
  await older.served.post(A);
  expect(await older.served.texts()).toEqual([A]);
  const newer = await begin({ path });
  expect((await older.served.post(B)).status).toBe(503);
  await expect(older.served.waiting()).rejects.toMatchObject({ code: "BEHEST_STATE_REPLACED" });
  expect(await newer.served.texts()).toEqual([A]);
});

test("of an event that is too long the beginning is kept, and how long it was", async () => {
  const { served } = await begin();
  const long = A.padEnd(DEFAULT_MAX_LINE_BYTES + 1, " ");
  const fits = B.padEnd(DEFAULT_MAX_LINE_BYTES, " ");
  expect((await served.post(`${long}\n${fits}`)).json).toMatchObject({
    accepted: 1,
    rejected: [{ line: 1, code: "BEHEST_LINE_TOO_LONG" }],
  });
  const deliveries = await served.waiting();
  expect(deliveries.map(({ payload, wholeBytes }) => [payload.length, wholeBytes])).toEqual([
    [HEAD_BYTES, long.length],
    [fits.length, undefined],
  ]);
});

test("a repeated Idempotency-Key is put into the journal once", async () => {
  const { served } = await begin();
  const headers = { ...NDJSON, "idempotency-key": "k" };
  const first = await served.post(A, headers);
  expect(await served.post(A, headers)).toMatchObject({ status: first.status, json: first.json });
  expect(await served.texts()).toEqual([A]);
});

test("a stop answers 503 to what comes after it, and leaves what was taken to the next process", async () => {
  const path = directory();
  const { served } = await begin({ path });
  await served.post(A);
  served.stop();
  expect(await served.next()).toBeUndefined();
  expect((await served.post(B)).status).toBe(503);
  expect((await served.ask("/readyz")).json).toEqual({ status: "stopping" });
  await served.close();
  expect(await (await begin({ path })).served.texts()).toEqual([A]);
});
