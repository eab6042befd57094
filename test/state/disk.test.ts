import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { nodeArguments, startChild } from "./children.ts";

const NO_SPACE = "has no space left on its disk; make room on the disk";
const READ_ONLY =
  "is on a read-only file system; it has to be a directory on a local disk that this user may write to";

/** What has to be put before a command so that it may mount; undefined where this user may not. */
function mounting(): readonly string[] | undefined {
  const ways = [
    ["unshare", "--mount"],
    ["unshare", "--user", "--map-root-user", "--mount"],
  ];
  return ways.find(([command = "", ...args]) => {
    try {
      execFileSync(command, [...args, "mount", "-t", "tmpfs", "tmpfs", tmpdir()], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  });
}

async function onSmallDisk(): Promise<{ readonly mounted: boolean; readonly lines: readonly string[] }> {
  const disk = mkdtempSync(join(tmpdir(), "behest-otel-disk-"));
  const way = mounting();
  const run = [process.execPath, ...nodeArguments("full-disk.ts"), disk];
  const mount = ["sh", "-c", 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"', disk];
  const command =
    way === undefined ? ["prlimit", "--fsize=90000", ...run, "limit"] : [...way, ...mount, ...run];
  const [first = "", ...args] = command;
  const child = startChild(first, args);
  await child.ended;
  rmSync(disk, { recursive: true });
  console.error(way === undefined ? "with a limit on the size of files" : "on a disk of 1 MiB");
  return { mounted: way !== undefined, lines: child.lines };
}

test("a disk that is full or read-only is told, loses nothing, and is gone on with when it is mended", async () => {
  const { mounted, lines } = await onSmallDisk();
  if (!mounted) {
    expect(lines.find((line) => line.startsWith("full again"))).toMatch(/BEHEST_STATE_COMMIT .*make room/);
    expect(lines.at(-1)).toBe("state: a");
    return;
  }
  expect(lines).toEqual([
    "first: done",
    "append: appended",
    `full: BEHEST_STATE_COMMIT DISK/state/a-ca978112 ${NO_SPACE}`,
    `full again: BEHEST_STATE_COMMIT DISK/state/a-ca978112 ${NO_SPACE}`,
    `append on full: BEHEST_STATE_COMMIT DISK/state/journal ${NO_SPACE}`,
    `new on full: BEHEST_STATE_COMMIT DISK/state/other-d9298a10 ${NO_SPACE}`,
    "mended: done",
    "append when mended: appended",
    "journal: 50000 of 1, 50000 of 3",
    "state: a,b",
    `read-only: BEHEST_STATE_COMMIT DISK/state/a-ca978112 ${READ_ONLY}`,
    `read-only open: BEHEST_STATE_OPEN DISK/state/a-ca978112 ${READ_ONLY}`,
    `read-only new: BEHEST_STATE_OPEN DISK/state/new-11507a0e ${READ_ONLY}`,
    `read-only journal: BEHEST_STATE_OPEN DISK/state/journal ${READ_ONLY}`,
    "writable: done",
    "state: a,b,c",
  ]);
});
