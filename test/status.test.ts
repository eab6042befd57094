import { expect, test } from "vitest";

import { Decoder } from "../src/event/decode.ts";
import { Lane } from "../src/lane.ts";
import { createLog } from "../src/log.ts";
import { Ledger } from "../src/metric/ledger.ts";
import { Pipeline } from "../src/pipeline.ts";
import { Assembler } from "../src/run/assembler.ts";
import { HEART_DEFAULTS } from "../src/run/limits.ts";
import type { Reading, Source } from "../src/source/source.ts";
import { sourceStatusOf } from "../src/status.ts";

/** A lane over a source that answers once, and then only when its reading is stopped. */
function laneOver(timed: boolean, room = () => Promise.resolve(), more: Partial<Source> = {}) {
  let nowMs = 1_000_000;
  const readings: Reading[] = [{ kind: "caught_up" }];
  const source: Source = {
    name: "source",
    keepsOrder: true,
    timed,
    open: () => Promise.resolve(),
    next: (signal) => {
      const reading = readings.shift();
      if (reading !== undefined || signal.aborted) return Promise.resolve(reading);
      return new Promise((resolve) => signal.addEventListener("abort", () => resolve(undefined)));
    },
    close: () => Promise.resolve(),
    ...more,
  };
  const pipeline = new Pipeline({
    decoder: new Decoder(),
    heart: new Assembler(HEART_DEFAULTS),
    ledger: new Ledger(),
    onOp: () => {},
  });
  const log = createLog({ level: "error", format: "text", now: () => new Date(0), write: () => {} });
  const lane = new Lane({ source, pipeline, deadLetter: undefined, log, now: () => nowMs, room });
  const stop = new AbortController();
  const reading = lane.read(stop.signal);
  return {
    lane,
    pass: (ms: number) => (nowMs += ms),
    end: () => {
      stop.abort();
      return reading;
    },
  };
}

/** Lets everything happen that needs no time. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

test("a broker that owes its answer for more than 30 s is out of reach", async () => {
  const { lane, pass, end } = laneOver(true);
  await settle();
  pass(30_000);
  expect(sourceStatusOf(lane, true)).toMatchObject({ waitsFor: "source", forSeconds: 30, reachable: true });
  pass(1);
  expect(sourceStatusOf(lane, true)).toMatchObject({ waitsFor: "source", reachable: false });
  await end();
});

test("a pipe or a file may be silent for as long as it likes", async () => {
  const { lane, pass, end } = laneOver(false);
  await settle();
  pass(86_400_000);
  expect(sourceStatusOf(lane, true)).toMatchObject({ source: "source", reachable: true });
  await end();
});

test("a source is not to blame while its events wait for the backend", async () => {
  const room = Promise.withResolvers<void>();
  const { lane, pass, end } = laneOver(true, () => room.promise);
  await settle();
  pass(3_600_000);
  expect(sourceStatusOf(lane, true)).toMatchObject({
    waitsFor: "export",
    forSeconds: 3_600,
    reachable: true,
  });
  room.resolve();
  await end();
});

test("a broker that refuses to be read is told of in its words", async () => {
  const { lane, end } = laneOver(true, undefined, { refusal: "OOM command not allowed" });
  expect(sourceStatusOf(lane, true)).toMatchObject({ reachable: true, refusal: "OOM command not allowed" });
  await end();
});

test("without a state nothing is said of its writing", () => {
  expect(sourceStatusOf(laneOver(true).lane, true).written).toBeUndefined();
});
