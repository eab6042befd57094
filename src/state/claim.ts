import { open, readdir } from "node:fs/promises";
import { join } from "node:path";

const WITH_EPOCH = /^(\d{10})\.(?:claim|state|tmp)$/;

/** More than ever happens by chance: each is another process that started in the same moment. */
const MAX_TRIES = 100;

/** Names sort as the epochs do. */
export function epochText(epoch: number): string {
  return String(epoch).padStart(10, "0");
}

/**
 * Takes the next epoch of a directory: a file that only one process can make. From then on whoever has an
 * older one finds out in `isNewest`.
 */
export async function claimEpoch(directory: string): Promise<number> {
  for (let tries = 1; ; tries += 1) {
    const epoch = newestEpoch(await readdir(directory)) + 1;
    try {
      await (await open(claimPath(directory, epoch), "wx", 0o600)).close();
      return epoch;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST" || tries >= MAX_TRIES) throw error;
    }
  }
}

export function claimPath(directory: string, epoch: number): string {
  return join(directory, `${epochText(epoch)}.claim`);
}

/**
 * Asked *after* something was made durable and before it is relied upon: a process that claims later finds
 * it there, and one that claimed earlier is seen here. A claim that is gone was taken away with all else.
 */
export function isNewest(names: readonly string[], epoch: number): boolean {
  return names.includes(`${epochText(epoch)}.claim`) && newestEpoch(names) === epoch;
}

/** Of a file that belongs to one; zero for any other. */
export function epochOf(name: string): number {
  return Number(WITH_EPOCH.exec(name)?.[1] ?? 0);
}

/** The file of the newest epoch that has one. */
export function newestState(names: readonly string[]): string | undefined {
  return names
    .filter((name) => name.endsWith(".state") && epochOf(name) > 0)
    .toSorted()
    .at(-1);
}

function newestEpoch(names: readonly string[]): number {
  return names.reduce((newest, name) => Math.max(newest, epochOf(name)), 0);
}
