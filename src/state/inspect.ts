import { mkdir, open, readdir, rename, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { claimEpoch, epochOf, epochText, newestState } from "./claim.ts";
import { syncFolder } from "./directory.ts";
import { systemReason } from "../errors.ts";
import { JOURNAL_FOLDER, layOut, readReached } from "./journal-layout.ts";
import { openError } from "./refusal.ts";
import { findRecord, readStateFile, StateWriter, UnreadableState, type StateContent } from "./state-file.ts";

/** A folder that `sourceFolder` named. */
const FOLDER = /-[0-9a-f]{8}$/;

/** What a state directory holds of one source. */
export interface StateSummary {
  readonly folder: string;
  /** The source; undefined when nothing readable says so. */
  readonly name: string | undefined;
  readonly version: number | undefined;
  readonly epoch: number;
  readonly records: number;
  /** On the disk, the journal included. */
  readonly bytes: number;
  /** Undefined when there is none, or it cannot be read. */
  readonly journal: JournalSummary | undefined;
  /** Milliseconds since 1970; undefined before the first commit. */
  readonly committedMs: number | undefined;
  /** What was asked for beside that; undefined when there is none. */
  readonly record: string | undefined;
  /** Why it cannot be read, in words; undefined when it can. */
  readonly problem: string | undefined;
}

export interface JournalSummary {
  /** Events since the journal began. */
  readonly appended: number;
  /** Kept until they are committed, and somewhat longer. */
  readonly bytes: number;
}

/**
 * What is in a state directory, by folder, with the record of a key where one is named. Changes nothing. Rejects
 * with `BEHEST_STATE_OPEN`.
 */
export async function inspectState(path: string, key?: string): Promise<StateSummary[]> {
  const summaries: StateSummary[] = [];
  for (const folder of await foldersOf(path)) summaries.push(await inspectFolder(folder, key));
  return summaries;
}

/**
 * Makes every state of a directory an empty one, as if for the first time: what is there moves to
 * `<folder>.<time>.old` and is given back as pairs. Journals stay: what was promised is still owed. A
 * process that runs on it is replaced. Rejects with `BEHEST_STATE_OPEN`.
 */
export async function resetState(path: string, now: Date): Promise<{ from: string; to: string }[]> {
  const moved: { from: string; to: string }[] = [];
  for (const folder of await foldersOf(path)) {
    const names = (await readdir(folder)).filter((name) => epochOf(name) > 0);
    if (names.length === 0) continue;
    const to = `${folder}.${now.toISOString().replaceAll(/[-:]|\.\d+/g, "")}.old`;
    try {
      await resetFolder(folder, { names, to });
    } catch (error) {
      throw openError(folder, error);
    }
    moved.push({ from: folder, to });
  }
  return moved;
}

async function foldersOf(path: string): Promise<string[]> {
  try {
    const entries = await readdir(path, { withFileTypes: true });
    const folders = entries.filter((entry) => entry.isDirectory() && FOLDER.test(entry.name));
    return folders.map(({ name }) => join(path, name)).toSorted();
  } catch (error) {
    throw openError(path, error);
  }
}

async function inspectFolder(folder: string, key: string | undefined): Promise<StateSummary> {
  const names = await readdir(folder);
  const newest = newestState(names);
  const epoch = names.reduce((most, name) => Math.max(most, epochOf(name)), 0);
  const found = newest === undefined ? undefined : await read(join(folder, newest), key);
  const content = typeof found === "string" ? undefined : found;
  const journal = await journalIn(join(folder, JOURNAL_FOLDER)).catch((error: NodeJS.ErrnoException) =>
    error.code === "ENOENT" ? undefined : `the journal ${systemReason(error)}`,
  );
  return {
    folder,
    name: content?.header.name,
    version: content?.header.version,
    epoch,
    records: content?.records.size ?? 0,
    bytes: await bytesIn(folder),
    journal: typeof journal === "string" ? undefined : journal,
    committedMs: content?.committedMs,
    record: content?.record,
    problem:
      typeof found === "string" ? `${newest} ${found}` : typeof journal === "string" ? journal : undefined,
  };
}

async function read(
  path: string,
  key?: string,
): Promise<(StateContent & { readonly record: string | undefined }) | string> {
  const handle = await open(path, "r");
  try {
    const content = await readStateFile(handle, (await handle.stat()).size);
    return { ...content, record: key === undefined ? undefined : await findRecord(handle, content, key) };
  } catch (error) {
    if (error instanceof UnreadableState) return error.message;
    throw openError(path, error);
  } finally {
    await handle.close();
  }
}

async function journalIn(path: string): Promise<JournalSummary> {
  const { segments } = layOut(await readdir(path));
  const { end, ordinal } = await readReached(path, segments.at(-1));
  return { appended: ordinal, bytes: end - (segments[0]?.start ?? end) };
}

async function bytesIn(folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    // A file may be gone by now: the one who writes it goes on.
    bytes += entry.isDirectory()
      ? await bytesIn(path)
      : await stat(path).then(
          ({ size }) => size,
          () => 0,
        );
  }
  return bytes;
}

/**
 * The empty state gets a newer epoch than any, so that a process that is just writing can only write what
 * nobody will read.
 */
async function resetFolder(
  folder: string,
  { names, to }: { readonly names: readonly string[]; readonly to: string },
): Promise<void> {
  const newest = newestState(names);
  const found = newest === undefined ? undefined : await read(join(folder, newest));
  const name = typeof found === "object" ? found.header.name : basename(folder);
  const epoch = await claimEpoch(folder);
  const temporary = join(folder, `${epochText(epoch)}.tmp`);
  const handle = await open(temporary, "w", 0o600);
  try {
    const writer = new StateWriter(handle, { end: 0, commits: 0 });
    await writer.header(name, epoch);
    await writer.commit(0);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await mkdir(to, { mode: 0o700 });
  await rename(temporary, join(folder, `${epochText(epoch)}.state`));
  for (const old of names) await rename(join(folder, old), join(to, old));
  await syncFolder(folder);
}
