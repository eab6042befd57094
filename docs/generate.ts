/*
 * Writes the pages that are made from tables of the program: `npm run docs`, which is
 * `node docs/generate.ts`. A test holds the pages in the repository to what this writes.
 */
import { writeFileSync } from "node:fs";

import { configurationPage } from "../src/cli/options-page.ts";
import { errorsPage } from "./pages/errors.ts";
import { metricsPage } from "./pages/metrics.ts";

/** Every generated page: its file beside this one, and its whole text. */
export const PAGES: Readonly<Record<string, () => string>> = {
  "configuration.md": configurationPage,
  "errors.md": errorsPage,
  "metrics.md": metricsPage,
};

if (import.meta.main) {
  for (const [file, text] of Object.entries(PAGES)) {
    writeFileSync(new URL(file, import.meta.url), text());
  }
}
