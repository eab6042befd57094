/*
 * Makes the pictures of the documentation: `node docs/pictures.ts`. A test holds those in the repository to what this
 * makes.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { terminalPicture } from "./pictures/terminal.ts";

const RECORDINGS = new URL("../test/fixtures/recordings/0.5.9/", import.meta.url);
const PROGRAM = fileURLToPath(new URL("../src/cli/bin.ts", import.meta.url));
const COLUMNS = 100;

/** Every picture: its file in `docs/pictures`, and its whole text. */
export const PICTURES: Readonly<Record<string, () => string>> = {
  "view.svg": () =>
    view({
      files: ["parallel-tools.ndjson", "doom-loop.ndjson", "provider-error-late.ndjson"],
      title: "behest-otel view: three runs in the terminal",
      description:
        "Three recorded runs as trees of model calls and tools with their times and tokens: one completed with tools " +
        "in parallel, one failed in a doom loop, one that went silent; below them a summary.",
    }),
};

/** What the program shows of recordings, below the command that shows it. */
function view(options: {
  readonly files: readonly string[];
  readonly title: string;
  readonly description: string;
}): string {
  const command = ["view", ...options.files];
  const shown = execFileSync(
    process.execPath,
    [PROGRAM, ...command, "--color", "always", "--width", String(COLUMNS)],
    { cwd: RECORDINGS, env: { LANG: "C.UTF-8" }, encoding: "utf8" },
  );
  return terminalPicture(`\x1b[2m$\x1b[0m behest-otel ${command.join(" ")}\n\n${shown}`, {
    columns: COLUMNS,
    ...options,
  });
}

if (import.meta.main) {
  for (const [file, make] of Object.entries(PICTURES)) {
    writeFileSync(new URL(`pictures/${file}`, import.meta.url), make());
  }
}
