import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { nodeArguments, startChild } from "./children.ts";

const PLACE = "it has to be a directory on a local disk that this user may write to";

/** Ways to put something before a command so that it may mount. */
const MOUNTING = [
  ["unshare", "--mount"],
  ["unshare", "--user", "--map-root-user", "--mount"],
] as const;
/** What makes the rights of directories hold for the superuser too. */
const BOUND = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] as const;

function succeeds([command = "", ...args]: readonly string[]): boolean {
  try {
    execFileSync(command, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const mounting = MOUNTING.find((way) => succeeds([...way, "mount", "-t", "tmpfs", "tmpfs", tmpdir()]));

async function saidOn(before: readonly string[], kind: string): Promise<readonly string[]> {
  const disk = mkdtempSync(join(tmpdir(), "behest-otel-disk-"));
  const [first, ...args] = [...before, process.execPath, ...nodeArguments("full-disk.ts"), disk, kind];
  const named = args.map((arg) => (arg === "DISK" ? disk : arg));
  const child = startChild(first, named);
  await child.ended;
  rmSync(disk, { recursive: true });
  return child.lines;
}

/** All that is said where a full disk and a read-only one are told in these words. */
function toldAs({ full, readOnly }: { readonly full: string; readonly readOnly: string }): string[] {
  return [
    "first: done",
    "append: appended",
    `full: BEHEST_STATE_COMMIT DISK/state/a-ca978112 ${full}`,
    `full again: BEHEST_STATE_COMMIT DISK/state/a-ca978112 ${full}`,
    `append on full: BEHEST_STATE_COMMIT DISK/state/journal ${full}`,
    `new on full: BEHEST_STATE_COMMIT DISK/state/other-d9298a10 ${full}`,
    "mended: done",
    "append when mended: appended",
    "journal: 50000 of 1, 50000 of 3",
    "state: a,b",
    `read-only: BEHEST_STATE_COMMIT DISK/state/a-ca978112 ${readOnly}`,
    `read-only open: BEHEST_STATE_OPEN DISK/state/a-ca978112 ${readOnly}`,
    `read-only new: BEHEST_STATE_OPEN DISK/state/new-11507a0e ${readOnly}`,
    `read-only journal: BEHEST_STATE_OPEN DISK/state/journal ${readOnly}`,
    "writable: done",
    "state: a,b,c",
  ];
}

// Not everybody may mount one; what it would show beyond the next test is how the words of the system are told.
test.skipIf(mounting === undefined)(
  "a disk that is full or read-only is told, loses nothing, and is gone on with when it is mended",
  async () => {
    const mount = ["sh", "-c", 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"', "DISK"];
    expect(await saidOn([...(mounting ?? []), ...mount], "mount")).toEqual(
      toldAs({
        full: "has no space left on its disk; make room on the disk",
        readOnly: `is on a read-only file system; ${PLACE}`,
      }),
    );
  },
);

// Limits on files and rights for the superuser are those of Linux.
test.skipIf(process.platform !== "linux")(
  "files that may not grow and directories that may not be written to are told, lose nothing, and are gone on with",
  async () => {
    const isRoot = process.getuid?.() === 0;
    expect(await saidOn(isRoot ? BOUND : [], "limit")).toEqual(
      toldAs({
        full: "EFBIG: file too large, write; make room on the disk",
        readOnly: `may not be accessed by this user; ${PLACE}`,
      }),
    );
  },
);
