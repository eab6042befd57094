import { isUtf8 } from "node:buffer";
import fc, { type Arbitrary } from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { temporary } from "../cli/program.ts";
import { trial } from "../event/trial.ts";
import { eventLine, mutate, mutation, type JsonObject } from "../event/wire-arbitrary.ts";
import { Decoder, type Decoded } from "../../src/event/decode.ts";
import { DEFAULT_MAX_LINE_BYTES } from "../../src/event/lines.ts";
import { addSnapshots } from "../../src/metric/combine.ts";
import { Ledger } from "../../src/metric/ledger.ts";
import type { FinishedSpan } from "../../src/run/op.ts";
import { Pipeline } from "../../src/pipeline.ts";
import { reportOf } from "../../src/report.ts";
import { Assembler } from "../../src/run/assembler.ts";
import { HEART_DEFAULTS, type HeartOptions } from "../../src/run/limits.ts";
import type { Shard } from "../../src/shard.ts";
import { startHttpBackend, type OtlpServer } from "../otel/otlp-server.ts";
import { envFor, runOver } from "./bridge-run.ts";
import { linesOf, nameOf, recordingsOf } from "./recordings.ts";

/** A pipeline and the spans that came out of it. */
class Line {
  readonly spans: FinishedSpan[] = [];
  readonly pipeline: Pipeline;

  constructor(heart: Partial<HeartOptions>, shard?: Shard) {
    this.pipeline = new Pipeline({
      decoder: new Decoder(),
      heart: new Assembler({ ...HEART_DEFAULTS, ...heart }),
      ledger: new Ledger(),
      shard,
      onOp: (op) => {
        if (op.op === "span") this.spans.push(op.span);
      },
    });
  }

  take(bytes: Buffer, nowMs?: number): Decoded | undefined {
    const delivery = nowMs === undefined ? undefined : { nowMs, outside: undefined };
    return this.pipeline.line(bytes, 0, bytes.length, isUtf8(bytes), delivery);
  }
}

function shardsOf(count: number, heart: Partial<HeartOptions> = {}): Line[] {
  return Array.from({ length: count }, (_, index) => new Line(heart, { index, count }));
}

const toBytes = (text: string) => Buffer.from(text);
const texts = (lines: readonly Line[]) =>
  lines.flatMap(({ spans }) => spans.map((span) => JSON.stringify(span))).toSorted();
const counts = (lines: readonly Line[]) =>
  reportOf(addSnapshots(lines.map(({ pipeline }) => pipeline.ledger.snapshot("released"))));

/** One for all and several that share: each line is exactly one's, and all of them together do what the one does. */
function expectSame(
  lines: readonly Buffer[],
  { count, settles, heart = {} }: { count: number; settles: number; heart?: Partial<HeartOptions> },
): Decoded[] {
  const one = new Line(heart);
  const shards = shardsOf(count, heart);
  const all: Decoded[] = [];
  for (const [at, line] of lines.entries()) {
    const expected = one.take(line)!;
    all.push(expected);
    const taken = shards.map((shard) => shard.take(line)).filter((decoded) => decoded !== undefined);
    expect(taken, line.toString()).toEqual([expected]);
    if (at % settles !== 0) continue;
    for (const { pipeline } of shards) pipeline.settle();
    const times = shards.map(({ pipeline }) => pipeline.heart.nowMs);
    expect(times, line.toString()).toEqual(shards.map(() => one.pipeline.heart.nowMs));
  }
  for (const { pipeline } of [one, ...shards]) pipeline.drain();
  expect(texts(shards)).toEqual(texts([one]));
  expect(counts(shards)).toEqual(counts([one]));
  return all;
}

/** Runs that several events are of, and every shard has some of. */
const RUNS = Array.from({ length: 8 }, (_, n) => `6f1f6d0e-3c51-4a7e-9b57-0d4cf3a1b2c${n}`);

const inRun = (text: string, run: string) => text.replaceAll(/"run_id":"[^"\\]*"/g, `"run_id":"${run}"`);

/** What a producer sends, and what becomes of it on a bad day. */
const text: Arbitrary<string> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(eventLine, fc.constantFrom(...RUNS))
      .map(([line, run]) => inRun(JSON.stringify(line), run)),
  },
  { weight: 2, arbitrary: eventLine.map((line) => JSON.stringify(line)) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(eventLine, fc.constantFrom(...RUNS), fc.array(mutation, { minLength: 1, maxLength: 3 }))
      .map(([line, run, changes]) => {
        const object = JSON.parse(inRun(JSON.stringify(line), run)) as JsonObject;
        return JSON.stringify(changes.reduce(mutate, object));
      }),
  },
  fc
    .tuple(fc.constantFrom(...RUNS), fc.constantFrom(...RUNS), fc.nat(13))
    .map(([run, other, kind]) => odd(run, other, kind)),
);

function odd(run: string, other: string, kind: number): string {
  const time = `2026-06-21T00:${String(kind + 10)}:00Z`;
  const told = `{"RunFailed":{"run_id":"${run}","error":"x","timestamp":"${time}"}}`;
  switch (kind) {
    case 0:
      return told.replace("}}", `,"run_id":"${other}"}}`);
    case 1:
      return told.replace("}}", String.raw`,"run\u005fid":"${other}"}}`);
    case 2:
      return told.replace('"x"', String.raw`"{\"run_id\":\"${other}\"}"`);
    case 3:
      return told.replace(run, run.toUpperCase());
    case 4:
      return `${told.slice(0, -1)},"RunCancelled":{"run_id":"${other}","timestamp":"${time}"}}`;
    case 5:
      return `${told.slice(0, -1)},${told.replace(run, other).slice(1)}`;
    case 6:
      return told.replace("RunFailed", "RunFoiled");
    case 7:
      return `{"seq":1,"run_id":"${other}","event":${told}}`;
    case 8:
      return `{"event":${told},"event":${told.replace(run, other)}}`;
    case 9:
      return told.replace('"x"', "5");
    case 10:
      return JSON.stringify({ kind: "event", payload: told });
    case 11:
      return JSON.stringify({ kind: "event", payload: JSON.parse(told), bytes: 5 });
    case 12:
      return told.replaceAll(/([:,])/g, "$1 ");
    default:
      return `{"RunFailed":{"run_id":"${run}","timestamp":"${time}"}}`;
  }
}

const edit = fc.record({
  at: fc.nat(600),
  bytes: fc.oneof(
    fc
      .constantFrom("", '"', "\\", "{", "}", ",", ":", " ", "0", "\u0000", '"run_id":')
      .map((part) => Buffer.from(part)),
    fc.uint8Array({ maxLength: 2 }).map((part) => Buffer.from(part)),
  ),
  removed: fc.nat(3),
});

const line: Arbitrary<Buffer> = fc
  .tuple(
    text,
    fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, fc.array(edit, { minLength: 1, maxLength: 3 })),
  )
  .map(([whole, edits]) =>
    edits.reduce<Buffer>((bytes, { at, bytes: put, removed }) => {
      const place = at % Math.max(bytes.length, 1);
      return Buffer.concat([bytes.subarray(0, place), put, bytes.subarray(place + removed)]);
    }, Buffer.from(whole)),
  );

describe("shards", () => {
  test("share any lines as one process has them: who counts what, what time it is, and every span", () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(
        fc.array(line, { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 2, max: 5 }),
        fc.integer({ min: 1, max: 20 }),
        fc.constantFrom(0, 2_000),
        (lines, count, settles, reorderWindowMs) => {
          for (const decoded of expectSame(lines, { count, settles, heart: { reorderWindowMs } })) {
            seen.add(decoded.type === "rejected" ? decoded.code : decoded.type);
          }
        },
      ),
      trial("shards", 1),
    );
    const expected = ["TextDelta", "RunFailed", "unknown", "BEHEST_DECODE_JSON", "BEHEST_DECODE_UTF8"];
    expect([...seen]).toEqual(
      expect.arrayContaining([...expected, "BEHEST_DECODE_RUN_ID", "BEHEST_DECODE_SCHEMA"]),
    );
  });

  test.each(["", "redis", "nats"].flatMap(recordingsOf).map((one) => [nameOf(one), one] as const))(
    "have the spans and counts of one process: %s",
    (_, { path, transport }) => {
      const lines = linesOf(path).map(toBytes);
      const reorderWindowMs = transport === "" ? 0 : 2_000;
      for (const count of [2, 3]) expectSame(lines, { count, settles: 50, heart: { reorderWindowMs } });
    },
  );

  test("expire a run that falls silent while others go on, as one process does", () => {
    const lines = recordingsOf("").flatMap(({ path }) => linesOf(path).map(toBytes));
    const heart = { runIdleMs: 50, toolIdleMs: 100 };
    for (const settles of [1, 1_000, lines.length]) expectSame(lines, { count: 2, settles, heart });
    const shards = shardsOf(2, heart);
    for (const shard of shards) {
      for (const each of lines) shard.take(each);
      shard.pipeline.settle();
      expect(texts([shard]).filter((span) => span.includes('"expired"')).length).toBeGreaterThan(10);
    }
  });

  test("heed the time of a source that has times of its own, whosever the event is", () => {
    const shards = shardsOf(2);
    for (const [at, run] of RUNS.entries()) {
      const event = { RunCancelled: { run_id: run, timestamp: "2026-06-21T00:00:00Z" } };
      for (const shard of shards) shard.take(Buffer.from(JSON.stringify(event)), 1_000 + at);
      expect(shards.map(({ pipeline }) => pipeline.heart.nowMs)).toEqual([1_000 + at, 1_000 + at]);
    }
  });
});

test.each([0, 1])(
  "a delta of the longest line is its shard's, one byte more is the first one's (%i more)",
  (more) => {
    const head = `{"TextDelta":{"run_id":"6f1f6d0e-3c51-4a7e-9b57-0d4cf3a1b2c3","delta":"`;
    const tail = `","timestamp":"2026-06-21T00:00:00Z"}}`;
    const said = "x".repeat(DEFAULT_MAX_LINE_BYTES - head.length - tail.length + more);
    const [decoded] = expectSame([toBytes(head + said + tail)], { count: 3, settles: 1 });
    expect(decoded?.type).toBe(more === 0 ? "TextDelta" : "rejected");
  },
);

describe("over a file", () => {
  let backend: OtlpServer;
  beforeAll(async () => {
    backend = await startHttpBackend();
  });
  afterAll(() => backend.close());

  test("shards deliver together what one process delivers, byte for byte, and count what is no event once", async () => {
    const lines = recordingsOf("").flatMap(({ path }) => linesOf(path));
    lines.splice(100, 0, "x".repeat(1_100_000), "not JSON", '{"NotKnown":{}}', lines[7]!.slice(0, 90));
    const path = temporary("all.ndjson", `${lines.join("\n")}\n`);
    const env = envFor(backend.url);
    const whole = await runOver({ from: [path], env });
    const expected = backend.taken.map((span) => JSON.stringify(span)).toSorted();
    const shards = await Promise.all(
      [0, 1, 2].map((index) => runOver({ from: [path], env, shard: { index, count: 3 } })),
    );
    expect(
      backend.taken
        .slice(expected.length)
        .map((span) => JSON.stringify(span))
        .toSorted(),
    ).toEqual(expected);
    const { events } = whole.report;
    expect(events.rejected).toEqual({ BEHEST_LINE_TOO_LONG: 1, BEHEST_DECODE_JSON: 2 });
    expect(shards.map(({ report }) => report.events.rejected)).toEqual([events.rejected, {}, {}]);
    for (const { report } of shards) expect(report.events.used).toBeLessThan(events.used);
    for (const key of ["received", "used"] as const) {
      expect(shards.reduce((sum, { report }) => sum + report.events[key], 0)).toBe(events[key]);
    }
  });
});
