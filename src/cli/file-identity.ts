import { fstat, type BigIntStats } from "node:fs";
import { readlink, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { promisify } from "node:util";

const MAX_LINKS = 40;

/**
 * What is the same for two names of one file, through links of any kind; 0 is the file that standard input comes
 * from. A file that does not exist yet is known by where it would be made. Undefined for what is no file, such
 * as a pipe or a device, and for what cannot be found out.
 */
export async function fileIdentity(path: string | 0): Promise<string | undefined> {
  try {
    const stats = path === 0 ? await statDescriptor(path) : await stat(path, { bigint: true });
    return stats.isFile() ? `${stats.dev}:${stats.ino}` : undefined;
  } catch {
    return path === 0 ? undefined : placeOf(path).catch(() => undefined);
  }
}

function statDescriptor(descriptor: number): Promise<BigIntStats> {
  return promisify(fstat)(descriptor, { bigint: true });
}

/** Where a name leads that leads to nothing yet. */
async function placeOf(path: string): Promise<string> {
  let place = path;
  for (let links = 0; links < MAX_LINKS; links++) {
    const target = await readlink(place).catch(() => undefined);
    if (target === undefined) break;
    place = resolve(dirname(place), target);
  }
  return join(await realpath(dirname(place)), basename(place));
}
