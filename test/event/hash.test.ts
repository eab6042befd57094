import { describe, expect, it } from "vitest";
import { hashBytes, hashText } from "../../src/event/hash.ts";

function hashOf(bytes: Buffer): number {
  return hashBytes(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, bytes.length);
}

/** All 53 bits, the highest first. */
function bitsOf(hash: number): string {
  return hash.toString(2).padStart(53, "0");
}

function delta(run: number, n: number, nanos: number): string {
  const runId = `6f1f6d0e-3c51-4a7e-9b57-${run.toString(16).padStart(12, "0")}`;
  const timestamp = `2026-06-21T00:00:00.${String(nanos).padStart(9, "0")}Z`;
  return `"TextDelta":{"run_id":"${runId}","delta":"${n}","timestamp":"${timestamp}"}`;
}

describe("the hash of events", () => {
  it("is a whole number below 2^53, for any length", () => {
    for (let length = 0; length < 200; length += 1) {
      const hash = hashOf(Buffer.alloc(length, "ab"));
      expect(Number.isSafeInteger(hash) && hash >= 0, `${length}`).toBe(true);
    }
  });

  it("does not change between versions: it is part of the saved state", () => {
    expect(hashText("")).toBe(7_985_902_583_061_840);
    expect(hashText("abc")).toBe(6_695_434_557_286_847);
    expect(hashText("0123456789abcdef")).toBe(8_065_535_530_663_618);
    expect(hashText('"RunCancelled":{"run_id":"é"}')).toBe(675_892_696_067_106);
  });

  it("of a text is that of its UTF-8 bytes", () => {
    for (const text of [
      "",
      "a",
      "abcdefg",
      "abcdefgh",
      "é",
      "日本語 😀 text",
      "x".repeat(2_047),
      "é".repeat(2_048),
      "é".repeat(2_049),
    ]) {
      expect(hashText(text), text.slice(0, 20)).toBe(hashOf(Buffer.from(text)));
    }
  });

  it("depends on the place of the bytes in no way", () => {
    const text = delta(1, 2, 3);
    for (let at = 0; at < 9; at += 1) {
      const bytes = Buffer.from("#".repeat(at) + text + "#".repeat(9));
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      expect(hashBytes(view, at, at + text.length)).toBe(hashText(text));
    }
  });

  it("differs by length, for texts of one and the same character", () => {
    const hashes = Array.from({ length: 3_000 }, (_, length) => hashText("\0".repeat(length)));
    expect(new Set(hashes).size).toBe(hashes.length);
  });

  it("differs by each of its seeds", () => {
    const hashes = [hashText("text"), hashText("text", 1), hashText("text", 0, 1), hashText("text", 1, 1)];
    expect(new Set(hashes).size).toBe(4);
  });

  it("changes half of its bits when one bit of the text changes, wherever that is", () => {
    const text = Buffer.from(delta(7, 8, 9));
    const before = bitsOf(hashOf(text));
    const flips = Array.from({ length: 53 }, () => 0);
    const trials = text.length * 8;
    for (let bit = 0; bit < trials; bit += 1) {
      const changed = Buffer.from(text);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      const after = bitsOf(hashOf(changed));
      for (let place = 0; place < 53; place += 1) flips[place]! += before[place] === after[place] ? 0 : 1;
    }
    // Five standard deviations of a fair coin.
    const tolerance = 5 * Math.sqrt(trials / 4);
    for (const [place, count] of flips.entries()) {
      expect(Math.abs(count - trials / 2), `bit ${place} of the hash`).toBeLessThan(tolerance);
    }
  });

  it("does not collide for the events of many runs", () => {
    const hashes = new Set<number>();
    let events = 0;
    for (let run = 0; run < 200; run += 1) {
      for (let n = 0; n < 1_500; n += 1) {
        hashes.add(hashText(delta(run, n, (n * 1_000) % 1_000_000_000)));
        events += 1;
      }
    }
    expect(hashes.size).toBe(events);
  });

  it("spreads digits that differ at any two places over both halves of its bits", () => {
    const texts = 10_000;
    for (let distance = 2; distance <= 20; distance += 1) {
      for (let behind = 0; behind < 10; behind += 1) {
        const hashes = Array.from({ length: texts }, (_, n) => {
          const first = String(Math.floor(n / 100)).padStart(2, "0");
          const second = String(n % 100).padStart(2, "0");
          return hashText(`some text ${first}${"-".repeat(distance - 2)}${second}${"}".repeat(behind)}`);
        });
        // Of 2^26 values, 0.7 pairs are expected to meet by chance.
        const high = new Set(hashes.map((hash) => Math.floor(hash / 2 ** 27)));
        const low = new Set(hashes.map((hash) => hash % 2 ** 26));
        expect(texts - high.size, `${distance} ${behind}`).toBeLessThan(10);
        expect(texts - low.size, `${distance} ${behind}`).toBeLessThan(10);
      }
    }
  });
});
