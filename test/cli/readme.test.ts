import { readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { RECORDINGS, ROOT, run } from "./program.ts";

test("the tree in the README is what the program prints for the recording that `npm start` shows", async () => {
  const { stdout } = await run({ args: ["view", "--width", "92", join(RECORDINGS, "token-budget.ndjson")] });
  const [, tree] = stdout.split("\n\n");
  expect(tree).toContain("✗ invoke_agent");
  expect(readFileSync(join(ROOT, "README.md"), "utf8")).toContain(`\`\`\`\n${tree}\n\`\`\``);
});
