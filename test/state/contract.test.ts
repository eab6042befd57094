import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterAll } from "vitest";
import { systemClock as clock } from "../../src/clock.ts";
import { journaledInput, streamInflow } from "../../src/source/journaled.ts";
import { stateDirectory } from "../../src/state/directory.ts";
import { memoryLog } from "../bridge/memory-log.ts";
import { keptLog } from "../source/reader.ts";
import { describeStore } from "./contract.ts";

const root = mkdtempSync(join(tmpdir(), "behest-otel-store-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const newDirectory = () => join(root, String((count += 1)));
const close = () => Promise.resolve();

describeStore("a state directory", () => {
  const path = newDirectory();
  return { begin: () => stateDirectory(path, "a source", { clock }), close };
});

describeStore("a state directory whose file is written anew all the time", () => {
  const path = newDirectory();
  return { begin: () => stateDirectory(path, "a source", { clock, slackBytes: 1 }), close };
});

describeStore("a state directory with a journal", () => {
  const { log } = keptLog();
  const options = { stateDir: newDirectory(), stateName: "stdin", clock, log, maxBytes: 1_000_000 };
  const inflow = () => streamInflow("stdin", new PassThrough(), { clock, log });
  return { begin: () => journaledInput(inflow(), options).store, close };
});

describeStore("the state in memory that other tests use", () => {
  const memory = memoryLog([]);
  return { begin: () => memory.begin().store, close };
});
