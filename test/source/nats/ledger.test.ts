import { describe, expect, test } from "vitest";

import { Ledger } from "../../../src/source/nats/ledger.ts";
import { parsePosition, type NatsPosition } from "../../../src/source/nats/position.ts";

const positionIn = (text: string) => parsePosition(text, "source");

const FRESH: NatsPosition = { stream: "s", life: 0, next: 1, unused: [], appendedMs: 0 };

const message = (sequence: number, appendedMs = sequence * 10, reply = `ack ${sequence}`) => ({
  sequence,
  appendedMs,
  reply,
});

describe("a message", () => {
  test("that comes again before it is committed is held, and acknowledged where it came last", () => {
    const ledger = new Ledger(FRESH);
    expect(ledger.take(message(1))).toEqual({ kind: "new", id: "1", appendedMs: 10 });
    expect(ledger.take(message(1, 10, "ack again"))).toEqual({ kind: "held" });
    expect(ledger.commit("1")).toBe("ack again");
  });

  test("that comes again after it is committed is used", () => {
    const ledger = new Ledger(FRESH);
    ledger.take(message(1));
    ledger.commit("1");
    expect(ledger.take(message(1))).toEqual({ kind: "used" });
    expect(ledger.commit("1")).toBeUndefined();
  });

  test("that the position says is used is used, and one that it leaves out is not", () => {
    const ledger = new Ledger({ ...FRESH, next: 10, unused: [3, 4, 8, 8] });
    const kinds = [3, 4, 5, 6, 7, 8, 9, 10].map((sequence) => ledger.take(message(sequence)).kind);
    expect(kinds).toEqual(["new", "new", "used", "used", "used", "new", "used", "new"]);
  });

  test("of a server whose clock was set back keeps the time of the one before, in the next life as well", () => {
    const ledger = new Ledger(FRESH);
    const times = [
      [1, 100],
      [2, 50],
      [3, 60],
      [4, 200],
    ].map(([sequence, ms]) => ledger.take(message(sequence!, ms)));
    expect(times.map((verdict) => verdict.kind === "new" && verdict.appendedMs)).toEqual([
      100, 100, 100, 200,
    ]);
    const next = new Ledger(positionIn(ledger.positionOf("4", ["2", "3"])));
    expect(next.take(message(2, 50))).toEqual({ kind: "new", id: "2", appendedMs: 100 });
  });
});

describe("the lowest sequence that is not committed", () => {
  test("is where an unused one waits, or behind all", () => {
    const ledger = new Ledger(FRESH);
    for (const sequence of [1, 2, 3]) ledger.take(message(sequence));
    ledger.commit("1");
    ledger.commit("3");
    expect(ledger.lowest).toBe(2);
    ledger.commit("2");
    expect(ledger.lowest).toBe(4);
  });

  test("is where the position says, before anything came", () => {
    expect(new Ledger({ ...FRESH, next: 10, unused: [3, 4] }).lowest).toBe(3);
    expect(new Ledger({ ...FRESH, next: 10 }).lowest).toBe(10);
  });
});

test("skipping counts what was still to come, once", () => {
  const ledger = new Ledger({ ...FRESH, next: 10, unused: [3, 4, 8, 8] });
  expect(ledger.skipTo(12)).toBe(3 + 3);
  expect(ledger.skipTo(12)).toBe(0);
  expect(ledger.cursor).toBe(12);
});

test("a position says what is next, and what is unused before it", () => {
  const ledger = new Ledger(FRESH);
  for (let sequence = 1; sequence <= 6; sequence += 1) ledger.take(message(sequence));
  // The sixth was handed out and not taken.
  expect(positionIn(ledger.positionOf("5", ["2", "3"]))).toEqual({
    stream: "s",
    life: 0,
    next: 7,
    unused: [2, 3, 6, 6],
    appendedMs: 20,
  });
  expect(positionIn(ledger.positionOf("6", []))).toMatchObject({ next: 7, unused: [], appendedMs: 60 });
});

test("a position before anything is taken leaves all that was handed out", () => {
  const ledger = new Ledger({ ...FRESH, next: 10, unused: [3, 4] });
  expect(positionIn(ledger.positionOf(undefined, []))).toEqual({ ...FRESH, next: 10, unused: [3, 4] });
  ledger.take(message(4));
  ledger.take(message(12));
  expect(positionIn(ledger.positionOf(undefined, []))).toMatchObject({ next: 13, unused: [4, 4, 12, 12] });
});

test("what is gone is missed once, in this life and by the next", () => {
  const ledger = new Ledger({ ...FRESH, next: 10, unused: [3, 4, 8, 8] });
  expect(ledger.skipTo(12)).toBe(3 + 3);
  const next = new Ledger(positionIn(ledger.positionOf(undefined, [])));
  expect([next.skipTo(12), next.lowest, next.skipTo(13)]).toEqual([0, 13, 1]);
});

test("a position keeps what an earlier life left unused and has not come again yet", () => {
  const ledger = new Ledger({ ...FRESH, next: 100, unused: [3, 4, 50, 60] });
  ledger.take(message(3));
  expect(positionIn(ledger.positionOf("3", []))).toMatchObject({ next: 100, unused: [4, 4, 50, 60] });
  for (let sequence = 4; sequence <= 55; sequence += 1) ledger.take(message(sequence));
  expect(positionIn(ledger.positionOf("55", ["52"]))).toMatchObject({
    next: 100,
    unused: [52, 52, 56, 60],
  });
});

test("the time of a position is still known when everything is committed", () => {
  const ledger = new Ledger(FRESH);
  ledger.take(message(1));
  ledger.commit("1");
  expect(positionIn(ledger.positionOf("1", [])).appendedMs).toBe(10);
});

test("a delivery of an earlier life has the new stream read from its beginning", () => {
  const ledger = new Ledger({ ...FRESH, stream: "new", life: 1 });
  ledger.take(message(1));
  expect(positionIn(ledger.positionOf("900", ["7"]))).toMatchObject({
    stream: "new",
    life: 1,
    next: 2,
    unused: [1, 1],
  });
  expect(ledger.commit("1")).toBeUndefined();
  expect(ledger.commit("1:1")).toBe("ack 1");
});

test("what is not committed up to a sequence is what waits and what has not come yet", () => {
  const ledger = new Ledger({ ...FRESH, next: 10, unused: [3, 4, 7, 8] });
  ledger.take(message(3));
  ledger.take(message(4));
  ledger.commit("3");
  expect(ledger.uncommittedUpTo(7)).toEqual([4, 4, 7, 7]);
});
