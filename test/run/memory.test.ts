import { expect, test } from "vitest";
import { Assembler } from "../../src/run/assembler.ts";
import { HEART_DEFAULTS } from "../../src/run/limits.ts";
import type { Op } from "../../src/run/op.ts";
import { heldMemory } from "../held-memory.ts";
import { ORIGIN_MS, runId, storyOf } from "./story.ts";

// A bound that a slow leak or a forgotten field breaks; the exact figure is `bench/`'s.
const MOST_BYTES_PER_RUN = 4_096;

/** What a run has told when its first model call streams; the runs that were evicted for it. */
function begin(heart: Assembler, n: number): number {
  const story = storyOf(runId(n));
  const ops: Op[] = [];
  const events = [
    story.started(n),
    story.context(n),
    story.model(n),
    story.delta(n + 0.1),
    story.delta(n + 0.2),
  ];
  for (const event of events) heart.accept(event, ORIGIN_MS + n, ops);
  return ops.filter((op) => op.op === "span" && op.span.kind === "run").length;
}

test("100,000 open runs are kept in bounded memory, and not one more", async () => {
  const { maxOpenRuns } = HEART_DEFAULTS;
  const heart = new Assembler(HEART_DEFAULTS);
  const { heapUsed: empty } = await heldMemory();
  let evicted = 0;
  for (let n = 0; n < maxOpenRuns; n += 1) evicted += begin(heart, n);
  const { heapUsed: full } = await heldMemory();
  expect([heart.openRuns, evicted]).toEqual([maxOpenRuns, 0]);
  for (let n = 0; n < 1_000; n += 1) evicted += begin(heart, maxOpenRuns + n);
  expect([heart.openRuns, evicted]).toEqual([maxOpenRuns, 1_000]);
  const bytesPerRun = (full - empty) / maxOpenRuns;
  expect(bytesPerRun).toBeGreaterThan(0);
  expect(bytesPerRun).toBeLessThan(MOST_BYTES_PER_RUN);
});
