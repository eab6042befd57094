import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { describe, expect, test } from "vitest";
import { readPosition, readUpTo, writePosition } from "../../../src/source/kept-file/position.ts";
import { Progress } from "../../../src/source/kept-file/progress.ts";
import { rereadFault } from "../../../src/source/kept-file/reread-fault.ts";
import { CHUNK_BYTES } from "../../../src/source/source.ts";
import { Life, line, lines, newPath, wholeLife } from "./life.ts";

const FOLLOWED = { follow: true };
const ONCE = { follow: false };
const MODES = [
  ["followed", FOLLOWED],
  ["read to its end", ONCE],
] as const;

describe.each(MODES)("a file that is %s", (_, mode) => {
  test("hands out its lines under its number and their offsets", async () => {
    const path = newPath();
    writeFileSync(path, "{}\r\n\n{ }\n");
    const { taken } = await wholeLife(path, undefined, mode);
    const { dev, ino } = statSync(path);
    expect(taken).toEqual([
      { id: `${dev}:${ino}:0`, payload: Buffer.from("{}"), appendedMs: undefined, outside: undefined },
      { id: `${dev}:${ino}:5`, payload: Buffer.from("{ }"), appendedMs: undefined, outside: undefined },
    ]);
  });

  test("that is empty has no position, and is read from its beginning later", async () => {
    const path = newPath();
    writeFileSync(path, "");
    const first = await wholeLife(path, undefined, mode);
    expect([first.numbers, first.position]).toEqual([[], undefined]);
    appendFileSync(path, lines(1));
    expect((await wholeLife(path, first.position, mode)).numbers).toEqual([1]);
  });

  test("is read on behind the line that was committed last, not behind the last that was read", async () => {
    const path = newPath();
    writeFileSync(path, lines(1));
    const first = await Life.begin(path, undefined, mode);
    await first.takeUntil(1);
    first.commit();
    appendFileSync(path, lines(2));
    await first.takeAll();
    await first.end();
    expect((await wholeLife(path, first.position, mode)).numbers).toEqual([2]);
  });

  test("has a position that does not hold what is handed out and not yet taken", async () => {
    const path = newPath();
    const many = Array.from({ length: 8_193 }, (__, n) => n);
    writeFileSync(path, lines(...many));
    const first = await Life.begin(path, undefined, mode);
    await first.take();
    expect(first.taken).toHaveLength(8_192);
    const last = first.taken.at(-1)!.id;
    const next = first.source.next(new AbortController().signal);
    first.position = first.source.positionOf(last, []);
    await next;
    expect(first.source.positionOf(last, [])).toBe(first.position);
    await first.end();
    expect((await wholeLife(path, first.position, mode)).numbers).toEqual([8_192]);
  });

  test("has a position behind any line, not only behind the last one handed out", async () => {
    const path = newPath();
    writeFileSync(path, lines(1, 2, 3, 4));
    const first = await Life.begin(path, undefined, mode);
    await first.takeAll();
    const position = first.source.positionOf(first.taken[1]!.id, [first.taken[0]!.id]);
    const later = first.source.positionOf(first.taken[2]!.id, []);
    await first.end();
    expect((await wholeLife(path, position, mode)).numbers).toEqual([1, 3, 4]);
    expect((await wholeLife(path, later, mode)).numbers).toEqual([4]);
  });

  test("hands out unused lines again, and none of the used ones between them", async () => {
    const path = newPath();
    writeFileSync(path, lines(1, 2, 3, 4));
    const first = await Life.begin(path, undefined, mode);
    await first.takeAll();
    first.commit([0, 2]);
    await first.end();
    appendFileSync(path, lines(5));
    const second = await Life.begin(path, first.position, mode);
    await second.takeAll();
    expect(second.numbers).toEqual([1, 3, 5]);
    second.commit([1]);
    await second.end();
    const third = await wholeLife(path, second.position, mode);
    expect([third.numbers, third.source.lost]).toEqual([[3], 0]);
  });

  test("keeps unused lines that were not handed out again before the next kill", async () => {
    const path = newPath();
    const many = Array.from({ length: 8_200 }, (__, n) => n);
    writeFileSync(path, lines(...many));
    const first = await Life.begin(path, undefined, mode);
    await first.takeAll();
    first.commit(many);
    await first.end();
    const second = await Life.begin(path, first.position, mode);
    await second.take();
    second.commit();
    await second.end();
    const third = await wholeLife(path, second.position, mode);
    expect([...second.numbers, ...third.numbers]).toEqual(many);
    expect(third.numbers).toHaveLength(8);
  });

  test("has unused lines in several files, and they come again from each", async () => {
    const path = newPath();
    writeFileSync(path, lines(1, 2));
    const first = await wholeLife(path, undefined, mode);
    renameSync(path, `${path}.1`);
    writeFileSync(path, lines(3, 4));
    const second = await Life.begin(path, first.position, mode);
    appendFileSync(`${path}.1`, lines(5));
    await second.takeUntil(3);
    second.commit([0, 1]);
    await second.end();
    expect(new Set(second.numbers)).toEqual(new Set([3, 4, 5]));
    const third = await wholeLife(path, second.position, mode);
    expect(new Set(third.numbers)).toEqual(new Set(second.numbers.slice(0, 2)));
  });

  test("whose unused lines are gone with it has lost them, and says how many", async () => {
    const path = newPath();
    writeFileSync(path, lines(1, 2, 3));
    const first = await Life.begin(path, undefined, mode);
    await first.takeAll();
    first.commit([0, 2]);
    await first.end();
    rmSync(path);
    writeFileSync(path, lines(4));
    const second = await wholeLife(path, first.position, mode);
    expect([second.numbers, second.source.lost]).toEqual([[4], 2]);
    expect(second.log.join("")).toMatch(/ERROR Lines that were read and not used are gone.* lines=2/);
  });

  test("has a line that is too long handed out with its head and length, once", async () => {
    const path = newPath();
    const long = "x".repeat(3 * CHUNK_BYTES);
    writeFileSync(path, `${lines(1)}${long}\n${lines(2)}`);
    const first = await wholeLife(path, undefined, mode);
    expect(first.taken.map(({ payload, wholeBytes }) => [payload.length, wholeBytes])).toEqual([
      [line(1).length, undefined],
      [65_536, long.length],
      [line(2).length, undefined],
    ]);
    appendFileSync(path, lines(3));
    expect((await wholeLife(path, first.position, mode)).numbers).toEqual([3]);
  });

  test("killed within a line that is longer than a chunk reads that line again as a whole", async () => {
    const path = newPath();
    const long = "x".repeat(CHUNK_BYTES + 10);
    writeFileSync(path, `${lines(1)}${long}`);
    const first = await wholeLife(path, undefined, mode);
    expect(first.numbers).toEqual([1]);
    appendFileSync(path, `${long}\n${lines(2)}`);
    const second = await wholeLife(path, first.position, mode);
    expect(second.taken.map(({ wholeBytes }) => wholeBytes)).toEqual([2 * long.length, undefined]);
  });

  test("takes CRLF for an end and leaves out a byte order mark, in every life", async () => {
    const path = newPath();
    writeFileSync(path, `\uFEFF${line(1)}\r\n`);
    const first = await wholeLife(path, undefined, mode);
    appendFileSync(path, `\r\n${line(2)}\r\n`);
    const second = await wholeLife(path, first.position, mode);
    expect([first.texts, second.texts]).toEqual([[line(1)], [line(2)]]);
  });

  test("that was rotated with half a line at its end hands that out as a line", async () => {
    const path = newPath();
    writeFileSync(path, `${lines(1)}{"half":`);
    const first = await wholeLife(path, undefined, mode);
    renameSync(path, `${path}.1`);
    writeFileSync(path, lines(2));
    const second = await Life.begin(path, first.position, { ...mode, lingerLooks: 1 });
    await second.takeUntil(2);
    await second.end();
    expect(second.texts.toSorted()).toEqual(['{"half":', line(2)].toSorted());
  });

  test("is refused the position of something else", async () => {
    const path = newPath();
    writeFileSync(path, lines(1));
    for (const position of [
      "",
      "{}",
      '{"last":1,"unused":[]}',
      '{"generations":[]}',
      '{"generations":[{}]}',
    ]) {
      await expect(Life.begin(path, position, mode)).rejects.toMatchObject({ code: "BEHEST_SOURCE_OPEN" });
    }
  });

  test("is refused when it is a named pipe, which cannot be read again", async () => {
    const path = newPath();
    execFileSync("mkfifo", [path]);
    await expect(Life.begin(path, undefined, mode)).rejects.toMatchObject({
      code: "BEHEST_SOURCE_OPEN",
      message: `${path} is a named pipe and cannot be read again after a restart; expected --from - with --state-dir, or a file`,
    });
  });
});

describe("a file that is followed", () => {
  test("may be missing at first", async () => {
    const path = newPath();
    const life = await Life.begin(path);
    expect(life.log.join("")).toContain("waiting for a file that does not exist yet");
    writeFileSync(path, lines(1));
    await life.takeUntil(1);
    life.commit();
    await life.end();
    rmSync(path);
    writeFileSync(path, lines(2));
    expect((await wholeLife(path, life.position)).numbers).toEqual([2]);
  });

  test("leaves half a line in it until its end is written, over any number of lives", async () => {
    const path = newPath();
    writeFileSync(path, lines(1) + line(2).slice(0, 10));
    const first = await wholeLife(path);
    const second = await wholeLife(path, first.position);
    appendFileSync(path, `${line(2).slice(10)}\n`);
    const third = await wholeLife(path, second.position ?? first.position);
    expect([first.numbers, second.numbers, third.numbers]).toEqual([[1], [], [2]]);
    expect([...first.log, ...second.log, ...third.log]).toEqual([]);
  });

  test("and truncated meanwhile keeps apart what stood where before and after", async () => {
    const path = newPath();
    writeFileSync(path, lines(1, 2));
    const first = await Life.begin(path);
    await first.takeAll();
    truncateSync(path);
    appendFileSync(path, lines(3));
    await first.takeUntil(3);
    expect(new Set(first.taken.map(({ id }) => id)).size).toBe(3);
    // Line 2 is in no file any more, line 3 is.
    first.commit([1, 2]);
    await first.end();
    const second = await wholeLife(path, first.position);
    expect([second.numbers, second.source.lost]).toEqual([[3], 1]);
  });

  test("that is a directory is told and waited on", async () => {
    const path = newPath();
    mkdirSync(path);
    const life = await wholeLife(path);
    expect(life.warnings).toEqual([expect.stringContaining("it is a directory")]);
  });
});

describe("a file that is read to its end", () => {
  test("leaves a last line without an end to the next run, and says so", async () => {
    const path = newPath();
    writeFileSync(path, lines(1) + line(2).slice(0, 10));
    const first = await wholeLife(path, undefined, ONCE);
    expect(first.numbers).toEqual([1]);
    expect(first.warnings).toEqual([
      expect.stringContaining(
        `The last line has no end yet, and is left to the next run file=${path} bytes=10`,
      ),
    ]);
    appendFileSync(path, line(2).slice(10));
    const second = await wholeLife(path, first.position, ONCE);
    appendFileSync(path, `\n${lines(3)}`);
    const third = await wholeLife(path, second.position, ONCE);
    expect([second.numbers, third.numbers, second.log, third.log]).toEqual([[2], [3], [], []]);
  });

  test.each(['{"a":1', '"a"', "12", "nul"])(
    "takes a last line without an end for whole only when it is an object, not %s",
    async (half) => {
      const path = newPath();
      writeFileSync(path, half);
      const life = await wholeLife(path, undefined, ONCE);
      expect([life.texts, life.warnings.length]).toEqual([[], 1]);
    },
  );

  test("says nothing of white space at its end", async () => {
    const path = newPath();
    writeFileSync(path, `${lines(1)}  `);
    expect((await wholeLife(path, undefined, ONCE)).log).toEqual([]);
  });

  test("leaves a line that is too long without an end to the next run", async () => {
    const path = newPath();
    writeFileSync(path, "x".repeat(2 * CHUNK_BYTES));
    const life = await wholeLife(path, undefined, ONCE);
    expect([life.taken, life.warnings.length]).toEqual([[], 1]);
  });

  test("is told by name when it does not exist or is a directory", async () => {
    const path = newPath();
    const refused = { code: "BEHEST_SOURCE_OPEN" };
    await expect(Life.begin(path, undefined, ONCE)).rejects.toMatchObject({
      ...refused,
      message: `${path} does not exist`,
    });
    mkdirSync(path);
    await expect(Life.begin(path, undefined, ONCE)).rejects.toMatchObject({
      ...refused,
      message: `${path} is a directory`,
    });
  });
});

test.each(["/dev/fd/3", "/dev/stdin", "/proc/self/fd/0"])("%s is no file to come back to", async (path) => {
  expect(await rereadFault(path)).toMatch(/^is a file descriptor and cannot be read again/);
});

describe("a position", () => {
  const mark = { offset: 100, anchor: { bytes: 3, sha256: "ab" }, modifiedMs: 5 };
  const one = { start: 7, end: 100, payload: Buffer.from("{}"), wholeBytes: undefined };
  const saved = { file: "1:2", path: "/a", ...mark, unused: [] };

  test("holds as many unused lines as may wait, a few bytes for each", () => {
    const unused = Array.from({ length: 65_536 }, (_, n) => 10_000_000_000 + 300 * n);
    const text = writePosition([{ ...saved, offset: 20_000_000_000, unused }]);
    expect(readPosition(text, "a")).toEqual([{ ...saved, offset: 20_000_000_000, unused }]);
    expect(text.length).toBeLessThan(65_536 * 5);
  });

  test("says how far the newest file was read, and nothing of other sources", () => {
    expect(readUpTo(writePosition([{ ...saved, offset: 5 }, saved]))).toBe(100);
    expect(readUpTo('{"last":1,"unused":[]}')).toBeUndefined();
    expect(readUpTo("no JSON")).toBeUndefined();
  });

  test("says nothing of what the file holds", async () => {
    const path = newPath();
    writeFileSync(path, '{"secret":"hunter2"}\n');
    const { position } = await wholeLife(path);
    expect(position).not.toMatch(/secret|hunter2/);
    expect(position).not.toContain(Buffer.from("hunter2").toString("base64").slice(0, 6));
  });

  test.each([
    [15, 15],
    [16, 16],
    [17, 16],
  ])("of %i files one after another remembers %i", (files, remembered) => {
    const progress = new Progress(() => {});
    let last = "";
    for (let n = 1; n <= files; n += 1) {
      const generation = progress.begin(`1:${n}`, "/a");
      last = progress.handOut(generation, [one], mark)[0]!.id;
      progress.end(generation);
    }
    expect(readPosition(progress.write(last, []), "a").map(({ file }) => file)).toEqual(
      Array.from({ length: remembered }, (_, n) => `1:${files - remembered + 1 + n}`),
    );
  });

  test("remembers a file with unused lines, and one that is still read, however many came since", () => {
    const progress = new Progress(() => {});
    let last = "";
    for (let n = 1; n <= 20; n += 1) {
      const generation = progress.begin(`1:${n}`, "/a");
      last = progress.handOut(generation, [one], mark)[0]!.id;
      if (n !== 2) progress.end(generation);
    }
    const files = readPosition(progress.write(last, ["1:1:7"]), "a");
    expect(files.map(({ file }) => file).slice(0, 3)).toEqual(["1:1", "1:2", "1:5"]);
    expect(files[0]).toMatchObject({ unused: [7] });
    expect(files).toHaveLength(18);
  });
});
