import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { failedRun, parallelTools, streamedAnswer } from "./sample-runs.ts";
import { shown, treeOf } from "./shown-text.ts";

const page = readFileSync(new URL("../../docs/view.md", import.meta.url), "utf8");

test.each([
  ["tools at the same time", parallelTools()],
  ["a failed run", failedRun()],
  ["a streamed answer", streamedAnswer()],
])("the page shows %s as the program does", (_, run) => {
  expect(page).toContain(`\`\`\`${shown(treeOf(run))}\`\`\``);
});
