import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { stateDirectory } from "../../src/state/directory.ts";
import { SEED, seeded } from "../bridge/seeded.ts";
import { nodeArguments, startChild, type Child } from "./children.ts";
import { sorted, stateAfter, stateOf } from "./commits.ts";

const root = mkdtempSync(join(tmpdir(), "behest-otel-kill-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const seconds = Number(process.env["TRIAL_SECONDS"] ?? 5);

function writer(path: string): Child {
  return startChild(process.execPath, [...nodeArguments("endless-writer.ts"), path]);
}

/** The newest commit that a process has said to be made. */
function committed({ lines }: Child): number {
  return Number(/\d+$/.exec(lines.findLast((line) => /^(opened|committed) /.test(line)) ?? "0")?.[0]);
}

async function expectStateFrom(path: string, atLeast: number, atMost: number): Promise<void> {
  const state = await stateOf(stateDirectory(path, "writer", { clock: systemClock }));
  const n = Number(state.get("n") ?? 0);
  expect(n).toBeGreaterThanOrEqual(atLeast);
  expect(n).toBeLessThanOrEqual(atMost);
  expect(sorted(state)).toEqual(sorted(stateAfter(n)));
}

test(`after a kill at any moment the state is that of the last commit, or the one being made: SEED=${SEED}`, async () => {
  const random = seeded(SEED);
  const path = join(root, "alone");
  const until = Date.now() + seconds * 1_000;
  let kills = 0;
  for (; kills === 0 || Date.now() < until; kills += 1) {
    const child = writer(path);
    await child.line(/^opened/);
    const kill = setTimeout(() => child.process.kill("SIGKILL"), random() * 150);
    await child.ended;
    clearTimeout(kill);
    expect(child.process.signalCode).toBe("SIGKILL");
    await expectStateFrom(path, committed(child), committed(child) + 1);
  }
  console.error(`killed ${kills} times`);
});

test(`two processes at once: the older one is replaced, and no commit that was made is lost: SEED=${SEED}`, async () => {
  const random = seeded(SEED + 1);
  const path = join(root, "together");
  const until = Date.now() + seconds * 1_000;
  let older = writer(path);
  await older.line(/^committed/);
  for (let lives = 0; lives === 0 || Date.now() < until; lives += 1) {
    const newer = writer(path);
    if (random() < 0.3) older.process.kill("SIGKILL");
    await newer.line(/^committed/);
    await older.ended;
    if (older.process.signalCode === null) expect(older.lines.at(-1)).toMatch(/^BEHEST_STATE_REPLACED/);
    const opened = Number(/\d+/.exec(await newer.line(/^opened/))?.[0]);
    // One more: the commit that the older one had written when it found out.
    expect(opened).toBeGreaterThanOrEqual(committed(older));
    expect(opened).toBeLessThanOrEqual(committed(older) + 1);
    older = newer;
  }
  older.process.kill("SIGKILL");
  await older.ended;
  await expectStateFrom(path, committed(older), committed(older) + 1);
});
