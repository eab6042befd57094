import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { chainSource } from "../../src/source/chain.ts";
import { fileSource } from "../../src/source/file.ts";
import { CHUNK_BYTES } from "../../src/source/source.ts";
import { streamSource } from "../../src/source/stream.ts";
import { Reader } from "./reader.ts";

const directory = mkdtempSync(join(tmpdir(), "behest-otel-"));
let count = 0;

function file(content: string | Buffer): string {
  const path = join(directory, `${(count += 1)}.ndjson`);
  writeFileSync(path, content);
  return path;
}

describe("a file", () => {
  test.each([
    ["an empty one", 0],
    ["one of a single byte", 1],
    ["one a byte short of a chunk", CHUNK_BYTES - 1],
    ["one of exactly a chunk", CHUNK_BYTES],
    ["one a byte longer than a chunk", CHUNK_BYTES + 1],
    ["one of three chunks and a bit", 3 * CHUNK_BYTES + 17],
  ])("is read whole and once: %s", async (_, length) => {
    const content = Buffer.alloc(length, "0123456789");
    const reader = new Reader(fileSource(file(content)));
    expect(Buffer.from(await reader.readToEnd(), "latin1").equals(content)).toBe(true);
  });

  test("that is not there, or none, is told before anything is opened", async () => {
    const missing = join(directory, "missing.ndjson");
    for (const [path, reason] of [
      [missing, "does not exist"],
      [directory, "is a directory"],
    ] as const) {
      await expect(fileSource(path).prepare?.()).rejects.toMatchObject({
        code: "BEHEST_SOURCE_OPEN",
        message: `${path} ${reason}`,
      });
    }
    await expect(fileSource(file("a\n")).prepare?.()).resolves.toBeUndefined();
  });

  test("says where its chunks stand", async () => {
    const path = file(Buffer.alloc(CHUNK_BYTES + 1, "x"));
    const source = fileSource(path);
    await source.open();
    const { signal } = new AbortController();
    expect(await source.next(signal)).toMatchObject({ kind: "chunk", position: { file: path, offset: 0 } });
    expect(await source.next(signal)).toMatchObject({
      kind: "chunk",
      position: { file: path, offset: CHUNK_BYTES },
    });
    expect(await source.next(signal)).toBeUndefined();
    expect(await source.next(signal)).toBeUndefined();
    await source.close();
    await source.close();
    expect(await source.next(signal)).toBeUndefined();
  });

  test.skipIf(process.platform === "win32")(
    "may be a named pipe, and reading one can be stopped",
    async () => {
      const [finite, silent] = [join(directory, "finite"), join(directory, "silent")];
      execFileSync("mkfifo", [finite, silent]);
      const writer = spawn("sh", ["-c", 'printf "one\\ntwo" > "$0"; exec sleep 60 > "$1"', finite, silent]);
      expect(await new Reader(fileSource(finite)).readToEnd()).toBe("one\ntwo");

      const stopped = new Reader(fileSource(silent));
      await stopped.source.open();
      stopped.start();
      await stopped.stop();
      expect(stopped.text).toBe("");
      writer.kill();
    },
  );
});

describe("a stream", () => {
  test("is read to its end", async () => {
    const reader = new Reader(
      streamSource("stdin", Readable.from([Buffer.from("a\nb"), Buffer.from("c\n")])),
    );
    expect(await reader.readToEnd()).toBe("a\nbc\n");
  });

  test("is not read before it is asked for, beyond what the stream itself holds", async () => {
    let taken = 0;
    const endless = new Readable({
      highWaterMark: 1_024,
      read() {
        taken += 256;
        this.push(Buffer.alloc(256, "x"));
      },
    });
    const source = streamSource("stdin", endless);
    await source.open();
    await source.next(new AbortController().signal);
    await new Promise(setImmediate);
    expect(taken).toBeLessThanOrEqual(4_096);
    await source.close();
  });

  test("that waits can be asked to stop", async () => {
    const silent = new Readable({ read() {} });
    const reader = new Reader(streamSource("stdin", silent));
    await reader.source.open();
    reader.start();
    await reader.stop();
    expect(silent.destroyed).toBe(true);
  });

  test("that breaks is told", async () => {
    const broken = new Readable({ read() {} });
    const source = streamSource("stdin", broken);
    await source.open();
    const next = source.next(new AbortController().signal);
    broken.destroy(new Error("the line was cut"));
    await expect(next).rejects.toMatchObject({
      code: "BEHEST_SOURCE_READ",
      message: "stdin: the line was cut",
    });
  });
});

describe("several sources as one", () => {
  test("are read in order, with a break between them", async () => {
    const sources = [
      fileSource(file("a\nb")),
      fileSource(file("")),
      streamSource("stdin", Readable.from([Buffer.from("c\n")])),
    ] as const;
    const chain = chainSource(sources);
    expect(chain.name).toBe(`${sources[0].name} and 2 more`);
    expect(await new Reader(chain).readToEnd()).toBe("a\nb||c\n");
  });

  test("end where one of them cannot be opened", async () => {
    const missing = join(directory, "missing.ndjson");
    const reader = new Reader(chainSource([fileSource(file("a\n")), fileSource(missing)]));
    await expect(reader.readToEnd()).rejects.toMatchObject({ message: `${missing} does not exist` });
    expect(reader.text).toBe("a\n|");
  });
});
