import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAX_TIME_SECONDS, type Time } from "../../src/event/time.ts";
import { TimestampReader } from "../../src/event/timestamp.ts";
import { trial } from "./trial.ts";
import { timestamp } from "./wire-arbitrary.ts";

const reader = new TimestampReader();

/** From a text, and from the bytes of it in the middle of others: always the same. */
function read(text: string): Time | undefined {
  const bytes = Buffer.from(`"9${text}9"`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const time = reader.text(text);
  expect(reader.bytes(view, 2, bytes.length - 2)).toEqual(time);
  return time;
}

describe("timestamps", () => {
  it.each<[string, Time]>([
    ["1970-01-01T00:00:00Z", [0, 0]],
    ["2026-06-21T00:00:00Z", [1_782_000_000, 0]],
    ["2026-06-21T00:00:00.1Z", [1_782_000_000, 100_000_000]],
    ["2026-06-21T00:00:00.001Z", [1_782_000_000, 1_000_000]],
    ["2026-06-21T00:00:00.000001Z", [1_782_000_000, 1_000]],
    ["2026-06-21T00:00:00.123456789Z", [1_782_000_000, 123_456_789]],
    ["2026-06-21T23:59:59.999999999Z", [1_782_086_399, 999_999_999]],
    ["2026-06-21t00:00:00z", [1_782_000_000, 0]],
    ["2026-06-21T02:30:00+02:30", [1_782_000_000, 0]],
    ["2026-06-20T21:30:00.5-02:30", [1_782_000_000, 500_000_000]],
    ["2026-06-21T00:00:00-00:00", [1_782_000_000, 0]],
    ["2026-06-20T23:59:60Z", [1_782_000_000, 0]],
    ["2026-06-20T23:59:60.25Z", [1_782_000_000, 250_000_000]],
    ["2024-02-29T00:00:00Z", [1_709_164_800, 0]],
    ["2000-02-29T00:00:00Z", [951_782_400, 0]],
    ["1969-12-31T23:30:00-01:00", [1_800, 0]],
    ["2554-07-21T23:34:33Z", [MAX_TIME_SECONDS, 0]],
  ])("%s is read", (text, expected) => {
    expect(read(text)).toEqual(expected);
  });

  it.each([
    "",
    "2026-06-21",
    "2026-06-21T00:00:00",
    "2026-06-21T00:00Z",
    "2026-06-21T00:00:00.Z",
    "2026-06-21T00:00:00.1",
    "2026-06-21T00:00:00.1234567890Z",
    "2026-06-21T00:00:00,5Z",
    "2026-06-21 00:00:00Z",
    "2026-06-21T00:00:00ZZ",
    "2026-06-21T00:00:00Z ",
    " 2026-06-21T00:00:00Z",
    "2026-06-21T00:00:00+0200",
    "2026-06-21T00:00:00+02",
    "2026-06-21T00:00:00+24:00",
    "2026-06-21T00:00:00+02:60",
    "2026-06-21T00:00:00+a2:00",
    "2026-06-21T24:00:00Z",
    "2026-06-21T00:60:00Z",
    "2026-06-21T00:00:61Z",
    "2026-00-21T00:00:00Z",
    "2026-13-21T00:00:00Z",
    "2026-06-00T00:00:00Z",
    "2026-06-31T00:00:00Z",
    "2026-02-29T00:00:00Z",
    "2100-02-29T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "1970-01-01T00:00:00+00:01",
    "1968-12-31T23:59:59-23:59",
    "2554-07-21T23:34:33.000000001Z",
    "2554-07-21T23:34:34Z",
    "9999-12-31T23:59:59Z",
    "20260621T000000Z",
    "2026/06/21T00:00:00Z",
    "2026-06-21T00.00.00Z",
    "２026-06-21T00:00:00Z",
    "\u013226-06-21T00:00:00Z",
    "-026-06-21T00:00:00Z",
    "20a6-06-21T00:00:00Z",
    "2026-a6-21T00:00:00Z",
    "2026-06-2aT00:00:00Z",
    "1e10-06-21T00:00:00Z",
  ])("%j is none", (text) => {
    expect(read(text)).toBeUndefined();
  });

  it("are read anew when the date changes, and after one that does not exist", () => {
    expect(read("2026-06-21T00:00:00Z")).toEqual([1_782_000_000, 0]);
    expect(read("2026-06-31T00:00:00Z")).toBeUndefined();
    expect(read("2026-06-31T00:00:00Z")).toBeUndefined();
    expect(read("2026-06-22T00:00:00Z")).toEqual([1_782_086_400, 0]);
    expect(read("2026-06-21T00:00:00Z")).toEqual([1_782_000_000, 0]);
  });

  it.each([
    "2027-06-21T00:00:00Z",
    "2026-07-21T00:00:00Z",
    "2026-06-22T00:00:00Z",
    "2026-06-21T01:00:00Z",
    "2026-06-21T00:01:00Z",
    "2026-06-21T00:00:01Z",
  ])("%s is not taken for the minute before it", (text) => {
    expect(read("2026-06-21T00:00:00Z")).toEqual([1_782_000_000, 0]);
    expect(read(text)).toEqual([Date.parse(text) / 1_000, 0]);
  });

  it("are read as Date reads them, with the digits that Date leaves out", () => {
    fc.assert(
      fc.property(timestamp, (text) => {
        const fraction = /\.(\d+)/.exec(text)?.[1] ?? "";
        const withoutFraction = text.replace(/\.\d+/, "").toUpperCase();
        expect(read(text)).toEqual([Date.parse(withoutFraction) / 1_000, Number(fraction.padEnd(9, "0"))]);
      }),
      trial("timestamps", 0.1),
    );
  });
});
