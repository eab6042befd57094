import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { readPosition, writePosition } from "../../../src/source/kept-file/position.ts";
import { lines, newPath, wholeLife } from "./life.ts";

describe.each([
  ["followed", { follow: true }],
  ["read to its end", { follow: false }],
])("a file that is %s", (_, mode) => {
  /** A file of which lines 1 and 2 were read. */
  async function begun(): Promise<{ readonly path: string; readonly position: string }> {
    const path = newPath();
    writeFileSync(path, lines(1, 2));
    const { numbers, position } = await wholeLife(path, undefined, mode);
    expect(numbers).toEqual([1, 2]);
    return { path, position: position! };
  }

  test("is read on where it was", async () => {
    const { path, position } = await begun();
    appendFileSync(path, lines(3));
    const second = await wholeLife(path, position, mode);
    expect([second.numbers, second.log]).toEqual([[3], []]);
    expect((await wholeLife(path, second.position, mode)).numbers).toEqual([]);
  });

  test("and renamed meanwhile is read to its end before the new one", async () => {
    const { path, position } = await begun();
    appendFileSync(path, lines(3));
    renameSync(path, `${path}.1`);
    writeFileSync(path, lines(4));
    const second = await wholeLife(path, position, mode);
    expect([second.numbers, second.log]).toEqual([[3, 4], []]);
    appendFileSync(`${path}.1`, lines(5));
    appendFileSync(path, lines(6));
    expect((await wholeLife(path, second.position, mode)).numbers).toEqual([5, 6]);
  });

  test("and rotated several times meanwhile is read with all that came between", async () => {
    const { path, position } = await begun();
    appendFileSync(path, lines(3));
    renameSync(path, `${path}.3`);
    for (const [number, count] of [
      [4, 2],
      [5, 1],
    ] as const) {
      writeFileSync(path, lines(number));
      renameSync(path, `${path}.${count}`);
    }
    writeFileSync(path, lines(6));
    const second = await wholeLife(path, position, mode);
    expect(second.numbers).toEqual([3, 4, 5, 6]);
    expect(second.warnings).toEqual([]);
    expect(second.log.join("")).toContain("reading files that were rotated since the last stop");
    expect((await wholeLife(path, second.position, mode)).numbers).toEqual([]);
  });

  test("and rotated to numbered names is read in their order, whatever clocks say", async () => {
    const { path, position } = await begun();
    renameSync(path, `${path}.3`);
    for (const count of [4, 2, 1]) {
      writeFileSync(`${path}.${count}`, lines(10 - count));
      utimesSync(`${path}.${count}`, 1_000 * count, 1_000 * count);
    }
    writeFileSync(path, lines(10));
    expect((await wholeLife(path, position, mode)).numbers).toEqual([8, 9, 10]);
  });

  test("and rotated to names with dates is read in the order in which they were written", async () => {
    const { path, position } = await begun();
    renameSync(path, `${path}-20260101`);
    utimesSync(`${path}-20260101`, 1_000, 1_000);
    writeFileSync(`${path}-20260103`, lines(4));
    utimesSync(`${path}-20260103`, 3_000, 3_000);
    writeFileSync(`${path}-20260102`, lines(3));
    utimesSync(`${path}-20260102`, 2_000, 2_000);
    writeFileSync(`${path}-20251231`, lines(0));
    utimesSync(`${path}-20251231`, 999, 999);
    writeFileSync(path, lines(5));
    expect((await wholeLife(path, position, mode)).numbers).toEqual([3, 4, 5]);
  });

  test("and copied and truncated meanwhile is read to its end in the copy", async () => {
    const { path, position } = await begun();
    appendFileSync(path, lines(3));
    copyFileSync(path, `${path}.1`);
    truncateSync(path);
    appendFileSync(path, lines(4));
    const second = await wholeLife(path, position, mode);
    expect([second.numbers, second.log]).toEqual([[3, 4], []]);
  });

  test("and truncated meanwhile is read on in the rotator's copy before any other one", async () => {
    const { path, position } = await begun();
    copyFileSync(path, `${path}.bak`);
    appendFileSync(path, lines(3));
    copyFileSync(path, `${path}.1`);
    utimesSync(`${path}.1`, 1_000, 1_000);
    truncateSync(path);
    const second = await wholeLife(path, position, mode);
    expect([second.numbers, second.log]).toEqual([[3], []]);
  });

  test("and truncated meanwhile is read on in whatever copy there is", async () => {
    const { path, position } = await begun();
    appendFileSync(path, lines(3));
    copyFileSync(path, `${path}.bak`);
    truncateSync(path);
    expect((await wholeLife(path, position, mode)).numbers).toEqual([3]);
  });

  test("and copied and truncated, and nothing written since, is read to its end in the copy", async () => {
    const { path, position } = await begun();
    appendFileSync(path, lines(3));
    copyFileSync(path, `${path}.1`);
    truncateSync(path);
    const second = await wholeLife(path, position, mode);
    expect([second.numbers, second.log]).toEqual([[3], []]);
    appendFileSync(path, lines(4));
    expect((await wholeLife(path, second.position, mode)).numbers).toEqual([4]);
  });

  test("and deleted meanwhile is told, and what has its name is read from its beginning", async () => {
    const { path, position } = await begun();
    rmSync(path);
    writeFileSync(path, lines(3));
    const second = await wholeLife(path, position, mode);
    expect(second.numbers).toEqual([3]);
    expect(second.warnings).toEqual([
      expect.stringContaining("The file that was being read is gone or was written anew"),
    ]);
    expect(second.source.lost).toBe(0);
  });

  test("and deleted before files were rotated since is read with those", async () => {
    const { path, position } = await begun();
    rmSync(path);
    writeFileSync(`${path}.1`, lines(3));
    writeFileSync(path, lines(4));
    const second = await wholeLife(path, position, mode);
    expect([second.numbers, second.warnings.length]).toEqual([[3, 4], 1]);
  });

  test("whose number another file has now is known by what stood in it", async () => {
    const { path, position } = await begun();
    // The same number, the same length, and other bytes: what a number that is used again looks like.
    renameSync(path, `${path}.1`);
    writeFileSync(path, lines(3, 4));
    const [saved] = readPosition(position, path);
    const { ino } = statSync(path);
    const taken = writePosition([{ ...saved!, file: `${saved!.file.split(":")[0]}:${ino}` }]);
    const second = await wholeLife(path, taken, mode);
    expect([second.numbers, second.warnings]).toEqual([[3, 4], []]);
  });

  test("that was written anew to the same length is read from its beginning, and told", async () => {
    const { path, position } = await begun();
    writeFileSync(path, lines(3, 4));
    const second = await wholeLife(path, position, mode);
    expect([second.numbers, second.warnings.length]).toEqual([[3, 4], 1]);
  });

  test("that came to another disk is known by what stands in it", async () => {
    const { path, position } = await begun();
    appendFileSync(path, lines(3));
    copyFileSync(path, `${path}.tmp`);
    renameSync(`${path}.tmp`, path);
    const second = await wholeLife(path, position, mode);
    expect([second.numbers, second.log]).toEqual([[3], []]);
  });

  test("has copies and other files beside it that are not read", async () => {
    const { path, position } = await begun();
    copyFileSync(path, `${path}-20260101`);
    writeFileSync(`${path}.bak`, lines(8));
    writeFileSync(`${path}x`, lines(9));
    mkdirSync(`${path}.3`);
    renameSync(path, `${path}.1`);
    writeFileSync(path, lines(3));
    const second = await wholeLife(path, position, mode);
    expect([second.numbers, second.warnings]).toEqual([[3], []]);
  });

  test("has another file beside it whose lines end alike, and it is read", async () => {
    const path = newPath();
    const alike = (number: number) => `{"n":${number},"text":"${"x".repeat(300)}"}\n`;
    writeFileSync(path, alike(1) + alike(2));
    const { position } = await wholeLife(path, undefined, mode);
    renameSync(path, `${path}.2`);
    writeFileSync(`${path}.1`, alike(3) + alike(4));
    writeFileSync(path, alike(5));
    expect((await wholeLife(path, position, mode)).numbers).toEqual([3, 4, 5]);
  });

  test("has files beside it that were compressed, and they are told and not read", async () => {
    const { path, position } = await begun();
    renameSync(path, `${path}.2`);
    writeFileSync(`${path}.1.gz`, "compressed");
    writeFileSync(path, lines(3));
    const second = await wholeLife(path, position, mode);
    expect(second.numbers).toEqual([3]);
    expect(second.warnings).toEqual([
      expect.stringContaining(`are not read file=${path} files=${path}.1.gz`),
    ]);
  });

  test.skipIf(process.getuid?.() === 0)(
    "has files beside it that may not be opened, and they are told",
    async () => {
      const { path, position } = await begun();
      renameSync(path, `${path}.2`);
      writeFileSync(`${path}.1`, lines(3));
      chmodSync(`${path}.1`, 0);
      writeFileSync(path, lines(4));
      const second = await wholeLife(path, position, mode);
      expect([second.numbers, second.warnings.length]).toEqual([[4], 1]);
    },
  );

  test.each([".1", "-1", ".999", ".20260131", "-20260131-0959", ".2026-01-31T10:00", "_2026", ".old"])(
    "has a file beside it that was rotated to %s, and it is read",
    async (suffix) => {
      const { path, position } = await begun();
      rmSync(path);
      writeFileSync(`${path}${suffix}`, lines(3));
      writeFileSync(path, lines(4));
      expect((await wholeLife(path, position, mode)).numbers).toEqual([3, 4]);
    },
  );

  test.each([".bak", "~", "x", ".1.tmp", ".swp", "1", ".1.GZ", ".1.zst"])(
    "has a file beside it that ends in %s, and it is not read",
    async (suffix) => {
      const { path, position } = await begun();
      rmSync(path);
      writeFileSync(`${path}${suffix}`, lines(3));
      writeFileSync(path, lines(4));
      expect((await wholeLife(path, position, mode)).numbers).toEqual([4]);
    },
  );

  test("that a link leads to is found where it was rotated", async () => {
    const path = newPath();
    const real = join(dirname(path), "deep", "0.log");
    mkdirSync(dirname(real));
    symlinkSync(real, path);
    writeFileSync(real, lines(1, 2));
    const { position } = await wholeLife(path, undefined, mode);
    appendFileSync(real, lines(3));
    renameSync(real, `${real}.20260101-000000`);
    writeFileSync(real, lines(4));
    expect((await wholeLife(path, position, mode)).numbers).toEqual([3, 4]);
  });

  test("that a link led to is found when the link leads elsewhere", async () => {
    const path = newPath();
    const [before, after] = ["monday.log", "tuesday.log"].map((name) => join(dirname(path), "days", name));
    mkdirSync(dirname(before!));
    writeFileSync(before!, lines(1, 2));
    symlinkSync(before!, path);
    const { position } = await wholeLife(path, undefined, mode);
    appendFileSync(before!, lines(3));
    writeFileSync(after!, lines(4));
    rmSync(path);
    symlinkSync(after!, path);
    const second = await wholeLife(path, position, mode);
    expect([second.numbers, second.warnings]).toEqual([[3, 4], []]);
  });

  test("that was left for a newer one and is gone is no news", async () => {
    const { path, position } = await begun();
    renameSync(path, `${path}.1`);
    writeFileSync(path, lines(3));
    const second = await wholeLife(path, position, mode);
    rmSync(`${path}.1`);
    const third = await wholeLife(path, second.position, mode);
    expect([third.numbers, third.log]).toEqual([[], []]);
  });
});

describe("the limit", () => {
  /** A file that was read and renamed, with so many others in its directory. */
  async function crowded(others: number): Promise<{ readonly path: string; readonly position: string }> {
    const path = newPath();
    writeFileSync(path, lines(1));
    const { position } = await wholeLife(path);
    appendFileSync(path, lines(2));
    renameSync(path, `${path}.1`);
    writeFileSync(path, lines(3));
    for (let n = 0; n < others; n += 1) writeFileSync(join(dirname(path), `other-${n}`), "");
    return { path, position: position! };
  }

  test.each([
    [9, 0],
    [10, 0],
    [11, 1],
  ])("of names in a directory: of %i, 10 are looked at, and %i warning is given", async (names, warnings) => {
    const { path, position } = await crowded(names - 2);
    const life = await wholeLife(path, position, { limits: { maxEntries: 10 } });
    const told = life.warnings.filter((text) => text.includes("has more names than are looked at"));
    expect(told).toHaveLength(warnings);
    if (warnings === 0) expect(life.numbers).toEqual([2, 3]);
  });

  test.each([
    [2, 0],
    [3, 0],
    [4, 1],
  ])(
    "of files, here 5, lets %i between the oldest and the newest be read with %i warning",
    async (between, warnings) => {
      const path = newPath();
      writeFileSync(path, lines(1));
      const { position } = await wholeLife(path);
      renameSync(path, `${path}.9`);
      for (let n = 0; n < between; n += 1) writeFileSync(`${path}.${between - n}`, lines(10 + n));
      writeFileSync(path, lines(99));
      const life = await wholeLife(path, position, { limits: { maxFiles: 5 } });
      const all = Array.from({ length: between }, (__, n) => 10 + n);
      expect(life.numbers).toEqual([...all.slice(-3), 99]);
      expect(life.warnings).toHaveLength(warnings);
      if (warnings > 0) expect(life.warnings[0]).toContain(`${basename(path)}.${between}`);
    },
  );
});
