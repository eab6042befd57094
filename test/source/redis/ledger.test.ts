import { describe, expect, test } from "vitest";

import { formatPosition, Ledger, parsePosition } from "../../../src/source/redis/ledger.ts";

const positionIn = (text: string) => parsePosition(text, "source");

const MADE = { kind: "made", isOtherStream: false } as const;

const entriesOf = (...ids: string[]) => ids.map((id) => ({ id, fields: [] }));

/** A ledger that goes on from a position. */
function restored(last: string, ...unused: string[]): Ledger {
  const ledger = new Ledger();
  ledger.restore({ last, unused });
  return ledger;
}

/** One that has handed these out, in a group from its beginning. */
function handedOut(...ids: string[]): Ledger {
  const ledger = new Ledger();
  ledger.join([], "0-0");
  for (const id of ids) ledger.handedOut(id);
  return ledger;
}

describe("a position", () => {
  test.each([
    [{ last: "5-1", unused: [] }, "5-1"],
    [{ last: "5-1", unused: ["3-0", "3-7", "4-0"] }, "5-1 3-0 0-7 1-0"],
    [{ last: "18446744073709551615-0", unused: ["18446744073709551614-9"] }, undefined],
  ])("%j is read back as it was written", (position, text) => {
    if (text !== undefined) expect(formatPosition(position)).toBe(text);
    expect(positionIn(formatPosition(position))).toEqual(position);
  });

  test.each(["", "5", "5-1 ", "5-1 x", "5-1 4-0 -3-0"])("%j is none", (text) => {
    expect(() => positionIn(text)).toThrow("is none of a Redis stream");
  });

  test("of as many unused ones as may wait is some hundred thousand bytes", () => {
    const unused = Array.from({ length: 65_536 }, (_, n) => `${1_763_848_800_000 + (n >> 2)}-${n % 4}`);
    const text = formatPosition({ last: "1763848900000-0", unused });
    expect(text.length).toBeLessThan(400_000);
    expect(positionIn(text).unused).toEqual(unused);
  });
});

test.each([
  ["5-1", [], "5-1"],
  ["5-1", ["3-0", "4-0"], "2-18446744073709551615"],
  ["5-1", ["5-1"], "5-0"],
  ["5-1", ["7-0"], "5-1"],
])("a group that is made again for %s used without %s begins behind %s", (last, unused, resume) => {
  expect(restored(last, ...unused).resume).toBe(resume);
});

describe("the position of a later life", () => {
  test("still has what an earlier one used behind the newest entry that came again", () => {
    const ledger = restored("9-0", "4-0");
    ledger.join(["4-0"], "9-0");
    ledger.handedOut("4-0");
    expect(ledger.positionOf("4-0", [])).toBe("9-0");
  });

  test("has as unused what came again and waits, and what was not handed out yet", () => {
    const ledger = restored("9-0", "4-0", "6-0", "8-0");
    ledger.join(["4-0", "6-0", "8-0"], "9-0");
    ledger.handedOut("4-0");
    ledger.handedOut("6-0");
    expect(positionIn(ledger.positionOf("6-0", ["4-0"]))).toEqual({
      last: "9-0",
      unused: ["4-0", "8-0"],
    });
    ledger.gone("8-0");
    expect(ledger.positionOf("6-0", [])).toBe("9-0");
  });

  test("goes on from where the group was when there is none to go on from", () => {
    const ledger = new Ledger();
    ledger.join(["4-0", "6-0"], "9-0");
    expect(ledger.resume).toBe("3-18446744073709551615");
    ledger.handedOut("4-0");
    expect(ledger.positionOf("4-0", [])).toBe("9-0 6-0");
  });

  test("forgets what is not there any more once everything was handed out", () => {
    const ledger = restored("9-0", "4-0");
    ledger.remade({ ...MADE, at: "3-0" });
    ledger.handedOut("10-0");
    expect(ledger.positionOf("10-0", [])).toBe("10-0 4-0");
    ledger.caughtUp();
    expect(ledger.positionOf("10-0", [])).toBe("10-0");
  });
});

test("a position before anything is taken has all that was handed out as unused", () => {
  const ledger = restored("9-0", "4-0", "6-0");
  ledger.join(["4-0", "6-0"], "9-0");
  expect(ledger.positionOf(undefined, [])).toBe("9-0 4-0 2-0");
  ledger.gone("6-0");
  ledger.handedOut("4-0");
  ledger.handedOut("10-0");
  expect(positionIn(ledger.positionOf(undefined, []))).toEqual({ last: "9-0", unused: ["4-0", "10-0"] });
});

test("a position does not go back for entries that were claimed from others, and the oldest comes first", () => {
  const ledger = handedOut("8-0", "9-0", "3-0", "5-0", "10-0");
  expect(positionIn(ledger.positionOf("5-0", ["8-0", "3-0"]))).toEqual({
    last: "9-0",
    unused: ["3-0", "8-0"],
  });
  expect(ledger.positionOf("10-0", ["8-0"])).toBe("10-0 8-0");
});

test("entries of a stream that is gone are in no position of the one that has its name", () => {
  const ledger = handedOut("8-0", "9-0");
  ledger.remade({ kind: "made", at: "0-0", isOtherStream: true });
  expect(ledger.positionOf("9-0", ["8-0"])).toBe("0-0");
  ledger.handedOut("2-0");
  expect(ledger.positionOf("2-0", ["8-0"])).toBe("2-0");
  expect(ledger.sift(entriesOf("1-0", "8-0")).unknown).toHaveLength(2);
});

describe("a group that was made again gives", () => {
  test("what was used, what is held, and what nobody had", () => {
    const ledger = handedOut("1-0", "2-0", "3-0", "4-0");
    ledger.positionOf("3-0", ["2-0"]);
    ledger.settle(["1-0", "3-0"]);
    ledger.remade({ ...MADE, at: "1-0" });
    expect(ledger.sift(entriesOf("1-0", "2-0"))).toEqual({ unknown: [], used: ["1-0"] });
    expect(ledger.sift(entriesOf("3-0", "4-0", "5-0"))).toEqual({
      unknown: entriesOf("5-0"),
      used: ["3-0"],
    });
  });

  test("to a later life what the earlier one left unused, and not what it used", () => {
    const ledger = restored("9-0", "4-0", "6-0");
    ledger.remade({ ...MADE, at: "3-0" });
    expect(ledger.sift(entriesOf("4-0", "5-0", "6-0", "9-0", "10-0"))).toEqual({
      unknown: entriesOf("4-0", "6-0", "10-0"),
      used: ["5-0", "9-0"],
    });
  });

  test("behind all that only what is new, unseen", () => {
    const ledger = restored("9-0");
    ledger.remade({ ...MADE, at: "9-0" });
    const entries = entriesOf("10-0", "11-0");
    expect(ledger.sift(entries)).toEqual({ unknown: entries, used: [] });
    ledger.handedOut("10-0");
    expect(ledger.sift(entries).unknown).toBe(entries);
  });

  test("the same again until it was handed out: who asked may not have got the answer", () => {
    const ledger = restored("9-0", "4-0");
    ledger.remade({ ...MADE, at: "3-0" });
    const entries = entriesOf("4-0", "9-0", "10-0");
    const sifted = { unknown: entriesOf("4-0", "10-0"), used: ["9-0"] };
    expect([ledger.sift(entries), ledger.sift(entries)]).toEqual([sifted, sifted]);
  });

  test("also what an earlier life had claimed from others and left, older than what it used", () => {
    const ledger = restored("9-0");
    ledger.join(["2-0"], "9-0");
    expect(ledger.resume).toBe("1-18446744073709551615");
    ledger.remade({ ...MADE, at: ledger.resume! });
    expect(ledger.sift(entriesOf("2-0", "3-0"))).toEqual({ unknown: entriesOf("2-0"), used: ["3-0"] });
  });
});

test("a commit of nothing settles nothing: what was asked for last may still fail", () => {
  const ledger = handedOut("1-0", "2-0");
  ledger.positionOf("2-0", []);
  ledger.settle([]);
  expect(ledger.resume).toBe("0-0");
  ledger.settle(["1-0", "2-0"]);
  expect(ledger.resume).toBe("2-0");
});
