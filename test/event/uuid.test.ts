import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { UuidCache } from "../../src/event/uuid-cache.ts";
import { foldUuid, isLowerUuid, NIL_UUID } from "../../src/event/uuid.ts";

const RUN = "6f1f6d0e-3c51-4a7e-9b57-0d4cf3a1b2c3";

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

describe("a UUID", () => {
  it("is any hyphenated one, folded to lower case", () => {
    expect(foldUuid(RUN)).toBe(RUN);
    expect(foldUuid(RUN.toUpperCase())).toBe(RUN);
    expect(foldUuid("6F1f6d0e-3c51-4a7e-9b57-0d4cf3a1b2c3")).toBe(RUN);
    expect(foldUuid(NIL_UUID)).toBe(NIL_UUID);
    expect(foldUuid("ffffffff-ffff-ffff-ffff-ffffffffffff")).toBe("ffffffff-ffff-ffff-ffff-ffffffffffff");
  });

  it.each([
    "",
    RUN.slice(1),
    `${RUN}0`,
    RUN.replaceAll("-", ""),
    `{${RUN.slice(2)}}`,
    `urn:uuid:${RUN}`,
    RUN.replace("6", "g"),
    RUN.replace("6", "-"),
    RUN.replace("-", "0"),
    RUN.replace("6", "\u0136"),
    RUN.replace("6", "６"),
    ` ${RUN.slice(1)}`,
  ])("is not %j", (text) => {
    expect(foldUuid(text)).toBeUndefined();
  });

  it("is told from other bytes as from other text", () => {
    for (let at = 0; at < 36; at += 1) {
      for (let byte = 0; byte < 256; byte += 1) {
        const bytes = Buffer.from(RUN);
        bytes[at] = byte;
        const text = bytes.toString("latin1");
        expect(isLowerUuid(viewOf(bytes), 0), text).toBe(foldUuid(text) === text);
      }
    }
  });
});

describe("the cache of UUIDs", () => {
  it("reads what stands at the place, and gives the same string again", () => {
    const cache = new UuidCache();
    const line = Buffer.from(`"${RUN}" and "${RUN}"`);
    const first = cache.read(line, viewOf(line), 1);
    expect(first).toBe(RUN);
    expect(cache.read(line, viewOf(line), 44)).toBe(first);
  });

  it("never mixes ids up, however many fall on one place", () => {
    const cache = new UuidCache();
    const ids = Array.from({ length: 20_000 }, () => randomUUID());
    for (let round = 0; round < 2; round += 1) {
      for (const id of ids) {
        const line = Buffer.from(id);
        expect(cache.read(line, viewOf(line), 0)).toBe(id);
      }
    }
  });

  it("refuses the nil id and what is none, before and after it has seen others", () => {
    const cache = new UuidCache();
    for (const id of [NIL_UUID, RUN, NIL_UUID, RUN.toUpperCase(), RUN.replace("-", "0"), "\0".repeat(36)]) {
      const line = Buffer.from(id);
      expect(cache.read(line, viewOf(line), 0)).toBe(id === RUN ? RUN : undefined);
    }
  });
});
