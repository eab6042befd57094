import { execFileSync } from "node:child_process";
import { chmodSync, readdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { BridgeError } from "../../src/errors.ts";
import { createLog } from "../../src/log.ts";
import { stateDirectory } from "../../src/state/directory.ts";
import { openJournal } from "../../src/state/journal.ts";
import { readAll, stateOf } from "./commits.ts";

// Runs on a small disk of its own, the directory of its argument, and says what happens on it. Where nobody
// may mount one (`limit`), full is a limit on the length of files, and read-only is what the rights of the
// directories say.
const [disk = "", kind = "mount"] = process.argv.slice(2);
const path = join(disk, "state");
const ballast = join(disk, "ballast");
const options = { clock: systemClock, slackBytes: 10_000_000 };
const log = createLog({ level: "error", format: "text", now: () => new Date(), write: say });

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function outcome(promise: Promise<unknown>): Promise<string> {
  try {
    const answer = await promise;
    return typeof answer === "string" ? answer : "done";
  } catch (error) {
    if (error instanceof BridgeError) return `${error.code} ${error.message.replaceAll(disk, "DISK")}`;
    throw error;
  }
}

/** Leaves no room for what is written here, or all of it again. */
function setFull(full: boolean): void {
  if (kind === "limit") {
    const limit = full ? "1000:" : "unlimited:";
    execFileSync("prlimit", ["--pid", String(process.pid), `--fsize=${limit}`]);
    return;
  }
  if (!full) return rmSync(ballast);
  const { bavail, bsize } = statfsSync(disk);
  writeFileSync(ballast, Buffer.alloc(bavail * bsize - 20_000));
}

function setReadOnly(readOnly: boolean): void {
  if (kind === "mount") {
    execFileSync("mount", ["-o", readOnly ? "remount,ro" : "remount,rw", disk]);
    return;
  }
  const entries = readdirSync(path, { recursive: true, withFileTypes: true });
  const folders = entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));
  for (const folder of [path, ...folders]) chmodSync(folder, readOnly ? 0o500 : 0o700);
}

const big = (key: string) => ({ puts: new Map([[key, key.repeat(50_000)]]), removes: [], used: [] });

const store = stateDirectory(path, "a", options);
await store.open();
say(`first: ${await outcome(store.commit(big("a")))}`);
const journal = await openJournal(join(path, "journal"), { clock: systemClock, log, groupMs: 0 });
const entry = (text: string) => ({
  payload: Buffer.from(text.repeat(50_000)),
  outside: undefined,
  appendedMs: 1,
});
say(`append: ${await outcome(journal.append([entry("1")]))}`);

setFull(true);
say(`full: ${await outcome(store.commit(big("b")))}`);
say(`full again: ${await outcome(store.commit(big("b")))}`);
say(`append on full: ${await outcome(journal.append([entry("2")]))}`);
const other = stateDirectory(path, "other", options);
say(`new on full: ${await outcome(other.open().then(() => other.commit(big("a"))))}`);

setFull(false);
say(`mended: ${await outcome(store.commit(big("b")))}`);
say(`append when mended: ${await outcome(journal.append([entry("3")]))}`);
const texts: string[] = [];
for (let at = 0; at < journal.end;) {
  const { entries, next, lostBytes } = await journal.read(at);
  texts.push(...entries.map(({ payload }) => `${payload.length} of ${payload.toString("utf8", 0, 1)}`));
  if (lostBytes > 0) texts.push(`${lostBytes} lost`);
  at = next;
}
say(`journal: ${texts.join(", ")}`);
await journal.close();
await store.close();
const state = await stateOf(stateDirectory(path, "a", options));
say(`state: ${[...state.keys()].join()}`);

const open = stateDirectory(path, "a", options);
await readAll(await open.open());
setReadOnly(true);
say(`read-only: ${await outcome(open.commit(big("c")))}`);
say(`read-only open: ${await outcome(stateDirectory(path, "a", options).open())}`);
say(`read-only new: ${await outcome(stateDirectory(path, "new", options).open())}`);
say(`read-only journal: ${await outcome(openJournal(join(path, "journal"), { clock: systemClock, log }))}`);
setReadOnly(false);
say(`writable: ${await outcome(open.commit(big("c")))}`);
await open.close();
say(`state: ${[...(await stateOf(stateDirectory(path, "a", options))).keys()].join()}`);
